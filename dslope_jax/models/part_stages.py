"""Encoders and decoders of the multi-stage networks that put out maps of joints and limbs: MSPN
(Li et al., Rethinking on Multi-Stage Networks for Human Pose Estimation, 2019) in the form of SMAP
(Zhen et al., 2020).

Details are those of the published code, and submodules carry its names, as in hrnet.py.
"""
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.models import initializers
from dslope_jax.models.layers import BatchNorm, Conv, sum_relu

# What a decoder puts out, by the published names of its layers.
HEADS = {'maps': 'res', 'relative_depth': 'res_d', 'anchor_depth': 'res_rd'}


class ConvNorm(nn.Module):
  """Convolution with bias and norm, and a ReLU unless relu is False.

  encoder: the kernel starts from He's normal distribution by the fan-out; else all is as PyTorch
  draws it.
  """
  features: int
  size: int = 1
  stride: int = 1
  relu: bool = True
  encoder: bool = False

  @nn.compact
  def __call__(self, x, *, train):
    area = self.size ** 2
    init = initializers.uniform((area * x.shape[-1]) ** -0.5)
    kernel = initializers.normal((2 / (area * self.features)) ** 0.5) if self.encoder else init
    x = Conv(self.features, self.size, self.stride, use_bias=True, kernel_init=kernel,
             bias_init=init, name='conv')(x)
    x = BatchNorm(name='bn')(x, train=train)
    return nn.relu(x) if self.relu else x


class Stem(nn.Module):
  """Images (B,H,W,3) to features (B,H/4,W/4,features)."""
  features: int

  @nn.compact
  def __call__(self, x, *, train):
    x = ConvNorm(self.features, 7, 2, encoder=True, name='conv')(x, train=train)
    return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))


class Bottleneck(nn.Module):
  """1x1, 3x3, 1x1 convolutions to 4 * features channels, with a skip. stride: of the 3x3."""
  features: int
  stride: int = 1

  @nn.compact
  def __call__(self, x, *, train):
    def layer(x, features, name, *, size=1, stride=1, relu=False):
      return ConvNorm(features, size, stride, relu, encoder=True, name=name)(x, train=train)

    y = layer(x, self.features, 'conv_bn_relu1', relu=True)
    y = layer(y, self.features, 'conv_bn_relu2', size=3, stride=self.stride, relu=True)
    y = layer(y, 4 * self.features, 'conv_bn_relu3')
    if self.stride > 1 or x.shape[-1] != y.shape[-1]:
      x = layer(x, 4 * self.features, 'downsample', stride=self.stride)
    return sum_relu(y, x)


class Encoder(nn.Module):
  """ResNet of four levels without its stem.

  widths, blocks: of the levels; level l (from 0) has 4 * widths[l] channels and 2**l times fewer
    rows and columns than the input.

  Called with (B,h,w,C) and, behind an earlier stage, its skips: two maps a level, which are added
  to the level before the next one sees it. Returns the four levels.
  """
  widths: Sequence[int]
  blocks: Sequence[int]

  @nn.compact
  def __call__(self, x, skips=None, *, train):
    levels = []
    if len(self.widths) != len(self.blocks):
      raise UserError(f'an encoder of {len(self.widths)} levels needs as many blocks, and blocks '
                      f'is {tuple(self.blocks)}; a smap has 4 widths, a dsed 3, both 4 blocks')
    for level, (width, count) in enumerate(zip(self.widths, self.blocks, strict=True)):
      for i in range(count):
        stride = 2 if level and not i else 1
        x = Bottleneck(width, stride, name=f'layer{level + 1}_{i}')(x, train=train)
      if skips is not None:
        x = x + skips[level][0] + skips[level][1]
      levels.append(x)
    return levels


class Unit(nn.Module):
  """One level of a decoder.

  heads: channels of each output, by name, see HEADS. cross: channels of what the next stage reads;
  0: of none. onward: put out skips for the next stage.

  Called with the encoder's level, what the coarser unit put out (None: nothing), and the size (h,w)
  of the outputs. Returns its features, its outputs, float32, and skips and cross, None unless asked
  for.
  """
  width: int
  heads: dict
  onward: bool
  cross: int

  @nn.compact
  def __call__(self, x, coarser, size, *, train):
    def layer(x, features, name, size=1, relu=True):
      return ConvNorm(features, size, 1, relu, name=name)(x, train=train)

    parts = [layer(x, self.width, 'u_skip', relu=False)]
    if coarser is not None:
      coarser = resize(coarser, x.shape[1:3])
      parts.append(layer(coarser, self.width, 'up_conv', relu=False))
    y = sum_relu(*parts)
    outputs = {}
    for head, channels in self.heads.items():
      z = layer(y, self.width, f'{HEADS[head]}_conv1')
      z = z.astype(jnp.promote_types(z.dtype, jnp.float32))
      z = layer(z, channels, f'{HEADS[head]}_conv2', 3, relu=False)
      outputs[head] = resize(z, size)
    skips = cross = None
    if self.onward:
      skips = layer(x, x.shape[-1], 'skip1'), layer(y, x.shape[-1], 'skip2')
    if self.cross:
      cross = layer(y, self.cross, 'cross_conv')
    return y, outputs, skips, cross


class Decoder(nn.Module):
  """From an encoder's levels, coarse to fine, the outputs of four units, all at the size of the
  finest; and for the next stage the skips of the levels and a map of `cross` channels (0: none)."""
  width: int
  heads: dict
  cross: int

  @nn.compact
  def __call__(self, levels, *, train):
    y, units, skips, cross = None, [], [], None
    for u, x in enumerate(reversed(levels)):
      last = u == len(levels) - 1
      unit = Unit(self.width, self.heads, self.cross > 0, self.cross if last else 0,
                  name=f'up{u + 1}')
      y, outputs, skip, cross = unit(x, y, levels[0].shape[1:3], train=train)
      units.append(outputs)
      skips.insert(0, skip)
    return units, skips if self.cross else None, cross


def evaluated(stages, *, reference: bool) -> dict:
  """Of the outputs of all stages and units those of an evaluation: maps are the mean of the last
  stage's three finest units (reference: their sum, as published), depths are the finest's."""
  maps = sum(unit['maps'] for unit in stages[-1][1:])
  return stages[-1][-1] | {'maps': maps if reference else maps / len(stages[-1][1:])}


def resize(x, size):
  """(B,h,w,C) bilinear to size (rows, columns); the corner pixels keep their centres' places
  (align_corners of PyTorch). Computed in the dtype of x."""
  for axis, letters in ((1, 'yh,bhwc->bywc'), (2, 'xw,bhwc->bhxc')):
    if x.shape[axis] != size[axis - 1]:
      shares = interpolation(size[axis - 1], x.shape[axis]).astype(x.dtype)
      x = jnp.einsum(letters, shares, x, precision='highest')
  return x


def interpolation(new: int, old: int) -> np.ndarray:
  """(new,old) shares that the old pixels have in the new ones, along one axis, aligned corners."""
  place = np.arange(new) * ((old - 1) / max(new - 1, 1))
  return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(old)))
