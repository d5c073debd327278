"""Attention over the joints and over the frames of pose sequences: what lifting networks share.

A stream is (B,T,J,C); blocks work on tokens (N,L,C), see `along`. Norms stand in front of each part
(Dosovitskiy et al., 2021), and parts may be scaled (Touvron et al., LayerScale, 2021). Spatial and
temporal blocks in turn: Zhang et al., MixSTE (CVPR 2022).
"""
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from dslope_jax.errors import UserError
from dslope_jax.models import initializers
from dslope_jax.models.layers import DropPath, gelu, linear


class Form(NamedTuple):
  """What all blocks of a network share.

  heads: of the attention. mlp_ratio: hidden channels of the MLPs, in those of the stream.
  qkv_bias: whether queries, keys and values have biases. layer_scale: first value of the trainable
  factors of each part, None for none. epsilon: of the layer norms. attention: implementation of
  jax.nn.dot_product_attention, None or 'xla', or 'cudnn', which is 'xla' where there is no GPU; its
  softmax is float32 or wider.
  """
  heads: int = 8
  mlp_ratio: float = 4
  qkv_bias: bool = False
  layer_scale: float | None = 1e-5
  epsilon: float = 1e-5
  attention: str | None = None


def one_of(field: str, value, choices):
  """UserError if the value of a field of `system.model` is none of the choices."""
  if value not in choices:
    raise UserError(f"system.model.{field} is one of {', '.join(map(str, choices))}, not '{value}'")


def check_clip(keypoints, num_keypoints: int, frames: int, channels: int):
  """UserError if keypoints are not (B,T,num_keypoints,channels) with T up to frames."""
  if keypoints.ndim != 4 or keypoints.shape[2:] != (num_keypoints, channels):
    raise UserError(f'the network takes (clips, frames, {num_keypoints} joints, {channels} '
                    f'channels), not {keypoints.shape}; system.model.input_channels is 2 for x, y '
                    'and 3 with the confidence')
  if keypoints.shape[1] > frames:
    raise UserError(f'clips have {keypoints.shape[1]} frames, and the network is made for '
                    f'{frames} at most: cut the clips, or set system.model.frames')


def central(table, length: int):
  """The `length` middle rows of a table over frames."""
  start = (len(table) - length) // 2
  return table[start:start + length]


def along(axis: str, block, *streams):
  """block(tokens (N,L,C), ...) for streams (B,T,J,C), whose tokens are the 'joints' of a frame or
  the 'frames' of a joint; returns streams."""
  b, t, j, c = streams[0].shape
  if axis == 'joints':
    out = block(*(x.reshape(b * t, j, c) for x in streams))
    return jax.tree.map(lambda x: x.reshape(b, t, j, c), out)
  out = block(*(x.swapaxes(1, 2).reshape(b * j, t, c) for x in streams))
  return jax.tree.map(lambda x: x.reshape(b, j, t, c).swapaxes(1, 2), out)


def wide(x):
  """The dtype of parameters and of sums: float32 or wider."""
  return jnp.promote_types(x.dtype, jnp.float32)


def rows(x):
  """(M,C) of (...,C): on a CPU a step is some percent faster if norms and dense layers see rows."""
  return x.reshape(-1, x.shape[-1])


def layer_norm(epsilon: float, like, name: str):
  """Layer normalisation, statistics float32 or wider, in two passes."""
  return nn.LayerNorm(epsilon, dtype=like.dtype, param_dtype=wide(like), use_fast_variance=False,
                      name=name)


def mixture(a, b, name: str):
  """(mean of two streams, its weights (...,2)): a softmax of a linear function of both, equal at
  first (Mehraban et al., MotionAGFormer, WACV 2024)."""
  both = jnp.concatenate([a, b], -1).astype(wide(a))
  logits = nn.Dense(2, dtype=both.dtype, param_dtype=both.dtype, kernel_init=initializers.zeros,
                    bias_init=initializers.constant(0.5), name=name)(both)
  weights = nn.softmax(logits)
  share = weights.astype(a.dtype)
  return share[..., :1] * a + share[..., 1:] * b, weights


class Attention(nn.Module):
  """Multi-head attention of tokens (N,L,C) to a source (N,S,C), which may be themselves."""
  form: Form

  @nn.compact
  def __call__(self, x, source):
    n, c = x.shape[0], x.shape[-1]
    if c % self.form.heads:
      raise UserError(f'system.model.width {c} is no multiple of the {self.form.heads} heads')
    split = n, -1, self.form.heads, c // self.form.heads
    query = linear(rows(x), c, 'query', self.form.qkv_bias).reshape(split)
    key, value = (half.reshape(split) for half in jnp.split(
      linear(rows(source), 2 * c, 'key_value', self.form.qkv_bias), 2, -1))
    kind = self.form.attention
    one_of('attention', kind, (None, 'xla', 'cudnn'))
    if kind == 'cudnn' and jax.default_backend() != 'gpu':
      kind = 'xla'
    out = jax.nn.dot_product_attention(query, key, value, implementation=kind)
    return linear(out.reshape(-1, c), c, 'out').reshape(x.shape)


class Add(nn.Module):
  """A stream plus a part of its block, which is scaled and in training dropped at times."""
  form: Form
  drop_path: float

  @nn.compact
  def __call__(self, x, part, *, train: bool):
    if self.form.layer_scale is not None:
      first = initializers.constant(self.form.layer_scale)
      part = part * self.param('scale', first, x.shape[-1:], wide(x)).astype(x.dtype)
    # Named for gradient checkpointing to keep it: a sum depends on all sums before it.
    return checkpoint_name(x + DropPath(self.drop_path)(part, train=train), 'residual_sum')


class Mlp(nn.Module):
  """The second part of a block: two dense layers and exact GELU, added to tokens (...,C)."""
  form: Form
  drop_path: float

  @nn.compact
  def __call__(self, x, *, train: bool):
    hidden = linear(layer_norm(self.form.epsilon, x, 'norm')(rows(x)),
                    int(self.form.mlp_ratio * x.shape[-1]), 'hidden')
    part = linear(gelu(hidden), x.shape[-1], 'out').reshape(x.shape)
    return Add(self.form, self.drop_path, name='add')(x, part, train=train)


class Block(nn.Module):
  """Self-attention and MLP of tokens (N,L,C)."""
  form: Form
  drop_path: float

  @nn.compact
  def __call__(self, x, *, train: bool):
    shape, x = x.shape, rows(x)
    own = layer_norm(self.form.epsilon, x, 'norm')(x).reshape(shape)
    part = rows(Attention(self.form, name='attention')(own, own))
    x = Add(self.form, self.drop_path, name='add')(x, part, train=train)
    return Mlp(self.form, self.drop_path, name='mlp')(x, train=train).reshape(shape)


class SpaceTime(nn.Module):
  """A spatial and a temporal block on a stream (B,T,J,C).

  kind: 'st', space before time; 'dual', both orders with weights of their own, and a mixture of the
    two (Zhu et al., MotionBERT, ICCV 2023).
  """
  form: Form
  drop_path: float
  kind: str = 'st'

  @nn.compact
  def __call__(self, x, *, train: bool):
    def run(x, order, prefix=''):
      for axis in order:
        block = Block(self.form, self.drop_path, name=prefix + axis)
        x = along(axis, lambda tokens, block=block: block(tokens, train=train), x)
      return x

    if self.kind == 'st':
      return run(x, ('joints', 'frames'))
    one, other = run(x, ('joints', 'frames'), 'st_'), run(x, ('frames', 'joints'), 'ts_')
    return mixture(one, other, 'fusion')[0]


class Embedding(nn.Module):
  """Coordinates (B,T,J,2 or more) to a stream (B,T,J,C), with a trainable place of each joint and,
  if `time`, of each frame.

  frames: of the longest clip; shorter ones get the middle. std: of the first values of both places;
  with 0 it takes long until attention tells joints apart. Computed in float32 or wider: bfloat16
  has no place for a pixel.
  """
  width: int
  frames: int
  time: bool = True
  std: float = 0.0

  @nn.compact
  def __call__(self, keypoints):
    table = lambda name, length: self.param(name, initializers.normal(self.std),
                                            (length, self.width), keypoints.dtype)
    x = linear(keypoints, self.width, 'coordinates') + table('joint', keypoints.shape[2])
    if self.time:
      x = x + central(table('frame', self.frames), keypoints.shape[1])[:, None]
    return x


class Head(nn.Module):
  """Coordinates (B,T,J,features) of a stream, in float32 or wider.

  kind: 'tanh512', with a hidden layer of 512 channels (MotionBERT's representation head), or
    'linear'.
  """
  features: int
  kind: str
  epsilon: float

  @nn.compact
  def __call__(self, x):
    shape, x = x.shape[:-1], rows(x.astype(wide(x)))
    x = layer_norm(self.epsilon, x, 'norm')(x)
    if self.kind == 'tanh512':
      x = nn.tanh(linear(x, 512, 'representation'))
    return linear(x, self.features, 'out').reshape(*shape, self.features)


HEADS = 'tanh512', 'linear'
KINDS = 'st', 'dual'  # of SpaceTime
