"""HUPOR's refiner, which corrects poses and adds what was not found, on MuCo-3DHP: the last of
three steps. The people are those that detector and reasoner find in the training pictures.

Paper: Liu et al., Explicit Occlusion Reasoning for Multi-person 3D Human Pose Estimation (ECCV
2022); Zhen et al., SMAP (ECCV 2020).
Command: python train.py --config configs/muco_hupor_refine.py --config.data.root=MUCO
  --config.evals.val.data.root=MUPOTS --config.init_from.detector=runs/muco_hupor_detect
  --config.init_from.reasoner=runs/muco_hupor_reason
Files: see docs/bottom_up.md.
Expected (published): 79.4 PCK_rel and 36.5 PCK_abs of all people. Not run here.
Time: not measured.
"""
from configs import common, muco_hupor_detect


def get_config(argument=''):
  config = muco_hupor_detect.on_muco(common.bottom_up('refine'))
  config.duration, config.eval_every = '20000 steps', '5000 steps'
  config.optim.refiner.warmup = '200 steps'
  return common.use_hupor_arguments(config, argument)
