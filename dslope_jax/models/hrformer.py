"""HRFormer (Yuan et al., HRFormer: High-Resolution Transformer for Dense Prediction, 2021).

HRNet's branches with transformer blocks: attention within windows, then an MLP with a depth-wise
convolution that lets neighbouring windows exchange (section 3). Submodules carry the
published PyTorch names without `backbone.` and `keypoint_head.`, the numbers attached by an
underscore.
"""
from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.models import initializers
from dslope_jax.models.layers import (
  BatchNorm,
  Conv,
  DropPath,
  conv_norm,
  enlarge,
  exchange,
  final_layer,
  gelu,
  separable,
  sum_relu,
  transition,
)
from dslope_jax.models.resnet_blocks import Bottleneck

# Of the published COCO configurations.
SIZES = {'small': dict(width=32, heads=1, drop_path=0.1),
         'base': dict(width=78, heads=2, drop_path=0.2)}


def relative_position_index(window: int):
  """(window**2, window**2) rows of the bias table, by query and key; tokens row by row."""
  position = np.stack(np.divmod(np.arange(window ** 2), window))
  down, right = position[:, :, None] - position[:, None, :] + window - 1
  return down * (2 * window - 1) + right


class Attention(nn.Module):
  """Multi-head self-attention among the tokens of each window: (N, window**2, C), the same out.

  relative_bias: add the table's bias to the logits. Without it the table is a parameter still, so
    that the same weights fit, but has no effect.
  The softmax is float32 or wider whatever the dtype of x.
  """
  heads: int
  window: int
  relative_bias: bool

  @nn.compact
  def __call__(self, x):
    wide = jnp.promote_types(x.dtype, jnp.float32)

    def dense(name):
      init = initializers.uniform(x.shape[-1] ** -0.5)  # PyTorch's default
      return nn.Dense(x.shape[-1], dtype=x.dtype, param_dtype=wide, kernel_init=init,
                      bias_init=init, name=name)

    shape = *x.shape[:2], self.heads, x.shape[-1] // self.heads
    q, k, v = (dense(f'{name}_proj')(x).reshape(shape) for name in 'qkv')
    table = self.param('relative_position_bias_table', initializers.normal(0.02),
                       ((2 * self.window - 1) ** 2, self.heads), wide)
    bias = None
    if self.relative_bias:
      bias = table[relative_position_index(self.window)].transpose(2, 0, 1)[None]
    out = jax.nn.dot_product_attention(q, k, v, bias)
    return dense('out_proj')(out.reshape(x.shape))


class WindowAttention(nn.Module):
  """Attention within windows of a map (B,h,w,C), which is zero-padded to whole windows.

  The padding goes on all sides (the smaller half top and left) and before the projections, so
  padded tokens carry the projections' biases; they take part in the softmax.
  """
  heads: int
  window: int = 7
  relative_bias: bool = False

  @nn.compact
  def __call__(self, x):
    b, h, w, c = x.shape
    size = self.window
    rows, columns = -(-h // size), -(-w // size)
    missing = rows * size - h, columns * size - w
    top, left = (n // 2 for n in missing)
    x = jnp.pad(x, ((0, 0), (top, missing[0] - top), (left, missing[1] - left), (0, 0)))
    x = x.reshape(b, rows, size, columns, size, c).transpose(0, 1, 3, 2, 4, 5)
    tokens = x.reshape(b * rows * columns, size ** 2, c)
    tokens = Attention(self.heads, size, self.relative_bias, name='attn')(tokens)
    x = tokens.reshape(b, rows, columns, size, size, c).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(b, rows * size, columns * size, c)
    return x[:, top:top + h, left:left + w]


class Mlp(nn.Module):
  """1x1 convolution to 4 C, depth-wise 3x3, 1x1 to C, each with norm and exact GELU: (B,h,w,C)."""

  @nn.compact
  def __call__(self, x, *, train):
    c = x.shape[-1]

    def normalised(name, x):
      return gelu(BatchNorm(name=name)(x, train=train))

    x = normalised('norm1', Conv(4 * c, use_bias=True, name='fc1')(x))
    x = normalised('norm2', Conv(4 * c, 3, use_bias=True, groups=4 * c, name='dw3x3')(x))
    return normalised('norm3', Conv(c, use_bias=True, name='fc2')(x))


class Block(nn.Module):
  """Transformer block on a map (B,h,w,C): window attention and MLP, with skips and drop path."""
  heads: int
  window: int
  relative_bias: bool
  drop_path: float

  @nn.compact
  def __call__(self, x, *, train):
    def norm(name):
      return nn.LayerNorm(1e-6, dtype=x.dtype, param_dtype=jnp.promote_types(x.dtype, jnp.float32),
                          use_fast_variance=False, name=name)

    attention = WindowAttention(self.heads, self.window, self.relative_bias, name='attn')
    x = x + DropPath(self.drop_path)(attention(norm('norm1')(x)), train=train)
    return x + DropPath(self.drop_path)(Mlp(name='mlp')(norm('norm2')(x), train=train), train=train)


class ExchangeModule(nn.Module):
  """Transformer blocks on each branch, then every output branch sums all branches.

  heads: of the first branch; branch b has heads * 2**b. drop_paths: rate of each block of a
  branch. outputs: how many branches are put out, from the highest resolution.
  """
  heads: int
  window: int
  relative_bias: bool
  drop_paths: Sequence[float]
  outputs: int

  @nn.compact
  def __call__(self, branches, *, train):
    branches = list(branches)
    for b, x in enumerate(branches):
      for i, drop_path in enumerate(self.drop_paths):
        block = Block(self.heads * 2 ** b, self.window, self.relative_bias, drop_path,
                      name=f'branches_{b}_{i}')
        x = block(x, train=train)
      branches[b] = x
    return [sum_relu(*(exchange(x, i, j, branches[i].shape[-1], enlarge, separable, train=train)
                       for j, x in enumerate(branches)))
            for i in range(self.outputs)]


class Model(nn.Module):
  """HRFormer.

  size: 'small' (HRFormer-S) or 'base' (HRFormer-B).
  relative_bias: False adds no relative position bias to the attention logits, as the released pose
    network; True adds it, as the paper (section 3) has it. The parameters are the same.
  width, heads, drop_path: of the size where None. Branch b has width * 2**b channels and
    heads * 2**b heads; drop_path is the rate of the last block, linear in depth from 0. In
    training it draws from the rng 'dropout'.
  modules: exchange modules of stages 2, 3, 4. blocks: transformer blocks per branch of each.
  stem_width, bottlenecks: channels of the stem, and bottlenecks of the first stage.
  window: side of a window, in cells.
  dtype: of the computation, 'float32' or 'bfloat16'. Parameters, batch statistics and heatmaps
    are float32 in either case.

  Called with images (B,H,W,3), normalised, H and W multiples of 32. Returns a dict:
    heatmaps: (B,H/4,W/4,K).
    features: for stages 2, 3, 4 the list of 2, 3, 1 branch maps, highest resolution first.
  """
  num_keypoints: int
  size: str = 'small'
  relative_bias: bool = False
  width: int | None = None
  heads: int | None = None
  drop_path: float | None = None
  modules: Sequence[int] = (1, 4, 2)
  blocks: int = 2
  stem_width: int = 64
  bottlenecks: int = 2
  window: int = 7
  dtype: str | None = None

  @nn.compact
  def __call__(self, images, *, train: bool = False):
    if images.shape[1] % 32 or images.shape[2] % 32:
      raise UserError(f'HRFormer needs image sides that are multiples of 32, not '
                      f'{images.shape[1]}x{images.shape[2]} (height x width)')
    x = images if self.dtype is None else images.astype(self.dtype)
    for i in (1, 2):
      x = Conv(self.stem_width, 3, 2, name=f'conv{i}')(x)
      x = nn.relu(BatchNorm(name=f'bn{i}')(x, train=train))
    for i in range(self.bottlenecks):
      x = Bottleneck(self.stem_width, name=f'layer1_{i}')(x, train=train)
    width, heads, rate = self._numbers()
    rates = np.linspace(0, rate, sum(self.modules) * self.blocks)
    rates = iter(rates.reshape(-1, self.blocks).tolist())
    branches, features = [x], []
    for stage, modules in enumerate(self.modules, start=2):
      branches = transition(stage - 1, branches, width, partial(conv_norm, train=train))
      for m in range(modules):
        outputs = 1 if stage == 4 and m == modules - 1 else stage
        module = ExchangeModule(heads, self.window, self.relative_bias, next(rates), outputs,
                                name=f'stage{stage}_{m}')
        branches = module(branches, train=train)
      features.append(branches)
    if not self.num_keypoints:
      return {'features': features}
    return {'heatmaps': final_layer(branches[0], self.num_keypoints), 'features': features}

  def _numbers(self):
    """Width, heads and drop path rate: the given ones, or those of the size."""
    if self.size not in SIZES:
      raise UserError(f"HRFormer has sizes {', '.join(SIZES)}, not '{self.size}'")
    given = dict(width=self.width, heads=self.heads, drop_path=self.drop_path)
    return [SIZES[self.size][key] if value is None else value for key, value in given.items()]


PREFIXED = True  # published with backbone. and keypoint_head. before the names
