"""HRNet's multi-resolution head for faces against a twin written after the published code.

No reference outputs of the published network are at hand. The twin is a second way to write it: it
reads the weights by their published keys. Its operations are those of PyTorch where PyTorch is
installed, and plain NumPy.
"""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dslope_jax import models
from dslope_jax.models import hrnet
from dslope_jax.weights import architecture, pytorch
from tests.golden_data import nhwc, published_weights, relative_error
from tests.models.twins import OfNumpy, OfTorch
from tests.refusals import fails

SMALL = dict(num_keypoints=5, width=4, stem_width=4, modules=(1, 1, 1), blocks=(1, 1, 1),
             head='multi')
IMAGE = (1, 64, 96, 3)


class Twin:
  """The network of a state dict; called with images (B,3,H,W)."""

  def __init__(self, state, operations):
    self.do = operations
    self.state = {key: operations.tensor(value) for key, value in state.items()}

  def conv(self, x, key, stride=1):
    return self.do.convolve(x, self.state[f'{key}.weight'], self.state.get(f'{key}.bias'), stride)

  def norm(self, x, key):
    return self.do.norm(x, *(self.state[f'{key}.{part}'] for part in (
      'weight', 'bias', 'running_mean', 'running_var')))

  def step(self, x, key, stride=1):
    """Convolution .0 and norm .1."""
    return self.norm(self.conv(x, f'{key}.0', stride), f'{key}.1')

  def block(self, x, key, convolutions):
    y = x
    for i in range(1, convolutions + 1):
      y = self.norm(self.conv(y, f'{key}.conv{i}'), f'{key}.bn{i}')
      y = self.do.relu(y) if i < convolutions else y
    shortcut = f'{key}.downsample'
    return self.do.relu(y + (self.step(x, shortcut) if f'{shortcut}.0.weight' in self.state else x))

  def fuse(self, x, i, j, key, size):
    if i == j:
      return x
    if j > i:
      return self.do.enlarge(self.step(x, f'{key}.{i}.{j}'), size)
    for k in range(i - j):
      x = self.step(x, f'{key}.{i}.{j}.{k}', 2)
      x = self.do.relu(x) if k < i - j - 1 else x
    return x

  def __call__(self, x):
    for i in (1, 2):
      x = self.do.relu(self.norm(self.conv(x, f'conv{i}', 2), f'bn{i}'))
    for i in range(4):
      x = self.block(x, f'layer1.{i}', 3)
    maps = [x]
    for stage in (2, 3, 4):
      key = f'transition{stage - 1}'
      more = self.do.relu(self.step(maps[-1], f'{key}.{stage - 1}.0', 2))
      maps = [self.do.relu(self.step(y, f'{key}.{b}')) if f'{key}.{b}.0.weight' in self.state else y
              for b, y in enumerate(maps)] + [more]
      maps = [self.block(y, f'stage{stage}.0.branches.{b}.0', 2) for b, y in enumerate(maps)]
      maps = [self.do.relu(sum(self.fuse(y, i, j, f'stage{stage}.0.fuse_layers', maps[i].shape[2:])
                               for j, y in enumerate(maps))) for i in range(stage)]
    x = self.do.join([self.do.enlarge(y, maps[0].shape[2:]) for y in maps])
    x = self.do.relu(self.norm(self.conv(x, 'head.0'), 'head.1'))
    return self.do.array(self.conv(x, 'head.3'))


@pytest.fixture(scope='module')
def weights():
  module = models.build('hrnet', **SMALL)
  return published_weights(module, (jax.ShapeDtypeStruct(IMAGE, 'float32'),), 7)


@pytest.mark.parametrize('operations', [OfNumpy, OfTorch])
def test_heatmaps_are_those_of_the_twin(weights, operations):
  image = np.random.default_rng(0).normal(0, 1, (1, 3, 64, 96))
  want = Twin(weights, operations())(operations().tensor(image))
  with jax.enable_x64(True):
    state = {key: value.astype(np.float64) for key, value in weights.items()}
    variables = pytorch.convert('hrnet', state, **SMALL)
    module = models.build('hrnet', **SMALL)
    out = jax.jit(module.apply)(variables, nhwc(image))
  assert [x.shape[1:] for x in out['features'][-1]] == [
    (16, 24, 4), (8, 12, 8), (4, 6, 16), (2, 3, 32)]
  assert want.shape == (1, 5, 16, 24) and np.ptp(want) > 1e-3
  assert relative_error(np.asarray(out['heatmaps']).transpose(0, 3, 1, 2), want) < 1e-9


def test_keys_are_the_published_ones(weights):
  """Of the head; those of the trunk are the keys of HRNet for bodies, which golden files hold."""
  heads = {key: value.shape for key, value in weights.items() if key.startswith('head.')}
  norm = {f'head.1.{part}': (60,) for part in ('weight', 'bias', 'running_mean', 'running_var')}
  assert heads == norm | {'head.0.weight': (60, 60, 1, 1), 'head.0.bias': (60,),
                          'head.3.weight': (5, 60, 1, 1), 'head.3.bias': (5,)}
  assert {key for key in weights if key.startswith('stage4.0.fuse_layers.3.')} > {
    'stage4.0.fuse_layers.3.0.2.0.weight'}
  assert not any(key.startswith('final_layer') for key in weights)


@pytest.mark.parametrize('prefix', ['', 'module.', 'model.'])
def test_a_weight_file_tells_the_head_and_goes_both_ways(weights, prefix):
  given = {prefix + key: value for key, value in weights.items()}
  assert architecture.identify(given) == ('hrnet', SMALL)
  assert architecture.crop_size('hrnet', given) == (256, 256)
  arguments = {name: value for name, value in SMALL.items() if name != 'num_keypoints'}
  found = pytorch.convert_any('hrnet', arguments, given, (96, 64))
  assert found.arguments['num_keypoints'] == 5 and not found.fresh and not found.dropped
  again = pytorch.to_state_dict('hrnet', found.variables)
  assert again.keys() == weights.keys()
  for key, value in again.items():
    np.testing.assert_array_equal(value, weights[key])
  # For other points all but the head.
  other = pytorch.convert_any('hrnet', arguments | {'num_keypoints': 9}, given, (96, 64),
                              fresh_head=True)
  assert {leaf.split('/')[0] for leaf in other.fresh} == {'head_0', 'head_1', 'head_3'}


@pytest.mark.parametrize('points, number', [(68, 9_654_398), (98, 9_662_528)])
def test_parameters_of_w18(points, number):
  module = models.build('hrnet', num_keypoints=points, width=18, head='multi')
  shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 256, 256, 3)))
  assert sum(x.size for x in jax.tree.leaves(shapes['params'])) == number


def test_another_head_is_refused():
  module = hrnet.Model(**SMALL | {'head': 'many'})
  fails(lambda: jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(IMAGE)),
        "'single' or 'multi', not 'many'")
