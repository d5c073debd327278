"""bfloat16 networks: what stays float32."""
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dslope_jax import models
from dslope_jax.models.layers import final_layer
from tests.refusals import fails

SMALL = {
  'simple_baseline': dict(depth=10, width=8, filters=(8, 8, 8)),
  'hrnet': dict(width=8, stem_width=8, modules=(1, 1, 1), blocks=(1, 1, 1)),
  'vitpose': dict(width=16, depth=1, heads=2, filters=(8, 8)),
  'hrformer': dict(width=8, heads=1, modules=(1, 1, 1), blocks=1, bottlenecks=1),
  'lite_hrnet': dict(modules=(1, 1, 1), blocks=1)}
CASES = [*SMALL.items(), ('vitpose', SMALL['vitpose'] | dict(decoder='simple'))]


@pytest.mark.parametrize('name,options', CASES)
def test_the_last_layer_computes_in_float32(name, options):
  """It reads bfloat16 and puts out float32 itself: nothing is rounded on the way."""
  module = models.build(name, num_keypoints=3, dtype='bfloat16', **options)
  seen = {}

  def watch(call, args, kwargs, context):
    out = call(*args, **kwargs)
    if context.module.name == 'final_layer':
      seen.update(read=args[0].dtype, put_out=out.dtype)
    return out

  with nn.intercept_methods(watch):
    variables = jax.eval_shape(module.lazy_init, jax.random.key(0),
                               jax.ShapeDtypeStruct((1, 64, 32, 3), jnp.float32))
    out = jax.eval_shape(module.apply, variables, jnp.zeros((1, 64, 32, 3)))
  assert seen == dict(read=jnp.bfloat16, put_out=jnp.float32)
  assert out['heatmaps'].shape == (1, 16, 8, 3) and out['heatmaps'].dtype == jnp.float32
  assert {x.dtype for x in jax.tree.leaves(variables)} == {np.dtype('float32')}


class Head(nn.Module):
  @nn.compact
  def __call__(self, x):
    return final_layer(x, 2)


def test_heatmaps_are_no_rounded_bfloat16():
  x = jnp.ones((1, 1, 1, 2), jnp.bfloat16)
  kernel = jnp.array([[1., 0.], [2 ** -12, 2 ** -12]])[None, None]
  out = Head().apply({'params': {'final_layer': {'kernel': kernel, 'bias': jnp.zeros(2)}}}, x)
  np.testing.assert_array_equal(out, [[[[1 + 2 ** -12, 2 ** -12]]]])


def test_a_dtype_that_there_is_not():
  fails(lambda: models.build('hrnet', num_keypoints=3, dtype='float99'),
        'dtype is one of float32, bfloat16', "not 'float99'")
