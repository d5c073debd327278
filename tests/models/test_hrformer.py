"""HRFormer against the outputs of the published implementation."""
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dslope_jax import models
from dslope_jax.models.hrformer import Block, WindowAttention, relative_position_index
from dslope_jax.weights import pytorch
from tests.golden import rule
from tests.golden_data import nhwc, relative_error

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden/hrformer'
TINY = dict(num_keypoints=5, width=8, modules=(1, 1, 1), blocks=1, stem_width=8, bottlenecks=1,
            window=2)


def golden(name):
  arrays = np.load(GOLDEN / f'{name}.npz')
  return arrays, json.loads(str(arrays['meta']))


def listing(size):
  return json.loads((GOLDEN / f'keys_hrformer_{size}_coco17.json').read_text())


@pytest.mark.slow
@pytest.mark.parametrize('name', ['nobias', 'withbias'])
def test_outputs(name):
  arrays, meta = golden(f'hrformer_small_{name}_s41')
  kwargs = dict(num_keypoints=17, size=meta['size'], relative_bias=meta['position_bias_added'])
  weights = rule.weights(listing('small')['entries'], meta['seed'])
  weights = {key.partition('.')[2]: value for key, value in weights.items()}
  variables = pytorch.convert('hrformer', weights, **kwargs)
  images = nhwc(rule.normal(meta['seed'], 'input', (meta['B'], 3, *meta['input_hw'])))
  # Not under jit: the blocks repeat, so that operation by operation there is less to compile.
  out = models.build('hrformer', **kwargs).apply(variables, images)
  assert [[x.shape[1:] for x in stage] for stage in out['features']] == [
    [(24, 16, 32), (12, 8, 64)], [(24, 16, 32), (12, 8, 64), (6, 4, 128)], [(24, 16, 32)]]
  for key, got in (('heatmaps', out['heatmaps']), ('features', out['features'][-1][0])):
    assert relative_error(got.transpose(0, 3, 1, 2), arrays[key]) < 1e-5, key


@pytest.mark.parametrize('name', ['nobias', 'withbias'])
def test_window_attention(name):
  arrays, meta = golden(f'window_attention_{name}_s42')
  c, heads, window, (h, w) = meta['C'], meta['heads'], meta['window'], meta['map_hw']
  shapes = {'attn.relative_position_bias_table': [(2 * window - 1) ** 2, heads]}
  for p in ('q_proj', 'k_proj', 'v_proj', 'out_proj'):
    shapes |= {f'attn.{p}.weight': [c, c], f'attn.{p}.bias': [c]}
  params = {}
  for key, value in rule.weights(list(shapes.items()), meta['seed']).items():
    *path, leaf = key.split('.')[1:]
    part = params.setdefault(path[0], {}) if path else params
    part['kernel' if leaf == 'weight' else leaf] = value.T if leaf == 'weight' else value
  x = rule.normal(meta['seed'], 'input', (meta['B'], h * w, c)).reshape(-1, h, w, c)
  layer = WindowAttention(heads, window, meta['position_bias_added'])
  out = layer.apply({'params': {'attn': params}}, x)
  assert relative_error(out.reshape(-1, h * w, c), arrays['out']) < 1e-5


def test_relative_position_index():
  # Tokens of a 2x2 window by rows; the middle row, 4, of the 3x3 offsets is the token itself.
  np.testing.assert_array_equal(
    relative_position_index(2), [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]])


@pytest.mark.parametrize('size,parameters', [('small', 7_746_779), ('base', 43_211_777)])
def test_every_published_key_is_a_parameter_or_statistic(size, parameters):
  weights = {key.partition('.')[2]: np.broadcast_to(np.float32(0), shape)
             for key, shape, _ in listing(size)['entries']
             if not key.endswith('relative_position_index')}
  variables = pytorch.convert('hrformer', weights, num_keypoints=17, size=size)
  assert sum(x.size for x in jax.tree.leaves(variables['params'])) == parameters
  assert listing(size)['total_parameters'] == parameters


def test_bfloat16_keeps_float32_where_it_matters():
  module = models.build('hrformer', dtype='bfloat16', relative_bias=True, drop_path=0.0, **TINY)
  images = jnp.ones((2, 32, 64, 3))
  out, variables = jax.eval_shape(
    lambda: module.init_with_output(jax.random.key(0), images, train=True))
  assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
  assert out['heatmaps'].dtype == jnp.float32
  assert out['features'][0][0].dtype == jnp.bfloat16
  _, stats = jax.eval_shape(
    lambda v: module.apply(v, images, train=True, mutable=['batch_stats']), variables)
  assert {x.dtype for x in jax.tree.leaves(stats)} == {jnp.dtype('float32')}


def test_softmax_is_float32_under_bfloat16():
  layer = WindowAttention(2, 3, True)
  x = jnp.ones((1, 6, 6, 8), jnp.bfloat16)
  variables = layer.init(jax.random.key(0), x)
  jaxpr = str(jax.make_jaxpr(layer.apply)(variables, x))
  exponentials = [line for line in jaxpr.splitlines() if '= exp ' in line]
  assert exponentials and all('f32[' in line for line in exponentials)


def test_drop_path_draws_from_the_key_in_training_only():
  block, x = Block(1, 2, True, drop_path=0.5), jax.random.normal(jax.random.key(0), (16, 2, 2, 4))
  shapes = jax.eval_shape(lambda: block.init(jax.random.key(0), x, train=False))
  variables = jax.tree.map(lambda s: jnp.ones(s.shape, s.dtype), shapes)

  @jax.jit
  def train(key):
    out, _ = block.apply(variables, x, train=True, mutable=['batch_stats'], rngs={'dropout': key})
    return out

  first, again, other = (train(jax.random.key(i)) for i in (0, 0, 1))
  np.testing.assert_array_equal(first, again)
  # A quarter of the samples, on average, skip both the attention and the MLP.
  kept = [(out == x).all((1, 2, 3)) for out in (first, other)]
  assert all(0 < k.sum() < 10 for k in kept) and (kept[0] != kept[1]).any()
  evaluate = jax.jit(lambda key: block.apply(variables, x, train=False, rngs={'dropout': key}))
  np.testing.assert_array_equal(evaluate(jax.random.key(0)), evaluate(jax.random.key(1)))


def test_drop_path_is_linear_in_depth():
  rates = {}

  def note(next_fun, args, kwargs, context):
    if type(context.module).__name__ == 'DropPath':
      rates['/'.join(context.module.path[:2])] = context.module.rate
    return next_fun(*args, **kwargs)

  module = models.build('hrformer', drop_path=0.3, **TINY | dict(modules=(1, 2, 1)))
  with models.hrformer.nn.intercept_methods(note):
    jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
  modules = 'stage2_0', 'stage3_0', 'stage3_1', 'stage4_0'
  np.testing.assert_allclose([rates[f'{m}/branches_0_0'] for m in modules], [0, 0.1, 0.2, 0.3])
  assert rates['stage4_0/branches_3_0'] == rates['stage4_0/branches_0_0']


def test_bad_size_and_bad_sides():
  init = lambda module, h, w: jax.eval_shape(module.init, jax.random.key(0),
                                             jnp.zeros((1, h, w, 3)))
  with pytest.raises(ValueError, match='multiples of 32, not 64x48'):
    init(models.build('hrformer', **TINY), 64, 48)
  with pytest.raises(ValueError, match="sizes small, base, not 'large'"):
    init(models.build('hrformer', num_keypoints=17, size='large'), 64, 64)
