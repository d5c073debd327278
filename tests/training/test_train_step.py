"""The step: one trace, accumulation, moving average, frozen networks, dropout keys."""
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from dslope_jax import systems
from dslope_jax.systems.base import Forward, System, normalise
from dslope_jax.training import optimizers, train_state
from dslope_jax.training.train_step import compile_step, make_train_step
from tests import tiny
from tests.refusals import fails

TINY = dict(name='hrnet', width=8, stem_width=8, modules=(1, 1, 1), blocks=(1, 1, 1))
EXAMPLE = {field: jax.ShapeDtypeStruct((1, 32, 32, 3), np.uint8)
           for field in ('image', 'occluded_image')}


class Linear(nn.Module):
  """No batch statistics, so that parts of a batch add up exactly; dropout on demand."""
  dropout: float = 0.0

  @nn.compact
  def __call__(self, x, *, train=False):
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return nn.Dense(3)(x)


def linear_system(dropout=0.0):
  networks = {'a': Linear(dropout), 'b': Linear(dropout)}

  def loss(forward, batch):
    out = {n: forward(n, batch['x']) for n in networks}
    terms = {f'{n}/fit': jnp.square(o - batch['y']).mean() for n, o in out.items()}
    return sum(terms.values()), terms | {'same': jnp.abs(out['a'] - out['b']).max()}

  shapes = [jax.ShapeDtypeStruct((1, 5), 'float32')]
  return System(networks, {}, lambda example: {n: shapes for n in networks}, loss, None)


def run(system, steps=3, trainable=('a', 'b'), **options):
  tx = optax.partition({'on': optax.adam(1e-2), 'off': optax.set_to_zero()},
                       {n: 'on' if n in trainable else 'off' for n in system.networks})
  state = train_state.create(system, tx, seed=0, example=EXAMPLE,
                             ema=bool(options.get('ema_decay')))
  step = jax.jit(make_train_step(system, tx, trainable=trainable, **options))
  states = [state]
  for i in range(steps):
    rng = np.random.default_rng(i)
    batch = {'x': rng.normal(size=(8, 5)).astype(np.float32),
             'y': rng.normal(size=(8, 3)).astype(np.float32)}
    state, terms = step(states[-1], batch)
    states.append(state)
  return states, terms


def test_a_loss_without_terms_is_refused():
  system = linear_system()._replace(loss=lambda forward, batch: (0, {}))
  fails(lambda: run(system, 1), 'no term of the loss', 'system.weights')


def test_parts_of_a_batch_equal_the_whole():
  (*_, whole), terms = run(linear_system())
  for parts in (2, 4):
    (*_, split), split_terms = run(linear_system(), accumulate=parts)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
                 whole.params, split.params)
    np.testing.assert_allclose(terms['a/fit'], split_terms['a/fit'], rtol=1e-5)


class Maps(nn.Module):
  """Heatmaps of 5 joints without batch norm."""

  @nn.compact
  def __call__(self, images, *, train=False):
    return {'heatmaps': nn.Conv(5, (3, 3), 4)(images)}


def test_micro_batches_with_few_labels_equal_the_whole():
  """The KL term is a mean over labelled joints, of which micro-batches have unequal numbers."""
  system = systems.build(tiny.facts(5), 'dslope', model=TINY, mutual=dict(
    kind='kl', weights={'gnet': 1., 'enet': 1.}, temperature=1., features=False))
  system = system._replace(networks={name: Maps() for name in system.networks})
  rng, tx = np.random.default_rng(0), optax.sgd(1e-2)
  visibility = np.zeros((4, 5), np.uint8)
  visibility[0], visibility[1, 0] = 2, 1
  pictures = rng.integers(0, 256, (2, 4, 32, 32, 3), np.uint8)
  batch = {'image': pictures[0], 'occluded_image': pictures[1], 'visibility': visibility,
           'keypoints': rng.uniform(0, 32, (4, 5, 2)).astype(np.float32)}
  state = train_state.create(system, tx, seed=0, example=EXAMPLE)
  after = [jax.jit(make_train_step(system, tx, trainable=('gnet', 'enet'), accumulate=n))(
    state, batch) for n in (1, 2)]
  (whole, terms), (split, split_terms) = ((state.params, terms) for state, terms in after)
  assert terms['gnet/mutual_kl'] > 0.01
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
               (whole, terms), (split, split_terms))


@pytest.mark.slow
def test_parts_pass_batch_statistics_on():
  """Two parts leave the statistics of two passes: 0.9 * (0.9 * old + ...) + ..."""
  system = systems.build(tiny.facts(3), 'heatmap', model=TINY)
  spec = dict(lr=1e-3, schedule='constant', warmup='0 steps', boundaries=(), factor=.1,
              weight_decay=0., clip=0., frozen=False)
  tx, _ = optimizers.build({'net': spec}, system.networks, 1, 1)
  state = train_state.create(system, tx, seed=0, example=EXAMPLE)
  rng = np.random.default_rng(0)
  batch = {'image': rng.integers(0, 256, (4, 32, 32, 3), np.uint8),
           'keypoints': np.full((4, 3, 2), 16, np.float32),
           'visibility': np.full((4, 3), 2, np.uint8)}
  step = make_train_step(system, tx, trainable=('net',), accumulate=2)
  after, terms = jax.jit(step)(state, batch)
  stats = state.batch_stats
  for part in (slice(0, None, 2), slice(1, None, 2)):
    forward = Forward(system.networks, state.params, stats, ('net',), jax.random.key(0))
    forward('net', normalise(batch['image'][part]))
    stats = forward.batch_stats
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
               stats, after.batch_stats)
  assert np.isfinite(terms['loss'])


def test_moving_average():
  states, _ = run(linear_system(), steps=3, ema_decay=0.75)
  want = states[0].params
  for state in states[1:]:
    want = jax.tree.map(lambda old, new: 0.75 * old + 0.25 * new, want, state.params)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
               want, states[-1].ema['params'])
  assert states[-1].weights() is states[-1].ema
  assert not run(linear_system(), steps=1)[0][-1].ema


def test_a_frozen_network_stays_and_has_no_gradient():
  states, terms = run(linear_system(), trainable=('a',))
  jax.tree.map(np.testing.assert_array_equal, states[0].params['b'], states[-1].params['b'])
  assert 'a/grad_norm' in terms and 'b/grad_norm' not in terms
  assert not np.allclose(states[0].params['a']['Dense_0']['kernel'],
                         states[-1].params['a']['Dense_0']['kernel'])


def test_dropout_differs_by_network_and_step_but_not_by_run():
  system = linear_system(dropout=0.5)
  states, terms = run(system, steps=1)
  assert terms['same'] > 0  # two networks, two masks, besides their weights
  again, _ = run(system, steps=1)
  jax.tree.map(np.testing.assert_array_equal, states[-1].params, again[-1].params)
  params = {n: states[0].params['a'] for n in ('a', 'b')}
  keys = [jax.random.fold_in(jax.random.key(0), s) for s in (0, 1)]
  x = np.ones((4, 5), np.float32)
  out = [Forward(system.networks, params, {'a': {}, 'b': {}}, ('a', 'b'), k) for k in keys]
  a0, b0, a1 = out[0]('a', x), out[0]('b', x), out[1]('a', x)
  assert not np.allclose(a0, b0) and not np.allclose(a0, a1)


@pytest.mark.parametrize('arrays,kept', [(3, True), (1001, False)])
def test_large_programs_for_cpu_are_not_kept(arrays, kept, tmp_path):
  """Loading one takes longer than compiling it."""
  before = jax.config.jax_compilation_cache_dir
  compilation_cache.reset_cache()
  jax.config.update('jax_compilation_cache_dir', str(tmp_path))
  try:
    lowered = jax.jit(lambda x: x * arrays).lower(jnp.zeros(()))
    assert compile_step(lowered, [0] * arrays)(jnp.ones(())) == arrays
  finally:
    compilation_cache.reset_cache()
    jax.config.update('jax_compilation_cache_dir', before)
  assert any(tmp_path.glob('*lambda*')) == kept
  assert jax.config.jax_persistent_cache_min_compile_time_secs == 0


def test_networks_start_different_and_seeds_matter():
  tx = optax.sgd(1.)
  system = systems.build(tiny.facts(4), 'dslope', model=TINY,
                         mutual=dict(kind='none', weights={'gnet': 0., 'enet': 0.}))
  create = lambda seed: train_state.create(system, tx, seed=seed, example=EXAMPLE).params
  one, same, other = create(0), create(0), create(1)
  jax.tree.map(np.testing.assert_array_equal, one, same)
  kernel = lambda p, n: p[n]['conv1']['kernel']
  assert not np.allclose(kernel(one, 'gnet'), kernel(one, 'enet'))
  assert not np.allclose(kernel(one, 'gnet'), kernel(other, 'gnet'))


@pytest.mark.parametrize('options,message', [
  (dict(name='dslope', mutual=dict(kind='kld')), "not 'kld'"),
  (dict(name='heatmap', loss='mae'), "not 'mae'"),
  (dict(name='heatmap', view='hidden'), "not 'hidden'")])
def test_wrong_choices_are_named(options, message):
  with pytest.raises(ValueError, match=message):
    systems.build(tiny.facts(4), model=TINY, **options)


@pytest.mark.parametrize('kind,features', [('kl', False), ('kl', True), ('none', False)])
def test_kinds_have_their_terms(kind, features):
  system = systems.build(tiny.facts(8), 'dslope', model=TINY, loss='ohkm',
                         mutual=dict(kind=kind, weights={'gnet': 1., 'enet': 1.}, temperature=.1,
                                     features=features))
  k = 8
  params = train_state.init_weights(system, 0, EXAMPLE)
  rng = np.random.default_rng(0)
  batch = {'image': rng.integers(0, 256, (2, 32, 32, 3), np.uint8),
           'occluded_image': rng.integers(0, 256, (2, 32, 32, 3), np.uint8),
           'keypoints': np.full((2, k, 2), 16, np.float32),
           'visibility': np.full((2, k), 2, np.uint8)}
  forward = Forward(system.networks, params['params'], params['batch_stats'])
  loss, terms = system.loss(forward, batch)
  extra = {'kl': ['kl'], 'none': []}[kind] + (['stage2', 'stage3', 'stage4'] if features else [])
  assert set(terms) == {f'{n}/{t}' for n in ('gnet', 'enet')
                        for t in ['heatmap', *(f'mutual_{e}' for e in extra)]}
  np.testing.assert_allclose(loss, sum(terms.values()), rtol=1e-5)


def test_uint8_pictures_are_normalised():
  white = normalise(jnp.full((1, 1, 1, 3), 255, jnp.uint8))
  np.testing.assert_allclose(white[0, 0, 0], (1 - np.array([.485, .456, .406]))
                             / np.array([.229, .224, .225]), rtol=1e-5)
