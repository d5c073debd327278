"""One plain network on MPII: HRNet-W32, 256x256; the baseline of tables.

Paper: HRNet (Sun et al., 2019).
Command: python train.py --config configs/mpii_hrnet.py --config.data.root=MPII
  arguments after a colon: w48, clean / occluded; 'occluded' trains on
  the occluded crops of data.recipe instead of the clean ones
Files: as for cmpii_hrnet.py.
Expected: val, clean, PCKh@0.5: 90.3 (published).
Time: not measured.
"""
from configs import common


def get_config(argument=''):
  config = common.on_mpii(common.top_down())
  return common.use_arguments(config, argument, dict(w32=dict(width=32), w48=dict(width=48)))
