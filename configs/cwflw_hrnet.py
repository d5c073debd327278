"""D-Slope on WFLW, 98 points, HRNetV2-W18, crops of 256x256.

Command: python train.py --config configs/cwflw_hrnet.py --config.data.root=WFLW
  arguments after the colon: those of c300w_hrnet.py
Published for the plain network, from weights of ImageNet, no flip test, NME by the outer corners of
the eyes: test 4.60; pose 7.86, expression 4.78, illumination 4.57, make-up 4.26, occlusion 5.42,
blur 5.36 (HRNet's code for faces, Wang et al., 2019).
Expected and time: not measured. 9.66 million parameters each.
"""
from configs import common


def get_config(argument=''):
  return common.faces('wflw', 'test', argument)
