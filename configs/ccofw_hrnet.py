"""D-Slope on COFW, 29 points, many of them hidden, HRNetV2-W18, crops of 256x256.

Command: python train.py --config configs/ccofw_hrnet.py --config.data.root=COFW
  arguments after the colon: those of c300w_hrnet.py
Published for the plain network, from weights of ImageNet, no flip test, NME by the outer corners of
the eyes: 3.45, failures at 10 % 0.20 (HRNet's code for faces, Wang et al., 2019).
Expected and time: not measured. 9.64 million parameters each.
"""
from configs import common


def get_config(argument=''):
  return common.faces('cofw', 'test', argument)
