"""Forms of three layers that XLA compiles to faster code for CPU, with the same values.

`on_cpu` joins one of them to its plain form in layers.py. Which of the two runs is decided when a
function is lowered for a platform, not by the devices that the process has.
"""
import contextlib
import contextvars
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.experimental.xla_metadata import set_xla_metadata

_plain_only = contextvars.ContextVar('plain_only', default=False)


def on_cpu(form):
  """Decorator of a plain function of arrays: lowered for CPU it is `form`."""
  def join(plain):
    @functools.wraps(plain)
    def call(*arrays):
      if _plain_only.get():
        return plain(*arrays)
      return jax.lax.platform_dependent(*arrays, cpu=form, default=plain)
    return call
  return join


@contextlib.contextmanager
def plain_forms():
  """What is traced within has the plain forms only: for export."""
  token = _plain_only.set(True)
  try:
    yield
  finally:
    _plain_only.reset(token)


def sum_relu(*maps):
  """ReLU of a sum, computed once and kept in memory.

  XLA's CPU compiler writes elementwise functions into everything that reads them, and so computes
  a chain of residual blocks anew, back to its start, at every convolution of it. A call that must
  not be inlined stops that; an optimization barrier does not.
  """
  with set_xla_metadata(inlineable='false'):
    return _sum_relu(*maps)


_sum_relu = jax.jit(lambda *maps: nn.relu(sum(maps)))


def pointwise(x, kernel):
  """(B,h,w,C) times (1,1,C,D) as one product of two matrices.

  The gradient of the kernel takes a fourth of the time that the same product over four axes takes,
  which in turn is faster than a convolution.
  """
  return (x.reshape(-1, x.shape[-1]) @ kernel[0, 0]).reshape(*x.shape[:-1], -1)


def deconvolve(x, kernel):
  """(B,h,w,C) by a transposed kernel (4,4,C,D) to (B,2h,2w,D), as one product of two matrices.

  Every output pixel sees 2x2 inputs, by one of four parts of the kernel according to whether its
  row and column are even. Convolving an input with zeros between its pixels takes many times
  longer in training.
  """
  b, h, w, c = x.shape
  taps = (3, 1), (2, 0)
  parts = [kernel[jnp.array(rows)][:, jnp.array(columns)] for rows in taps for columns in taps]
  padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  seen = jnp.concatenate([padded[:, i:h + 1 + i, j:w + 1 + j] for i in (0, 1) for j in (0, 1)], -1)
  out = pointwise(seen, jnp.concatenate(parts, -1).reshape(1, 1, 4 * c, -1))
  out = out.reshape(b, h + 1, w + 1, 2, 2, -1)
  rows = jnp.stack([out[:, :h, :, 0], out[:, 1:, :, 1]], 2).reshape(b, 2 * h, w + 1, 2, -1)
  return jnp.stack([rows[:, :, :w, 0], rows[:, :, 1:, 1]], 3).reshape(b, 2 * h, 2 * w, -1)
