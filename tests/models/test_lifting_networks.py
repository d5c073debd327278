"""Lifting networks: shapes, sizes, what depends on what, and every switch."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dslope_jax import models
from dslope_jax.errors import UserError
from dslope_jax.models import attention_blocks
from dslope_jax.models.pose_moe import TRACK_B
from tests.tiny import shaken

TINY = dict(frames=9, width=16, heads=2, num_keypoints=17)
MOE = TINY | dict(encoder_layers=1, decoder_layers=1)
PRIORS = ('gaussian_trainable', 'gaussian_frozen', 'gaussian_resampled', 'gaussian_coord',
          'laplace', 'uniform', 'zero')
ONE_ENCODER = MOE | dict(decoder_layers=0)
ONE_EXCHANGE = MOE | dict(encoder_layers=0)
# Together all values of all switches.
CASES = [
  ('entangled', TINY | dict(depth=1, block='dual', input_channels=3, qkv_bias=True)),
  ('pose_moe', ONE_ENCODER | dict(depth_prior='laplace', expert_block='dual', router='none')),
  ('pose_moe', ONE_ENCODER | dict(depth_prior='gaussian_coord', encoder_heads='supervise',
                                  input_channels=3, layer_scale=None, mlp_ratio=2)),
  ('pose_moe', ONE_ENCODER | dict(depth_prior='zero', depth_init='G_only',
                                  router='concat_linear', time_embedding=False)),
  ('pose_moe', ONE_EXCHANGE | dict(depth_prior='uniform', pmd_update='sequential', pmd_order='st',
                                   head='linear')),
  ('pose_moe', ONE_EXCHANGE | dict(pmd_direction='2d_to_depth', dtype='bfloat16')),
  ('pose_moe', ONE_EXCHANGE | dict(depth_prior='gaussian_frozen', pmd_direction='depth_to_2d')),
  ('pose_moe', ONE_EXCHANGE | dict(depth_prior='gaussian_resampled', pmd_direction='none'))]


def clips(channels=2, frames=9, seed=0):
  return jnp.asarray(np.random.default_rng(seed).normal(size=(2, frames, 17, channels)),
                     jnp.float32)


def built(name='pose_moe', **options):
  """(network, its first weights)."""
  network = models.build(name, **(MOE if name == 'pose_moe' else TINY | dict(depth=1)) | options)
  example = jax.ShapeDtypeStruct((1, 9, 17, network.input_channels), jnp.float32)
  return network, network.lazy_init(jax.random.key(0), example)


def posed(network, variables, keypoints):
  return jax.jit(network.apply)(variables, keypoints)['keypoints_3d']


@functools.cache
def traced(name, frames=243, options=()):
  """Shapes of (outputs for two clips, variables) of a network of full size."""
  network = models.build(name, num_keypoints=17, frames=frames, **dict(options))
  return jax.eval_shape(network.init_with_output, jax.random.key(0),
                        jax.ShapeDtypeStruct((2, frames, 17, 2), jnp.float32))


def num_parameters(name, **options):
  _, shapes = traced(name, options=tuple(options.items()))
  return sum(x.size for x in jax.tree.leaves(shapes['params']))


def test_number_of_parameters():
  default = num_parameters('pose_moe')
  assert default == pytest.approx(13.33e6, rel=0.02)
  assert num_parameters('pose_moe', **TRACK_B) == pytest.approx(13.7e6, rel=0.02)
  assert num_parameters('entangled') == pytest.approx(default - 243 * 17 * 128, rel=0.02)
  assert num_parameters('entangled', width=512, depth=8, mlp_ratio=2, qkv_bias=True,
                        layer_scale=None, head='linear') == pytest.approx(33.6e6, rel=0.02)


@pytest.mark.parametrize('name, frames', [('pose_moe', 27), ('pose_moe', 81), ('pose_moe', 243),
                                          ('entangled', 243)])
def test_shapes(name, frames):
  out, _ = traced(name, frames)
  assert out['keypoints_3d'].shape == (2, frames, 17, 3)
  streams = 2 if name == 'pose_moe' else 1
  assert [x.shape for x in out['streams']] == streams * [(2, frames, 17, 128)]
  assert ('router' in out) == (name == 'pose_moe')


@pytest.mark.parametrize('name, options', CASES)
def test_every_parameter_learns(name, options):
  """No gradient is zero or infinite; parameters and poses are float32."""
  network, variables = built(name, **options)
  variables = {**variables, 'params': shaken(variables['params'])}

  def loss(params):
    out = network.apply({**variables, 'params': params}, clips(network.input_channels), train=True,
                        rngs={'dropout': jax.random.key(3)})
    poses = [out[k] for k in ('keypoints_3d', 'encoder_keypoints_3d') if k in out]
    return sum((pose ** 2).sum() for pose in poses), out

  gradient, out = jax.jit(jax.grad(loss, has_aux=True))(variables['params'])
  assert out['keypoints_3d'].shape == (2, 9, 17, 3)
  assert out['keypoints_3d'].dtype == jnp.float32
  assert ('router' in out) == (name == 'pose_moe' and options.get('router', 'soft') == 'soft')
  assert {x.dtype for x in jax.tree.leaves(variables)} == {np.dtype('float32')}
  for path, value in jax.tree_util.tree_leaves_with_path(gradient):
    assert jnp.isfinite(value).all() and jnp.abs(value).max() > 0, jax.tree_util.keystr(path)


def test_dropped_layers_are_drawn_anew_in_training_alone():
  network, variables = built('entangled', drop_path=0.5, depth=3, layer_scale=None)
  train = jax.jit(lambda key: network.apply(variables, clips(), train=True, rngs={'dropout': key})[
    'keypoints_3d'])
  assert (train(jax.random.key(0)) != train(jax.random.key(1))).any()
  plain, _ = built('entangled', depth=3, layer_scale=None)
  np.testing.assert_array_equal(posed(network, variables, clips()), posed(plain, variables,
                                                                         clips()))


def of_depth_expert(params):
  return {k: v for k, v in params.items() if k.startswith('depth')}


@pytest.mark.parametrize('key, options', [
  ('encoder_keypoints_3d', dict(encoder_heads='supervise', decoder_layers=0)),
  ('keypoints_3d', dict(router='none', pmd_direction='none'))])
def test_the_2d_expert_never_sees_the_depth_expert(key, options):
  """Exactly zero gradient of x and y, in front of the router, or behind all where there is neither
  router nor exchange, by prior and weights of the depth expert; z has one by each."""
  network, variables = built(**options)
  params = shaken(variables['params'])

  @jax.jit
  def gradients(params):
    pose, back = jax.vjp(lambda p: network.apply({'params': p}, clips())[key], params)
    parts = jnp.array([[1., 1, 0], [0, 0, 1]])[:, None, None, None]
    return jax.vmap(lambda part: back(part * pose)[0])(parts)

  found = of_depth_expert(gradients(params))
  assert set(found) == {'depth_0', 'depth_prior'}
  for of_xy, of_z in jax.tree.leaves(found):
    np.testing.assert_array_equal(of_xy, 0)
    assert jnp.abs(of_z).max() > 0


@pytest.mark.parametrize('direction, sees', [
  ('both', (True, True)), ('2d_to_depth', (False, True)), ('depth_to_2d', (True, False)),
  ('none', (False, False))])
def test_directions_of_the_exchange(direction, sees):
  """Whether x, y read the depth stream, and z the 2D stream; the number of weights is the same."""
  network, variables = built(router='none', encoder_layers=0, pmd_direction=direction)
  both, _ = built(router='none', encoder_layers=0)
  shapes = jax.tree.map(jnp.shape, variables)
  assert shapes == jax.tree.map(jnp.shape, built(router='none', encoder_layers=0)[1])
  params = shaken(variables['params'])
  run = jax.jit(lambda params: network.apply({'params': params}, clips())['keypoints_3d'])
  before = run(params)
  for part, own, other in ((slice(0, 2), 'xy', 'depth'), (slice(2, 3), 'depth', 'xy')):
    name = f'{other}_norm'
    changed = jax.tree.map(jnp.copy, params)
    for layer in ('exchange_0_frames', 'exchange_0_joints'):
      changed[layer][name]['bias'] += 1.0
    moved = float(jnp.abs(run(changed) - before)[..., part].max())
    assert (moved > 1e-4) == sees[own == 'depth'], (own, moved)


def test_sequential_depth_reads_the_new_2d_tokens():
  """A change of the 2D stream's attention reaches z within one exchange, of which parallel ones
  need two."""
  def moved(update):
    exchange = models.pose_moe.Exchange(attention_blocks.Form(heads=2), 0.0, 'both', update)
    tokens = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 5, 8)), jnp.float32)
    params = shaken(exchange.init(jax.random.key(0), *tokens, train=False)['params'])
    run = lambda params: exchange.apply({'params': params}, *tokens, train=False)[1]
    before, changed = run(params), jax.tree.map(jnp.copy, params)
    changed['xy_attention']['out']['bias'] += 1.0
    return float(jnp.abs(run(changed) - before).max())

  assert moved('parallel') == 0 and moved('sequential') > 1e-3


def test_the_router_starts_equal_and_changes_almost_nothing():
  network, variables = built()
  out = jax.jit(network.apply)(variables, clips())
  np.testing.assert_allclose(out['router'], 0.5, atol=1e-7)
  router = models.pose_moe.Router('soft')
  streams = [10 * x for x in out['encoder_streams']]
  after = router.apply({'params': variables['params']['router']}, *streams)[:2]
  for old, new in zip(streams, after, strict=True):
    change = jnp.abs(new - old).max() / jnp.abs(old).max()
    assert 0 < change < 1e-4
  odd = shaken(variables['params']['router'])
  weights = router.apply({'params': odd}, *streams)[2]
  np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)
  assert weights.std() > 0.01


@pytest.mark.parametrize('prior', PRIORS)
def test_priors(prior):
  network, variables = built(**ONE_EXCHANGE | dict(decoder_layers=0, depth_prior=prior))
  params, kept = variables['params'], variables.get('batch_stats', {})
  drawn = prior in ('gaussian_resampled', 'gaussian_coord')
  assert ('depth_prior' in params) == (prior != 'gaussian_frozen' and not drawn)
  assert ('depth_prior' in kept) == (prior == 'gaussian_frozen')
  if not drawn:
    values = (params | kept)['depth_prior']
    assert values.shape == (9, 17, 16)
    assert float(jnp.std(values)) == pytest.approx(float(prior != 'zero'), abs=0.06)
    assert (float(jnp.abs(values).max()) <= 3 ** 0.5) == (prior in ('uniform', 'zero'))
  run = lambda key, train: network.apply(variables, clips(), train=train, rngs={'dropout': key})[
    'encoder_streams']
  (one, depth), (two, depth_too) = (run(jax.random.key(i), True) for i in range(2))
  np.testing.assert_array_equal(one, two)
  assert bool((depth != depth_too).any()) == drawn
  xy, depth = run(jax.random.key(0), False)
  np.testing.assert_array_equal(depth, run(jax.random.key(1), False)[1])
  if prior == 'gaussian_coord':
    weights = params['depth_embedding']['coordinates']['kernel'][:2]
    bias = params['depth_embedding']['coordinates']['bias']
    np.testing.assert_allclose(depth, clips() @ weights + bias, rtol=1e-5, atol=1e-6)
  else:
    np.testing.assert_allclose(depth, xy + (0 if drawn else values), rtol=1e-6, atol=1e-6)


def test_a_short_clip_has_the_middle_of_prior_and_embedding():
  """As a clip of the full length whose network was cut to its middle."""
  network, variables = built()
  params = shaken(variables['params'])
  short = posed(network, {'params': params}, clips(frames=4))
  cut = dict(params, depth_prior=params['depth_prior'][2:6])
  cut['embedding'] = dict(params['embedding'], frame=params['embedding']['frame'][2:6])
  small = models.build('pose_moe', **MOE | dict(frames=4))
  np.testing.assert_allclose(posed(small, {'params': cut}, clips(frames=4)), short, rtol=1e-5,
                             atol=1e-5)


@pytest.mark.parametrize('name', ['pose_moe', 'entangled'])
def test_frames_have_an_order_and_joints_their_places(name):
  network, variables = built(name)
  params = shaken(variables['params'])
  run = lambda keypoints: posed(network, {'params': params}, keypoints)
  for axis in (1, 2):
    turned = jnp.flip(run(jnp.flip(clips(), axis)), axis)
    assert float(jnp.abs(turned - run(clips())).max()) > 1e-2
  unordered, variables = built(name, time_embedding=False, **(
    {'depth_prior': 'gaussian_resampled'} if name == 'pose_moe' else {}))
  params = shaken(variables['params'])
  run = lambda keypoints: posed(unordered, {'params': params}, keypoints)
  np.testing.assert_allclose(run(clips()[:, ::-1])[:, ::-1], run(clips()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', ['pose_moe', 'entangled'])
def test_the_residual_adds_the_input_relative_to_the_root(name):
  plain, variables = built(name)
  residual, _ = built(name, xy_residual=True, root=3)
  change = posed(residual, variables, clips()) - posed(plain, variables, clips())
  np.testing.assert_allclose(change[..., :2], clips() - clips()[:, :, 3:4], atol=1e-6)
  np.testing.assert_array_equal(change[..., 2], 0)


@pytest.mark.parametrize('name', ['pose_moe', 'entangled'])
def test_how_embeddings_of_joints_and_frames_begin(name):
  for std in (0.0, 0.5):
    _, variables = built(name, embedding_std=std)
    for place in ('joint', 'frame'):
      values = variables['params']['embedding'][place]
      assert abs(float(jnp.std(values)) - std) <= 0.2 * std


def test_a_probe_trains_its_heads_alone():
  network, variables = built(encoder_heads='probe', decoder_layers=0)
  loss = lambda params: (network.apply({'params': params}, clips())['encoder_keypoints_3d'] ** 2
                         ).sum()
  gradient = jax.jit(jax.grad(loss))(shaken(variables['params']))
  learned = {name for name, tree in gradient.items()
             if any(jnp.abs(x).max() > 0 for x in jax.tree.leaves(tree))}
  assert learned == {'encoder_head_xy', 'encoder_head_z'}


def test_bfloat16_is_near_float32():
  network, variables = built(dtype='bfloat16')
  exact, _ = built()
  np.testing.assert_allclose(posed(network, variables, clips()), posed(exact, variables, clips()),
                             atol=0.02)
  assert jax.eval_shape(network.apply, variables, clips())['streams'][0].dtype == jnp.bfloat16


@pytest.mark.parametrize('options, words', [
  (dict(depth_prior='normal'), 'depth_prior is one of gaussian_trainable.*zero.*not .normal'),
  (dict(router='hard'), 'router is one of soft, none, concat_linear'),
  (dict(head='mlp'), 'head is one of tanh512, linear'),
  (dict(depth_prior='gaussian_coord', depth_init='G_only'), 'gaussian_coord'),
  (dict(attention='fused'), 'attention is one of None, xla, cudnn, not .fused'),
  (dict(heads=3), 'width 16 is no multiple of the 3 heads'),
  (dict(input_channels=3), '17 joints, 3 channels.*input_channels'),
  (dict(frames=8), 'clips have 9 frames.*8 at most')])
def test_wrong_options_are_refused(options, words):
  network = models.build('pose_moe', **MOE | options)
  with pytest.raises(UserError, match=words):
    jax.eval_shape(network.init, jax.random.key(0), clips())


def test_fused_attention_is_xla_where_there_is_no_gpu():
  if jax.default_backend() == 'gpu':
    pytest.skip('there is a GPU')
  plain, variables = built()
  fused, _ = built(attention='cudnn')
  np.testing.assert_array_equal(posed(plain, variables, clips()), posed(fused, variables, clips()))
