"""D-Slope on MPII and its occluded partner C-MPII: HRNet-W32, 256x256, 210 epochs.

Paper: D-Slope / MoEPose; HRNet (Sun et al., 2019).
Command: python train.py --config configs/cmpii_hrnet.py --config.data.root=MPII
  arguments after a colon: w48, kl / mse / distill / none
MPII holds images/ and HRNet's annot/train.json, annot/valid.json and annot/gt_valid.mat.
Expected: GNet on clean val, PCKh@0.5: HRNet-W32 alone reaches 90.3 (published). C-MPII: not known.
Time: not measured.
"""
from configs import common


def get_config(argument=''):
  config = common.on_mpii(common.dslope())
  return common.use_arguments(config, argument, dict(w32=dict(width=32), w48=dict(width=48)))
