"""Forward, Renamed, single and pair: what every system relies on."""
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dslope_jax.errors import UserError
from dslope_jax.systems.base import Forward, Learner, Renamed, normalise, pair, single


class Noise(nn.Module):
  """Half of its input, scaled: a dropout and nothing else."""

  @nn.compact
  def __call__(self, x, *, train=False):
    return nn.Dropout(0.5, deterministic=not train)(x) * self.param('w', nn.initializers.ones, (1,))


WEIGHTS = {name: {'w': jnp.ones(1)} for name in ('gnet', 'enet', 'gnet_head', 'enet_head')}


def forward(names, **options):
  networks = {name: Noise() for name in names}
  return Forward(networks, WEIGHTS, {name: {} for name in names}, tuple(names), jax.random.key(0),
                 **options)


def test_every_call_draws_its_own_dropout():
  run, x = forward(('gnet', 'enet')), np.ones((4, 50), np.float32)
  masks = [run('gnet', x), run('gnet', x), run('enet', x), run('gnet', x)]
  for i in range(4):
    for j in range(i):
      assert not np.array_equal(masks[i], masks[j])
  again = forward(('gnet', 'enet'))
  np.testing.assert_array_equal(again('gnet', x), masks[0])
  keys = [again.key('ramp'), again.key('ramp'), again.key('other')]
  assert len({tuple(jax.random.key_data(k).tolist()) for k in keys}) == 3


def test_average_weights_do_not_learn_and_must_be_kept():
  average = {'params': {'gnet': {'w': jnp.full(1, 3.0)}}, 'batch_stats': {'gnet': {}}}
  x = np.ones((2, 3), np.float32)
  run = forward(('gnet',), average=average)
  np.testing.assert_array_equal(run('gnet', x, average=True), 3 * x)
  with pytest.raises(ValueError, match='ema_decay'):
    forward(('gnet',))('gnet', x, average=True)


def test_halves_of_a_pair_draw_different_keys():
  run = forward(('gnet', 'enet'), step=3, progress=0.25)
  halves = [Renamed(run, {'net': half}) for half in ('gnet', 'enet')]
  assert not np.array_equal(*(jax.random.key_data(half.key('ramp')) for half in halves))
  assert halves[0].step == 3 and halves[0].progress == 0.25


def learner(readouts=('',)):
  """Two networks, one after the other; the loss pulls their output to y."""
  return Learner(
    {'net': Noise(), 'head': Noise()}, {'clean': ('x',), 'occluded': ('hidden_x',)}, ('y',),
    lambda inputs: {name: inputs for name in ('net', 'head')},
    lambda run, inputs: {'out': run('head', run('net', inputs[0]))},
    lambda outputs, batch: {'fit': jnp.square(outputs['out'] - batch['y']).mean()},
    lambda own, partner, batch: {'gap': jnp.square(own['out'] - partner['out']).mean()},
    lambda run, inputs, *, factor=1: {
      readout: {'out': factor * run('head', run('net', inputs[0], train=False), train=False)}
      for readout in readouts}, readouts)


BATCH = {'x': np.full((2, 3), 2, np.float32), 'hidden_x': np.ones((2, 3), np.float32),
         'y': np.zeros((2, 3), np.float32)}


def evaluated(names, factors):
  """A Forward without dropout whose networks multiply by these factors."""
  params = {name: {'w': jnp.full(1, float(f))} for name, f in zip(names, factors, strict=True)}
  return Forward({name: Noise() for name in names}, params, {name: {} for name in names})


def test_a_pair_is_two_learners_that_see_their_view_and_each_other():
  system = pair({half: learner() for half in ('gnet', 'enet')}, {'gnet': 10., 'enet': 100.})
  assert set(system.networks) == {'gnet', 'gnet_head', 'enet', 'enet_head'}
  assert system.fields == {'loss': ('x', 'y', 'hidden_x'), 'predict': ('x', 'hidden_x')}
  assert system.mixes == (('gnet', 'enet'),)
  run = evaluated(('gnet', 'gnet_head', 'enet', 'enet_head'), (1, 2, 3, 1))
  total, terms = system.loss(run, BATCH)  # GNet puts out 4, ENet 3
  assert {k: float(v) for k, v in terms.items()} == {
    'gnet/fit': 16, 'gnet/mutual_gap': 1, 'enet/fit': 9, 'enet/mutual_gap': 1}
  assert float(total) == 16 + 9 + 10 + 100
  outputs = system.predict(run, BATCH, factor=5)
  assert {k: float(v['out'][0, 0]) for k, v in outputs.items()} == {
    'gnet/clean': 20, 'gnet/occluded': 10, 'enet/clean': 30, 'enet/occluded': 15}
  assert set(system.predict(run, {'hidden_x': BATCH['hidden_x']})) == {
    'gnet/occluded', 'enet/occluded'}


def test_a_teacher_that_learns_is_refused_by_the_names_of_its_networks():
  system = pair({half: learner() for half in ('gnet', 'enet')}, {'enet': 1.}, taught=('enet',))
  run = evaluated(('gnet', 'gnet_head', 'enet', 'enet_head'), (1, 2, 3, 1))
  run.trainable = 'enet', 'enet_head', 'gnet_head'
  with pytest.raises(UserError, match='set optim.gnet_head.frozen=True, init_from.gnet_head$'):
    system.loss(run, BATCH)


def test_the_partner_is_detached():
  system = pair({half: learner() for half in ('gnet', 'enet')}, {'gnet': 1., 'enet': 0.})
  names = ('gnet', 'gnet_head', 'enet', 'enet_head')
  networks, stats = {name: Noise() for name in names}, {name: {} for name in names}

  def gap(params):
    _, terms = system.loss(Forward(networks, params, stats), BATCH)
    return terms['gnet/mutual_gap']

  params = {name: {'w': jnp.full(1, f)} for name, f in zip(names, (1., 2., 3., 1.), strict=True)}
  gradient = jax.grad(gap)(params)
  assert float(gradient['gnet']['w'][0]) == 8  # d (4w - 3)^2 / dw at 1
  assert float(gradient['enet']['w'][0]) == float(gradient['enet_head']['w'][0]) == 0


def test_names_with_readouts_and_single_systems():
  readouts = ('heatmap', 'refined')
  system = pair({half: learner(readouts) for half in ('gnet', 'enet')}, {'gnet': 0., 'enet': 0.})
  assert system.mixes == (('gnet/heatmap', 'enet/heatmap'), ('gnet/refined', 'enet/refined'))
  run = evaluated(('gnet', 'gnet_head', 'enet', 'enet_head'), (1, 1, 1, 1))
  assert 'enet/refined/occluded' in system.predict(run, BATCH)
  alone = single(learner(), 'occluded')
  assert alone.fields == {'loss': ('hidden_x', 'y'), 'predict': ('x', 'hidden_x')}
  assert not alone.mixes
  total, terms = alone.loss(evaluated(('net', 'head'), (2, 3)), BATCH)
  assert float(total) == float(terms['net/fit']) == 36
  with pytest.raises(ValueError, match="clean, occluded, not 'front'"):
    single(learner(), 'front')


def test_pictures_are_normalised_once():
  pictures = np.zeros((1, 1, 1, 3), np.uint8)
  np.testing.assert_array_equal(normalise(normalise(pictures)), normalise(pictures))


def test_the_partner_may_be_its_moving_average():
  """Each learns from the average of the other, and the truth from its own outputs."""
  names = ('gnet', 'gnet_head', 'enet', 'enet_head')
  system = pair({half: learner() for half in ('gnet', 'enet')}, {'gnet': 10., 'enet': 100.},
                average=True)
  run = evaluated(names, (1, 2, 3, 1))  # GNet puts out 4, ENet 3
  run._average = {'params': {name: {'w': jnp.full(1, 5.0)} for name in names},
                  'batch_stats': {name: {} for name in names}}  # the averages 50 and 25
  total, terms = system.loss(run, BATCH)
  assert {k: float(v) for k, v in terms.items()} == {
    'gnet/fit': 16, 'gnet/mutual_gap': 21 ** 2, 'enet/fit': 9, 'enet/mutual_gap': 47 ** 2}
  with pytest.raises(ValueError, match='ema_decay'):
    system.loss(evaluated(names, (1, 2, 3, 1)), BATCH)


def test_halves_may_share_their_networks():
  system = pair({half: learner() for half in ('gnet', 'enet')}, {'gnet': 0., 'enet': 0.},
                shared=True)
  assert set(system.networks) == {'net', 'head'}
  assert set(system.inputs({k: v[:1] for k, v in BATCH.items()})) == {'net', 'head'}
  run = evaluated(('net', 'head'), (3, 2))
  _, terms = system.loss(run, BATCH)
  assert float(terms['gnet/fit']) == 12 ** 2 and float(terms['enet/fit']) == 6 ** 2
  assert set(system.predict(run, BATCH)) == {
    'gnet/clean', 'gnet/occluded', 'enet/clean', 'enet/occluded'}
