"""Durations, schedules, and which network gets which update."""
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import common
from dslope_jax.training import optimizers

SPEC = dict(lr=1e-3, schedule='constant', warmup='0 steps', boundaries=(), factor=0.1,
            weight_decay=0.0, clip=0.0, frozen=False)


@pytest.mark.parametrize('text,steps', [
  ('210 epochs', 2100), ('1 epoch', 10), ('0.5 epochs', 5), ('7 steps', 7), ('1 step', 1)])
def test_durations(text, steps):
  assert optimizers.to_steps(text, 10.0) == steps


@pytest.mark.parametrize('text', ['210', 'epochs', '-1 steps', '3 weeks', ''])
def test_bad_duration(text):
  with pytest.raises(ValueError, match="reads like '210 epochs'"):
    optimizers.to_steps(text, 10.0)


def test_multistep_is_the_published_schedule():
  schedule = optimizers.make_schedule(1e-3, 'multistep', 210, 0, (170, 200), 0.1)
  for step, want in ((0, 1e-3), (169, 1e-3), (171, 1e-4), (199, 1e-4), (201, 1e-5)):
    np.testing.assert_allclose(schedule(step), want, rtol=1e-5)


def test_boundaries_of_one_step_multiply():
  schedule = optimizers.make_schedule(1e-3, 'multistep', 20, 2, (10, 10, 12), 0.1)
  for step, want in ((9, 1e-3), (10, 1e-5), (11, 1e-5), (12, 1e-6)):
    np.testing.assert_allclose(schedule(step), want, rtol=1e-5)


def test_linear_is_zero_at_the_end():
  schedule = optimizers.make_schedule(1e-3, 'linear', 100, 20, warmup_from=0.1)
  for step, want in ((0, 1e-4), (10, 5.5e-4), (20, 1e-3), (60, 5e-4), (99, 1.25e-5), (100, 0),
                     (101, 0)):
    np.testing.assert_allclose(schedule(step), want, rtol=1e-5, atol=1e-12)


def test_exponential_falls_after_each_epoch():
  schedule = optimizers.make_schedule(1e-3, 'exponential', 100, 0, factor=0.5, epoch=2.5)
  for step, want in ((0, 1), (2, 1), (3, 0.5), (4, 0.5), (5, 0.25), (8, 0.125), (25, 0.5 ** 10)):
    np.testing.assert_allclose(schedule(step), 1e-3 * want, rtol=1e-5)
  spec = SPEC | dict(schedule='exponential', factor=0.99)
  _, schedules = optimizers.build({'net': spec}, ['net'], 100, 10)
  np.testing.assert_allclose(schedules['net'](np.array([9, 10, 20])),
                             1e-3 * np.array([1, 0.99, 0.99 ** 2]), rtol=1e-5)


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(60, 500))
def test_warm_up_meets_the_schedule(warmup, total):
  for name in ('constant', 'cosine', 'multistep', 'linear', 'exponential'):
    schedule = optimizers.make_schedule(0.1, name, total, warmup, (total - 5,))
    np.testing.assert_allclose(schedule(0), 0.001, rtol=1e-4)
    np.testing.assert_allclose(schedule(warmup), 0.1, rtol=1e-4)
    assert schedule(total) <= 0.1 + 1e-6
  for name in ('cosine', 'linear'):
    np.testing.assert_allclose(
      optimizers.make_schedule(0.1, name, total, warmup)(total), 0, atol=1e-6)


def update(specs, grads, steps=1):
  params = {n: {'kernel': jnp.ones(3)} for n in grads}
  tx, _ = optimizers.build(specs, params, 100, 10)
  state = tx.init(params)
  for _ in range(steps):
    updates, state = tx.update({n: {'kernel': g} for n, g in grads.items()}, state, params)
    params = optax.apply_updates(params, updates)
  return {n: np.asarray(p['kernel']) for n, p in params.items()}


def test_each_network_has_its_own_rate_and_a_frozen_one_stays():
  g = jnp.array([1., -1., 2.])
  out = update({'gnet': SPEC | dict(lr=1e-2), 'enet': SPEC}, {'gnet': g, 'enet': g, 'third': g})
  np.testing.assert_allclose(out['gnet'], 1 - 1e-2 * np.sign(g), rtol=1e-5)
  np.testing.assert_allclose(out['enet'], 1 - 1e-3 * np.sign(g), rtol=1e-5)
  np.testing.assert_array_equal(out['third'], 1)
  out = update({'gnet': SPEC | dict(frozen=True), 'enet': SPEC}, {'gnet': g, 'enet': g})
  np.testing.assert_array_equal(out['gnet'], 1)


def test_weight_decay_and_clipping_reach_one_network_only():
  g = jnp.zeros(3)
  out = update({'gnet': SPEC | dict(weight_decay=0.1), 'enet': SPEC}, {'gnet': g, 'enet': g})
  np.testing.assert_allclose(out['gnet'], 1 - 1e-3 * 0.1, rtol=1e-6)
  np.testing.assert_array_equal(out['enet'], 1)
  # Adam does not feel the size of a first gradient; after a clipped outlier its memory differs.
  tx, _ = optimizers.build({'gnet': SPEC | dict(clip=1.0), 'enet': SPEC},
                           {'gnet': g, 'enet': g}, 100, 10)
  params = {'gnet': g, 'enet': g}
  updates, state = tx.update({'gnet': g + 100, 'enet': g + 100}, tx.init(params), params)
  updates, _ = tx.update({'gnet': g + 1, 'enet': g + 1}, state, params)
  # (0.09 * clipped + 0.1 * 1) against (0.09 * 100 + 0.1): the unclipped one remembers 100.
  assert abs(updates['gnet'][0]) > 0 and not np.allclose(updates['gnet'], updates['enet'])


def steps_of(spec, *gradients):
  """A kernel and a bias, of one number each and 2 at first, after steps with these gradients."""
  params = {'net': {'kernel': jnp.full(1, 2.), 'bias': jnp.full(1, 2.)}}
  tx, _ = optimizers.build({'net': SPEC | dict(lr=0.1) | spec}, ['net'], 100, 10)
  state = tx.init(params)
  for gradient in gradients:
    updates, state = tx.update(jax.tree.map(lambda x, g=gradient: g + 0 * x, params), state, params)
    params = optax.apply_updates(params, updates)
  return float(params['net']['kernel'][0]), float(params['net']['bias'][0])


def adam_by_hand(gradients, l2=0.0, weight_decay=0.0, largest=False, lr=0.1, p=2.0, beta2=0.999):
  """PyTorch's rules for one number (but for where amsgrad corrects the bias)."""
  m = v = top = 0.0
  for t, g in enumerate(gradients, 1):
    g += l2 * p
    p -= lr * weight_decay * p
    m, v = 0.9 * m + 0.1 * g, beta2 * v + (1 - beta2) * g * g
    second = v / (1 - beta2 ** t)
    top = max(top, second)
    p -= lr * m / (1 - 0.9 ** t) / ((top if largest else second) ** 0.5 + 1e-8)
  return p


@pytest.mark.parametrize('decay', ['kernels', 'all'])
@pytest.mark.parametrize('kind', ['l2', 'weight_decay'])
def test_decay_by_hand(kind, decay):
  gradients = (0.3, -2.0, 0.01)
  kernel, bias = steps_of({kind: 0.5, 'decay': decay}, *gradients)
  np.testing.assert_allclose(kernel, adam_by_hand(gradients, **{kind: 0.5}), rtol=1e-5)
  want = adam_by_hand(gradients, **({kind: 0.5} if decay == 'all' else {}))
  np.testing.assert_allclose(bias, want, rtol=1e-5)
  assert abs(kernel - adam_by_hand(gradients)) > 0.01


def test_the_gradient_is_clipped_before_l2_is_added():
  kernel, _ = steps_of(dict(l2=0.5, clip=2 ** 0.5), 30., 1.)  # two numbers: 30 becomes 1
  np.testing.assert_allclose(kernel, adam_by_hand((1., 1.), l2=0.5), rtol=1e-5)


def test_amsgrad_by_hand():
  gradients = (5., 0.01, 0.01)
  kernel, _ = steps_of(dict(amsgrad=True), *gradients)
  np.testing.assert_allclose(kernel, adam_by_hand(gradients, largest=True), rtol=1e-5)
  assert abs(kernel - adam_by_hand(gradients)) > 1e-3


@pytest.mark.parametrize('amsgrad', [False, True])
def test_beta2_by_hand(amsgrad):
  gradients = (0.01, 5., 0.01)
  kernel, _ = steps_of(dict(beta2=0.9, amsgrad=amsgrad), *gradients)
  np.testing.assert_allclose(
    kernel, adam_by_hand(gradients, beta2=0.9, largest=amsgrad), rtol=1e-5)
  assert abs(kernel - adam_by_hand(gradients, largest=amsgrad)) > 1e-3


def test_configs_state_every_optional_field():
  assert optimizers._OPTIONAL.items() <= common.adam().items()


def test_wrong_names_are_refused():
  with pytest.raises(ValueError, match=r"optim names \['gent'\]"):
    optimizers.build({'gent': SPEC}, {'gnet': 0}, 1, 1)
  with pytest.raises(ValueError, match='nothing to train'):
    optimizers.build({'gnet': SPEC | dict(frozen=True)}, {'gnet': 0}, 1, 1)
  with pytest.raises(ValueError, match="not 'biases'"):
    optimizers.build({'gnet': SPEC | dict(decay='biases')}, {'gnet': 0}, 1, 1)
  with pytest.raises(ValueError, match="not 'cosin'"):
    optimizers.build({'gnet': SPEC | dict(schedule='cosin')}, {'gnet': 0}, 1, 1)


def test_layer_decay_slows_what_lies_below_the_head():
  """decay ** (depth + 1 - layer number), of a plain gradient step; weight decay spares biases."""
  from dslope_jax.models import vitpose
  tree = {'patch_embed': {'kernel': jnp.ones(2)}, 'blocks_0': {'kernel': jnp.ones(2)},
          'blocks_1': {'kernel': jnp.ones(2), 'bias': jnp.ones(2)},
          'final_layer': {'kernel': jnp.ones(2)}}
  specs = {'net': SPEC | dict(layer_decay=0.5, weight_decay=0.1)}
  tx, _ = optimizers.build(specs, {'net'}, 100, 10, {'net': vitpose.depth_of})
  params = {'net': tree}
  grads = {'net': jax.tree.map(jnp.zeros_like, tree)}
  updates = tx.update(grads, tx.init(params), params)[0]['net']
  want = -1e-3 * 0.1  # only the weight decay moves
  for name, factor in (('patch_embed', 1 / 8), ('blocks_0', 1 / 4), ('blocks_1', 1 / 2),
                       ('final_layer', 1)):
    np.testing.assert_allclose(updates[name]['kernel'], want * factor, rtol=1e-5)
  np.testing.assert_array_equal(updates['blocks_1']['bias'], 0)
  with pytest.raises(ValueError, match='counts no layers'):
    optimizers.build(specs, {'net'}, 100, 10, {'net': None})
