"""D-Slope on COCO 2017 and C-COCO with ResNet-50 and deconvolutions, 192x256, 140 epochs.

Paper: D-Slope / MoEPose; Simple Baselines (Xiao et al., 2018).
Command: python train.py --config configs/ccoco_simplebaseline.py --config.data.root=COCO
  arguments after a colon: r18, r34, r50, r101, r152, 384x288 (height x width),
  kl / mse / distill / none
Start both networks from ImageNet weights: --config.init_from.gnet=resnet50.pth and the same for
  enet, as published; without them more epochs are needed.
Expected: GNet on clean val2017, detector boxes of 56.4 AP, flip test: R50 alone reaches 70.4 AP,
  R101 71.4, R152 72.0 (published). AP of the pair on C-COCO: not known.
Time: not measured.
"""
from ml_collections import ConfigDict

from configs import common


def get_config(argument=''):
  config = common.on_coco(common.dslope())
  config.duration = '140 epochs'
  config.system.model = ConfigDict(dict(name='simple_baseline', depth=50, dtype='bfloat16'))
  config.data.augmentation.update(dict(scale=0.3, rotation=40.0, half_body_prob=0.0))
  for spec in config.optim.values():
    spec.boundaries = ('90 epochs', '120 epochs')
  depths = {f'r{depth}': dict(depth=depth) for depth in (18, 34, 50, 101, 152)}
  return common.use_arguments(config, argument, depths)
