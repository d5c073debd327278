"""Convolution and batch normalisation as the published PyTorch networks have them."""
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

# Every convolution of the published HRNet starts from N(0, 0.001); batch norm sets the scale.
kernel_init = nn.initializers.normal(0.001)


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
      x = jnp.dot(x, kernel[0, 0])  # a matrix product: many times faster backward on CPU
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
    shape = (4, 4, x.shape[-1], self.features)
    wide = jnp.promote_types(x.dtype, jnp.float32)
    kernel = self.param('transposed_kernel', self.kernel_init, shape, wide).astype(x.dtype)
    return jax.lax.conv_general_dilated(
      x, kernel[::-1, ::-1], (1, 1), ((2, 2), (2, 2)), lhs_dilation=(2, 2),
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


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
    wide = x.astype(like[1])
    if train:
      # Two passes: E[x^2] - E[x]^2 would lose digits.
      mean = wide.mean((0, 1, 2))
      var = jnp.square(wide - mean).mean((0, 1, 2))
      if not self.is_initializing():
        n = x.size // x.shape[-1]
        for running, new in ((running_mean, mean), (running_var, var * (n / max(n - 1, 1)))):
          old = running.value
          running.value = (0.9 * old + 0.1 * new).astype(old.dtype)
    else:
      mean, var = running_mean.value, running_var.value
    out = (wide - mean) * (jax.lax.rsqrt(var + 1e-5) * scale) + bias
    return out.astype(x.dtype)


def upsample(x, factor: int):
  """Nearest-neighbour enlargement of (B,h,w,C) by a whole factor."""
  b, h, w, c = x.shape
  x = jnp.broadcast_to(x[:, :, None, :, None, :], (b, h, factor, w, factor, c))
  return x.reshape(b, h * factor, w * factor, c)
