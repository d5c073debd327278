"""SMAP's network against outputs and losses of the published implementation, and its options."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dslope_jax import models, part_losses
from dslope_jax.weights import pytorch
from tests.golden_data import filled, published_weights
from tests.part_golden import check_outputs, golden, labels, large, noise
from tests.refusals import fails

NARROW = dict(num_keypoints=15, widths=(8, 16, 32, 64), blocks=(1, 2, 1, 1), decoder_width=16)
TINY = dict(num_keypoints=3, limbs=2, anchors=1, stages=2, widths=(4, 4, 4, 4),
            blocks=(1, 1, 1, 1), decoder_width=4)


@pytest.mark.parametrize('name,kwargs', [
  ('detect_narrow_s31', NARROW),
  pytest.param('detect_full_s37', dict(num_keypoints=15), marks=large)])
def test_outputs_and_losses(name, kwargs):
  arrays, meta = golden(name)
  kwargs = kwargs | dict(reference=True)
  module = models.build('smap', **kwargs)
  images = noise(meta['seed'], 'input', (meta['B'], 3, *meta['input_hw']))
  weights = published_weights(module, [images], meta['seed'])
  out = jax.jit(module.apply)(pytorch.convert('smap', weights, **kwargs), images)
  check_outputs(out, arrays, meta)
  total, terms = part_losses.detection_loss(
    out['stages'], labels(arrays, meta, out['maps'].shape[1:3]), arrays['valid_in'][..., 0],
    reference=True)
  wanted = {'maps': 'loss_2d', 'relative_depth': 'loss_bone', 'anchor_depth': 'loss_root'}
  for term, published in wanted.items():
    np.testing.assert_allclose(terms[term], arrays[f'loss_{published}'], rtol=1e-4)
  np.testing.assert_allclose(total, arrays['loss_total_loss'], rtol=1e-4)


def test_our_outputs_are_the_published_ones_in_other_units():
  images = np.random.default_rng(0).standard_normal((1, 32, 64, 3)).astype(np.float32)
  own, published = (models.build('smap', **TINY, reference=flag) for flag in (False, True))
  variables = filled(own, [images], 1)
  apply = jax.jit(lambda: (own.apply(variables, images), published.apply(variables, images)))
  out, want = apply()
  peaks = np.array([255] * 3 + [127] * 4)
  np.testing.assert_allclose(out['maps'] * peaks, want['maps'] / 3, rtol=1e-4, atol=1e-4)
  for name in ('relative_depth', 'anchor_depth'):
    np.testing.assert_array_equal(out[name], want[name])
  assert [len(stage) for stage in out['stages']] == [4, 4]
  for units in zip(sum(out['stages'], []), sum(want['stages'], []), strict=True):
    np.testing.assert_allclose(units[0]['maps'] * peaks, units[1]['maps'], rtol=1e-5)
    assert {k: v.shape for k, v in units[0].items()} == {
      'maps': (1, 8, 16, 7), 'relative_depth': (1, 8, 16, 2), 'anchor_depth': (1, 8, 16, 1)}


@pytest.mark.parametrize('anchors,count', [(7, 91484800), (1, 91318696)])
def test_parameters(anchors, count):
  module = models.build('smap', num_keypoints=15, anchors=anchors)
  variables = jax.eval_shape(module.lazy_init, jax.random.key(0),
                             jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32))
  assert sum(x.size for x in jax.tree.leaves(variables['params'])) == count


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_outputs_are_float32(dtype):
  module = models.build('smap', **TINY, dtype=dtype)
  images = jax.ShapeDtypeStruct((2, 64, 32, 3), jnp.float32)
  out, variables = jax.eval_shape(
    lambda x: module.init_with_output(jax.random.key(0), x, train=True), images)
  assert {x.dtype for x in jax.tree.leaves((out, variables))} == {np.dtype('float32')}


def test_initial_weights():
  module = models.build('smap', **TINY | dict(widths=(32, 4, 4, 4), decoder_width=32))
  params = module.lazy_init(jax.random.key(0), jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32))[
    'params']
  stem = params['top']['conv']['conv']
  np.testing.assert_allclose(stem['kernel'].std(), (2 / (49 * 32)) ** 0.5, rtol=0.05)
  assert 0.9 * 147 ** -0.5 < abs(stem['bias']).max() <= 147 ** -0.5
  head = params['stage0']['upsample']['up1']['res_conv2']['conv']
  for value in head.values():
    assert 0.7 * 288 ** -0.5 < abs(value).max() <= 288 ** -0.5


def test_sides_that_do_not_fit():
  module = models.build('smap', **TINY)
  fails(lambda: jax.eval_shape(module.lazy_init, jax.random.key(0),
                               jax.ShapeDtypeStruct((1, 64, 48, 3), jnp.float32)),
        'multiples of 32', '64x48')
