"""HUPOR's reasoning network against the published implementation, and what its gradients reach."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dslope_jax import models, part_losses
from dslope_jax.weights import pytorch
from tests.golden_data import filled, published_weights
from tests.part_golden import check_outputs, golden, labels, large, noise, split

NARROW = dict(num_keypoints=15, widths=(16, 32, 64), blocks=(1, 2, 1, 1), decoder_width=16)
TINY = dict(num_keypoints=3, limbs=1, widths=(4, 4, 4), blocks=(1, 1, 1, 1), decoder_width=4)


@functools.cache
def both(full):
  """(arguments, jitted function of weights, visible and full maps) -> evaluation, training."""
  kwargs = (dict(num_keypoints=15) if full else NARROW) | dict(reference=True)
  module = models.build('dsed', **kwargs)
  return kwargs, module, jax.jit(lambda variables, visible, full: (
    module.apply(variables, visible), module.apply(variables, visible, full)))


@pytest.mark.parametrize('name', [
  'reason_narrow_s32', 'reason_narrow_s33', pytest.param('reason_full_s38', marks=large)])
def test_outputs_and_losses(name):
  arrays, meta = golden(name)
  kwargs, module, apply = both('full' in name)
  visible = split(noise(meta['seed'], 'input', (meta['B'], 57, *meta['map_hw'])))
  truth = labels(arrays, meta, meta['map_hw'])
  weights = published_weights(module, module.example(), meta['seed'])
  out, outputs = apply(pytorch.convert('dsed', weights, **kwargs), visible,
                       {name: maps[:, 3] for name, maps in truth.items()})
  check_outputs(out, arrays, meta)
  assert 'maps' not in outputs and 'teacher' not in out
  weight = part_losses.distillation_weight(meta['iteration'], meta['max_iteration'])
  np.testing.assert_allclose(weight, arrays['loss_kld_weight'], rtol=1e-6)
  total, terms = part_losses.reasoning_loss(outputs, truth, weight, reference=True)
  wanted = {f'level{n}': f'loss_x{n}' for n in (1, 2, 3, 4)} | {
    f'{ours}{u}': f'{name}_{u}' for u in range(4)
    for ours, name in (('maps', 'loss_2d'), ('relative_depth', 'loss_bone'))}
  assert terms.keys() == wanted.keys()
  for term, published in wanted.items():
    np.testing.assert_allclose(terms[term], arrays[f'loss_{published}'], rtol=1e-4, err_msg=term)
  np.testing.assert_allclose(total, arrays['loss_total_loss'], rtol=1e-4)


def random_maps(seed, shape=(1, 8, 16)):
  rng = np.random.default_rng(seed)
  return {name: rng.standard_normal((*shape, count)).astype(np.float32)
          for name, count in (('maps', 5), ('relative_depth', 1))}


@pytest.mark.parametrize('reference', [False, True])
def test_what_the_distillation_reaches(reference):
  """The student alone, unless as published: then, by what it reads, the stages before as well."""
  module = models.build('dsed', **TINY, stages=2, reference=reference)
  visible, full = random_maps(0), random_maps(1)
  variables = filled(module, [visible, full], 1)
  truth = {name: np.zeros((1, 5, *maps.shape[1:]), np.float32) for name, maps in full.items()}

  def distance(params):
    outputs = module.apply(variables | {'params': params}, visible, full)
    terms = part_losses.reasoning_loss(outputs, truth, 1.0, reference=reference)[1]
    return sum(terms[f'level{n}'] for n in (1, 2, 3, 4))

  grads = jax.jit(jax.grad(distance))(variables['params'])
  reached = {(stage, part) for stage, parts in grads.items() for part, tree in parts.items()
             if any(g.any() for g in jax.tree.leaves(tree))}
  students = {('stage0', 'downsample_prior'), ('stage1', 'downsample_prior')}
  teacher = {('stage0', 'downsample'), ('stage0', 'upsample')}
  assert reached == students | (teacher if reference else set())


def test_a_student_with_the_teachers_weights_and_maps_has_nothing_to_learn():
  module = models.build('dsed', **TINY, stages=1)
  maps = random_maps(0)
  variables = filled(module, [maps, maps], 1)
  for tree in variables.values():
    tree['stage0']['downsample_prior'] = tree['stage0']['downsample']
  outputs = jax.jit(module.apply)(variables, maps, maps)
  truth = {name: np.zeros((1, 5, *x.shape[1:]), np.float32) for name, x in maps.items()}
  _, terms = part_losses.reasoning_loss(outputs, truth, 1.0)
  assert [float(terms[f'level{n}']) for n in (1, 2, 3, 4)] == [0] * 4


def test_visible_maps_are_added_in_our_units():
  """With a decoder that puts out nothing the outputs are the visible maps."""
  module = models.build('dsed', **TINY, stages=1)
  visible = random_maps(0) | {'anchor_depth': np.zeros(3)}  # of a detector, not read
  own = {k: visible[k] for k in ('maps', 'relative_depth')}
  variables = filled(module, [own], 1)
  for unit in variables['params']['stage0']['upsample'].values():
    for head in ('res_conv2', 'res_d_conv2'):
      unit[head]['bn'] = jax.tree.map(np.zeros_like, unit[head]['bn'])
  out = jax.jit(module.apply)(variables, visible)
  for name in own:
    np.testing.assert_allclose(out[name], own[name], rtol=1e-6)
    np.testing.assert_allclose(out['stages'][0][0][name], own[name], rtol=1e-6)


def test_parameters():
  module = models.build('dsed', num_keypoints=15)
  count = lambda *maps: sum(x.size for x in jax.tree.leaves(jax.eval_shape(
    module.lazy_init, jax.random.key(0), *maps)['params']))
  assert count(*module.example()) == 160619278
  assert count(module.example()[0]) == 90231580  # student and decoder


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_outputs_are_float32(dtype):
  module = models.build('dsed', **TINY, dtype=dtype)
  out, variables = jax.eval_shape(
    lambda *maps: module.init_with_output(jax.random.key(0), *maps, train=True), *module.example())
  assert {x.dtype for x in jax.tree.leaves((out['stages'], variables))} == {np.dtype('float32')}
  assert {x.dtype for x in jax.tree.leaves((out['student'], out['teacher']))} == {jnp.dtype(dtype)}
  assert [[x.shape[1:] for x in levels] for levels in out['student']] == [
    [(16, 16, 24), (8, 8, 16), (4, 4, 16), (2, 2, 16)]] * 3
