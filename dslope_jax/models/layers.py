"""Convolution and batch normalisation as the published PyTorch networks have them."""
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

from dslope_jax.models import cpu_forms, initializers
from dslope_jax.models.cpu_forms import on_cpu

# Every convolution of the published HRNet starts from N(0, 0.001); batch norm sets the scale.
kernel_init = initializers.normal(0.001)


def gelu(x):
  """Exact GELU, x Phi(x) (Hendrycks and Gimpel, 2016), as PyTorch computes it.

  jax.nn.gelu goes by erfc; with it the step of a small lifting network took 1.1 to 1.2 times as
  long on a CPU.
  """
  return 0.5 * x * (1 + jax.lax.erf(x * jnp.asarray(0.5 ** 0.5, x.dtype)))


def sum_relu(*maps):
  """ReLU of the sum of maps (B,h,w,C)."""
  # Named for gradient checkpointing to keep it: a sum depends on all sums before it.
  return checkpoint_name(_sum_relu(*maps), 'residual_sum')


@on_cpu(cpu_forms.sum_relu)
def _sum_relu(*maps):
  return nn.relu(sum(maps))


def convolve(x, kernel, stride: int = 1, groups: int = 1):
  """(B,h,w,C) by a kernel (size,size,C/groups,D), padded by (size - 1) // 2 on all four sides.

  XLA's 'SAME' pads strided convolutions of even sizes on one side only, which shifts the map.
  """
  pad = (kernel.shape[0] - 1) // 2
  return jax.lax.conv_general_dilated(
    x, kernel, (stride, stride), ((pad, pad), (pad, pad)),
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'), feature_group_count=groups)


@on_cpu(cpu_forms.pointwise)
def pointwise(x, kernel):
  """(B,h,w,C) by a kernel (1,1,C,D)."""
  return convolve(x, kernel)


@on_cpu(cpu_forms.deconvolve)
def deconvolve(x, kernel):
  """(B,h,w,C) by a transposed kernel (4,4,C,D) to (B,2h,2w,D): stride 2, padding 1."""
  return jax.lax.conv_transpose(x, kernel[::-1, ::-1], (2, 2), ((2, 2), (2, 2)),
                                dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


class Conv(nn.Module):
  """2D convolution, NHWC, padded by (size - 1) // 2 on all four sides also when strided.

  dtype: of the computation; None computes in the dtype of the input.
  """
  features: int
  size: int = 1
  stride: int = 1
  use_bias: bool = False
  dtype: jnp.dtype | None = None
  groups: int = 1  # equal to the channels: a depth-wise convolution
  kernel_init: Callable = kernel_init
  bias_init: Callable = initializers.zeros

  @nn.compact
  def __call__(self, x):
    shape = (self.size, self.size, x.shape[-1] // self.groups, self.features)
    dtype = self.dtype or x.dtype
    wide = jnp.promote_types(dtype, jnp.float32)  # of parameters
    kernel = self.param('kernel', self.kernel_init, shape, wide)
    x, kernel = x.astype(dtype), kernel.astype(dtype)
    if self.size == self.stride == self.groups == 1:
      x = pointwise(x, kernel)
    else:
      x = convolve(x, kernel, self.stride, self.groups)
    if self.use_bias:
      x = x + self.param('bias', self.bias_init, (self.features,), wide).astype(dtype)
    return x


class Deconv(nn.Module):
  """Transposed convolution of size 4, stride 2, padding 1, without bias: twice the sides.

  The parameter `transposed_kernel` is (4,4,in,out), PyTorch's (in,out,4,4) moved, not reversed.
  """
  features: int
  kernel_init: Callable = kernel_init

  @nn.compact
  def __call__(self, x):
    shape, wide = (4, 4, x.shape[-1], self.features), jnp.promote_types(x.dtype, jnp.float32)
    kernel = self.param('transposed_kernel', self.kernel_init, shape, wide)
    return deconvolve(x, kernel.astype(x.dtype))


def linear(x, features: int, name: str, use_bias: bool = True):
  """(...,C) to (...,features), with the initial weights that PyTorch gives a `Linear`: the child
  `name` of the module that calls it."""
  init = initializers.uniform(x.shape[-1] ** -0.5)
  return nn.Dense(features, use_bias, x.dtype, jnp.promote_types(x.dtype, jnp.float32),
                  kernel_init=init, bias_init=init, name=name)(x)


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

  Called with (B,...,C). train: normalise by the batch; running statistics are kept where they may
  change. scale_init: initialiser of the scale. learn_scale: whether it may change.
  """
  scale_init: Callable = initializers.ones
  learn_scale: bool = True

  @nn.compact
  def __call__(self, x, *, train: bool):
    like = (x.shape[-1],), jnp.promote_types(x.dtype, jnp.float32)
    scale = self.param('scale', self.scale_init, *like)
    bias = self.param('bias', initializers.zeros, *like)
    if not self.learn_scale:
      scale = jax.lax.stop_gradient(scale)
    running_mean = self.variable('batch_stats', 'mean', np.zeros, *like)
    running_var = self.variable('batch_stats', 'var', np.ones, *like)
    if self.is_initializing():  # only shapes matter
      return x
    if not train:
      wide = x.astype(like[1])
      gain = jax.lax.rsqrt(running_var.value + 1e-5) * scale
      return ((wide - running_mean.value) * gain + bias).astype(x.dtype)
    out, mean, var = normalise(x, scale, bias)
    if not self.is_mutable_collection('batch_stats'):
      return out
    n = x.size // x.shape[-1]
    for running, new in ((running_mean, mean), (running_var, var * (n / max(n - 1, 1)))):
      old = running.value
      running.value = (0.9 * old + 0.1 * new).astype(old.dtype)
    return out


def normalise(x, scale, bias):
  """x (B,...,C) with each channel's mean and variance made bias (C,) and scale (C,) squared.

  Returns it in the dtype of x, and the mean and biased variance (C,), through which no gradient
  passes.
  """
  wide = x.astype(scale.dtype)
  axes = tuple(range(x.ndim - 1))
  mean = wide.mean(axes)
  fixed = jax.lax.stop_gradient(mean)
  # The gradient takes two sums over the batch, one pass; on several devices each is a reduction to
  # be waited for. The usual formula takes four: the derivative of the variance by the mean, which
  # is zero, is one, and bias and mean sum up the same numbers separately.
  centred = wide - fixed
  # Two passes: E[x^2] - E[x]^2 would lose digits.
  var = (centred * centred).mean(axes)  # its gradient keeps no other array, as of square()
  gain = jax.lax.rsqrt(var + 1e-5) * scale
  out = centred * gain + (bias + (fixed - mean) * gain)  # zero, but for the mean's gradient
  return out.astype(x.dtype), fixed, jax.lax.stop_gradient(var)


class PReLU(nn.Module):
  """x (B,...,C), times a learned factor of the channel where it is negative, 0.25 at first as in
  PyTorch (He et al., Delving Deep into Rectifiers, 2015)."""

  @nn.compact
  def __call__(self, x):
    wide = jnp.promote_types(x.dtype, jnp.float32)
    scale = self.param('scale', initializers.constant(0.25), (x.shape[-1],), wide)
    return jnp.where(x >= 0, x, x * scale.astype(x.dtype))


def upsample(x, factor: int):
  """Nearest-neighbour enlargement of (B,h,w,C) by a whole factor."""
  b, h, w, c = x.shape
  x = jnp.broadcast_to(x[:, :, None, :, None, :], (b, h, factor, w, factor, c))
  return x.reshape(b, h * factor, w * factor, c)


def enlarge(x, factor: int):
  """Bilinear enlargement (half-pixel centres) of (B,h,w,C) by a whole factor."""
  b, h, w, c = x.shape
  return jax.image.resize(x, (b, h * factor, w * factor, c), 'bilinear')


def grid_sample(maps, points):
  """Values (B,N,C) of maps (B,h,w,C) at points (B,N,2), bilinear, zero outside.

  points: x, y; -1 and 1 are the outer edges of the first and last pixel (`grid_sample` of PyTorch
  without align_corners). Computed in the dtype of the maps; no gather, so that its gradient needs
  no scatter.
  """
  def shares(x, size):  # (B,N,size) of each pixel, by the distance from its centre
    distance = ((x + 1) * size - 1)[..., None] / 2 - jnp.arange(size)
    return jnp.maximum(0, 1 - jnp.abs(distance)).astype(maps.dtype)

  multiply = partial(jnp.einsum, precision='highest')
  rows = multiply('bnh,bhwc->bnwc', shares(points[..., 1], maps.shape[1]), maps)
  return multiply('bnw,bnwc->bnc', shares(points[..., 0], maps.shape[2]), rows)


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
