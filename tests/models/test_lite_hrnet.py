"""Lite-HRNet against the outputs of the published implementation."""
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dslope_jax import models
from dslope_jax.models.lite_hrnet import ExchangeModule, channel_shuffle, enlarge_aligned
from dslope_jax.weights import pytorch
from tests.golden import rule
from tests.golden_data import nhwc, relative_error

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden/litehrnet'
TINY = dict(num_keypoints=5, modules=(1, 1, 1), blocks=1, width=8, stem_width=8, reduction=4)
# What is compiled here runs once, for a moment: optimising it takes longer than it saves.


def listing(depth):
  return json.loads((GOLDEN / f'keys_litehrnet{depth}_coco17.json').read_text())


@pytest.mark.slow
def test_outputs():
  arrays = np.load(GOLDEN / 'litehrnet18_s71.npz')
  meta = json.loads(str(arrays['meta']))
  weights = rule.weights(listing(meta['depth'])['entries'], meta['seed'])
  weights = {key.partition('.')[2]: value for key, value in weights.items()}
  variables = pytorch.convert('lite_hrnet', weights, num_keypoints=17, depth=meta['depth'])
  images = nhwc(rule.normal(meta['seed'], 'input', (meta['B'], 3, *meta['input_hw'])))
  module = models.build('lite_hrnet', num_keypoints=17, depth=meta['depth'])
  out = jax.jit(module.apply)(variables, images)
  sizes = [(24, 16, 40), (12, 8, 80), (6, 4, 160), (3, 2, 320)]
  # The iterative head narrows each branch of stage 4 to the width of the next.
  head = [(24, 16, 40), (12, 8, 40), (6, 4, 80), (3, 2, 160)]
  assert [[x.shape[1:] for x in stage] for stage in out['features']] == [sizes[:2], sizes[:3], head]
  for key, got in (('heatmaps', out['heatmaps']), ('features', out['features'][-1][0])):
    assert relative_error(got.transpose(0, 3, 1, 2), arrays[key]) < 1e-5, key


@pytest.mark.parametrize('depth,parameters', [(18, 1_130_769), (30, 1_763_717)])
def test_every_published_key_is_a_parameter_or_statistic(depth, parameters):
  weights = {key.partition('.')[2]: np.broadcast_to(np.float32(0), shape)
             for key, shape, _ in listing(depth)['entries']}
  variables = pytorch.convert('lite_hrnet', weights, num_keypoints=17, depth=depth)
  assert sum(x.size for x in jax.tree.leaves(variables['params'])) == parameters
  assert listing(depth)['total_parameters'] == parameters


def test_channel_shuffle_interleaves_the_halves():
  np.testing.assert_array_equal(channel_shuffle(jnp.arange(6)[None]), [[0, 3, 1, 4, 2, 5]])


def test_aligned_enlargement_keeps_the_corners():
  x = jnp.array([0.0, 2.0, 6.0]).reshape(1, 3, 1, 1)
  out = enlarge_aligned(x, 6, 2)
  assert out.shape == (1, 6, 2, 1)
  np.testing.assert_allclose(out[0, :, 0, 0], [0, 0.8, 1.6, 2.8, 4.4, 6], rtol=1e-6)
  np.testing.assert_array_equal(out[0, :, 0], out[0, :, 1])


def test_bfloat16_keeps_float32_where_it_matters():
  module = models.build('lite_hrnet', dtype='bfloat16', **TINY)
  images = jnp.ones((2, 32, 64, 3))
  out, variables = jax.eval_shape(
    lambda: module.init_with_output(jax.random.key(0), images, train=True))
  assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
  assert out['heatmaps'].dtype == jnp.float32
  assert {x.dtype for x in jax.tree.leaves(out['features'])} == {jnp.dtype('bfloat16')}
  _, stats = jax.eval_shape(
    lambda v: module.apply(v, images, train=True, mutable=['batch_stats']), variables)
  assert {x.dtype for x in jax.tree.leaves(stats)} == {jnp.dtype('float32')}


def test_training_reaches_every_parameter_of_an_exchange_module():
  module, random = ExchangeModule(blocks=1, reduction=4), np.random.default_rng(0)
  branches = [random.normal(size=(2, 8, 8, 8)), random.normal(size=(2, 4, 4, 16))]
  branches = [jnp.asarray(x, jnp.float32) for x in branches]
  shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), branches, train=False))
  variables = jax.tree.map(lambda x: jnp.asarray(random.normal(size=x.shape), x.dtype), shapes)

  def loss(params):
    out, _ = module.apply(variables | {'params': params}, branches, train=True,
                          mutable=['batch_stats'])
    return sum(jnp.square(x - 1).mean() for x in out)

  gradients = jax.jit(jax.grad(loss))(variables['params'])
  for path, gradient in jax.tree.leaves_with_path(gradients):
    assert jnp.isfinite(gradient).all() and jnp.any(gradient != 0), jax.tree_util.keystr(path)


def test_bad_depth_and_bad_sides():
  init = lambda module, h, w: jax.eval_shape(module.init, jax.random.key(0),
                                             jnp.zeros((1, h, w, 3)))
  with pytest.raises(ValueError, match='multiples of 32, not 64x48'):
    init(models.build('lite_hrnet', **TINY), 64, 48)
  with pytest.raises(ValueError, match='depths 18, 30, not 50'):
    init(models.build('lite_hrnet', num_keypoints=17, depth=50), 64, 64)
