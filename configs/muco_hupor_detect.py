"""HUPOR's detector of visible joints on MuCo-3DHP, 832x512: the first of three steps.

Paper: Liu et al., Explicit Occlusion Reasoning for Multi-person 3D Human Pose Estimation (ECCV
2022), and Zhen et al., SMAP (ECCV 2020); published there with COCO beside MuCo, see
docs/bottom_up.md for what differs.
Command: python train.py --config configs/muco_hupor_detect.py --config.data.root=MUCO
  argument after a colon: smap (a detector of all joints; no other network is needed)
  --config.evals.val.data.root=MUPOTS: the folder of MuPoTS-3D
Files: see docs/bottom_up.md.
Expected (published): about 74 PCK_rel of all people with the labels of the paper. Not run here.
Time: not measured.
"""
from ml_collections import ConfigDict

from configs import common

VISIBLE = dict(visibility='proxy')  # MuCo has no labels of who is hidden: the ray test


def get_config(argument=''):
  return common.use_hupor_arguments(on_muco(common.bottom_up('detect')), argument)


def on_muco(config):
  """Trained on MuCo-3DHP, and scored on MuPoTS-3D."""
  config.data.num_workers = 8
  config.data.loader = ConfigDict(VISIBLE)
  config.evals.val.update(dict(split='test', recipe='none'))
  config.evals.val.data.update(dict(name='mupots', root='data/mupots'))
  return config
