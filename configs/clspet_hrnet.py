"""D-Slope on Leeds Sports Pose Extended in COCO's format: a small HRNet that trains on a CPU.

Paper: D-Slope / MoEPose; data: Johnson & Everingham, CVPR 2011.
Command: python train.py --config configs/clspet_hrnet.py --config.data.root=LSPET
  arguments after a colon: kl / mse / distill / none
LSPET holds lspet_train.json, lspet_val.json and images/.
Expected and time: see docs/results.md.
"""
from configs import common


def get_config(argument=''):
  return common.use_arguments(common.on_lspet(common.dslope()), argument)
