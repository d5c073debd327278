"""HUPOR on CMU Panoptic, 832x512, the three networks in one step.

Paper: Liu et al., Explicit Occlusion Reasoning for Multi-person 3D Human Pose Estimation (ECCV
2022). Who is hidden is told by the ray test on the true people.
Command: python train.py --config configs/panoptic_hupor.py --config.data.root=PANOPTIC
  argument after a colon: smap (a detector of all joints alone)
Files: see docs/bottom_up.md.
Expected (published): SMAP 61.8 mm MPJPE, mean of four activities. Not run here.
Time: not measured.
"""
from ml_collections import ConfigDict

from configs import common


def get_config(argument=''):
  config = common.bottom_up()
  config.data.update(dict(name='panoptic', root='data/panoptic', num_workers=8))
  config.data.loader = ConfigDict(dict(visibility='proxy'))
  config.evals.val.update(dict(split='test', metric='panoptic', recipe='none'))
  return common.use_hupor_arguments(config, argument)
