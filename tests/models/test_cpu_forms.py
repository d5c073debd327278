"""What is written for speed equals the plain form of it, and runs on CPU only."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from dslope_jax import models
from dslope_jax.models import layers
from dslope_jax.models.cpu_forms import plain_forms

_DRAWN = np.random.default_rng(0).normal
# Function, its arguments, and what only the program of its CPU form has.
FORMS = {
  'sum_relu': (layers.sum_relu, _DRAWN(size=(3, 2, 4, 5, 6)), 'inlineable'),
  'pointwise': (layers.pointwise, (_DRAWN(size=(2, 5, 4, 6)), _DRAWN(size=(1, 1, 6, 3))),
                'dot_general'),
  'deconvolve': (layers.deconvolve, (_DRAWN(size=(2, 3, 4, 6)), _DRAWN(size=(4, 4, 6, 3))),
                 'dot_general')}


def value_and_gradients(function, *arguments):
  """With the gradients of a weighing of the value, all in float64."""
  with jax.enable_x64(True):
    arguments = [jnp.asarray(a, jnp.float64) for a in arguments]
    value = function(*arguments)
    weights = np.random.default_rng(1).normal(size=value.shape)
    gradients = jax.grad(lambda *a: (function(*a) * weights).sum(), range(len(arguments)))
    return jax.device_get((value, gradients(*arguments)))


def assert_equal(one, other):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10), one, other)


@pytest.mark.parametrize('name', FORMS)
def test_both_forms_are_equal(name):
  function, arguments, _ = FORMS[name]
  with plain_forms():
    plain = value_and_gradients(function, *arguments)
  assert_equal(value_and_gradients(function, *arguments), plain)
  jitted = jax.jit(lambda *a: function(*a))
  assert_equal(value_and_gradients(jitted, *arguments), plain)


def text(function, arguments, *platforms):
  """The program of the value and its gradients for these platforms, of which none need be here."""
  both = jax.value_and_grad(lambda *a: function(*a).sum(), range(len(arguments)))
  shapes = [jax.ShapeDtypeStruct(a.shape, jnp.float32) for a in arguments]
  return jax.jit(both).trace(*shapes).lower(lowering_platforms=platforms).as_text()


@pytest.mark.parametrize('name', FORMS)
def test_the_platform_that_is_lowered_for_decides(name):
  function, arguments, mark = FORMS[name]
  assert mark in text(function, arguments, 'cpu')
  assert mark not in text(function, arguments, 'cuda')
  assert mark not in text(function, arguments, 'tpu')
  with plain_forms():
    assert mark not in text(function, arguments, 'cpu')


def test_export_with_plain_forms_has_no_other():
  network = models.build('simple_baseline', num_keypoints=3, depth=50, width=4, filters=(4, 4, 4))
  images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  variables = jax.eval_shape(network.lazy_init, jax.random.key(0), images)

  def exported():
    call = jax.jit(lambda *a: network.apply(*a)['heatmaps'])
    return export.export(call, platforms=('cpu', 'cuda', 'tpu'))(variables, images).mlir_module()

  marks = 'inlineable', 'dot_general'
  assert all(mark in exported() for mark in marks)
  with plain_forms():
    assert not any(mark in exported() for mark in marks)


def textbook_norm(x, scale, bias):
  mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
  return (x - mean) / jnp.sqrt(var + 1e-5) * scale + bias


def test_batch_norm_has_the_gradient_of_its_formula():
  arguments = 3 + 2 * _DRAWN(size=(3, 5, 4, 6)), _DRAWN(size=6), _DRAWN(size=6)
  assert_equal(value_and_gradients(lambda *a: layers.normalise(*a)[0], *arguments),
               value_and_gradients(textbook_norm, *arguments))


def test_the_gradient_of_batch_norm_takes_two_sums():
  """Besides the two of its value."""
  def sums(function):
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((3, 5, 4, 6), (6,), (6,))]
    weighted = lambda x, scale, bias, w: (function(x, scale, bias) * w).sum((0, 1, 2))
    program = jax.jit(lambda w, g, *a: jax.vjp(lambda *a: weighted(*a, w), *a)[1](g))
    optimized = program.lower(shapes[0], shapes[1], *shapes).compile().as_text()
    return sum(' reduce(' in line for line in optimized.splitlines())

  assert sums(lambda *a: layers.normalise(*a)[0]) == 4
  assert sums(textbook_norm) > 4


def test_the_gradient_of_batch_norm_keeps_one_map():
  x = jnp.ones((3, 5, 4, 6))
  _, gradient = jax.vjp(lambda *a: layers.normalise(*a)[0], x, jnp.ones(6), jnp.zeros(6))
  assert sum(kept.shape == x.shape for kept in jax.tree.leaves(gradient)) == 1


def test_batch_norm_passes_statistics_on():
  x = jnp.asarray(3 + 2 * _DRAWN(size=(3, 5, 4, 6)), jnp.float32)
  out, mean, var = layers.normalise(x.astype(jnp.bfloat16), jnp.ones(6), jnp.zeros(6))
  assert out.dtype == jnp.bfloat16 and mean.dtype == var.dtype == jnp.float32
  np.testing.assert_allclose(mean, x.mean((0, 1, 2)), rtol=1e-2)
  np.testing.assert_allclose(var, x.var((0, 1, 2)), rtol=3e-2)
  statistics = lambda x: sum(s.sum() for s in layers.normalise(x, jnp.ones(6), jnp.zeros(6))[1:])
  assert not np.any(jax.grad(statistics)(x))
