"""Whole steps of DAG in float64: alone, by its parts, and as the halves of a pair."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dslope_jax import heatmaps, systems
from dslope_jax.errors import UserError
from dslope_jax.skeletons import COCO
from dslope_jax.systems import dag, heatmap
from dslope_jax.systems.base import Facts, normalise
from dslope_jax.training import train_state
from dslope_jax.training.train_step import make_train_step

SIZE, B, LR = (32, 32), 4, 1e-2
FACTS = Facts(COCO, SIZE)
MODEL = dict(name='dag', dtype='float64')
GRAPH = dict(name='pose_gcn', width=8, blocks=2, sampler_width=8)
NO_MUTUAL = dict(kind='kl', weights={'gnet': 0.0, 'enet': 0.0}, temperature=0.1, features=True)
HALVES = {'gnet': 'image', 'enet': 'occluded_image'}


pytestmark = pytest.mark.usefixtures('small_dag')


@functools.cache
def batch():
  """Three people on each picture; one joint is not labelled, one outside of the picture."""
  rng = np.random.default_rng(0)
  visibility = np.full((B, 17), 2, np.uint8)
  visibility[:, 3], visibility[:, 4] = 0, 3
  others = np.zeros((B, 5, 17, 3), np.float32)
  others[:, :2, :, :2] = rng.uniform(0, 32, (B, 2, 17, 2))
  others[:, :2, :, 2] = 2
  outside = np.zeros((B, 17), bool)
  outside[:, 5] = True  # in the occluded pictures
  pictures = rng.normal(size=(2, B, 32, 32, 3))
  return {'image': pictures[0], 'occluded_image': pictures[1],
          'keypoints': rng.uniform(0, 32, (B, 17, 2)).astype(np.float32),
          'visibility': visibility, 'others': others, 'outside': outside}


def shapes():
  return {k: jax.ShapeDtypeStruct((1, *v.shape[1:]), v.dtype) for k, v in batch().items()}


def stepped(system, weights):
  """(terms, networks after a step of plain gradient descent)."""
  optimizer = optax.sgd(LR)
  state = train_state.TrainState(np.int32(0), weights['params'], weights['batch_stats'],
                                 optimizer.init(weights['params']), {})
  step = jax.jit(make_train_step(system, optimizer, trainable=tuple(system.networks)))
  state, terms = step(state, {name: batch()[name] for name in system.fields['loss']})
  return jax.device_get((terms, state.params, state.batch_stats))


@pytest.fixture(scope='module')
def alone(small_dag):
  """(weights before, terms, params, batch_stats after) of a step of DAG on clean crops."""
  with jax.enable_x64(True):
    system = systems.build(FACTS, 'dag', view='clean', model=MODEL, gcn=GRAPH)
    weights = jax.tree.map(lambda x: np.asarray(x, np.float64),
                           train_state.init_weights(system, 0, shapes()))
    return weights, *stepped(system, weights)


def close(got, want, rtol=1e-6):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-8), got, want)


def test_a_step_is_the_composition_of_its_parts(alone):
  """Networks, targets and loss terms, which other tests hold to the published numbers."""
  weights, terms, after, statistics = alone
  with jax.enable_x64(True):
    networks = systems.build(FACTS, 'dag', view='clean', model=MODEL, gcn=GRAPH).networks
    truth, size = batch(), np.array(SIZE)

    def draw(keypoints, visibility):
      return heatmap.draw_targets({'keypoints': keypoints, 'visibility': visibility}, SIZE, 16, 3.0)

    def loss(params):
      run = lambda name, *inputs: networks[name].apply(
        {'params': params[name], 'batch_stats': weights['batch_stats'][name]}, *inputs, train=True,
        mutable=['batch_stats'])
      out, of_net = run('net', normalise(jnp.asarray(truth['image'])))
      x, y, _ = heatmaps.peaks(out['heatmaps'])
      initial = 2 * (2 * jnp.stack([x, y], -1)) / size - 1
      graph, of_graph = run('gcn', initial, out['heatmaps'])
      own = draw(truth['keypoints'], truth['visibility'])
      seen = [draw(truth['others'][:, i, :, :2], truth['others'][:, i, :, 2]) for i in range(2)]
      everybody = (jnp.maximum(own[0], jnp.maximum(seen[0][0], seen[1][0]) / 2),
                   jnp.maximum(own[1], jnp.maximum(seen[0][1], seen[1][1])))
      labels = (truth['visibility'] == 2, truth['visibility'] > 0)
      found = dag.loss_terms(out | {'refined': initial + graph['offset']}, own, everybody, labels,
                             2 * truth['keypoints'] / size - 1)
      return sum(found.values()), (found, {'net': of_net, 'gcn': of_graph})

    gradient, (found, new) = jax.jit(jax.grad(loss, has_aux=True))(weights['params'])
    for name, value in found.items():
      np.testing.assert_allclose(terms[f'net/{name}'], value, rtol=1e-6)
      assert value > 0
    close(after, jax.tree.map(lambda p, g: p - LR * g, weights['params'], gradient))
    close(statistics, {name: updates['batch_stats'] for name, updates in new.items()})


def test_halves_of_a_pair_without_mutual_term_take_the_step_of_dag_alone(alone):
  weights, terms, after, statistics = alone
  with jax.enable_x64(True):
    system = systems.build(FACTS, 'dslope', learner='dag', mutual=NO_MUTUAL, model=MODEL, gcn=GRAPH,
                           sigma=3.0)
    assert set(system.networks) == {'gnet', 'gnet_gcn', 'enet', 'enet_gcn'}
    both = {kind: {f'{half}{part}': weights[kind][name] for half in HALVES
                   for name, part in (('net', ''), ('gcn', '_gcn'))} for kind in weights}
    found, params, stats = stepped(system, both)
  for name in ('heatmap', 'multi', 'presence', 'pose'):
    np.testing.assert_allclose(found[f'gnet/{name}'], terms[f'net/{name}'], rtol=1e-6)
    assert found[f'enet/{name}'] != terms[f'net/{name}']  # it sees other pictures
  assert {'kl', 'stage3', 'stage4'} == {
    name.removeprefix('gnet/mutual_') for name in found if name.startswith('gnet/mutual_')}
  close({'net': params['gnet'], 'gcn': params['gnet_gcn']}, after)
  close({'net': stats['gnet'], 'gcn': stats['gnet_gcn']}, statistics)


@pytest.mark.parametrize('guidance', [pytest.param(True, marks=pytest.mark.slow), False])
def test_the_refined_pose_reaches_the_backbone_by_the_sampled_maps_alone(guidance):
  """Never by the places of the peaks: the gradient is that of the graph network with these fixed,
  and without guidance there is none."""
  learner = dag.learner(FACTS, dict(MODEL, dtype='float32'), GRAPH | {'guidance': guidance})
  graph, rng = learner.networks['gcn'], np.random.default_rng(0)
  maps = jnp.asarray(rng.normal(size=(B, 16, 16, 17)), jnp.float32)
  initial = jnp.asarray(rng.uniform(-1, 1, (B, 17, 2)), jnp.float32)
  weights = graph.init(jax.random.key(0), initial, maps)
  run = lambda initial, maps: graph.apply(weights, initial, maps, train=False)['offset']
  seen = []

  def forward(name, *inputs, train=True):
    if name == 'net':
      return {'heatmaps': inputs[0][:, ::2, ::2].mean(-1, keepdims=True) * maps}
    seen.append(inputs[0])
    return {'offset': run(*inputs)}

  def pose(images):
    return (learner.run(forward, (images,))['refined'] ** 2).sum()

  gradient = jax.grad(pose)(jnp.ones((B, 32, 32, 3)))
  assert bool(jnp.abs(gradient).max() > 0) == guidance
  fixed = jax.lax.stop_gradient(seen[0])
  want = jax.grad(lambda images: ((fixed + run(
    fixed, images[:, ::2, ::2].mean(-1, keepdims=True) * maps)) ** 2).sum())(
    jnp.ones((B, 32, 32, 3)))
  np.testing.assert_allclose(gradient, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('changes, words', [
  (dict(coord_norm='boxes'), "'crop' or 'box', not 'boxes'"),
  (dict(weights={'multi': 1.0}), 'multi, presence, pose, not multi'),
  (dict(gcn=GRAPH | {'hops': 0}), 'hops=0')])
def test_wrong_options_are_refused_by_name(changes, words):
  with pytest.raises(UserError, match=words):
    system = systems.build(FACTS, 'dag', view='clean', **dict(model=MODEL, gcn=GRAPH) | changes)
    train_state.weight_shapes(system, shapes())


def test_keypoints_without_limbs_have_no_graph():
  bare = FACTS._replace(skeleton=COCO.__class__(('a', 'b'), limbs=(), sigmas=(.1, .1), name='bare'))
  with pytest.raises(UserError, match='bare have none.*no_graph'):
    systems.build(bare, 'dag', model=MODEL, gcn=GRAPH)
  assert set(systems.build(bare, 'dag', model=MODEL, gcn=GRAPH, graph=False).networks) == {'net'}


def test_a_pair_of_dag_has_no_fields_of_heatmap_networks():
  for field in ({'shared': True}, {'covered_weight': 2.0}):
    with pytest.raises(UserError, match=f"'dag' knows no system.{next(iter(field))}"):
      systems.build(FACTS, 'dslope', learner='dag', mutual=NO_MUTUAL, model=MODEL, gcn=GRAPH,
                    **field)
