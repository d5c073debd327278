"""An embedding head on the backbone of any network."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dslope_jax import models
from dslope_jax.weights import pytorch
from tests.golden_data import published_weights

BACKBONES = {
  'simple_baseline': dict(depth=10, width=4), 'vitpose': dict(width=12, depth=1, heads=2),
  'hrnet': dict(width=4, stem_width=4, modules=(1, 1, 1), blocks=(1, 1, 1)),
  'hrnet multi': dict(width=4, stem_width=4, modules=(1, 1, 1), blocks=(1, 1, 1), head='multi'),
  'hrformer': dict(width=4, stem_width=4, heads=1, modules=(1, 1, 1), blocks=1, bottlenecks=1),
  'lite_hrnet': dict(modules=(1, 1, 1), blocks=1)}
SHAPE = jax.ShapeDtypeStruct((2, 32, 64, 3), 'float32')


def build(name):
  backbone = dict(name=name.split()[0], **BACKBONES[name])
  return models.build('embedding', backbone=backbone, dim=7), backbone


@pytest.mark.parametrize('name', BACKBONES)
def test_the_backbone_has_its_own_names_and_no_head(name):
  network, backbone = build(name)
  whole = jax.eval_shape(models.build(**backbone, num_keypoints=5).lazy_init, jax.random.key(0),
                         SHAPE)['params']
  own = jax.eval_shape(network.lazy_init, jax.random.key(0), SHAPE)['params']
  head = models.trait(backbone['name'], 'HEAD')
  expected = {key for key in whole if not key.startswith(head)}
  assert set(own) == expected | {'fc', 'features'}
  for key in expected:
    assert jax.tree.map(jnp.shape, whole[key]) == jax.tree.map(jnp.shape, own[key])
  outputs, _ = jax.eval_shape(network.init_with_output, jax.random.key(0), jnp.zeros(SHAPE.shape))
  assert outputs['embedding'].shape == (2, 7) and outputs['embedding'].dtype == jnp.float32


def test_it_is_the_mean_of_the_last_maps():
  network, backbone = build('hrnet multi')
  weights = published_weights(network, (SHAPE,), 3)
  images = np.random.default_rng(0).normal(size=SHAPE.shape).astype(np.float32)
  variables = pytorch.convert('embedding', weights, image_size=(64, 32), backbone=backbone, dim=7)
  out = jax.jit(network.apply)(variables, images)
  pooled = np.concatenate([x.mean((1, 2)) for x in out['features'][-1]], -1)
  assert pooled.shape == (2, 4 * (1 + 2 + 4 + 8))
  found = pooled @ weights['fc.weight'].T + weights['fc.bias']
  found = (found - weights['features.running_mean']) / np.sqrt(
    weights['features.running_var'] + 1e-5) * weights['features.weight'] + weights['features.bias']
  np.testing.assert_allclose(out['embedding'], found, rtol=1e-4, atol=1e-5)


def test_weights_of_a_network_for_poses_give_the_backbone():
  network, backbone = build('simple_baseline')
  poses = published_weights(models.build(**backbone, num_keypoints=5), (SHAPE,), 1)
  found = pytorch.convert_any('embedding', dict(backbone=backbone, dim=7), poses, (64, 32))
  assert {leaf.split('/')[0] for leaf in found.fresh} == {'fc', 'features'}
  assert all(key.startswith(('final_layer', 'deconv_layers')) for key in found.dropped)
  np.testing.assert_array_equal(found.variables['params']['conv1']['kernel'],
                                poses['conv1.weight'].transpose(2, 3, 1, 0))
