"""Losses and their gradients against the published implementation."""
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dslope_jax import losses
from tests.golden.dslope import golden_rule
from tests.golden_data import GOLDEN, nhwc, relative_error

ARRAYS = np.load(GOLDEN / 'losses/losses.npz')
CASES = json.loads((GOLDEN / 'losses/losses.json').read_text())
NAMES = ['a', 'b', 'batch1']


def inputs(case):
  pred, target, weight = (ARRAYS[f'{case}/{k}'] for k in ('pred', 'target', 'weight'))
  return nhwc(pred), nhwc(target), weight[..., 0]


@pytest.mark.parametrize('case', NAMES)
@pytest.mark.parametrize('name,loss,weighted', [
  ('joints_mse_weighted', losses.heatmap_mse, True),
  ('joints_mse_unweighted', losses.heatmap_mse, False),
  ('ohkm8_weighted', losses.ohkm_mse, True), ('ohkm8_unweighted', losses.ohkm_mse, False),
  ('ohkm4_weighted', lambda *a: losses.ohkm_mse(*a, top_k=4), True)])
def test_heatmap_losses(case, name, loss, weighted):
  want = CASES[case]['values'][name]
  pred, target, weight = inputs(case)
  value, grad = jax.value_and_grad(loss)(pred, target, weight if weighted else None)
  if 'error' in want:  # the published code fails for a batch of one; ours is then the plain mean
    per_joint = 0.5 * np.square(pred - target).mean((1, 2))
    np.testing.assert_allclose(value, np.sort(per_joint)[:, -8:].mean(), rtol=1e-6)
    return
  np.testing.assert_allclose(value, want['loss'], rtol=1e-6)
  assert relative_error(grad.transpose(0, 3, 1, 2), ARRAYS[f'{case}/grad_{name}']) < 1e-6


def outputs(case):
  """The student's and the teacher's synthetic outputs."""
  seed = CASES[case]['seed']
  pred, _, _ = inputs(case)
  partner = (golden_rule.normal(seed, 'pred_t', ARRAYS[f'{case}/pred'].shape) * 0.3)
  features = {who: [[nhwc(golden_rule.normal(seed, f'f{who}{s}_{b}', shape))
                     for b, shape in enumerate(shapes)]
                    for s, shapes in enumerate(CASES[case]['feature_shapes'])] for who in 'st'}
  return ({'heatmaps': pred, 'features': features['s']},
          {'heatmaps': nhwc(partner.astype(np.float32)), 'features': features['t']})


@pytest.mark.parametrize('case', NAMES)
@pytest.mark.parametrize('name,smooth', [('mutual_mse', False), ('distill_smooth_l1', True)])
def test_mutual_terms(case, name, smooth):
  student, teacher = outputs(case)
  _, target, weight = inputs(case)
  for who, own, other in (('student', student, teacher), ('teacher', teacher, student)):
    want = CASES[case]['values'][name].get(who)
    if want is None:
      continue

    def total(own, other=other, want=want):
      terms = losses.mutual_mse(own, other, smooth_l1=smooth)
      mse = losses.heatmap_mse(own['heatmaps'], target, weight)
      return mse + want['weight'] * sum(terms.values()), terms

    (value, terms), grad = jax.value_and_grad(total, has_aux=True)(own)
    np.testing.assert_allclose(value, want['total'], rtol=1e-6)
    for key, term in terms.items():
      np.testing.assert_allclose(term, want[key], rtol=1e-6)
    maps = {f'stage{s}_b{b}': g for s, stage in enumerate(grad['features'], 2)
            for b, g in enumerate(stage)} | {'pred': grad['heatmaps']}
    for key, g in maps.items():
      if f'{case}/{name}_grad_{who}_{key}' in ARRAYS.files:
        golden = ARRAYS[f'{case}/{name}_grad_{who}_{key}']
        assert relative_error(g.transpose(0, 3, 1, 2), golden) < 1e-6


def test_no_gradient_reaches_the_partner():
  student, teacher = outputs('a')
  grad = jax.grad(lambda t: sum(losses.mutual_mse(student, t).values()))(teacher)
  assert not any(np.any(g) for g in jax.tree.leaves(grad))
  grad = jax.grad(lambda t: losses.mutual_kl(student['heatmaps'], t))(teacher['heatmaps'])
  assert not np.any(grad)


maps = arrays(np.float32, (2, 4, 3, 2), elements=st.floats(-1, 1, width=32))


@settings(max_examples=40, deadline=None)
@given(maps, maps)
def test_kl_is_a_divergence(a, b):
  assert losses.mutual_kl(a, b) >= -1e-6
  np.testing.assert_allclose(losses.mutual_kl(a, a), 0, atol=1e-6)


def test_kl_by_hand():
  own = jnp.log(jnp.array([0.5, 0.25, 0.125, 0.125])).reshape(1, 2, 2, 1)
  partner = jnp.log(jnp.array([0.25, 0.25, 0.25, 0.25])).reshape(1, 2, 2, 1)
  want = 0.25 * sum(np.log(0.25 / p) for p in (0.5, 0.25, 0.125, 0.125))
  np.testing.assert_allclose(losses.mutual_kl(own, partner, temperature=1.0), want, rtol=1e-5)
  # A joint of weight zero does not count.
  two_own, two_partner = (jnp.concatenate([x, y], -1) for x, y in ((own, own), (partner, own + 9)))
  got = losses.mutual_kl(two_own, two_partner, jnp.array([[1., 0.]]), temperature=1.0)
  np.testing.assert_allclose(got, want, rtol=1e-5)


def test_hard_mining_of_few_joints_takes_all():
  pred, target, weight = (x[..., :3] for x in inputs('a'))
  np.testing.assert_allclose(losses.ohkm_mse(pred, target, weight),
                             losses.heatmap_mse(pred, target, weight), rtol=1e-6)


def test_kl_of_micro_batches_is_that_of_the_whole():
  rng = np.random.default_rng(0)
  own, partner = rng.normal(size=(2, 4, 3, 2, 5)).astype(np.float32)
  weight = np.zeros((4, 5), np.float32)
  weight[0], weight[2, 0], weight[3, 1:3] = 1, 1, 1
  part = lambda s, mean: losses.mutual_kl(own[s], partner[s], weight[s], mean_weight=mean)
  whole = part(slice(None), None)
  parts = [part(slice(i, None, 2), weight.mean()) for i in (0, 1)]
  np.testing.assert_allclose(np.mean(parts), whole, rtol=1e-5)
  assert losses.mutual_kl(own, partner, 0 * weight) == 0


def test_cross_entropy_is_least_at_the_target_and_leaves_out_joints_without_one():
  rng = np.random.default_rng(0)
  target = rng.uniform(0.1, 1, (2, 5, 4, 3)).astype(np.float32)
  shares = target / target.sum((1, 2), keepdims=True)
  entropy = -(shares * np.log(shares)).sum((1, 2))  # (2, 3)
  loss = lambda logits, weight=None: losses.heatmap_ce(logits, target, weight)
  value, grad = jax.value_and_grad(loss)(np.log(target) + 3)
  np.testing.assert_allclose(value, entropy.mean(), rtol=1e-5)
  np.testing.assert_allclose(grad, 0, atol=1e-7)
  np.testing.assert_allclose(loss(np.zeros_like(target)), np.log(20), rtol=1e-6)
  weight = np.float32([[1, 0, 2], [0, 0, 0]])
  np.testing.assert_allclose(loss(np.log(target), weight), (entropy * weight).mean(), rtol=1e-5)
  assert float(losses.heatmap_ce(np.ones_like(target), 0 * target)) == 0
