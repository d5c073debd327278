"""ViTPose against the outputs of two published implementations."""
import json
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dslope_jax import models
from dslope_jax.models import vitpose
from dslope_jax.weights import pytorch
from tests.golden import rule
from tests.golden_data import nhwc, relative_error

FOLDER = pathlib.Path(__file__).parent.parent / 'golden/vitpose'
TINY = dict(num_keypoints=17, width=32, depth=3, heads=4, filters=(16, 16))


def position_exception(random, name, shape):
  if name.endswith(('pos_embed', 'position_embeddings')):
    return 0.1 * random.randn(*shape)
  return None


def entries(name):
  return json.loads((FOLDER / f'keys_{name}.json').read_text())['entries']


def tiny_entries(listing, meta):
  """Entries of the base size, brought to the width, depth and image size of a golden file."""
  width, (h, w) = meta['dim'], meta['input_hw']
  filters = (meta['deconv_filters'] or [256])[0]
  sizes = {768: width, 3072: 4 * width, 2304: 3 * width, 193: h * w // 256 + 1, 256: filters}
  out = []
  for name, shape, kind in listing:
    block = [int(part) for part in name.split('.') if part.isdigit()][:1]
    if not (name.startswith('backbone') and block and block[0] >= meta['depth']):
      out.append([name, [sizes.get(n, n) for n in shape], kind])
  return out


def with_simple_decoder(listing):
  """Entries of the transformers library, which are listed with the classic decoder only."""
  return [[n, [17, 768, 3, 3] if n == 'head.conv.weight' else s, k]
          for n, s, k in listing if 'deconv' not in n and 'batchnorm' not in n]


def variables_of(state, image_size, **kwargs):
  """A state dict of either library as variables; image_size: (W, H)."""
  if any(key.startswith('head.') for key in state):
    state = vitpose.from_huggingface(state)
  return pytorch.convert('vitpose', state, image_size=image_size, **kwargs)


# File -> the listing of its names, and epsilon of its layer norms.
GOLDEN = {'vitpose_classic_s51': ('vitpose_base_classic_coco17', 1e-6),
          'vitpose_simple_s52': ('vitpose_base_simple_coco17', 1e-6),
          'hf_classic_s53': ('hf_base_classic_coco17', 1e-12),
          'hf_simple_s54': ('hf_base_classic_coco17', 1e-12)}


@pytest.mark.parametrize('name', GOLDEN)
def test_eval_outputs(name):
  golden = np.load(FOLDER / f'{name}.npz')
  meta = json.loads(str(golden['meta']))
  listing, epsilon = GOLDEN[name]
  keys = entries(listing)
  if name.startswith('hf_simple'):
    keys = with_simple_decoder(keys)
  kwargs = TINY | dict(decoder=meta['decoder'], epsilon=epsilon,
                       filters=meta['deconv_filters'] or (16, 16))
  weights = rule.weights(tiny_entries(keys, meta), meta['seed'], position_exception)
  variables = variables_of(weights, meta['input_hw'][::-1], **kwargs)
  images = nhwc(rule.normal(meta['seed'], 'input', (meta['B'], 3, *meta['input_hw'])))
  out = jax.jit(models.build('vitpose', **kwargs).apply)(variables, images)
  got = {'heatmaps': out['heatmaps'], 'features': out['features'][0][0]}
  for key in set(got) & set(golden.files):
    value = np.asarray(got[key]).transpose(0, 3, 1, 2)
    assert relative_error(value, golden[key]) < 1e-5, key


def abstract_weights(listing):
  """A key listing as a state dict of the right shapes that takes no memory."""
  return {name: np.broadcast_to(np.float32(0), shape) for name, shape, _ in listing}


@pytest.mark.parametrize('listing,size,decoder', [
  ('vitpose_small_classic_coco17', 'small', 'classic'),
  ('vitpose_base_classic_coco17', 'base', 'classic'),
  ('vitpose_base_simple_coco17', 'base', 'simple'),
  ('hf_base_classic_coco17', 'base', 'classic')])
def test_every_listed_key_is_used_with_its_shape(listing, size, decoder):
  kwargs = dict(num_keypoints=17, size=size, decoder=decoder)
  variables = variables_of(abstract_weights(entries(listing)), (192, 256), **kwargs)
  want = jax.eval_shape(models.build('vitpose', **kwargs).init, jax.random.key(0),
                        jnp.zeros((1, 256, 192, 3)))
  assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, want)
  total = json.loads((FOLDER / f'keys_{listing}.json').read_text())['total_parameters']
  assert sum(x.size for x in jax.tree.leaves(variables['params'])) == total


@pytest.mark.parametrize('height,width', [(256, 192), (384, 288)])
@pytest.mark.parametrize('decoder', ['classic', 'simple'])
def test_shapes(height, width, decoder):
  module = models.build('vitpose', num_keypoints=16, size='small', depth=1, decoder=decoder)
  out, variables = jax.eval_shape(module.init_with_output, jax.random.key(0),
                                  jnp.zeros((2, height, width, 3)))
  assert out['heatmaps'].shape == (2, height // 4, width // 4, 16)
  assert out['features'][0][0].shape == (2, height // 16, width // 16, 384)
  assert variables['params']['pos_embed'].shape == (1, height * width // 256 + 1, 384)


@pytest.mark.parametrize('size,millions', [
  ('small', 24.3), ('base', 90.0), ('large', 308.5), ('huge', 637.2)])
def test_parameter_count_is_the_published_one(size, millions):
  module = models.build('vitpose', num_keypoints=17, size=size)
  shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 256, 192, 3)))
  count = sum(x.size for x in jax.tree.leaves(shapes['params']))
  assert round(count / 1e6, 1) == millions


def test_query_key_and_value_become_one_in_this_order():
  parts = {part: np.full((2, 2), i, np.float32)
           for i, part in enumerate(('query', 'key', 'value'))}
  state = {f'backbone.encoder.layer.10.attention.attention.{part}.weight': value
           for part, value in reversed(parts.items())}
  out = vitpose.from_huggingface(state | {'unknown.weight': np.zeros(1)})
  assert set(out) == {'blocks.10.attn.qkv.weight', 'unknown.weight'}
  np.testing.assert_array_equal(out['blocks.10.attn.qkv.weight'][:, 0], [0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize('decoder', ['classic', 'simple'])
def test_bfloat16_keeps_float32_where_it_matters(decoder):
  module = models.build('vitpose', dtype='bfloat16', decoder=decoder, **TINY)
  images = jnp.ones((2, 64, 48, 3))
  variables = jax.eval_shape(module.init, jax.random.key(0), images)
  assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
  out, stats = jax.eval_shape(lambda v: module.apply(
    v, images, train=True, mutable=['batch_stats'], rngs={'dropout': jax.random.key(0)}), variables)
  assert out['heatmaps'].dtype == jnp.float32 and out['heatmaps'].shape == (2, 16, 12, 17)
  assert out['features'][0][0].dtype == jnp.bfloat16
  assert {x.dtype for x in jax.tree.leaves(stats)} <= {jnp.dtype('float32')}
  softmax = re.findall(r'(\w+)\[[\d,]*4,12,12\] = exp\b',
                       str(jax.make_jaxpr(module.apply)(variables, images)))
  assert set(softmax) == {'f32'}


def test_drop_path_follows_its_key_in_training_only():
  kwargs = TINY | dict(drop_path=0.5, depth=2, decoder='simple')
  module = models.build('vitpose', **kwargs)
  meta = {'dim': 32, 'input_hw': (32, 32), 'depth': 2, 'deconv_filters': None}
  keys = tiny_entries(entries('vitpose_base_simple_coco17'), meta)
  variables = variables_of(rule.weights(keys, 0), (32, 32), **kwargs)
  images = nhwc(rule.normal(0, 'input', (8, 3, 32, 32)))
  apply = jax.jit(module.apply, static_argnames='train')

  def features(seed, train):
    out = apply(variables, images, train=train, rngs={'dropout': jax.random.key(seed)})
    return np.asarray(out['features'][0][0])

  np.testing.assert_array_equal(features(0, True), features(0, True))
  same = (np.abs(features(0, True) - features(1, True)) < 1e-6).all((1, 2, 3))
  assert 0 < same.sum() < 8  # each sample draws for itself: some agree by chance
  np.testing.assert_array_equal(features(0, False), features(1, False))
  out = apply(variables, images, train=False)
  np.testing.assert_array_equal(features(0, False), out['features'][0][0])


def test_drop_path_rises_linearly_to_that_of_the_last_block():
  rates = []

  def spy(next_call, args, kwargs, context):
    if isinstance(context.module, vitpose.Block):
      rates.append(context.module.drop_path)
    return next_call(*args, **kwargs)

  module = models.build('vitpose', num_keypoints=17, size='base')
  with vitpose.nn.intercept_methods(spy):
    jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
  np.testing.assert_allclose(rates, 0.3 * np.arange(12) / 11)


def test_depth_of_a_parameter():
  assert [vitpose.depth_of(path, 12) for path in (
    ('pos_embed',), ('patch_embed', 'proj', 'kernel'), ('blocks_0', 'norm1', 'scale'),
    ('blocks_11', 'attn', 'qkv', 'bias'), ('last_norm', 'scale'),
    ('deconv_layers_0', 'transposed_kernel'), ('final_layer', 'bias'),
  )] == [0, 0, 1, 12, 13, 13, 13]


@pytest.mark.parametrize('kwargs,shape,message', [
  (dict(), (1, 64, 40, 3), 'multiples of 16, not 64x40'),
  (dict(size='giant'), (1, 64, 48, 3), "not 'giant'"),
  (dict(decoder='complex'), (1, 64, 48, 3), "not 'complex'"),
  (dict(filters=(256,)), (1, 64, 48, 3), 'need 2 filters')])
def test_what_does_not_fit_is_said_in_one_line(kwargs, shape, message):
  module = models.build('vitpose', **{'num_keypoints': 17, **kwargs})
  with pytest.raises(ValueError, match=message) as error:
    jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(shape))
  assert '\n' not in str(error.value)
