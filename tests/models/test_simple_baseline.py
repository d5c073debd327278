"""The simple baseline against the outputs of the published implementation."""
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dslope_jax import models
from dslope_jax.weights import pytorch
from tests.golden.dslope import golden_rule
from tests.golden_data import GOLDEN, nhwc, relative_error, state_dict, torch_names

FOLDER = GOLDEN / 'simple_baseline'
CASES = json.loads((FOLDER / 'cases.json').read_text())['cases']
# The two evaluations of ResNet-50 say the same; the larger one is the harder.
EVALS = ['eval_res50_2x3x96x64']  # the training below runs ResNet-18


def load(name, dtype=np.float32):
  """Case, module, variables and input of a golden case."""
  case = CASES[name]
  keys = f'simple_baseline/keys_res{case["num_layers"]}_coco.json'
  weights = state_dict(keys, case['seed'], case['gain'], dtype)
  kwargs = dict(num_keypoints=case['num_joints'], depth=case['num_layers'])
  image = golden_rule.normal(case['seed'], 'input', case['input_shape'])
  variables = pytorch.convert('simple_baseline', weights, **kwargs)
  return case, models.build('simple_baseline', **kwargs), variables, nhwc(image).astype(dtype)


def nchw(array):
  return np.asarray(array).transpose(0, 3, 1, 2)


@pytest.mark.parametrize('name', EVALS)
def test_eval_outputs(name):
  _, module, variables, image = load(name)
  out = jax.jit(module.apply)(variables, image)
  golden = np.load(FOLDER / f'{name}.npz')['heatmap']
  assert relative_error(nchw(out['heatmaps']), golden) < 1e-5
  sides = [stage[0].shape[1:3] for stage in out['features']]
  assert sides == [(24, 16), (12, 8), (6, 4), (3, 2)]


def train_step(case, module, variables, image):
  """The golden training loss: outputs, running statistics and gradients after one pass."""
  target = nhwc(golden_rule.normal(case['seed'], 'target', case['target_shape']))

  def loss_fn(params):
    out, updates = module.apply({'params': params, 'batch_stats': variables['batch_stats']}, image,
                                train=True, mutable=['batch_stats'])
    error = out['heatmaps'] - target.astype(image.dtype)
    return 0.5 * jnp.square(error).mean(), (out['heatmaps'], updates)

  step = jax.jit(jax.value_and_grad(loss_fn, has_aux=True))
  (loss, (heatmaps, updates)), grads = step(variables['params'])
  return loss, nchw(heatmaps), torch_names(updates['batch_stats']), torch_names(grads)


def check_arrays(golden, heatmaps, stats, grads, tolerance):
  assert relative_error(heatmaps, golden['heatmap']) < tolerance
  for key in golden.files:
    kind, _, name = key.partition('/')
    name, _, corner = name.partition('[')
    if kind == 'buf':
      assert relative_error(stats[name], golden[key]) < tolerance, key
    elif kind == 'grad':
      got = grads[name][:4, :4] if corner else grads[name]
      assert relative_error(got, golden[key]) < tolerance, key


@pytest.mark.slow
def test_train_float64():
  with jax.enable_x64(True):
    case, *rest = load('train_res18', np.float64)
    loss, heatmaps, stats, grads = train_step(case, *rest)
  assert set(grads) == set(case['grads'])
  np.testing.assert_allclose(loss, case['loss_float64'], rtol=1e-9)
  check_arrays(np.load(FOLDER / 'train_res18_float64.npz'), heatmaps, stats, grads, 1e-9)
  for key, norm in case['grads_float64'].items():
    np.testing.assert_allclose(np.linalg.norm(grads[key]), norm['l2'], rtol=1e-8, err_msg=key)


def abstract_weights(keys_file):
  """A key listing as a state dict of the right shapes that takes no memory."""
  entries = json.loads((FOLDER / keys_file).read_text())['state_dict']
  return {e['key']: np.broadcast_to(np.float32(0), e['shape']) for e in entries}


@pytest.mark.parametrize('keys,millions', [
  ('res50_coco', 34.0), ('res50_mpii', 34.0), ('res101_coco', 53.0), ('res152_coco', 68.6)])
def test_every_listed_key_is_used_and_the_parameter_count_is_the_published_one(keys, millions):
  kwargs = dict(depth=int(keys[3:].split('_')[0]), num_keypoints=16 if 'mpii' in keys else 17)
  variables = pytorch.convert(
    'simple_baseline', abstract_weights(f'keys_{keys}.json'), **kwargs)
  count = sum(x.size for x in jax.tree.leaves(variables['params']))
  assert round(count / 1e6, 1) == millions


@pytest.mark.parametrize('height,width', [(256, 192), (384, 288)])
def test_shapes(height, width):
  module = models.build('simple_baseline', num_keypoints=16, depth=34)
  out, _ = jax.eval_shape(module.init_with_output, jax.random.key(0),
                          jnp.zeros((2, height, width, 3)))
  assert out['heatmaps'].shape == (2, height // 4, width // 4, 16)
  assert [stage[0].shape[-1] for stage in out['features']] == [64, 128, 256, 512]


def test_bfloat16_keeps_float32_where_it_matters():
  module = models.build('simple_baseline', num_keypoints=17, depth=18, width=8, filters=(8, 8, 8),
                        dtype='bfloat16')
  images = jnp.ones((2, 64, 32, 3))
  variables = jax.eval_shape(module.init, jax.random.key(0), images)
  assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
  out, stats = jax.eval_shape(
    lambda v: module.apply(v, images, train=True, mutable=['batch_stats']), variables)
  assert out['heatmaps'].dtype == jnp.float32 and out['heatmaps'].shape == (2, 16, 8, 17)
  assert {x.dtype for x in jax.tree.leaves(out['features'])} == {jnp.dtype('bfloat16')}
  assert {x.dtype for x in jax.tree.leaves(stats)} == {jnp.dtype('float32')}


@pytest.mark.parametrize('kwargs,shape,message', [
  (dict(), (1, 64, 48, 3), 'multiples of 32, not 64x48'),
  (dict(depth=20), (1, 64, 64, 3), 'one of .*, not 20'),
  (dict(filters=(256, 256)), (1, 64, 64, 3), 'need 3 filters')])
def test_what_does_not_fit_is_said_in_one_line(kwargs, shape, message):
  module = models.build('simple_baseline', num_keypoints=17, **kwargs)
  with pytest.raises(ValueError, match=message) as error:
    jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(shape))
  assert '\n' not in str(error.value)
