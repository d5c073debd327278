"""D-Slope on COCO 2017 and C-COCO with HRFormer-S, 192x256, 210 epochs.

Paper: D-Slope / MoEPose; HRFormer (Yuan et al., 2021).
Command: python train.py --config configs/ccoco_hrformer.py --config.data.root=COCO
  arguments after a colon: small, base, 384x288 (height x width), kl / mse / distill / none
Expected: GNet on clean val2017, detector boxes of 56.4 AP, flip test: HRFormer-S alone reaches
  74.0 AP, B 75.6 (published, from ImageNet weights). AP of the pair on C-COCO: not known.
Time: not measured.
"""
from ml_collections import ConfigDict

from configs import common


def get_config(argument=''):
  config = common.on_coco(common.dslope())
  config.batch_size = 256
  config.system.model = ConfigDict(dict(name='hrformer', size='small', dtype='bfloat16'))
  for spec in config.optim.values():
    spec.update(dict(lr=5e-4, weight_decay=0.01, warmup='500 steps'))
  return common.use_arguments(config, argument, dict(small=dict(size='small'),
                                                     base=dict(size='base')))
