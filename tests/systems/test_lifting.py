"""Lifting: losses by the published numbers, the flip test, whole steps alone and as a pair."""
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import memory
from dslope_jax import systems
from dslope_jax.errors import UserError
from dslope_jax.metrics import pose3d
from dslope_jax.skeletons import COCO, H36M, MPI_INF_3DHP
from dslope_jax.systems import lifting
from dslope_jax.systems.base import Facts, Forward
from dslope_jax.training import train_state
from dslope_jax.training.train_step import make_train_step

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden/lifting_metrics'
B, T, LR = 2, 5, 1e-2
FACTS = Facts(H36M, frames=T)
SMALL = dict(name='entangled', width=16, heads=2, depth=1, layer_scale=None, head='linear')
MOE = dict(name='pose_moe', width=16, heads=2, encoder_layers=1, decoder_layers=0)
EACH = dict.fromkeys(lifting._WEIGHTS, 1.0)
NO_MUTUAL = dict(kind='none', weights={'gnet': 0.0, 'enet': 0.0})


@functools.cache
def batch(count=B, frames=T, seed=0):
  """Smooth clips of bodies of 17 joints in metres, as a camera sees them."""
  rng = np.random.default_rng(seed)
  rest = rng.normal(0, 0.4, (count, 1, 17, 3))
  phase, time = rng.uniform(0, 6, (count, 1, 17, 3)), np.linspace(0, 3, frames)[:, None, None]
  body = (rest + 0.1 * np.sin(time + phase) + [0, 0, 4.0]).astype(np.float32)
  seen = body[..., :2] / body[..., 2:]
  hidden = seen + rng.normal(0, 0.05, seen.shape).astype(np.float32)
  return {'keypoints_2d': seen, 'confidence': np.ones(seen.shape[:3], np.float32),
          'occluded_keypoints_2d': hidden,
          'occluded_confidence': rng.uniform(0, 1, seen.shape[:3]).astype(np.float32),
          'visibility': np.full(seen.shape[:3], 2, np.uint8), 'keypoints_3d': body}


def initial(system, like=None):
  """Fresh weights of a system for a batch."""
  example = {k: jax.ShapeDtypeStruct((1, *v.shape[1:]), v.dtype)
             for k, v in (like or batch()).items()}
  return train_state.init_weights(system, 0, example)


def fields(system, use):
  return {name: batch()[name] for name in system.fields[use]}


def relative(body):
  return body - body[:, :, :1]


@pytest.mark.parametrize('name', ['metrics_s61', 'metrics_s62'])
def test_losses_are_the_published_ones(name):
  with np.load(GOLDEN / f'{name}.npz') as g:
    outputs, truth = {'keypoints_3d': jnp.asarray(g['pred_in'])}, jnp.asarray(g['gt_in'])
    terms = lifting.loss_terms(outputs, truth, EACH)
    for term, key in (('position', 'mb_loss_mpjpe'), ('scale', 'mb_n_mpjpe'),
                      ('velocity', 'mb_loss_velocity')):
      np.testing.assert_allclose(terms[term], g[key], rtol=1e-5, err_msg=term)
    if len(truth) == 1:
      weights = g['joint_weight_in'][0, 0]
      weighted = lifting.loss_terms(outputs, truth, EACH, weights)
      np.testing.assert_allclose(weighted['position'], g['weighted_mpjpe'], rtol=1e-5)
      step = np.diff(g['pred_in'], axis=1)
      np.testing.assert_allclose(weighted['smoothness'],
                                 (step ** 2 * weights[:, None]).mean(), rtol=1e-5)
      np.testing.assert_allclose(weighted['velocity'], terms['velocity'])


def test_losses_are_the_metrics_and_weights_are_factors():
  rng = np.random.default_rng(0)
  truth, pose, early = rng.normal(size=(3, 2, 4, 17, 3))
  outputs = {'keypoints_3d': jnp.asarray(pose), 'encoder_keypoints_3d': jnp.asarray(early)}
  weights = dict(zip(EACH, (1.0, 0.5, 20.0, 0.25, 2.0), strict=True))
  terms = lifting.loss_terms(outputs, truth, weights)
  error = early - truth
  want = {'position': pose3d.mpjpe(pose, truth), 'scale': pose3d.n_mpjpe(pose, truth),
          'velocity': pose3d.mpjve(pose, truth), 'smoothness': (np.diff(pose, axis=1) ** 2).mean(),
          'encoder': np.hypot(error[..., 0], error[..., 1]).mean() + np.abs(error[..., 2]).mean()}
  for name, value in want.items():
    np.testing.assert_allclose(terms[name], weights[name] * value, rtol=1e-5, err_msg=name)
  assert set(lifting.loss_terms(outputs, truth)) == {'position', 'scale', 'velocity'}
  still = {'keypoints_3d': jnp.asarray(pose[:, :1])}
  assert set(lifting.loss_terms(still, truth[:, :1], EACH)) == {'position', 'scale'}


def test_a_perfect_pose_has_a_finite_gradient():
  truth = jnp.asarray(relative(batch()['keypoints_3d']))
  for pose in (truth, jnp.zeros_like(truth)):
    gradient = jax.grad(lambda p: sum(lifting.loss_terms({'keypoints_3d': p}, truth,
                                                         EACH).values()))(pose)
    assert jnp.isfinite(gradient).all()


def test_the_squared_loss():
  """Its gradient is that of the loss times the loss."""
  outputs = {'keypoints_3d': jnp.asarray(np.random.default_rng(0).normal(size=(B, T, 17, 3)))}
  fit = {squared: lifting.learner(FACTS, SMALL, mixste_squared_loss=squared,
                                  **lifting.TRACK_B).fit for squared in (False, True)}
  total = lambda squared, out: sum(fit[squared](out, batch()).values())
  plain, gradient = jax.value_and_grad(lambda out: total(False, out))(outputs)
  half, scaled = jax.value_and_grad(lambda out: total(True, out))(outputs)
  np.testing.assert_allclose(half, plain ** 2 / 2, rtol=1e-6)
  np.testing.assert_allclose(scaled['keypoints_3d'], plain * gradient['keypoints_3d'], rtol=1e-5)
  assert set(fit[False](outputs, batch())) == {'position', 'velocity', 'smoothness'}


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**16), st.sampled_from([H36M, MPI_INF_3DHP]), st.sampled_from([2, 3]))
def test_mirroring_twice_is_nothing(seed, skeleton, channels):
  clips = jnp.asarray(np.random.default_rng(seed).normal(size=(2, 3, 17, channels)))
  once = lifting.mirrored(clips, skeleton)
  np.testing.assert_array_equal(lifting.mirrored(once, skeleton), clips)
  left, right = skeleton.index('left_knee'), skeleton.index('right_knee')
  np.testing.assert_array_equal(once[:, :, left, 0], -clips[:, :, right, 0])
  np.testing.assert_array_equal(once[:, :, left, 1:], clips[:, :, right, 1:])


@pytest.mark.parametrize('channels', [2, 3])
def test_the_flip_test_mirrors_with_its_input(channels):
  model = MOE | dict(input_channels=channels, encoder_heads='supervise')
  system = systems.build(FACTS, 'lifting', model=model, weights=EACH)
  weights = initial(system)
  rng = np.random.default_rng(1)
  weights = jax.tree.map(lambda x: x + rng.normal(0, 0.2, x.shape).astype(x.dtype), weights)
  views = {2: {'keypoints_2d', 'occluded_keypoints_2d'}}
  views[3] = views[2] | {'confidence', 'occluded_confidence'}
  assert set(system.fields['predict']) == views[channels]
  assert set(system.fields['loss']) == {f for f in views[channels] if 'occluded' not in f} | {
    'keypoints_3d'}

  @jax.jit
  def predict(clips):
    forward = Forward(system.networks, weights['params'], weights['batch_stats'])
    return [system.predict(forward, clips, flip=flip)['net/occluded'] for flip in (True, False)]

  clips = fields(system, 'predict')
  turned = {name: np.asarray(lifting.mirrored(jnp.asarray(x), H36M, x.ndim == 4))
            for name, x in clips.items()}
  (both, plain), (other, plain_other) = predict(clips), predict(turned)
  assert set(both) == {'keypoints_3d', 'encoder_keypoints_3d', 'router'}
  for name, values in both.items():
    moved = name != 'router'
    want = lifting.mirrored(other[name], H36M, moved)
    scale = float(jnp.abs(values).max())
    np.testing.assert_allclose(values, want, atol=1e-5 * scale, err_msg=name)
    assert jnp.abs(plain[name] - lifting.mirrored(plain_other[name], H36M, moved)).max() > 1e-3
    if moved:
      assert values.shape == (B, T, 17, 3)
      np.testing.assert_array_equal(values[:, :, 0], 0)
      assert jnp.abs(values).max() > 0.1
  assert both['router'].shape == (B, T, 17)


def test_the_extent_of_a_clip():
  keypoints = jnp.array([[[[0., 0.], [2., 0.]], [[4., 5.], [4., 9.]]]])  # spreads of 1 and 2
  middle, size = lifting.extent(keypoints)
  np.testing.assert_allclose(middle[0, 0, 0], [2.5, 3.5])
  np.testing.assert_allclose(size[0, 0, 0, 0], 2.5 ** 0.5)


def test_a_normalised_clip_may_be_anywhere_and_of_any_size():
  """Poses grow with the clip, and the loss stays; without it neither holds."""
  model = MOE | dict(encoder_heads='supervise', xy_residual=True, embedding_std=1.0)
  near = fields(systems.build(FACTS, 'lifting', model=model, weights=EACH), 'predict') | {
    'keypoints_3d': batch()['keypoints_3d']}
  far = {name: (3 * x + np.float32(x.shape[-1] == 2)) if name.endswith(('2d', '3d')) else x
         for name, x in near.items()}
  change = {}
  for normalise in ('clip', 'screen'):
    learner = lifting.learner(FACTS, model, weights=EACH, normalise=normalise)
    system = systems.build(FACTS, 'lifting', model=model, weights=EACH, normalise=normalise)
    weights = initial(system)

    @jax.jit
    def run(sample, learner=learner, system=system, weights=weights):
      forward = Forward(system.networks, weights['params'], weights['batch_stats'])
      outputs = learner.run(forward, [sample['keypoints_2d']])
      return system.predict(forward, sample)['net/clean'], learner.fit(outputs, sample)

    (pose, terms), (grown, same) = run(near), run(far)
    change[normalise] = max(
      float(jnp.abs(grown[name] - 3 * pose[name]).max())
      for name in ('keypoints_3d', 'encoder_keypoints_3d')), max(
      abs(float(same[name] / terms[name]) - 1) for name in EACH)
  assert max(change['clip']) < 1e-3 < 0.1 < min(change['screen'])


def stepped(system, weights, **options):
  """(terms, networks after a step of plain gradient descent)."""
  optimizer = optax.sgd(LR)
  state = train_state.TrainState(np.int32(0), weights['params'], weights['batch_stats'],
                                 optimizer.init(weights['params']), {})
  step = jax.jit(make_train_step(system, optimizer, trainable=tuple(system.networks), **options))
  state, terms = step(state, fields(system, 'loss'))
  return jax.device_get((terms, state.params))


def close(got, want):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, want)


def test_a_step_is_gradient_descent_on_the_root_relative_loss():
  system = systems.build(FACTS, 'lifting', model=SMALL, view='occluded')
  weights = initial(system)
  terms, after = stepped(system, weights)
  network, truth = system.networks['net'], jnp.asarray(batch()['keypoints_3d'])

  def loss(params):
    out = network.apply({'params': params}, batch()['occluded_keypoints_2d'])
    found = lifting.loss_terms(out, truth - truth[:, :, :1])
    return sum(found.values()), found

  gradient, found = jax.jit(jax.grad(loss, has_aux=True))(weights['params']['net'])
  for name, value in found.items():
    np.testing.assert_allclose(terms[f'net/{name}'], value, rtol=1e-5)
  close(after['net'], jax.tree.map(lambda p, g: p - LR * g, weights['params']['net'], gradient))


def test_a_pair_without_mutual_term_takes_the_steps_of_two_networks_alone():
  alone = {view: systems.build(FACTS, 'lifting', model=SMALL, view=view)
           for view in ('clean', 'occluded')}
  weights = initial(alone['clean'])
  both = {kind: {half: weights[kind]['net'] for half in ('gnet', 'enet')} for kind in weights}
  mutual = dict(kind='mse', features=True, weights={'gnet': 0.0, 'enet': 0.0})
  pair = systems.build(FACTS, 'dslope', learner='lifting', model=SMALL, mutual=mutual)
  assert set(pair.fields['loss']) == {'keypoints_2d', 'occluded_keypoints_2d', 'keypoints_3d'}
  terms, after = stepped(pair, both)
  for half, view in (('gnet', 'clean'), ('enet', 'occluded')):
    own, params = stepped(alone[view], weights)
    for name in ('position', 'scale', 'velocity'):
      np.testing.assert_allclose(terms[f'{half}/{name}'], own[f'net/{name}'], rtol=1e-5)
    assert {n for n in terms if n.startswith(f'{half}/mutual_')} == {
      f'{half}/mutual_pose', f'{half}/mutual_streams'}
    assert terms[f'{half}/mutual_pose'] > 0
    close(after[half], params['net'])
  mixed = stepped(pair, both, accumulate=2)
  close(mixed[1], after)


def test_mutual_terms_are_mean_squared_distances_to_the_detached_partner():
  rng = np.random.default_rng(0)
  make = lambda: {'keypoints_3d': jnp.asarray(rng.normal(size=(1, 2, 17, 3)), jnp.float32),
                  'encoder_streams': list(jnp.asarray(rng.normal(size=(2, 1, 2, 17, 4)))),
                  'streams': list(jnp.asarray(rng.normal(size=(2, 1, 2, 17, 4))))}
  own, partner = make(), make()
  terms = lifting.compare(dict(kind='mse', features=True), own, partner)
  mean = lambda a, b: np.square(np.subtract(a, b)).mean()
  want = {'pose': mean(own['keypoints_3d'], partner['keypoints_3d'])} | {
    name: (mean(own[name][0], partner[name][0]) + mean(own[name][1], partner[name][1])) / 2
    for name in ('encoder_streams', 'streams')}
  assert terms == pytest.approx(want, rel=1e-5)
  assert set(lifting.compare(dict(kind='mse', features=False), own, partner)) == {'pose'}
  assert lifting.compare(dict(kind='none'), own, partner) == {}
  gradient = jax.grad(lambda other: sum(lifting.compare(dict(kind='mse'), own, other).values()))(
    partner)
  assert not any(x.any() for x in jax.tree.leaves(gradient))


def test_one_batch_is_overfitted_below_a_millimetre():
  # With tanh512 and a layer scale it takes 6000 steps.
  system = systems.build(FACTS, 'lifting', model=MOE | dict(width=32, decoder_layers=1,
                                                            layer_scale=None, head='linear'))
  steps = 1000
  optimizer = optax.adam(optax.cosine_decay_schedule(4e-3, steps))
  weights = initial(system)
  state = train_state.TrainState(jnp.int32(0), weights['params'], weights['batch_stats'],
                                 optimizer.init(weights['params']), {})
  step, clips = make_train_step(system, optimizer, trainable=('net',)), fields(system, 'loss')

  @jax.jit
  def train(state):
    return jax.lax.fori_loop(0, steps, lambda _, state: step(state, clips)[0], state)

  state = train(state)
  forward = Forward(system.networks, state.params, state.batch_stats)
  pose = system.predict(forward, clips, flip=False)['net/clean']['keypoints_3d']
  assert pose3d.mpjpe(pose, relative(batch()['keypoints_3d'])) < 1e-3  # metres


def test_a_frozen_prior_stays_as_it_was_drawn():
  """No optimizer gets to see it, and training hands it on."""
  system = systems.build(FACTS, 'lifting', model=MOE | dict(
    encoder_layers=0, depth_prior='gaussian_frozen'))
  weights = initial(system)
  assert 'depth_prior' not in weights['params']['net']
  before = jax.tree.map(jnp.copy, weights['batch_stats'])
  forward = Forward(system.networks, weights['params'], weights['batch_stats'], ('net',),
                    jax.random.key(0))
  system.loss(forward, fields(system, 'loss'))
  jax.tree.map(np.testing.assert_array_equal, forward.batch_stats, before)
  assert forward.batch_stats['net']['depth_prior'].shape == (T, 17, 16)


def test_gradient_checkpointing_keeps_less():
  system = systems.build(FACTS, 'lifting', model=MOE | dict(decoder_layers=1))
  state = jax.eval_shape(lambda: train_state.create(
    system, optax.sgd(1.0), seed=0, example={k: jax.ShapeDtypeStruct((1, *v.shape[1:]), v.dtype)
                                             for k, v in batch().items()}))
  kept = {remat: memory.estimate(memory.as_compiled(system, ('net',), remat), state,
                                 fields(system, 'loss'), ('net',)).activations
          for remat in (False, True)}
  assert kept[True] < 0.8 * kept[False], kept


@pytest.mark.parametrize('options, words', [
  (dict(normalise='body'), "normalise is 'screen' or 'clip'"),
  (dict(weights={'position': 1.0}), 'position, scale, velocity, smoothness, encoder, not position'),
  (dict(weights=EACH), "encoder_heads 'supervise' or 'probe'"),
  (dict(model=MOE | dict(encoder_heads='probe')), 'encoder above 0'),
  (dict(joint_weights=[1.0]), '1 numbers for the 17 keypoints of h36m'),
  (dict(model=MOE | dict(size=3)), "'pose_moe' takes"),
  (dict(view='hidden'), "clean, occluded, not 'hidden'")])
def test_wrong_options_are_refused_by_name(options, words):
  with pytest.raises(UserError, match=words):
    systems.build(FACTS, 'lifting', **dict(model=MOE) | options)


def test_what_a_pair_of_lifting_networks_cannot_be():
  build = lambda **options: systems.build(FACTS, 'dslope', learner='lifting',
                                          **dict(model=SMALL, mutual=NO_MUTUAL) | options)
  for kind in ('kl', 'distill'):
    with pytest.raises(UserError, match=f"'mse' or 'none', not '{kind}'"):
      build(mutual=dict(kind=kind, weights=NO_MUTUAL['weights'], features=False, temperature=1.0))
  for field in ({'shared': True}, {'covered_weight': 2.0}):
    with pytest.raises(UserError, match=f"'lifting' knows no system.{next(iter(field))}"):
      build(**field)
  with pytest.raises(UserError, match='coco have none'):
    systems.build(Facts(COCO, frames=T), 'lifting', model=SMALL)
