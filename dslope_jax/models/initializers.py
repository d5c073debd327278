"""How weights are drawn: initialisers (key, shape, dtype) -> array for Flax modules.

NumPy draws them, so that nothing is compiled: XLA takes a tenth of a second for each shape of a
weight, of which a network has a hundred. A draw depends on the key alone, not on the device.
"""
import jax
import numpy as np


def normal(deviation: float):
  """N(0, deviation)."""
  return _drawn(lambda rng, shape: deviation * rng.standard_normal(shape))


def uniform(limit: float):
  """Between -limit and limit."""
  return _drawn(lambda rng, shape: rng.uniform(-limit, limit, shape))


def laplace(deviation: float):
  """Laplace's distribution about 0 with this standard deviation."""
  return _drawn(lambda rng, shape: rng.laplace(0, deviation / 2 ** 0.5, shape))


def zeros(key, shape, dtype):
  return np.zeros(shape, dtype)


def ones(key, shape, dtype):
  return np.ones(shape, dtype)


def constant(value: float):
  return lambda key, shape, dtype: np.full(shape, value, dtype)


def _drawn(draw):
  """The initialiser of a draw (NumPy generator, shape) -> array."""
  def init(key, shape, dtype):
    def of_bits(bits):
      return draw(np.random.default_rng(np.ravel(bits)), shape).astype(dtype)

    bits = jax.random.key_data(key)
    if isinstance(bits, jax.core.Tracer):  # under jit, or for shapes only
      result = jax.ShapeDtypeStruct(shape, dtype)
      return jax.pure_callback(of_bits, result, bits, vmap_method='sequential')
    return of_bits(bits)
  return init
