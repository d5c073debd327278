"""HRNet (Sun et al., Deep High-Resolution Representation Learning for Human Pose Estimation, 2019).

Submodules carry the published PyTorch names with the numbers attached by an underscore
(`stage2.0.branches.1.0.conv1` -> `stage2_0/branches_1_0/conv1`), so weights map by one rule.
"""
from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from dslope_jax.errors import UserError
from dslope_jax.models import initializers
from dslope_jax.models.layers import (
  BatchNorm,
  Conv,
  conv_norm,
  enlarge,
  exchange,
  final_layer,
  sum_relu,
  transition,
  upsample,
)
from dslope_jax.models.resnet_blocks import BasicBlock, Bottleneck

HEAD = 'final_layer', 'head_'
LAST = 'final_layer', 'head_3'  # of either kind of head
_HEADS = 'single', 'multi'


class ExchangeModule(nn.Module):
  """Blocks on each branch, then every output branch sums all branches (published: one 'module').

  blocks: per branch. outputs: how many branches are put out, from the highest resolution. larger:
  (map, whole factor) -> map, how branches of lower resolution are enlarged.
  """
  blocks: int
  outputs: int
  larger: Callable = upsample

  @nn.compact
  def __call__(self, branches, *, train):
    branches = list(branches)
    for b, x in enumerate(branches):
      for i in range(self.blocks):
        x = BasicBlock(x.shape[-1], name=f'branches_{b}_{i}')(x, train=train)
      branches[b] = x
    return [sum_relu(*(exchange(x, i, j, branches[i].shape[-1], self.larger, conv_norm,
                                train=train)
                       for j, x in enumerate(branches)))
            for i in range(self.outputs)]


def trunk(images, width: int, modules, blocks, stem_width: int, dtype=None, multi=False, *,
          train: bool):
  """Features of images (B,H,W,3): for stages 2, 3, 4 the list of 2, 3, 1 branch maps.

  The arguments are those of `Model`; multi: stage 4 puts out 4 maps, and all stages enlarge maps
  bilinearly, as in the published code for faces. The layers are children of the module that calls
  it.
  """
  if images.shape[1] % 32 or images.shape[2] % 32:
    raise UserError(f'HRNet needs image sides that are multiples of 32, not '
                    f'{images.shape[1]}x{images.shape[2]} (height x width)')
  x = images if dtype is None else images.astype(dtype)
  for i in (1, 2):
    x = Conv(stem_width, 3, 2, name=f'conv{i}')(x)
    x = nn.relu(BatchNorm(name=f'bn{i}')(x, train=train))
  for i in range(4):
    x = Bottleneck(stem_width, name=f'layer1_{i}')(x, train=train)
  branches, features = [x], []
  for stage, (count, depth) in enumerate(zip(modules, blocks, strict=True), start=2):
    branches = transition(stage - 1, branches, width, partial(conv_norm, train=train))
    for m in range(count):
      final = stage == 4 and m == count - 1
      module = ExchangeModule(depth, 1 if final and not multi else stage,
                              enlarge if multi else upsample, name=f'stage{stage}_{m}')
      branches = module(branches, train=train)
    features.append(branches)
  return features


def multi_head(branches, num_keypoints: int, *, train: bool):
  """Heatmaps (B,h,w,K) from maps of all resolutions, the highest first, enlarged bilinearly to it:
  1x1 convolution, norm, ReLU, 1x1 convolution.

  The layers are children `head_0`, `head_1` and `head_3` of the module that calls it. The last is
  computed in float32 or wider, as `final_layer` is. Source: Sun et al., High-Resolution
  Representations for Labeling Pixels and Regions, 2019 (HRNetV2), and its code for faces.
  """
  x = jnp.concatenate([enlarge(x, 2 ** b) if b else x for b, x in enumerate(branches)], -1)
  bias = initializers.uniform(x.shape[-1] ** -0.5)
  x = Conv(x.shape[-1], use_bias=True, bias_init=bias, name='head_0')(x)
  x = nn.relu(BatchNorm(name='head_1')(x, train=train))
  wide = jnp.promote_types(x.dtype, jnp.float32)
  return Conv(num_keypoints, use_bias=True, bias_init=bias, dtype=wide, name='head_3')(x)


class Model(nn.Module):
  """HRNet of any size; W32 and W48 are `width=32` and `width=48`.

  width: channels of the highest-resolution branch; branch b has width * 2**b.
  modules: exchange modules of stages 2, 3, 4.
  blocks: residual blocks per branch in each exchange module of stages 2, 3, 4.
  stem_width: channels of the stem and of the first stage's bottlenecks (published: 64).
  dtype: of the computation, 'float32' or 'bfloat16'. Parameters, batch statistics and heatmaps
    are float32 in either case ('float64', for exact comparisons, makes them float64 too).
  head: 'single', one convolution of the highest resolution; or 'multi', `multi_head`, of all
    resolutions: HRNetV2, which is published for faces as width 18.

  Called with images (B,H,W,3), normalised, H and W multiples of 32. Returns a dict:
    heatmaps: (B,H/4,W/4,K).
    features: for stages 2, 3, 4 the list of 2, 3, 1 (head 'multi': 4) branch maps, highest
      resolution first.
  """
  num_keypoints: int
  width: int = 32
  modules: Sequence[int] = (1, 4, 3)
  blocks: Sequence[int] = (4, 4, 4)
  stem_width: int = 64
  dtype: str | None = None
  head: str = 'single'

  @nn.compact
  def __call__(self, images, *, train: bool = False):
    if self.head not in _HEADS:
      raise UserError(f"system.model.head of hrnet is 'single' or 'multi', not {self.head!r}")
    multi = self.head == 'multi'
    features = trunk(images, self.width, self.modules, self.blocks, self.stem_width, self.dtype,
                     multi, train=train)
    if not self.num_keypoints:
      return {'features': features}
    if multi:
      heatmaps = multi_head(features[-1], self.num_keypoints, train=train)
    else:
      heatmaps = final_layer(features[-1][0], self.num_keypoints)
    return {'heatmaps': heatmaps, 'features': features}
