"""D-Slope on COCO 2017 and its occluded partner C-COCO: HRNet-W32, 192x256, 210 epochs.

Paper: D-Slope / MoEPose (occluded human pose by paired samples); HRNet (Sun et al., 2019).
Command: python train.py --config configs/ccoco_hrnet.py --config.data.root=COCO
  arguments after a colon: w48, 384x288 (height x width), kl / mse / distill / none,
  as in ccoco_hrnet.py:w48,384x288
COCO holds annotations/person_keypoints_{train,val}2017.json and train2017/, val2017/.
Expected: GNet on clean val2017, detector boxes of 56.4 AP, flip test: HRNet alone reaches 74.4 AP
  (published). AP of the pair on C-COCO: not known.
Time: not measured.
"""
from configs import common


def get_config(argument=''):
  config = common.on_coco(common.dslope())
  return common.use_arguments(config, argument, dict(w32=dict(width=32), w48=dict(width=48)))
