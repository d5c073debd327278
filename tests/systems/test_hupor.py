"""HUPOR: whole steps, what a stage leaves alone, and an oracle from maps of the truth to poses."""
import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dslope_jax import part_maps, systems
from dslope_jax.errors import UserError
from dslope_jax.skeletons import COCO
from dslope_jax.systems import hupor, hupor_losses, hupor_people
from dslope_jax.systems.base import Facts, Forward
from dslope_jax.training import train_state
from dslope_jax.training.train_step import make_train_step
from tests import tiny_people

PEOPLE = 4


def build(**options):
  return systems.build(tiny_people.FACTS, 'hupor', **tiny_people.NETWORKS | dict(
    max_people=PEOPLE) | options)


def shapes(batch):
  return {k: jax.ShapeDtypeStruct((1, *v.shape[1:]), v.dtype) for k, v in batch.items()}


def fields(system, use, batch):
  return {name: batch[name] for name in system.fields[use] if name in batch}


class Training:
  """A system, its compiled step and a state."""

  def __init__(self, total=30, lr=2e-3, **options):
    self.system, stage = build(**options), options.get('stage', 'all')
    self.trained = [name for name in hupor.STAGES[stage] if name in self.system.networks]
    optimizer = optax.partition(
      {'learns': optax.adam(lr), 'frozen': optax.set_to_zero()},
      {name: 'learns' if name in self.trained else 'frozen' for name in self.system.networks})
    self.step = jax.jit(make_train_step(self.system, optimizer, trainable=tuple(self.trained),
                                        total=total))
    self.first = self.state = train_state.create(self.system, optimizer, seed=0,
                                                 example=shapes(tiny_people.batch()))

  def __call__(self, batch):
    self.state, terms = self.step(self.state, fields(self.system, 'loss', batch))
    return {name: float(value) for name, value in terms.items()}


@pytest.fixture(scope='module')
def whole():
  """All three networks after 30 steps of one batch: (training, terms of the steps)."""
  training = Training()
  return training, [training(tiny_people.batch()) for _ in range(30)]


def test_one_batch_is_learned(whole):
  _, terms = whole
  assert all(np.isfinite(list(step.values())).all() for step in terms)
  assert terms[-1]['detector/loss'] < 0.6 * terms[0]['detector/loss']
  assert terms[-1]['reasoner/maps3'] < 0.6 * terms[0]['reasoner/maps3']
  first = next(step for step in terms if step['reasoner/student'])
  assert terms[-1]['reasoner/student'] < 0.8 * first['reasoner/student']


def test_numbers_of_people_compile_nothing_anew(whole):
  training, _ = whole
  before = training.step._cache_size()
  for people in (0, 1, 4):
    terms = training(tiny_people.batch(people=people, seed=people + 1))
    assert np.isfinite(list(terms.values())).all()
  assert training.step._cache_size() == before


def predicted(training, batch, **test):
  state = training.state

  def predict(params, batch_stats, batch):
    forward = Forward(training.system.networks, params, batch_stats)
    return training.system.predict(forward, batch, **test)

  found = jax.jit(predict)(state.params, state.batch_stats,
                           fields(training.system, 'predict', batch))
  return jax.tree.map(np.asarray, found)


def test_the_truth_changes_no_prediction(whole):
  batch = tiny_people.batch()
  found = predicted(whole[0], batch)
  assert set(found) == {'detector/clean', 'reasoned/clean', 'refined/clean'}
  for row in found.values():
    assert {name: value.shape for name, value in row.items()} == {
      'keypoints': (2, PEOPLE, 15, 2), 'keypoints_3d': (2, PEOPLE, 15, 3),
      'scores': (2, PEOPLE, 15), 'valid': (2, PEOPLE), 'overflow': (2,)}
    assert all(np.isfinite(value).all() for value in row.values())
  other = tiny_people.batch(seed=5, people=4)
  mixed = other | {name: batch[name] for name in ('image', 'camera')}
  again = predicted(whole[0], mixed)
  jax.tree.map(np.testing.assert_array_equal, again, found)
  both = predicted(whole[0], batch | {'occluded_image': other['image']})
  assert len(both) == 6


@pytest.mark.slow
@pytest.mark.parametrize('stage', ['detect', 'reason', 'refine'])
def test_a_stage_moves_its_network_alone(whole, stage):
  training = Training(stage=stage, total=4, detected_share=0.0)
  trained, = training.trained
  assert list(training.system.networks) == list(
    hupor.NETWORKS[:hupor.NETWORKS.index(trained) + 1])
  assert ('image' in training.system.fields['loss']) == (stage != 'reason')
  terms = [training(tiny_people.batch()) for _ in range(2)]
  if stage == 'detect':  # nothing of the other networks' losses reaches it
    for alone, beside in zip(terms, whole[1], strict=False):
      np.testing.assert_allclose(alone['detector/loss'], beside['detector/loss'], rtol=1e-3)
  for name in training.system.networks:
    moved = [not np.array_equal(a, b) for kind in ('params', 'batch_stats') for a, b in zip(
      jax.tree.leaves(getattr(training.state, kind)[name]),
      jax.tree.leaves(getattr(training.first, kind)[name]), strict=True)]
    if name != trained:
      assert not any(moved)
    elif stage == 'reason':  # the student's encoder and the teacher's, too
      assert np.mean(moved) > 0.9
    else:  # nobody is found by networks that have learned nothing
      assert any(moved)


class Truth:
  """A `Forward` whose networks see the truth: the detector finds visible joints."""

  def __init__(self, batch, visible_only=True, height=1):
    self.people, self.visible_only = hupor_people.people_of(batch), visible_only
    self.height = height
    self.calls = collections.Counter()

  def __call__(self, name, *inputs, train=True):
    people = self.people
    self.calls[name] += 1
    if self.calls[name] == 2:  # of the mirrored picture
      x = tiny_people.SIZE[0] - 4 - people['joints'][..., :1]
      people = people | {'joints': jnp.concatenate([x, people['joints'][..., 1:]], -1)}
      people |= {name: people[name][:, :, tiny_people.FACTS.skeleton.flip_order]
                 for name in ('joints', 'depth', 'visibility')}
    drawn = part_maps.encode(people, tiny_people.SIZE, scales=(1,),
                             visible_only=self.visible_only and name == 'detector')
    maps = {'maps': self.height * drawn['maps'][:, 0],
            'relative_depth': drawn['relative_depth'][:, 0]}
    if name == 'refiner':
      return {'pose': np.zeros((inputs[0].shape[0], 15, 3))}
    return maps | {'anchor_depth': tiny_people.nearest_anchors(people, tiny_people.SIZE)}


@pytest.fixture(scope='module')
def oracle():
  return tiny_people.batch(pictures=8, people=2, seed=3, hidden=0.15)


def errors(found, batch):
  """Errors (N,15) cm of all people relative to the pelvis, NaN where nothing was found."""
  out = []
  for b, p in np.argwhere(batch['valid']):
    truth = batch['people'][b, p, :, 2:5]
    gap = np.linalg.norm(found['keypoints'][b, :, 2] - batch['people'][b, p, 2, :2], axis=-1)
    gap = np.where(found['valid'][b], gap, np.inf)
    row = gap.argmin()
    pose = found['keypoints_3d'][b, row]
    there = (found['scores'][b, row] > 0) & (gap[row] < 5)
    error = np.linalg.norm((pose - pose[2]) - (truth - truth[2]), axis=-1)
    out.append(np.where(there, error, np.nan))
  return np.array(out)


@pytest.mark.parametrize('flip', [False, True])
def test_maps_of_the_truth_give_the_true_poses(oracle, flip):
  system, labelled = build(), oracle['people'][oracle['valid']][..., 5]
  found = system.predict(Truth(oracle), fields(system, 'predict', oracle), flip=flip)
  found = jax.tree.map(np.asarray, found)
  seen, whole = (errors(found[row], oracle) for row in ('detector/clean', 'reasoned/clean'))
  assert np.nanmedian(whole) < 2.5  # cm; 1.5 at four times the resolution (spec of the maps)
  assert np.isfinite(whole[labelled > 0]).mean() > 0.9
  assert np.isfinite(seen[labelled == 1]).mean() < 0.05
  assert np.isfinite(seen[labelled == 2]).mean() < np.isfinite(whole[labelled == 2]).mean()


def test_a_detector_of_all_joints_needs_no_reasoner(oracle):
  system = build(stage='detect', visible_only=False)
  found = system.predict(Truth(oracle, visible_only=False), fields(system, 'predict', oracle),
                         flip=False)
  assert set(found) == {'detector/clean'}
  whole = errors(jax.tree.map(np.asarray, found['detector/clean']), oracle)
  labelled = oracle['people'][oracle['valid']][..., 5]
  assert np.isfinite(whole[labelled > 0]).mean() > 0.9


def test_published_maps_are_sums_with_thresholds_of_their_own(oracle):
  system = build(stage='detect', visible_only=False, reference=True)
  truth = Truth(oracle, visible_only=False, height=3 * part_maps.peaks(15, 14))
  found = system.predict(truth, fields(system, 'predict', oracle), flip=True)['detector/clean']
  found = jax.tree.map(np.asarray, found)
  whole = errors(found, oracle)
  labelled = oracle['people'][oracle['valid']][..., 5]
  assert np.isfinite(whole[labelled > 0]).mean() > 0.8
  assert 5 < np.median(found['scores'][found['scores'] > 0]) < 6.1


def test_nobody_and_too_many():
  nobody = tiny_people.batch(people=0)
  system = build(max_people=2)
  run = lambda batch: jax.tree.map(np.asarray, system.predict(
    Truth(batch), fields(system, 'predict', batch), flip=False))
  for row in run(nobody).values():
    assert not row['valid'].any() and not row['scores'].any() and not row['overflow'].any()
    assert not row['keypoints_3d'].any()
  crowd = tiny_people.batch(people=3, hidden=0)
  for row in run(crowd).values():
    assert row['valid'].all() and row['overflow'].tolist() == [1, 1]


def test_refined_poses_are_the_offsets_behind_the_pixels_that_were_found(oracle):
  """With a network that answers one pose for everybody."""
  pose = np.linspace(-30, 30, 45).reshape(15, 3).astype(np.float32)

  class Fixed(Truth):
    def __call__(self, name, *inputs, train=True):
      found = super().__call__(name, *inputs, train=train)
      return found if name != 'refiner' else {
        'pose': np.broadcast_to(pose / 100, (len(inputs[0]), 15, 3))}

  system = build(thresholds={'shortest': 0.0})  # limbs shorter than a pixel are not found
  found = jax.tree.map(np.asarray, system.predict(
    Fixed(oracle), fields(system, 'predict', oracle), flip=False))
  before, after = found['reasoned/clean'], found['refined/clean']
  people = before['valid']
  assert (after['scores'][people] == 1).all() and not after['scores'][~people].any()
  root = before['keypoints_3d'][:, :, 2:3]
  np.testing.assert_allclose(after['keypoints_3d'][:, :, 2:3], root, rtol=1e-5)
  depth = (after['keypoints_3d'] - root)[..., 2][people]
  np.testing.assert_allclose(np.delete(depth, 2, 1), np.delete(
    np.broadcast_to(pose[:, 2], depth.shape), 2, 1), atol=1e-3)
  kept = before['scores'] > 0
  np.testing.assert_array_equal(after['keypoints'][kept], before['keypoints'][kept])
  lost = people[..., None] & ~kept
  assert lost.any()
  np.testing.assert_allclose((after['keypoints_3d'] - root)[lost], np.broadcast_to(
    pose, lost.shape + (3,))[lost], atol=1e-3)
  points = after['keypoints_3d']
  seen = points[..., :2] / np.where(people[..., None, None], points[..., 2:], 1) * 150 + (96, 64)
  np.testing.assert_allclose(after['keypoints'][lost], seen[lost], rtol=1e-4)


def test_rows_are_filled_with_the_valid_ones():
  rows = hupor_losses.filled_rows(np.array([False, True, False, True, False]))
  assert rows.tolist() == [1, 3, 1, 3, 1]
  assert hupor_losses.filled_rows(np.zeros(3, bool)).tolist() == [0, 1, 2]


def test_cameras_in_the_pictures_of_networks():
  found = hupor_people.network_camera(tiny_people.CAMERA[None])
  assert found.tolist() == [[150, 150, 96, 64]]


@pytest.mark.parametrize('options,words', [
  (dict(stage='detection'), 'system.stage is one of detect, reason'),
  (dict(view='hidden'), 'system.view is one of clean, occluded'),
  (dict(refiner=None), 'system.refiner is not given'),
  (dict(noise={'peaks': 1}), 'system.noise has the numbers peak, .* not peaks'),
  (dict(thresholds={'peaks': 1}), 'system.thresholds has the numbers peak, .* not peaks'),
  (dict(thresholds={'peak': -0.1}), 'system.thresholds.peak is -0.1, must be a number of 0'),
  (dict(thresholds={'point': 'low'}), 'system.thresholds.point is low, must be a number'),
  (dict(thresholds={'support': 2}), 'system.thresholds.support is 2, must be 0 to 1'),
  (dict(noise={'jitter': float('nan')}), 'system.noise.jitter is nan, must be a number'),
  (dict(noise={'dropped': (0.5, 0.1)}), 'system.noise.dropped .* a lower and a higher share'),
  (dict(reference=True), 'set system.stage'),
  (dict(stage='detect', detector=tiny_people.NETWORKS['detector'] | {'reference': True}),
   'set system.reference')])
def test_faults(options, words):
  with pytest.raises(UserError, match=words):
    build(**options)


def test_other_joints_are_refused():
  with pytest.raises(UserError, match='by the joints of mpi15, and the data have those of coco'):
    systems.build(Facts(COCO, tiny_people.SIZE), 'hupor', **tiny_people.NETWORKS)


def test_a_network_without_a_loss_must_be_frozen():
  system, batch = build(stage='reason', detected_share=0.0), tiny_people.batch()
  weights = jax.eval_shape(lambda: train_state.init_weights(system, 0, shapes(batch)))
  forward = Forward(system.networks, weights['params'], weights['batch_stats'],
                    ('detector', 'reasoner'))
  with pytest.raises(UserError, match='optim.detector.frozen=True, init_from.detector'):
    jax.eval_shape(functools.partial(system.loss, forward), fields(system, 'loss', batch))
