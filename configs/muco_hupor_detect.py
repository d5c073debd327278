"""HUPOR's detector of visible joints on MuCo-3DHP, 832x512: the first of three steps.

Paper: Liu et al., Explicit Occlusion Reasoning for Multi-person 3D Human Pose Estimation (ECCV
2022), and Zhen et al., SMAP (ECCV 2020).
Command: python train.py --config configs/muco_hupor_detect.py --config.data.root=MUCO
  --config.data.beside.root=COCO --config.evals.val.data.root=MUPOTS
  argument after a colon: smap (a detector of all joints; no other network is needed)
Files: see docs/bottom_up.md.
Expected (published): about 74 PCK_rel of all people with the labels of the paper. Not run here.
Time: not measured.
"""
from ml_collections import ConfigDict

from configs import common


def get_config(argument=''):
  config = on_muco(common.bottom_up('detect'))
  config.data.beside.update(dict(name='coco', root='data/coco', train_split='train2017'))
  return common.use_hupor_arguments(config, argument)


def on_muco(config):
  """Trained on MuCo-3DHP, and scored on MuPoTS-3D."""
  config.data.num_workers = 8
  config.data.loader = ConfigDict(dict(visibility='proxy'))  # the ray test: MuCo has no labels
  config.evals.val.update(dict(split='test', recipe='none'))
  config.evals.val.data.update(dict(name='mupots', root='data/mupots'))
  return config
