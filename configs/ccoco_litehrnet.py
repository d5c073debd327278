"""D-Slope on COCO 2017 and C-COCO with Lite-HRNet-18, 192x256, 210 epochs.

Paper: D-Slope / MoEPose; Lite-HRNet (Yu et al., 2021).
Command: python train.py --config configs/ccoco_litehrnet.py --config.data.root=COCO
  arguments after a colon: d18, d30, 384x288 (height x width), kl / mse / distill / none
Expected: GNet on clean val2017, detector boxes of 56.4 AP, flip test: Lite-HRNet-18 alone reaches
  64.8 AP, 30 67.2 (published). AP of the pair on C-COCO: not known.
Time: not measured.
"""
from ml_collections import ConfigDict

from configs import common


def get_config(argument=''):
  config = common.on_coco(common.dslope())
  config.batch_size = 256
  config.system.model = ConfigDict(dict(name='lite_hrnet', depth=18, dtype='bfloat16'))
  config.data.augmentation.update(dict(scale=0.25, rotation=30.0))
  for spec in config.optim.values():
    spec.update(dict(lr=2e-3, warmup='500 steps'))
  return common.use_arguments(config, argument, dict(d18=dict(depth=18), d30=dict(depth=30)))
