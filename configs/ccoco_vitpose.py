"""D-Slope on COCO 2017 and C-COCO with ViTPose-S, 192x256, 210 epochs.

Paper: D-Slope / MoEPose; ViTPose (Xu et al., 2022): AdamW 5e-4, weight decay 0.1, layer-wise decay
  of the learning rate, stochastic depth, clipped gradients, UDP.
Command: python train.py --config configs/ccoco_vitpose.py --config.data.root=COCO
  arguments after a colon: small, base, large, huge, simple (decoder), 384x288 (height x width),
  kl / mse / distill / none
Start both networks from MAE weights: --config.init_from.gnet=mae_small.pth and the same for enet,
  as published; from nothing a plain transformer learns poses badly.
Expected: GNet on clean val2017, detector boxes of 56.4 AP, flip test: ViTPose-S alone reaches
  73.8 AP, B 75.8, L 78.3, H 79.1 (published). AP of the pair on C-COCO: not known.
Time: not measured.
"""
from ml_collections import ConfigDict

from configs import common

_LAYER_DECAY = {'small': 0.9, 'base': 0.75, 'large': 0.8, 'huge': 0.85}


def get_config(argument=''):
  config = common.on_coco(common.dslope())
  config.batch_size = 512
  config.system.codec = 'udp'
  config.system.model = ConfigDict(dict(name='vitpose', size='small', decoder='classic',
                                        dtype='bfloat16'))
  common.use_arguments(config, argument, {size: dict(size=size) for size in _LAYER_DECAY}
                       | dict(simple=dict(decoder='simple')))
  for name, spec in config.optim.items():
    spec.update(dict(lr=5e-4, weight_decay=0.1, clip=1.0, warmup='500 steps'))
    if not name.endswith('states'):  # which has no layers to count
      spec.layer_decay = _LAYER_DECAY[config.system.model.size]
  return config
