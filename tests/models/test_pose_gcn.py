"""Graph convolutions and DAG's graph network against the published implementation."""
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dslope_jax import models
from dslope_jax.models.graph import GraphConv, NonLocal, hop_matrices
from dslope_jax.models.layers import grid_sample
from dslope_jax.skeletons import COCO, CROWDPOSE, LSP
from dslope_jax.weights import pytorch
from tests.golden import rule
from tests.golden_data import filled, nhwc, published_weights, relative_error
from tests.refusals import fails

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden/dag'
ADJACENCY = dict(np.load(GOLDEN / 'adjacency.npz'))
SETS = {17: ('coco17', COCO), 14: ('crowdpose14', CROWDPOSE)}
BOX = dict(num_keypoints=5, edges=((0, 1), (1, 2), (2, 3), (2, 4)))
TINY = BOX | dict(heatmap_size=(8, 6), width=4, blocks=2, sampler_width=8)


def published(count, hops):
  """(hops,K,K) of the published lists, the errors in them included."""
  return np.stack([ADJACENCY[f'{SETS[count][0]}_hop{k}'] for k in range(1, hops + 1)])


def of_three_axes(random, name, shape):
  """The exception of the folder's README."""
  if name.endswith('W') and len(shape) == 3:
    return random.randn(*shape) * np.sqrt(1 / shape[1])


# ---- graphs

@pytest.mark.parametrize('count', SETS)
def test_hops_are_the_published_ones_but_for_errors_in_the_lists(count):
  own, theirs = hop_matrices(SETS[count][1].graph, count, 4), published(count, 4)
  differ = [np.flatnonzero(np.abs(a - b).max(1) > 1e-6).tolist()
            for a, b in zip(own, theirs, strict=True)]
  # Hop 1: joint 4 is listed as its own neighbour. Hops 3 and 4 have pairs that are nearer, too.
  assert differ == {17: [[4], [], [5, 6, 11, 12], [*range(9), *range(11, 16)]],
                    14: [[], [], [0, 1, 6, 7, 13], [0, 1, 2, 3, 6, 7, 8, 9, 12, 13]]}[count]
  for k in (2, 3):
    assert not ((own[k] > 0) & (theirs[k] == 0)).any()
  reference = models.build('pose_gcn', num_keypoints=count, reference=True)
  np.testing.assert_array_equal(reference.matrices(), theirs[:2])


def test_hops_of_a_line_and_of_a_joint_alone():
  one, two, three = hop_matrices([(0, 1), (2, 1)], 4, 3)
  np.testing.assert_array_equal(one, [[1, 1, 0, 0], [.5, 1, .5, 0], [0, 1, 1, 0], [0, 0, 0, 1]])
  np.testing.assert_array_equal(two, [[1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]])
  np.testing.assert_array_equal(three, np.eye(4))


def test_a_skeleton_without_published_edges_has_its_limbs():
  assert LSP.graph == LSP.limbs and COCO.graph != COCO.limbs


# ---- layers

@pytest.mark.parametrize('name', ['gconv_j17_g1_s23', 'gconv_j14_g1_s24', 'gconv_j17_g3_s25'])
def test_graph_convolution(name):
  arrays = np.load(GOLDEN / f'{name}.npz')
  meta = json.loads(str(arrays['meta']))
  x = rule.normal(meta['seed'], 'input', (meta['B'], meta['J'], meta['d_in']))
  module = GraphConv(meta['d_out'], published(meta['J'], meta['extra_graphs'] + 1))
  variables = filled(module, [x], meta['seed'], of_three_axes)
  assert relative_error(jax.jit(module.apply)(variables, x), arrays['out']) < 1e-5


def test_at_first_only_neighbours_count():
  hops = hop_matrices(BOX['edges'], 5, 4)
  x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
  variables = GraphConv(6, hops).init(jax.random.key(0), x)
  params = variables['params']
  mean = (hops[0] + hops[0].T) / 2
  want = x @ params['W'][0] + (mean - np.eye(5)) @ (x @ params['W'][1]) + params['bias']
  np.testing.assert_allclose(GraphConv(6, hops).apply(variables, x), want, atol=1e-5)
  variables = {'params': params | {'Lamda1': np.zeros((5, 6), np.float32)}}  # then the second hop
  mean = (hops[1] + hops[1].T) / 2
  want = x @ params['W'][0] + (mean - np.eye(5)) @ (x @ params['W'][1]) + params['bias']
  np.testing.assert_allclose(GraphConv(6, hops).apply(variables, x), want, atol=1e-5)


def test_affinity_is_added_to_a_hop():
  hops = hop_matrices(BOX['edges'], 5, 2)
  x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
  plain, learned = GraphConv(6, hops), GraphConv(6, hops, affinity=True)
  params = learned.init(jax.random.key(0), x)['params']
  np.testing.assert_array_equal(params['affinity2'], np.full((5, 5), 1e-6, np.float32))
  more = np.random.default_rng(1).standard_normal((5, 5)).astype(np.float32)
  other = GraphConv(6, np.stack([hops[0] + more, hops[1] + 1e-6]))
  rest = {k: v for k, v in params.items() if not k.startswith('affinity')}
  assert set(plain.init(jax.random.key(0), x)['params']) == set(rest)
  np.testing.assert_allclose(learned.apply({'params': params | {'affinity1': more}}, x),
                             other.apply({'params': rest}, x), atol=1e-5)


def test_non_local_block_does_nothing_at_first():
  x = np.random.default_rng(0).standard_normal((2, 5, 4)).astype(np.float32)
  variables = NonLocal().init(jax.random.key(0), x, train=False)
  np.testing.assert_array_equal(NonLocal().apply(variables, x, train=False), x)


def test_grid_sample():
  """A map of 2 rows and 3 columns: 0 1 2 / 10 20 30, and its negative."""
  maps = jnp.array([[0., 1, 2], [10, 20, 30]])[None, :, :, None] * jnp.array([1., -1])
  points = {(-2 / 3, -.5): 0, (0, .5): 20, (2 / 3, .5): 30,  # centres of pixels
            (-1 / 3, -.5): .5, (0, 0): 10.5, (1 / 3, .25): (1 + 3 * 20 + 2 + 3 * 30) / 8,
            (-1, -.5): 0, (1, .5): 15, (1, 1): 7.5, (0, 1.5): 0, (-1.5, .5): 0, (1e9, 0): 0,
            (0, -1e9): 0}
  got = jax.jit(grid_sample)(maps, jnp.array([[*points]]))[0]
  np.testing.assert_allclose(got[:, 0], [*points.values()], atol=1e-5)
  np.testing.assert_array_equal(got[:, 1], -got[:, 0])


def test_gradients_of_grid_sample():
  maps = jnp.array([[0., 1, 2], [10, 20, 30]])[None, :, :, None]
  by_map, by_point = jax.jit(jax.grad(lambda m, p: grid_sample(m, p).sum(), (0, 1)))(
    maps, jnp.array([[[1 / 6, .25]]]))  # a quarter of a pixel right of column 1, at row 0.75
  np.testing.assert_allclose(by_map[0, :, :, 0], np.outer([.25, .75], [0, .75, .25]), atol=1e-6)
  # A pixel is 2/3 wide and 1 high.
  np.testing.assert_allclose(by_point[0, 0], [1.5 * (.25 * 1 + .75 * 10), .75 * 19 + .25 * 28],
                             rtol=1e-5)


# ---- the network

@pytest.mark.parametrize('name', ['gcn_j17_s26', 'gcn_j17_s27'])
def test_outputs(name):
  arrays = np.load(GOLDEN / f'{name}.npz')
  meta = json.loads(str(arrays['meta']))
  count, (w, h) = meta['J'], (meta['up_scale'] * side for side in meta['base_heatmap_wh'])
  kwargs = dict(num_keypoints=count, heatmap_size=(h, w), adjacency=published(count, 2),
                width=meta['hidden'])
  module = models.build('pose_gcn', **kwargs)
  points = rule.stream(meta['seed'], 'coords').uniform(-1, 1, (meta['B'], count, 2))
  inputs = points.astype(np.float32), nhwc(rule.normal(meta['seed'], 'heatmaps',
                                                       (meta['B'], count, h, w)))
  weights = published_weights(module, inputs, meta['seed'], of_three_axes)
  out = jax.jit(module.apply)(
    pytorch.convert('pose_gcn', weights, **kwargs), *inputs)
  assert out.keys() == set(arrays.files) - {'meta'}
  for key, value in out.items():
    assert value.shape == arrays[key].shape and relative_error(value, arrays[key]) < 1e-4, key


def shapes(**options):
  module = models.build('pose_gcn', **TINY | options)
  return jax.eval_shape(lambda *inputs: module.init_with_output(jax.random.key(0), *inputs,
                                                                train=True), *module.example(3))


@pytest.mark.parametrize('options', [
  {}, dict(hops=1), dict(hops=4), dict(guidance=False), dict(reference=True), dict(blocks=1),
  dict(num_keypoints=14, edges=None), dict(num_keypoints=17, edges=COCO.graph, reference=True),
  dict(edges=None, adjacency=tuple(map(tuple, np.ones((2, 5, 5)))))])
def test_every_option_builds(options):
  out, variables = shapes(**options)
  count, hops = options.get('num_keypoints', 5), options.get('hops', 2)
  width = 4 + (count if options.get('guidance', True) else 0)
  wanted = {'offset': 2, 'after_blocks': 4, 'after_last_block': width, 'after_nonlocal': width} | (
    {'sample_points': 2} if width > 4 else {})
  assert {k: v.shape for k, v in out.items()} == {k: (3, count, c) for k, c in wanted.items()}
  params = variables['params']
  weights = lambda layer: sum(name.startswith('Lamda') for name in layer)
  assert weights(params['gconv_output']) == weights(params['gconv_input_0']['gconv']) == hops
  assert weights(params['gconv_layer_last']['gconv1']['gconv']) == min(hops, 2)
  assert ('level_conv' in params) == (width > 4)


def run(train=False, **options):
  """(outputs, changed statistics) of a network of random weights, as a function of its inputs."""
  module = models.build('pose_gcn', **TINY | options)
  variables = filled(module, module.example(), 3)
  return lambda *inputs: module.apply(variables, *inputs, train=train,
                                      mutable=['batch_stats'] if train else [])


def inputs(seed=0):
  rng = np.random.default_rng(seed)
  return (rng.uniform(-1, 1, (3, 5, 2)).astype(np.float32),
          rng.standard_normal((3, 8, 6, 5)).astype(np.float32))


def test_reference_normalises_by_the_batch_at_test():
  """As in training, but for the statistics; and training has a gradient for every heatmap."""
  points, maps = inputs()
  own, reference = (jax.jit(run(reference=flag))(points, maps)[0]['offset']
                    for flag in (False, True))
  assert np.abs(own - reference).max() > 0.01

  def loss(maps):
    out, changed = run(train=True)(points, maps)
    return jnp.square(out['offset']).sum(), (out['offset'], changed)

  gradient, (trained, changed) = jax.jit(jax.grad(loss, has_aux=True))(maps)
  np.testing.assert_allclose(trained, reference, rtol=1e-4, atol=1e-5)
  assert changed['batch_stats']
  assert np.isfinite(gradient).all() and (np.abs(gradient).max((1, 2)) > 0).all()


@pytest.mark.parametrize('size,millions', [((128, 96), 14.007425), ((192, 144), 29.7)])
def test_parameters(size, millions):
  module = models.build('pose_gcn', num_keypoints=17, heatmap_size=size)
  variables = jax.eval_shape(module.lazy_init, jax.random.key(0), *module.example())
  count = sum(x.size for x in jax.tree.leaves(variables['params']))
  assert round(count / 1e6, 1 if millions == 29.7 else 6) == millions


def test_bad_options():
  refused = lambda *parts, **options: fails(lambda: shapes(**options), *parts)
  refused('hops=0', hops=0)
  refused('from 1 to 4', 'hops=5', hops=5)
  refused('blocks=0', blocks=0)
  refused('edges', 'from 0 to 4', edges=None)
  refused('edges', 'from 0 to 4', edges=())
  refused('((0, 5),)', edges=((0, 5),))
  refused('(2, 5, 5)', '(1, 5, 5)', adjacency=np.ones((1, 5, 5)))
  module = models.build('pose_gcn', **TINY)
  points, maps = inputs()
  fails(lambda: module.apply({}, points, maps.transpose(0, 2, 1, 3)), '(8, 6, 5)',
        '(6, 8, 5)', 'heatmap_size')
