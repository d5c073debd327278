"""D-Slope on 300W, 68 points, HRNetV2-W18, crops of 256x256.

Command: python train.py --config configs/c300w_hrnet.py --config.data.root=300W
  arguments after the colon: plain, one network in place of the pair, with clean or occluded, the
  pictures that it trains on; mse, kl, distill, none; shared; states
Published for the plain network, from weights of ImageNet, no flip test, NME by the outer corners of
the eyes: full 3.34, common 2.91, challenge 5.11; test 3.85 (HRNet's code for faces, Wang et al.,
2019). Its schedule, sigma and augmentation are these; it draws scale and rotation evenly.
Expected and time: not measured. 9.65 million parameters each.
"""
from configs import common


def get_config(argument=''):
  return common.faces('300w', 'valid', argument)
