"""One plain network on COCO 2017: HRNet-W32, 192x256; the baseline of tables.

Paper: HRNet (Sun et al., 2019).
Command: python train.py --config configs/coco_hrnet.py --config.data.root=COCO
  arguments after a colon: w48, 384x288 (height x width), clean / occluded; 'occluded' trains on
  the occluded crops of data.recipe instead of the clean ones
Files: as for ccoco_hrnet.py.
Expected: val2017, clean, detector boxes of 56.4 AP, flip test: 74.4 AP (published).
Time: not measured.
"""
from configs import common


def get_config(argument=''):
  config = common.on_coco(common.top_down())
  return common.use_arguments(config, argument, dict(w32=dict(width=32), w48=dict(width=48)))
