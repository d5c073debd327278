"""Convolution and batch normalisation as the published PyTorch networks have them."""
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.experimental.xla_metadata import set_xla_metadata

# Every convolution of the published HRNet starts from N(0, 0.001); batch norm sets the scale.
kernel_init = nn.initializers.normal(0.001)


def stored(function):
  """The function of arrays, for CPU such that its result is computed once and kept in memory.

  XLA's CPU compiler writes elementwise functions into everything that reads them, and so computes
  a chain of residual blocks anew, back to its start, at every convolution of it. A call that must
  not be inlined stops that. GPUs and TPUs get the plain function.
  """
  jitted = jax.jit(function)

  def call(*arrays):
    if jax.default_backend() != 'cpu':
      return function(*arrays)
    with set_xla_metadata(inlineable='false'):
      return jitted(*arrays)
  return call


@jax.custom_vjp
def sum_relu(*maps):
  """ReLU of the sum of maps (B,h,w,C). What its gradient needs is its result alone."""
  return _sum_relu(*maps)


_sum_relu = stored(lambda *maps: nn.relu(sum(maps)))
_where_positive = stored(lambda out, gradient: jnp.where(out > 0, gradient, 0))


def _sum_relu_forward(*maps):
  # Named to be kept where the like is computed again: a sum depends on all sums before it.
  out = checkpoint_name(_sum_relu(*maps), 'sum_relu')
  return out, (out, len(maps))


def _sum_relu_backward(saved, gradient):
  out, count = saved
  return (_where_positive(out, gradient),) * count


sum_relu.defvjp(_sum_relu_forward, _sum_relu_backward)


def pointwise(x, kernel):
  """(B,h,w,C) times (C,D): a convolution of size 1 as one product of two matrices.

  On CPU the gradient of the kernel takes a fourth of the time that the same product over four
  axes takes, which in turn is faster there than a convolution.
  """
  return (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:-1], -1)


class Conv(nn.Module):
  """2D convolution, NHWC, padded by (size - 1) // 2 on all four sides also when strided.

  XLA's 'SAME' pads strided convolutions of even sizes on one side only, which shifts the map.
  dtype: of the computation; None computes in the dtype of the input.
  """
  features: int
  size: int = 1
  stride: int = 1
  use_bias: bool = False
  dtype: jnp.dtype | None = None
  groups: int = 1  # equal to the channels: a depth-wise convolution
  kernel_init: Callable = kernel_init

  @nn.compact
  def __call__(self, x):
    shape = (self.size, self.size, x.shape[-1] // self.groups, self.features)
    dtype = self.dtype or x.dtype
    wide = jnp.promote_types(dtype, jnp.float32)  # of parameters
    kernel = self.param('kernel', self.kernel_init, shape, wide)
    x, kernel = x.astype(dtype), kernel.astype(dtype)
    if self.size == 1 and self.stride == 1 and self.groups == 1:
      x = pointwise(x, kernel[0, 0])
    else:
      pad = (self.size - 1) // 2
      x = jax.lax.conv_general_dilated(
        x, kernel, (self.stride, self.stride), ((pad, pad), (pad, pad)),
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'), feature_group_count=self.groups)
    if self.use_bias:
      x = x + self.param('bias', nn.initializers.zeros, (self.features,), wide).astype(dtype)
    return x


class Deconv(nn.Module):
  """Transposed convolution of size 4, stride 2, padding 1, without bias: twice the sides.

  The parameter `transposed_kernel` is (4,4,in,out), PyTorch's (in,out,4,4) moved, not reversed.
  """
  features: int
  kernel_init: Callable = kernel_init

  @nn.compact
  def __call__(self, x):
    b, h, w, c = x.shape
    wide = jnp.promote_types(x.dtype, jnp.float32)
    kernel = self.param('transposed_kernel', self.kernel_init, (4, 4, c, self.features), wide)
    # Every output pixel sees 2x2 inputs, by one of four parts of the kernel according to whether
    # its row and column are even: one matrix product for all four. Convolving an input with zeros
    # between its pixels is the same, but many times slower in training on CPU.
    taps = (3, 1), (2, 0)
    parts = [kernel[jnp.array(rows)][:, jnp.array(columns)] for rows in taps for columns in taps]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    seen = jnp.concatenate([padded[:, i:h + 1 + i, j:w + 1 + j]
                            for i in (0, 1) for j in (0, 1)], -1)
    out = pointwise(seen, jnp.concatenate(parts, -1).reshape(4 * c, -1).astype(x.dtype))
    out = out.reshape(b, h + 1, w + 1, 2, 2, self.features)
    rows = jnp.stack([out[:, :h, :, 0], out[:, 1:, :, 1]], 2).reshape(b, 2 * h, w + 1, 2, -1)
    return jnp.stack([rows[:, :, :w, 0], rows[:, :, 1:, 1]], 3).reshape(b, 2 * h, 2 * w, -1)


def final_layer(x, num_keypoints: int, size: int = 1):
  """Heatmaps (B,h,w,K) from a map (B,h,w,C): the convolution `final_layer` of the module that calls
  it. Computed in float32 or wider whatever the dtype of x."""
  wide = jnp.promote_types(x.dtype, jnp.float32)
  return Conv(num_keypoints, size, use_bias=True, dtype=wide, name='final_layer')(x)


class DropPath(nn.Module):
  """Stochastic depth: in training a sample's branch (B,...) is zero with this probability, and is
  scaled up else (Huang et al., Deep Networks with Stochastic Depth, 2016)."""
  rate: float

  @nn.compact
  def __call__(self, x, *, train: bool):
    if not train or not self.rate:
      return x
    shape = (x.shape[0],) + (1,) * (x.ndim - 1)
    keep = jax.random.bernoulli(self.make_rng('dropout'), 1 - self.rate, shape)
    return jnp.where(keep, x / (1 - self.rate), 0).astype(x.dtype)


class BatchNorm(nn.Module):
  """Batch normalisation with PyTorch's rules: momentum 0.1, eps 1e-5, unbiased running variance.

  Normalises with the biased variance of the batch, but stores the unbiased one (n / (n - 1)).
  Statistics are float32 or wider whatever the dtype of x. Under jit with a batch that is split
  over devices the statistics are those of the global batch.
  """

  @nn.compact
  def __call__(self, x, *, train: bool):
    like = (x.shape[-1],), jnp.promote_types(x.dtype, jnp.float32)
    scale = self.param('scale', nn.initializers.ones, *like)
    bias = self.param('bias', nn.initializers.zeros, *like)
    running_mean = self.variable('batch_stats', 'mean', jnp.zeros, *like)
    running_var = self.variable('batch_stats', 'var', jnp.ones, *like)
    if not train:
      wide = x.astype(like[1])
      gain = jax.lax.rsqrt(running_var.value + 1e-5) * scale
      return ((wide - running_mean.value) * gain + bias).astype(x.dtype)
    out, mean, var = normalise(x, scale, bias)
    if not self.is_initializing():
      n = x.size // x.shape[-1]
      for running, new in ((running_mean, mean), (running_var, var * (n / max(n - 1, 1)))):
        old = running.value
        running.value = (0.9 * old + 0.1 * new).astype(old.dtype)
    return out


@jax.custom_vjp
def normalise(x, scale, bias):
  """x (B,h,w,C) with each channel's mean and variance made bias (C,) and scale (C,) squared.

  Returns it in the dtype of x, and the mean and biased variance (C,), through which no gradient
  passes. The gradient is written out (Ioffe & Szegedy, Batch Normalization, 2015, section 3): two
  sums over the batch in one pass, where the derivative of the forward code takes four, of which
  one is zero but for rounding; on several devices each is a reduction to be waited for.
  """
  return _normalise_forward(x, scale, bias)[0]


def _normalise_forward(x, scale, bias):
  wide = x.astype(scale.dtype)
  # Two passes: E[x^2] - E[x]^2 would lose digits.
  mean = wide.mean((0, 1, 2))
  var = jnp.square(wide - mean).mean((0, 1, 2))
  out = (wide - mean) * (jax.lax.rsqrt(var + 1e-5) * scale) + bias
  return (out.astype(x.dtype), mean, var), (x, mean, var, scale)


def _normalise_backward(saved, gradients):
  x, mean, var, scale = saved
  gradient, inverse = gradients[0].astype(scale.dtype), jax.lax.rsqrt(var + 1e-5)
  unit = (x.astype(scale.dtype) - mean) * inverse
  of_bias, of_scale = gradient.sum((0, 1, 2)), (gradient * unit).sum((0, 1, 2))
  n = x.size // x.shape[-1]
  of_x = (gradient - of_bias / n - unit * (of_scale / n)) * (scale * inverse)
  return of_x.astype(x.dtype), of_scale, of_bias


normalise.defvjp(_normalise_forward, _normalise_backward)


def upsample(x, factor: int):
  """Nearest-neighbour enlargement of (B,h,w,C) by a whole factor."""
  b, h, w, c = x.shape
  x = jnp.broadcast_to(x[:, :, None, :, None, :], (b, h, factor, w, factor, c))
  return x.reshape(b, h * factor, w * factor, c)


def deconv_layers(x, filters, *, train: bool):
  """Deconv, batch norm, ReLU for each number of filters: (B,h,w,C) grows by 2 ** len(filters).

  Called in a compact method; names are those of a published PyTorch sequence `deconv_layers`, in
  which the ReLU has a number too.
  """
  for i, features in enumerate(filters):
    x = Deconv(features, name=f'deconv_layers_{3 * i}')(x)
    x = nn.relu(BatchNorm(name=f'deconv_layers_{3 * i + 1}')(x, train=train))
  return x


def separable(x, features: int, name: str, stride: int = 1, *, train: bool):
  """Depth-wise 3x3 convolution, norm, 1x1 convolution, norm: (B,h,w,C) to (B,h,w,features).

  Its layers are children `<name>_0` to `<name>_3` of the module that calls it.
  """
  x = Conv(x.shape[-1], 3, stride, groups=x.shape[-1], name=f'{name}_0')(x)
  x = Conv(features, name=f'{name}_2')(BatchNorm(name=f'{name}_1')(x, train=train))
  return BatchNorm(name=f'{name}_3')(x, train=train)


def exchange(x, i: int, j: int, features: int, enlarge: Callable, step: Callable, *, train: bool):
  """Map x of branch j at the resolution and width (features) of branch i.

  enlarge: (map, whole factor) -> map, for a branch of lower resolution. step: `separable` or
  `conv_norm`, for one of higher. The layers are children `fuse_layers_<i>_<j>...` of the module
  that calls it.
  """
  name = f'fuse_layers_{i}_{j}'
  if j > i:
    x = BatchNorm(name=f'{name}_1')(Conv(features, name=f'{name}_0')(x), train=train)
    return enlarge(x, 2 ** (j - i))
  for k in range(i - j):
    last = k == i - j - 1
    x = step(x, features if last else x.shape[-1], f'{name}_{k}', 2, train=train)
    x = x if last else nn.relu(x)
  return x


def transition(number: int, branches, width: int, step: Callable):
  """Adds one branch at half the lowest resolution; convolves branches that change width.

  branches: maps (B,h,w,C), highest resolution first; branch b gets width * 2**b channels.
  step: (map, features, name, stride) -> map, with layers called by the name and a number in the
  module that calls this; the names are the published `transition<number>_<b>`.
  """
  out = []
  for b in range(len(branches) + 1):
    new = b == len(branches)
    x = branches[-1] if new else branches[b]
    features = width * 2 ** b
    if new or x.shape[-1] != features:
      name = f'transition{number}_{b}' + ('_0' if new else '')
      x = nn.relu(step(x, features, name, 2 if new else 1))
    out.append(x)
  return out


def conv_norm(x, features: int, name: str, stride: int = 1, *, train: bool):
  """3x3 convolution and norm, children `<name>_0` and `<name>_1` of the module that calls it."""
  x = Conv(features, 3, stride, name=f'{name}_0')(x)
  return BatchNorm(name=f'{name}_1')(x, train=train)
