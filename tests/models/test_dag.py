"""DAG's pose network against the outputs of the published implementation, and its options."""
import json
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dslope_jax import models
from dslope_jax.models import dag, hrnet
from dslope_jax.weights import pytorch
from tests.golden import rule
from tests.golden_data import filled, nhwc, published_weights, relative_error
from tests.refusals import fails

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden/dag'
TINY = dict(num_keypoints=5, width=8, stem_width=8, modules=(1, 1, 1), blocks=(1, 1, 1))


class Heads(nn.Module):
  """Attention and heads alone."""
  num_keypoints: int = 17
  options: tuple = ()
  presence: bool = True

  @nn.compact
  def __call__(self, stage3, stage4):
    out = dag.heads(stage3, stage4, self.num_keypoints, **dict(self.options))
    if self.presence:
      out['presence_logits'] = dag.presence(stage4, self.num_keypoints, train=False)
    return out


def golden(name):
  arrays = np.load(GOLDEN / f'{name}.npz')
  return arrays, json.loads(str(arrays['meta']))


def check(got, arrays, tolerance):
  for name, value in got.items():
    value = np.asarray(value)
    value = value.transpose(0, 3, 1, 2) if value.ndim == 4 else value
    assert value.shape == arrays[name].shape
    assert relative_error(value, arrays[name]) < tolerance, name


def named(outputs):
  return {'pose': outputs['heatmaps'], 'parts': outputs['parts'],
          'context_logits': outputs['presence_logits'],
          'context': jax.nn.sigmoid(outputs['presence_logits'])}


def test_attention_and_heads():
  arrays, meta = golden('adam_s21')
  inputs = [nhwc(rule.normal(meta['seed'], name, (meta['B'], meta['C'], *meta['map_hw'])))
            for name in ('stage3', 'stage4')]
  module = Heads(meta['J'])
  out = jax.jit(module.apply)(filled(module, inputs, meta['seed']), *inputs)
  check(named(out) | {'channel_attention': out['channel_attention']}, arrays, 1e-5)


def test_the_whole_network():
  arrays, meta = golden('model_w8_s22')
  kwargs = dict(num_keypoints=meta['J'], width=meta['width'])
  module = models.build('dag', **kwargs)
  images = nhwc(rule.normal(meta['seed'], 'input', (meta['B'], 3, *meta['input_hw'])))
  weights = published_weights(module, [images], meta['seed'])
  out = jax.jit(module.apply)(pytorch.convert('dag', weights, **kwargs), images)
  maps = {'stage3': out['features'][1][0], 'stage4': out['features'][2][0]}
  check({k: v for k, v in named(out).items() if k != 'context'} | maps, arrays, 1e-4)


@pytest.mark.parametrize('name', ['spatial_attention_s18', 'spatial_attention_s19'])
def test_spatial_attention(name):
  arrays, meta = golden(name)
  x = nhwc(rule.normal(meta['seed'], 'input', (meta['B'], meta['C'], *meta['map_hw'])))
  module = dag.SpatialAttention(meta['downsample'])
  variables = filled(module, [x], meta['seed'])
  variables['params']['gamma'] = np.full(1, meta['gamma'], np.float32)
  check({'out': jax.jit(module.apply)(variables, x)}, arrays, 1e-5)


def test_attention_is_linear_in_the_features_at_the_centre():
  x = np.random.default_rng(0).standard_normal((3, 4, 6, 5)).astype(np.float32)
  module = dag.ChannelAttention()
  params = module.init(jax.random.key(0), x)['params']
  factors = lambda v: (module.apply({'params': params}, np.concatenate(
    [v[:, None, None], np.ones_like(x[:, :1, :1])], 1)[:, ::-1])[:, 0, 0]
    - params['atn']['bias'])  # of the map [1, v], whose centre is v and whose corner is 1
  one, other = x[:, 0, 0], x[:, 1, 1]
  np.testing.assert_allclose(factors(2 * one - 3 * other), 2 * factors(one) - 3 * factors(other),
                             atol=1e-5)
  moved = x.copy()
  moved[:, 2, 3] += 1  # row h // 2, column w // 2
  change = module.apply({'params': params}, moved) / moved - module.apply({'params': params}, x) / x
  want = np.broadcast_to(params['atn']['kernel'].sum(0), change.shape)
  np.testing.assert_allclose(change, want, atol=1e-3)


def shapes(**options):
  """(shapes of the outputs, of the variables) for two images of 32x64."""
  module = models.build('dag', **TINY | options)
  images = jax.ShapeDtypeStruct((2, 64, 32, 3), jnp.float32)
  return jax.eval_shape(lambda x: module.init_with_output(jax.random.key(0), x, train=True), images)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('options,missing', [
  ({}, ()), (dict(spatial_attention=True), ()), (dict(double=False), ()),
  (dict(random_instance_scale=True), ()), (dict(presence=False), ('presence_logits',)),
  (dict(attention=False), ('parts', 'channel_attention'))])
def test_every_option_builds(options, missing, dtype):
  out, variables = shapes(dtype=dtype, **options)
  h, w = (32, 16) if options.get('double', True) else (16, 8)
  wanted = {'heatmaps': (2, h, w, 5), 'parts': (2, h, w, 5), 'presence_logits': (2, 5),
            'channel_attention': (2, 16, 8, 8)}
  assert {k: v.shape for k, v in out.items() if k != 'features'} == {
    k: v for k, v in wanted.items() if k not in missing}
  assert {out[k].dtype for k in out if k not in ('features', 'channel_attention')} == {
    np.dtype('float32')}
  assert {x.dtype for x in jax.tree.leaves(out['features'])} == {jnp.dtype(dtype)}
  assert [[x.shape[1:] for x in stage] for stage in out['features'][1:]] == [
    [(16, 8, 8), (8, 4, 16), (4, 2, 32)], [(16, 8, 8)]]
  assert {x.dtype for x in jax.tree.leaves(variables)} == {np.dtype('float32')}
  parts = set(variables['params'])
  assert ('spatial_att' in parts) == ('spatial_attention' in options)
  assert ('context_predictor_0' in parts) == ('presence_logits' not in missing)
  assert ({'channel_att', 'concat_predict', 'parts_predictor'} <= parts) == ('parts' not in missing)


def test_without_attention_it_is_hrnet_with_larger_heatmaps():
  _, own = shapes(attention=False, presence=False)
  other = jax.eval_shape(hrnet.Model(**TINY).lazy_init, jax.random.key(0),
                         jax.ShapeDtypeStruct((2, 64, 32, 3), jnp.float32))
  params = dict(other['params'])
  assert own['params'] == params | {'kpt_layer': params.pop('final_layer')}
  assert own['batch_stats'] == other['batch_stats']
  stage4 = np.random.default_rng(0).standard_normal((1, 2, 2, 3)).astype(np.float32)
  maps = []
  for double in (False, True):
    module = Heads(2, (('attention', False), ('double', double)), presence=False)
    params = filled(module, [stage4, stage4], 1)['params']
    maps.append(module.apply({'params': params}, stage4 + 1e3, stage4)['heatmaps'])
  layer = params['kpt_layer']
  np.testing.assert_allclose(maps[0], stage4 @ layer['kernel'][0, 0] + layer['bias'], rtol=1e-5)
  shares = np.array([[1, 0], [.75, .25], [.25, .75], [0, 1]])  # of rows 0 and 1, by their centres
  np.testing.assert_allclose(maps[1], np.einsum('yh,xw,bhwk->byxk', shares, shares, maps[0]),
                             rtol=1e-5)


def test_the_published_random_factor():
  x = jnp.ones((2, 4, 4, 3))
  module = dag.ChannelAttention(random_scale=True)
  params = {'params': {'atn': {'kernel': jnp.eye(3), 'bias': jnp.zeros(3)}}}
  draw = lambda seed: module.apply(params, x, rngs={'dropout': jax.random.key(seed)})
  one, other = draw(0), draw(1)
  assert np.ptp(one) == 0 and np.ptp(other) == 0  # one number for all
  assert one.max() != other.max() and abs(one.max()) < 1 and abs(other.max()) < 1
  np.testing.assert_array_equal(module.apply(params, x), x)  # no key, no factor


@pytest.mark.parametrize('width,count', [(32, 19539), (48, 39267)])
def test_parameters_over_those_of_hrnet(width, count):
  maps = [jax.ShapeDtypeStruct((1, 8, 8, width), jnp.float32)] * 2
  variables = jax.eval_shape(Heads().lazy_init, jax.random.key(0), *maps)
  assert sum(x.size for x in jax.tree.leaves(variables['params'])) == count


def test_initial_weights():
  """Convolutions are N(0, 0.001) without bias, dense layers as in PyTorch."""
  maps = [jax.ShapeDtypeStruct((1, 8, 8, 32), jnp.float32)] * 2
  params = Heads().lazy_init(jax.random.key(0), *maps)['params']
  for name in ('concat_predict', 'parts_predictor', 'kpt_layer'):
    assert abs(params[name]['kernel'].std() / 0.001 - 1) < 0.15
    np.testing.assert_array_equal(params[name]['bias'], 0)
  for layer in (params['channel_att']['atn'], params['context_predictor_0']):
    for value in layer.values():
      assert 0.7 * 32 ** -0.5 < abs(value).max() <= 32 ** -0.5


def test_bad_options():
  for option in ('spatial_attention', 'random_instance_scale'):
    fails(lambda option=option: shapes(attention=False, **{option: True}), option, 'attention=True')
  fails(lambda: models.build('dag', num_keypoints=5, spatial=True), 'spatial_attention', 'spatial')
