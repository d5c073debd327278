"""The network that tells which joints are in sight and in the picture."""
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import ccoco_vitpose, clspet_hrnet
from dslope_jax import models, systems, tasks
from dslope_jax.systems import joint_states
from dslope_jax.systems.base import Forward, Learner, single
from dslope_jax.training import train_state
from dslope_jax.weights import published
from tests import tiny
from tests.refusals import fails

K = 3
NO_TERM = dict(kind='none', weights=dict(gnet=0.0, enet=0.0))


def test_targets_are_those_of_the_table():
  """docs/visibility.md: v = 0, 1, 2, 3, and 2 covered and 2 beyond a border."""
  codes = np.array([[0, 1, 2, 3, 2, 2]], np.uint8)
  covered, outside = (np.arange(6)[None] == place for place in (4, 5))
  wanted, known = joint_states.targets(codes, covered, outside)
  assert np.array(known['visible']).tolist() == [[False, True, True, False, True, False]]
  assert np.array(wanted['visible'])[known['visible']].tolist() == [False, True, False]
  assert np.array(known['present']).tolist() == [[False, True, True, True, True, True]]
  assert np.array(wanted['present'])[known['present']].tolist() == [True, True, False, True, False]
  wanted, known = joint_states.targets(codes)
  assert np.array(known['visible']).tolist() == [[False, True, True, False, True, True]]
  assert np.array(wanted['visible'])[0, [2, 4, 5]].all()


def test_losses_by_hand():
  """-log of the probability given to what is so; unknown joints cost nothing."""
  p = np.array([[.9, .2, .5]])
  logits = {'visible': jnp.log(p / (1 - p)), 'present': jnp.zeros((1, 3))}
  wanted = {'visible': np.array([[True, False, True]]), 'present': np.ones((1, 3), bool)}
  known = {'visible': np.array([[True, True, False]]), 'present': np.zeros((1, 3), bool)}
  found = joint_states.losses(logits, wanted, known, known)
  assert found['visible'] == pytest.approx(-(np.log(.9) + np.log(.8)) / 2, rel=1e-5)
  assert found['present'] == 0


def test_the_network_reads_features_where_the_heatmap_peaks():
  """Coarse features under fine heatmaps: what lies at the peak decides, the joints on their own."""
  net = models.build('joint_states', num_keypoints=2)
  features = np.zeros((1, 2, 2, 4), np.float32)
  features[0, 1, 0] = 1, 2, 3, 4
  maps = np.zeros((1, 8, 8, 2), np.float32)
  maps[0, 6, 1] = 3, 0  # in the coarse pixel (1, 0)
  maps[0, 1, 6] = 0, 3
  variables = net.init(jax.random.key(0), features, maps)
  read = lambda f, m: net.apply(variables, f, m)['visible'][0]
  other = features.copy()
  other[0, 1, 0] = 4, 3, 2, 1  # the mean over the crop is as it was for each joint's own peak
  other[0, 0, 1] = features[0, 1, 0] - other[0, 1, 0]
  before, after = read(features, maps), read(other, maps)
  assert before.shape == (2,) and not np.allclose(before, after, atol=1e-4)
  moved = maps[..., ::-1]
  assert not np.allclose(read(features, moved), before, atol=1e-4)


def test_a_published_folder_keeps_it(tmp_path):
  """PyTorch has no such network: it is stored under our own names."""
  net = models.build('joint_states', num_keypoints=2)
  shapes = [jax.ShapeDtypeStruct((1, n, n, c), 'f4') for n, c in ((2, 4), (4, 2))]
  trees = {name: net.lazy_init(jax.random.key(i), *shapes)['params']
           for i, name in enumerate(('gnet_states', 'enet_states'))}
  networks = dict.fromkeys(trees, net)
  published.write(tmp_path, clspet_hrnet.get_config('states'), {}, networks,
                  {'params': trees, 'batch_stats': dict.fromkeys(trees, {})}, 7)
  weights, step = published.read(tmp_path, networks, (32, 32))
  jax.tree.map(np.testing.assert_array_equal, weights['params'], trees)
  assert step == 7 and weights['batch_stats'] == dict.fromkeys(trees, {})
  config = clspet_hrnet.get_config('states')
  half, of_half, _ = published.of_half(config, {'params': trees | {'enet': {}}}, None, 'enet')
  assert set(half.optim) == {'net', 'states'} and half.system.states
  assert of_half['params'] == {'net': {}, 'states': trees['enet_states']}


def batch(size=4):
  rng = np.random.default_rng(0)
  picture = lambda: rng.integers(0, 255, (size, 32, 32, 3), np.uint8)
  return {'image': picture(), 'occluded_image': picture(),
          'keypoints': rng.uniform(4, 28, (size, K, 2)).astype(np.float32),
          'visibility': rng.integers(0, 4, (size, K)).astype(np.uint8),
          'covered': rng.random((size, K)) < 0.3, 'outside': rng.random((size, K)) < 0.3}


SHAPES = {name: jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype) for name, x in batch().items()}


class Tiny(nn.Module):
  """A pose network of one pixel by pixel layer."""

  @nn.compact
  def __call__(self, images, *, train=False):
    maps = nn.Dense(K)(images[:, ::4, ::4])
    return {'heatmaps': maps, 'features': [[jnp.concatenate([maps, jnp.square(maps)], -1)]]}


TINY = Learner(
  networks={'net': Tiny()}, views={'clean': ('image',), 'occluded': ('occluded_image',)},
  truth=('keypoints',), shapes=lambda inputs: {'net': (SHAPES['image'].update(dtype='f4'),)},
  run=lambda forward, images: forward('net', images[0] / 255.0),
  fit=lambda outputs, batch: {'heatmap': jnp.square(outputs['heatmaps']).mean()},
  compare=lambda own, partner, batch: {}, predict=lambda forward, images: {'': {}})


def grads(system, weights):
  def loss(params):
    forward = Forward(system.networks, params, weights['batch_stats'], tuple(system.networks),
                      jax.random.key(0))
    return system.loss(forward, {name: batch()[name] for name in system.fields['loss']})
  return jax.grad(loss, has_aux=True)(weights['params'])


@pytest.mark.parametrize('view', ['clean', 'occluded'])
def test_poses_are_those_without_it(view):
  """No gradient reaches the pose network; its own terms are as they were, bit for bit."""
  told = single(joint_states.add(TINY, tiny.facts(K), view), view)
  weights = train_state.init_weights(told, 0, SHAPES)
  (alone, terms), (beside, more) = grads(single(TINY, view), weights), grads(told, weights)
  jax.tree.map(np.testing.assert_array_equal, alone['net'], beside['net'])
  assert max(np.abs(g).max() for g in jax.tree.leaves(beside['states'])) > 0.01
  assert more.items() >= terms.items() and set(more) - set(terms) == {'net/visible', 'net/present'}
  assert {'covered', 'outside'}.isdisjoint(told.fields['loss']) == (view == 'clean')


@pytest.mark.parametrize('shared', [False, True])
def test_both_halves_tell_of_both_views(shared):
  system = systems.build(tiny.facts(K), 'dslope', model=tiny.MODEL, mutual=NO_TERM, states=True,
                         shared=shared)
  own = {'net', 'states'} if shared else {'gnet', 'gnet_states', 'enet', 'enet_states'}
  weights = train_state.weight_shapes(system, SHAPES)
  assert set(system.networks) == set(weights['params']) == own

  def predict(weights):
    forward = Forward(system.networks, weights['params'], weights['batch_stats'])
    return system.predict(forward, {name: batch()[name] for name in system.fields['predict']})

  found = jax.eval_shape(predict, weights)
  assert len(found) == 4
  for fields in found.values():
    assert fields['visible'].shape == fields['present'].shape == (4, K)
  assert {'covered', 'outside', 'visibility'} <= set(system.fields['loss'])


def test_the_word_states_adds_the_sections():
  config = clspet_hrnet.get_config('states,kl,shared')
  assert config.system.states and set(config.optim) == set(config.init_from) == {'net', 'states'}
  config = clspet_hrnet.get_config('states,distill')
  assert set(config.optim) == set(config.init_from) == {'gnet', 'enet', 'enet_states'}
  assert config.optim.gnet.frozen and not config.optim.enet_states.frozen
  system = systems.build(tiny.facts(K), **(config.system.to_dict() | {'model': tiny.MODEL}))
  assert set(system.networks) == set(config.optim)
  assert ccoco_vitpose.get_config('states').optim.gnet_states.layer_decay == 1
  assert not clspet_hrnet.get_config('kl').system.states


def test_states_without_an_optimizer_are_refused(tmp_path):
  config = tiny.config()
  config.system.states = True
  fails(lambda: tasks.build(config, str(tmp_path)), 'enet_states, gnet_states', "word 'states'")
