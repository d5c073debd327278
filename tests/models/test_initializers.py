"""How weights are drawn."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dslope_jax import models
from dslope_jax.models import initializers

KEY = jax.random.key(3)


@pytest.mark.parametrize('init,deviation', [
  (initializers.normal(0.001), 0.001), (initializers.uniform(0.5), 0.5 / 3 ** 0.5)])
def test_mean_and_deviation(init, deviation):
  drawn = init(KEY, (100, 200), np.float32)
  assert isinstance(drawn, np.ndarray) and drawn.dtype == np.float32
  np.testing.assert_allclose(drawn.std(), deviation, rtol=0.02)
  assert abs(drawn.mean()) < 0.03 * deviation


def test_uniform_is_bounded():
  drawn = initializers.uniform(0.5)(KEY, (1000,), np.float32)
  assert 0.49 < abs(drawn).max() <= 0.5 and drawn.min() < -0.49


def test_a_draw_depends_on_the_key_alone():
  init = initializers.normal(1.0)
  drawn = init(KEY, (4, 3), np.float32)
  np.testing.assert_array_equal(init(KEY, (4, 3), np.float32), drawn)
  np.testing.assert_array_equal(jax.jit(lambda k: init(k, (4, 3), np.float32))(KEY), drawn)
  assert not np.isclose(init(jax.random.fold_in(KEY, 1), (4, 3), np.float32), drawn).any()
  assert jax.eval_shape(lambda: init(KEY, (4, 3), np.float32)).shape == (4, 3)


def test_layers_of_one_shape_get_weights_of_their_own():
  """N(0, 0.001) each; norms start from one and zero."""
  network = models.build('simple_baseline', num_keypoints=3, depth=18, width=8, filters=(8, 8, 8))
  weights = network.lazy_init(KEY, jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32))
  params, stats = weights['params'], weights['batch_stats']
  one, two = (params[f'layer1_{i}']['conv1']['kernel'] for i in (0, 1))
  assert one.shape == two.shape and not np.isclose(one, two, rtol=1e-3, atol=0).any()
  kernels = [p.ravel() for path, p in jax.tree_util.tree_leaves_with_path(params)
             if path[-1].key.endswith('kernel')]
  np.testing.assert_allclose(np.concatenate(kernels).std(), 0.001, rtol=0.01)
  np.testing.assert_array_equal(params['bn1']['scale'], np.ones(8))
  np.testing.assert_array_equal(stats['bn1']['var'], np.ones(8))
  np.testing.assert_array_equal(stats['bn1']['mean'], np.zeros(8))


def test_a_new_shape_compiles_nothing():
  compiled = []
  jax.monitoring.register_event_duration_secs_listener(
    lambda event, *_, **__: compiled.append(event) if 'backend_compile' in event else None)
  jax.jit(lambda x: x + 1)(np.ones(7))
  assert len(compiled) == 1
  for init in (initializers.normal(1.0), initializers.uniform(1.0), initializers.zeros,
               initializers.ones):
    init(KEY, (3, 5, 7), np.float32)
  assert len(compiled) == 1
