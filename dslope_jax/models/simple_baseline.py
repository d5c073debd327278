"""ResNet with deconvolutions (Xiao et al., Simple Baselines for Human Pose Estimation, 2018).

Submodules carry the published PyTorch names, as in hrnet.py.
"""
from collections.abc import Sequence

import flax.linen as nn

from dslope_jax.errors import UserError
from dslope_jax.models.layers import BatchNorm, Conv, deconv_layers, final_layer
from dslope_jax.models.resnet_blocks import BasicBlock, Bottleneck

# Blocks of the four stages (He et al., 2016, table 1); 10 is the smallest of that form.
DEPTHS = {10: (BasicBlock, (1, 1, 1, 1)), 18: (BasicBlock, (2, 2, 2, 2)),
          34: (BasicBlock, (3, 4, 6, 3)), 50: (Bottleneck, (3, 4, 6, 3)),
          101: (Bottleneck, (3, 4, 23, 3)), 152: (Bottleneck, (3, 8, 36, 3))}


class Model(nn.Module):
  """Simple baseline; every convolution starts from N(0, 0.001), as published without pretraining.

  depth: of the ResNet: 10, 18, 34, 50, 101 or 152.
  filters: channels of the three deconvolutions.
  width: channels of the stem; stage i (from 0) has width * 2**i, times 4 from depth 50 on.
  dtype: of the computation, 'float32' or 'bfloat16'. Parameters, batch statistics and heatmaps
    are float32 in either case ('float64', for exact comparisons, makes them float64 too).

  Called with images (B,H,W,3), normalised, H and W multiples of 32. Returns a dict:
    heatmaps: (B,H/4,W/4,K).
    features: for the four stages a list of one map, (B,H/4,W/4,C) to (B,H/32,W/32,C).
  """
  num_keypoints: int
  depth: int = 50
  filters: Sequence[int] = (256, 256, 256)
  width: int = 64
  dtype: str | None = None

  @nn.compact
  def __call__(self, images, *, train: bool = False):
    self._check(images.shape)
    block, counts = DEPTHS[self.depth]
    x = images if self.dtype is None else images.astype(self.dtype)
    x = nn.relu(BatchNorm(name='bn1')(Conv(self.width, 7, 2, name='conv1')(x), train=train))
    x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    features = []
    for stage, count in enumerate(counts):
      for i in range(count):
        stride = 2 if stage and not i else 1
        x = block(self.width * 2 ** stage, stride, name=f'layer{stage + 1}_{i}')(x, train=train)
      features.append([x])
    if not self.num_keypoints:
      return {'features': features}
    x = deconv_layers(x, self.filters, train=train)
    return {'heatmaps': final_layer(x, self.num_keypoints), 'features': features}

  def _check(self, shape):
    if self.depth not in DEPTHS:
      raise UserError(f'ResNet depth must be one of {sorted(DEPTHS)}, not {self.depth}')
    if len(self.filters) != 3:
      raise UserError(f'heatmaps of a quarter of the image need 3 filters, not {self.filters}')
    if shape[1] % 32 or shape[2] % 32:
      raise UserError(f'ResNet needs image sides that are multiples of 32, not '
                      f'{shape[1]}x{shape[2]} (height x width)')
