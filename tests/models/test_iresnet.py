"""IResNet against a twin written after insightface's published code, and the keys of its files.

No reference outputs of the published networks are at hand. The list of keys is made from the
architecture; the twin reads the weights by it, and its operations are those of PyTorch where
PyTorch is installed, and plain NumPy.
"""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dslope_jax import models
from dslope_jax.models import iresnet
from dslope_jax.predictor import Predictor
from dslope_jax.weights import architecture, pytorch
from tests.golden_data import nhwc, published_weights, relative_error
from tests.models.twins import OfNumpy, OfTorch
from tests.refusals import fails
from tests.weights import listings

SMALL = dict(depth=18, width=4, dim=6)
SIZE = (48, 48)


def listing(depth, width=64, dim=512, cells=49):
  """[key, shape, kind] of a published file."""
  norm = lambda key, count: [[f'{key}.{part}', [count], ''] for part in (
    'weight', 'bias', 'running_mean', 'running_var')] + [[f'{key}.num_batches_tracked', [], '']]
  conv = lambda key, out, into, size: [[f'{key}.weight', [out, into, size, size], '']]
  out = conv('conv1', width, 3, 3) + norm('bn1', width) + [['prelu.weight', [width], '']]
  before = width
  for stage, count in enumerate(iresnet.DEPTHS[depth]):
    own = width * 2 ** stage
    for i in range(count):
      key = f'layer{stage + 1}.{i}'
      out += norm(f'{key}.bn1', before) + conv(f'{key}.conv1', own, before, 3)
      out += norm(f'{key}.bn2', own) + [[f'{key}.prelu.weight', [own], '']]
      out += conv(f'{key}.conv2', own, own, 3) + norm(f'{key}.bn3', own)
      if not i:
        out += conv(f'{key}.downsample.0', own, before, 1) + norm(f'{key}.downsample.1', own)
      before = own
  return out + norm('bn2', before) + [['fc.weight', [dim, before * cells], ''],
                                      ['fc.bias', [dim], '']] + norm('features', dim)


class Twin:
  """The network of a state dict; called with images (B,3,H,W)."""

  def __init__(self, state, operations):
    self.do = operations
    self.state = {key: operations.tensor(value) for key, value in state.items()}

  def conv(self, x, key, stride=1):
    return self.do.convolve(x, self.state[f'{key}.weight'], stride=stride)

  def norm(self, x, key):
    return self.do.norm(x, *(self.state[f'{key}.{part}'] for part in (
      'weight', 'bias', 'running_mean', 'running_var')))

  def prelu(self, x, key):
    return self.do.prelu(x, self.state[f'{key}.weight'])

  def block(self, x, key, stride):
    y = self.conv(self.norm(x, f'{key}.bn1'), f'{key}.conv1')
    y = self.prelu(self.norm(y, f'{key}.bn2'), f'{key}.prelu')
    y = self.norm(self.conv(y, f'{key}.conv2', stride), f'{key}.bn3')
    if f'{key}.downsample.0.weight' in self.state:
      x = self.norm(self.conv(x, f'{key}.downsample.0', stride), f'{key}.downsample.1')
    return y + x

  def __call__(self, x):
    x = self.prelu(self.norm(self.conv(x, 'conv1'), 'bn1'), 'prelu')
    for stage in (1, 2, 3, 4):
      i = 0
      while f'layer{stage}.{i}.bn1.weight' in self.state:
        x, i = self.block(x, f'layer{stage}.{i}', 1 if i else 2), i + 1
    x = self.do.linear(self.norm(x, 'bn2'), self.state['fc.weight'], self.state['fc.bias'])
    return self.do.array(self.norm(x, 'features'))


@pytest.fixture(scope='module')
def weights():
  shape = jax.ShapeDtypeStruct((1, *SIZE, 3), 'float32')
  return published_weights(models.build('iresnet', **SMALL), (shape,), 7)


@pytest.mark.parametrize('operations', [OfNumpy, OfTorch])
def test_embeddings_are_those_of_the_twin(weights, operations):
  images = np.random.default_rng(0).uniform(-1, 1, (2, 3, *SIZE))
  do = operations()
  want = Twin(weights, do)(do.tensor(images))
  with jax.enable_x64(True):
    state = {key: value.astype(np.float64) for key, value in weights.items()}
    variables = pytorch.convert('iresnet', state, image_size=SIZE, **SMALL)
    out = jax.jit(models.build('iresnet', **SMALL).apply)(variables, nhwc(images))
  assert [x.shape[1:] for (x,) in out['features']] == [
    (24, 24, 4), (12, 12, 8), (6, 6, 16), (3, 3, 32)]
  assert want.shape == (2, 6) and np.ptp(want) > 1e-3
  assert relative_error(np.asarray(out['embedding']), want) < 1e-9


@pytest.mark.parametrize('depth, number', [(18, 24_025_600), (50, 43_590_848), (100, 65_156_160)])
def test_every_published_key_is_taken_and_given_back(depth, number):
  arguments = dict(depth=depth, width=64, dim=512)
  given = {key: np.broadcast_to(np.float32(0), shape) for key, shape, _ in listing(depth)}
  assert architecture.crop_size('iresnet', given) == (112, 112)
  listings.taken_and_given_back(listing(depth), 'iresnet', arguments, number, size=(112, 112))


@pytest.mark.parametrize('prefix', ['', 'module.', 'backbone.'])
def test_a_weight_file_tells_its_network_and_the_size_of_its_pictures(weights, prefix, tmp_path):
  given = {prefix + key: value for key, value in weights.items()}
  assert set(weights) == {key for key, *_ in listing(18, 4, 6, 9) if 'tracked' not in key}
  pytorch.save_tensors(tmp_path, given)
  file = str(tmp_path / 'model.safetensors')
  converted, certificate = pytorch.load_file(file, '', {}, None)
  assert certificate['model'] == 'iresnet' and certificate['image_size'] == list(SIZE)
  assert certificate['arguments'] == SMALL and certificate['keys_used'] == len(weights)
  assert not converted.fresh and not converted.dropped
  fails(lambda: pytorch.load_file(file, 'iresnet', SMALL, (32, 32)), 'misshapen fc.weight')
  fails(lambda: pytorch.load_file(file, 'iresnet', SMALL | dict(width=8), None),
        "its keys are those of iresnet with {'width': 4}")
  # For another size all but the last layers.
  other = pytorch.convert_any('iresnet', SMALL, given, (32, 32), fresh_head=True)
  assert {leaf.split('/')[0] for leaf in other.fresh} == {'fc', 'features'}
  fails(lambda: Predictor(file), 'iresnet', 'no keypoints')


def test_training_keeps_the_last_scale_and_drops_parts_of_the_last_map():
  network = models.build('iresnet', **SMALL | dict(depth=10, dropout=0.5))
  images = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (3, 32, 32, 3)), jnp.float32)
  variables = network.lazy_init(jax.random.key(0), jax.ShapeDtypeStruct(images.shape, 'float32'))

  def outputs(params, key):
    return network.apply({**variables, 'params': params}, images, train=True,
                         rngs={'dropout': jax.random.key(key)}, mutable='batch_stats')[0]

  def loss(params):
    first, second = (outputs(params, key)['embedding'] for key in (0, 1))
    return jnp.square(first - 1).sum(), (first, second)

  gradient, (first, second) = jax.jit(jax.grad(loss, has_aux=True))(variables['params'])
  assert not gradient['features']['scale'].any() and gradient['features']['bias'].any()
  assert gradient['prelu']['scale'].any()
  assert not np.allclose(first, second)


def test_embeddings_are_float32_whatever_the_computation():
  network = models.build('iresnet', **SMALL | dict(depth=10, dtype='bfloat16'))
  out, variables = jax.eval_shape(network.init_with_output, jax.random.key(0),
                                  jnp.zeros((1, 32, 32, 3)))
  assert out['embedding'].dtype == jnp.float32 and out['features'][3][0].dtype == jnp.bfloat16
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}


def test_a_depth_that_there_is_not():
  fails(lambda: models.build('iresnet', depth=19).lazy_init(
    jax.random.key(0), jax.ShapeDtypeStruct((1, 32, 32, 3), 'float32')), 'IResNet depth', '19')
  fails(lambda: models.build('iresnet', num_keypoints=5), 'takes depth, dim')
  keys = {key: np.zeros(shape) for key, shape, _ in listing(18, 4, 6, 9) if 'layer4.1' not in key}
  fails(lambda: architecture.identify(keys), '(2, 2, 2, 1) blocks')
