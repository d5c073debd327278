"""One plain network on LSPET: a small HRNet, 96x128 (width x height); the baseline of tables.

Paper: HRNet (Sun et al., 2019).
Command: python train.py --config configs/lspet_hrnet.py --config.data.root=LSPET
  arguments after a colon: clean / occluded; 'occluded' trains on
  the occluded crops of data.recipe instead of the clean ones
Files: as for clspet_hrnet.py.
Expected: see docs/results.md.
Time: not measured.
"""
from configs import common


def get_config(argument=''):
  config = common.on_lspet(common.top_down())
  return common.use_arguments(config, argument)
