"""Lite-HRNet (Yu et al., Lite-HRNet: A Lightweight High-Resolution Network, 2021).

HRNet's branches with conditional channel weighting in place of convolutions (section 3.2).
Submodules carry the published PyTorch names without `backbone.` and `keypoint_head.`, the numbers
attached by an underscore.
"""
from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.models.layers import (
  BatchNorm,
  Conv,
  exchange,
  final_layer,
  separable,
  transition,
  upsample,
)

# Exchange modules of stages 2, 3, 4 by depth.
MODULES = {18: (2, 4, 2), 30: (3, 8, 3)}


class ConvBlock(nn.Module):
  """Convolution without bias, norm and activation; without norm the convolution has a bias."""
  features: int
  size: int = 1
  stride: int = 1
  groups: int = 1
  norm: bool = True
  activation: Callable | None = None

  @nn.compact
  def __call__(self, x, *, train):
    x = Conv(self.features, self.size, self.stride, use_bias=not self.norm, groups=self.groups,
             name='conv')(x)
    x = BatchNorm(name='bn')(x, train=train) if self.norm else x
    return self.activation(x) if self.activation else x


def channel_shuffle(x):
  """Interleaves the two halves of the channels of (B,h,w,C)."""
  *shape, c = x.shape
  return x.reshape(*shape, 2, c // 2).swapaxes(-1, -2).reshape(*shape, c)


def mean_pool(x, h: int, w: int):
  """(B,h*n,w*m,C) averaged over blocks to (B,h,w,C), in float32 or wider, then in x's dtype."""
  b, height, width, c = x.shape
  wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  return wide.reshape(b, h, height // h, w, width // w, c).mean((2, 4)).astype(x.dtype)


def enlarge_aligned(x, h: int, w: int):
  """Bilinear enlargement of (B,h',w',C) to (B,h,w,C) that keeps the corner cells in the corners."""
  def weights(to, of):
    position = np.linspace(0, of - 1, to)
    return jnp.asarray(np.maximum(0, 1 - abs(position[:, None] - np.arange(of))), x.dtype)

  return jnp.einsum('Hh,Ww,bhwc->bHWc', weights(h, x.shape[1]), weights(w, x.shape[2]), x,
                    precision=jax.lax.Precision.HIGHEST)


class Stem(nn.Module):
  """Images (B,H,W,3) to (B,H/4,W/4,features): a convolution, then a shuffle block of stride 2."""
  features: int

  @nn.compact
  def __call__(self, x, *, train):
    half = self.features // 2

    def block(name, x, features, size=1, **kwargs):
      return ConvBlock(features, size, 1 if size == 1 else 2, name=name, **kwargs)(x, train=train)

    x = block('conv1', x, self.features, 3, activation=nn.relu)
    x, y = jnp.split(x, 2, -1)
    x = block('branch1_0', x, half, 3, groups=half)
    x = block('branch1_1', x, half, activation=nn.relu)
    y = block('expand_conv', y, self.features, activation=nn.relu)
    y = block('depthwise_conv', y, self.features, 3, groups=self.features)
    y = block('linear_conv', y, half, activation=nn.relu)
    return channel_shuffle(jnp.concatenate([x, y], -1))


class CrossResolutionWeighting(nn.Module):
  """Branch maps times weights from all of them, computed at the lowest resolution."""
  reduction: int

  @nn.compact
  def __call__(self, branches, *, train):
    _, h, w, _ = branches[-1].shape
    channels = [x.shape[-1] for x in branches]
    pooled = jnp.concatenate([mean_pool(x, h, w) for x in branches], -1)
    squeeze = ConvBlock(sum(channels) // self.reduction, activation=nn.relu, name='conv1')
    excite = ConvBlock(sum(channels), activation=nn.sigmoid, name='conv2')
    weights = excite(squeeze(pooled, train=train), train=train)
    weights = jnp.split(weights, np.cumsum(channels)[:-1], -1)
    return [x * upsample(a, x.shape[1] // h) for x, a in zip(branches, weights, strict=True)]


class SpatialWeighting(nn.Module):
  """A map (B,h,w,C) times channel weights from its mean over all cells."""

  @nn.compact
  def __call__(self, x, *, train):
    c = x.shape[-1]
    weights = ConvBlock(c // 4, norm=False, activation=nn.relu, name='conv1')(
      mean_pool(x, 1, 1), train=train)
    return x * ConvBlock(c, norm=False, activation=nn.sigmoid, name='conv2')(weights, train=train)


class WeightingBlock(nn.Module):
  """Conditional channel weighting on half the channels of all branches."""
  reduction: int

  @nn.compact
  def __call__(self, branches, *, train):
    kept, weighted = zip(*(jnp.split(x, 2, -1) for x in branches), strict=True)
    cross = CrossResolutionWeighting(self.reduction, name='cross_resolution_weighting')
    out = []
    for b, (x, y) in enumerate(zip(kept, cross(weighted, train=train), strict=True)):
      c = y.shape[-1]
      y = ConvBlock(c, 3, groups=c, name=f'depthwise_convs_{b}')(y, train=train)
      y = SpatialWeighting(name=f'spatial_weighting_{b}')(y, train=train)
      out.append(channel_shuffle(jnp.concatenate([x, y], -1)))
    return out


class ExchangeModule(nn.Module):
  """Weighting blocks on all branches, then every branch sums all branches, as published.

  The published sums run in place and count the first branch twice: output 0 is
  relu(s) with s = 2 x0 + sum of the others, and s, not x0, is what the other branches receive
  from the first, twice again. Trained weights rely on it. (Published, the layers in between run
  twice, so that their running statistics move by 0.19 a step; here they run once: by 0.1.)
  """
  blocks: int
  reduction: int

  @nn.compact
  def __call__(self, branches, *, train):
    for i in range(self.blocks):
      branches = WeightingBlock(self.reduction, name=f'layers_{i}')(branches, train=train)
    branches = list(branches)
    out = []
    for i in range(len(branches)):
      terms = [exchange(x, i, j, branches[i].shape[-1], upsample, separable, train=train)
               for j, x in enumerate(branches)]
      total = terms[0] + sum(terms)
      if i == 0:
        branches[0] = total
      out.append(nn.relu(total))
    return out


class IterativeHead(nn.Module):
  """Refines branch maps from the lowest resolution up, each added to the next: the same sizes,
  the width of a branch being that of the next higher resolution."""

  @nn.compact
  def __call__(self, branches, *, train):
    out = []
    for i, x in enumerate(branches[::-1]):
      if out:
        x = x + enlarge_aligned(out[-1], *x.shape[1:3])
      higher = branches[max(len(branches) - 2 - i, 0)]
      out.append(SeparableBlock(higher.shape[-1], name=f'projects_{i}')(x, train=train))
    return out[::-1]


class SeparableBlock(nn.Module):
  """Depth-wise 3x3 convolution and norm, 1x1 convolution, norm and ReLU."""
  features: int

  @nn.compact
  def __call__(self, x, *, train):
    c = x.shape[-1]
    x = ConvBlock(c, 3, groups=c, name='depthwise_conv')(x, train=train)
    return ConvBlock(self.features, activation=nn.relu, name='pointwise_conv')(x, train=train)


class Model(nn.Module):
  """Lite-HRNet.

  depth: 18 (Lite-HRNet-18) or 30 (Lite-HRNet-30).
  modules: exchange modules of stages 2, 3, 4; of the depth where None.
  blocks: weighting blocks of each module. width: channels of the first branch; branch b has
    width * 2**b. stem_width: channels of the stem.
  reduction: of the channels between the two convolutions of the cross-resolution weighting.
  dtype: of the computation, 'float32' or 'bfloat16'. Parameters, batch statistics and heatmaps
    are float32 in either case.

  Called with images (B,H,W,3), normalised, H and W multiples of 32. Returns a dict:
    heatmaps: (B,H/4,W/4,K).
    features: for stages 2, 3, 4 the list of 2, 3, 4 branch maps, highest resolution first; those
      of stage 4 after the iterative head.
  """
  num_keypoints: int
  depth: int = 18
  modules: Sequence[int] | None = None
  blocks: int = 2
  width: int = 40
  stem_width: int = 32
  reduction: int = 8
  dtype: str | None = None

  @nn.compact
  def __call__(self, images, *, train: bool = False):
    if images.shape[1] % 32 or images.shape[2] % 32:
      raise UserError(f'Lite-HRNet needs image sides that are multiples of 32, not '
                      f'{images.shape[1]}x{images.shape[2]} (height x width)')
    if self.modules is None and self.depth not in MODULES:
      raise UserError(f'Lite-HRNet has depths {", ".join(map(str, MODULES))}, not {self.depth}')
    x = images if self.dtype is None else images.astype(self.dtype)
    branches, features = [Stem(self.stem_width, name='stem')(x, train=train)], []
    # The published numbers of the stages start at 0.
    for stage, modules in enumerate(self.modules or MODULES[self.depth]):
      branches = transition(stage, branches, self.width, partial(separable, train=train))
      for m in range(modules):
        module = ExchangeModule(self.blocks, self.reduction, name=f'stage{stage}_{m}')
        branches = module(branches, train=train)
      features.append(branches)
    features[-1] = IterativeHead(name='head_layer')(branches, train=train)
    if not self.num_keypoints:
      return {'features': features}
    return {'heatmaps': final_layer(features[-1][0], self.num_keypoints), 'features': features}


PREFIXED = True  # published with backbone. and keypoint_head. before the names
