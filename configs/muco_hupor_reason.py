"""HUPOR's reasoner, which adds hidden joints to maps of visible ones, on MuCo-3DHP's annotations:
the second of three steps. It needs no pictures but those of the evaluation.

Paper: Liu et al., Explicit Occlusion Reasoning for Multi-person 3D Human Pose Estimation (ECCV
2022).
Command: python train.py --config configs/muco_hupor_reason.py --config.data.root=MUCO
  --config.evals.val.data.root=MUPOTS --config.init_from.detector=runs/muco_hupor_detect
Files: see docs/bottom_up.md.
Expected (published): 78 PCK_rel of all people or more. Not run here.
Time: not measured.
"""
from configs import common, muco_hupor_detect


def get_config(argument=''):
  config = muco_hupor_detect.on_muco(common.bottom_up('reason'))
  config.duration, config.eval_every = '96000 steps', '8000 steps'
  return common.use_hupor_arguments(config, argument)
