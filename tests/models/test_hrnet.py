"""HRNet against the outputs of the published implementation."""
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dslope_jax import models
from dslope_jax.weights import pytorch
from tests.golden.dslope import golden_rule
from tests.golden_data import GOLDEN, nhwc, relative_error, state_dict, torch_names

CASES = json.loads((GOLDEN / 'hrnet/cases.json').read_text())['cases']
SIZES = {'tiny8': dict(width=8, modules=(1, 1, 1), blocks=(1, 1, 1)),
         'tiny8_deep': dict(width=8, modules=(1, 2, 2), blocks=(2, 2, 2)),
         'w32_coco': dict(width=32), 'w48_coco': dict(width=48),
         'w32_mpii': dict(width=32, num_keypoints=16)}


def load(case, dtype=np.float32):
  """Module, variables and input of a golden case."""
  kwargs = dict(num_keypoints=17) | SIZES[case['config']]
  weights = state_dict(f'hrnet/keys_{case["config"]}.json', case['seed'], case['gain'], dtype)
  image = golden_rule.normal(case['seed'], 'input', case['input_shape'])
  variables = pytorch.convert('hrnet', weights, **kwargs)
  return models.build('hrnet', **kwargs), variables, nhwc(image).astype(dtype)


def named_maps(outputs):
  maps = {f'stage{s}_b{b}': x for s, stage in enumerate(outputs['features'], 2)
          for b, x in enumerate(stage)}
  return {k: np.asarray(v).transpose(0, 3, 1, 2)
          for k, v in (maps | {'heatmap': outputs['heatmaps']}).items()}


def check_maps(case, got, golden, tolerance):
  assert set(got) == set(case['outputs'])
  for name, spec in case['outputs'].items():
    assert list(got[name].shape) == spec['shape']
    if name not in golden.files:
      continue
    value = got[name] if spec.get('step', 1) == 1 else got[name].reshape(-1)[::spec['step']]
    assert relative_error(value.reshape(golden[name].shape), golden[name]) < tolerance, name


# Compiling each takes a while: one of the published sizes, one training in either precision.
EVALS = ['eval_w32_coco_2x3x96x64', *(n for n in CASES if n.startswith('eval_tiny8'))]


@pytest.mark.parametrize('name', EVALS)
def test_eval_outputs(name):
  case = CASES[name]
  module, variables, image = load(case)
  outputs = jax.jit(module.apply)(variables, image)
  check_maps(case, named_maps(outputs), np.load(GOLDEN / f'hrnet/{name}.npz'), 1e-5)


def train_step(case, module, variables, image):
  """The golden training loss: outputs, running statistics and gradients after one pass."""
  target = nhwc(golden_rule.normal(case['seed'], 'target', case['target_shape']))

  def loss_fn(params):
    out, updates = module.apply({'params': params, 'batch_stats': variables['batch_stats']}, image,
                                train=True, mutable=['batch_stats'])
    loss = 0.5 * jnp.square(out['heatmaps'] - target.astype(image.dtype)).mean()
    loss += 0.1 * sum(jnp.square(f).mean() for f in jax.tree.leaves(out['features']))
    return loss, (out, updates)

  step = jax.jit(jax.value_and_grad(loss_fn, has_aux=True))
  (loss, (out, updates)), grads = step(variables['params'])
  return loss, out, torch_names(updates['batch_stats']), torch_names(grads)


@pytest.mark.slow
def test_train_float32(name='train_tiny8_deep'):
  case = CASES[name]
  golden = np.load(GOLDEN / f'hrnet/{name}.npz')
  loss, out, stats, grads = train_step(case, *load(case))
  np.testing.assert_allclose(loss, case['loss'], rtol=1e-5)
  check_maps(case, named_maps(out), golden, 1e-4)
  for key in [k for k in golden.files if k.startswith('buf/')]:
    assert relative_error(stats[key[4:]], golden[key]) < 1e-4, key
  assert set(grads) == set(case['grads'])
  for key in [k for k in golden.files if k.startswith('grad/')]:
    assert relative_error(grads[key[5:]], golden[key]) < 2e-2, key


def test_train_float64(name='train_tiny8'):
  case = CASES[name]
  golden = np.load(GOLDEN / f'hrnet/{name}_float64.npz')
  with jax.enable_x64(True):
    loss, out, stats, grads = train_step(case, *load(case, np.float64))
    np.testing.assert_allclose(loss, case['loss_float64'], rtol=1e-9)
    for key in golden.files:
      kind, _, rest = key.partition('/')
      got = {'heatmap': named_maps(out).get('heatmap'), 'buf': stats.get(rest),
             'grad': grads.get(rest)}[kind]
      assert relative_error(got, golden[key]) < 1e-9, key
  for key, norm in case['grads_float64'].items():
    np.testing.assert_allclose(np.linalg.norm(grads[key]), norm['l2'], rtol=1e-8, err_msg=key)


def test_bfloat16_keeps_float32_where_it_matters():
  module = models.build('hrnet', num_keypoints=17, dtype='bfloat16', **SIZES['tiny8'])
  images = jnp.ones((2, 64, 64, 3))
  variables = module.init(jax.random.key(0), images)
  assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
  out, stats = module.apply(variables, images, train=True, mutable=['batch_stats'])
  assert out['heatmaps'].dtype == jnp.float32
  assert out['features'][0][0].dtype == jnp.bfloat16
  assert {x.dtype for x in jax.tree.leaves(stats)} == {jnp.dtype('float32')}


@pytest.mark.parametrize('width,millions', [(32, 28.5), (48, 63.6)])
def test_parameter_count_is_the_published_one(width, millions):
  module = models.build('hrnet', num_keypoints=17, width=width)
  shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 256, 192, 3)))
  count = sum(x.size for x in jax.tree.leaves(shapes['params']))
  assert round(count / 1e6, 1) == millions


def test_sides_must_be_multiples_of_32():
  module = models.build('hrnet', num_keypoints=17, **SIZES['tiny8'])
  with pytest.raises(ValueError, match='multiples of 32, not 64x48'):
    jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 64, 48, 3)))


def test_conversion_lists_every_key_that_does_not_fit():
  weights = state_dict('hrnet/keys_tiny8.json', 0)
  del weights['conv2.weight']
  weights['extra.weight'] = np.zeros(3)
  weights['final_layer.weight'] = weights['final_layer.weight'][:5]
  with pytest.raises(ValueError) as error:
    pytorch.convert('hrnet', weights, num_keypoints=17, **SIZES['tiny8'])
  message = str(error.value)
  assert '3 keys' in message and 'missing params/conv2/kernel' in message
  assert 'unexpected extra.weight' in message and 'misshapen final_layer.weight' in message
