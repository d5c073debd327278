"""What is written for speed equals the plain form of it."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dslope_jax.models import layers

_DRAWN = np.random.default_rng(0).normal


def plain_norm(x, scale, bias):
  mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
  return (x - mean) / jnp.sqrt(var + 1e-5) * scale + bias


def both(fast, plain, *arguments):
  """(value, gradients of a random weighing of it) of two functions, in float64."""
  with jax.enable_x64(True):
    arguments = [jnp.asarray(a, jnp.float64) for a in arguments]
    weights = jnp.asarray(_DRAWN(size=plain(*arguments).shape))
    numbers = tuple(range(len(arguments)))
    return [jax.device_get((f(*arguments), jax.grad(
      lambda *a, f=f: (f(*a) * weights).sum(), numbers)(*arguments))) for f in (fast, plain)]


def assert_equal(fast, plain, rtol=1e-10):
  for a, b in zip(jax.tree.leaves(fast), jax.tree.leaves(plain), strict=True):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


def test_batch_norm_has_the_gradient_of_its_formula():
  x = 3 + 2 * _DRAWN(size=(3, 5, 4, 6))
  scale, bias = _DRAWN(size=6), _DRAWN(size=6)
  assert_equal(*both(lambda *a: layers.normalise(*a)[0], plain_norm, x, scale, bias))


def test_batch_norm_passes_statistics_on():
  x = jnp.asarray(3 + 2 * _DRAWN(size=(3, 5, 4, 6)), jnp.float32)
  out, mean, var = layers.normalise(x.astype(jnp.bfloat16), jnp.ones(6), jnp.zeros(6))
  assert out.dtype == jnp.bfloat16 and mean.dtype == var.dtype == jnp.float32
  np.testing.assert_allclose(mean, x.mean((0, 1, 2)), rtol=1e-2)
  np.testing.assert_allclose(var, x.var((0, 1, 2)), rtol=3e-2)


@pytest.mark.parametrize('backend', ['cpu', 'gpu'])
def test_sum_relu(backend, monkeypatch):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)  # 'gpu': nothing is kept apart
  maps = _DRAWN(size=(3, 2, 4, 5, 6))
  assert_equal(*both(layers.sum_relu, lambda *m: jax.nn.relu(sum(m)), *maps))
  lowered = jax.jit(lambda *m: layers.sum_relu(*m)).lower(*maps).as_text()
  assert ('inlineable' in lowered) == (backend == 'cpu')


def test_pointwise_is_a_convolution_of_size_one():
  def convolve(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel[None, None], (1, 1), 'VALID',
                                        dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
  assert_equal(*both(layers.pointwise, convolve, _DRAWN(size=(2, 5, 4, 6)), _DRAWN(size=(6, 3))))
