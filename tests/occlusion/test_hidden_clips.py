"""Things and people that come between a moving person and a camera."""
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslope_jax import cameras
from dslope_jax.errors import UserError
from dslope_jax.skeletons import H36M, MPI15
from dslope_jax.visibility import HIDDEN, VISIBLE
from input_pipeline.occlusion import hidden_clips, visibility
from input_pipeline.occlusion.detector_errors import Seen
from input_pipeline.occlusion.hidden_clips import SEVERITIES, Kept, hide
from input_pipeline.sequences import synthetic
from input_pipeline.sequences.sequence import Camera
from tests.occlusion.standing import body

CAMERA = Camera((1000, 1000), np.array([1150.0, 1150]), np.array([500.0, 500]))



def walker(seed=0, frames=40, skeleton=H36M):
  """(T,J,3) mm: a body that sways and turns."""
  rng = np.random.default_rng(seed)
  start, away = rng.uniform(0, 360), rng.uniform(3000, 5000)
  return np.stack([body(skeleton, start + t, 150 * np.sin(t / 9), away) for t in range(frames)])


def hidden(seed, severity, skeleton=H36M, **options):
  options = {'strangers': [walker(seed + 1, skeleton=skeleton)]} | options
  return hide(np.random.default_rng(seed), walker(seed, skeleton=skeleton), CAMERA, skeleton,
              severity, **options)


@pytest.mark.parametrize('skeleton', (H36M, MPI15), ids=lambda s: s.name)
def test_none_adds_nothing_and_says_what_the_own_body_hides(skeleton):
  out = hidden(3, 'none', skeleton)
  assert not out.covered.any()
  np.testing.assert_array_equal(out.keypoints_2d, out.clean_keypoints_2d)
  np.testing.assert_array_equal(out.confidence, out.clean_confidence)
  own = visibility.of_people(walker(3, skeleton=skeleton)[None], skeleton)
  np.testing.assert_array_equal(out.visibility, np.where(own.occluded[0], HIDDEN, VISIBLE))
  np.testing.assert_array_equal(out.blocked, own.blocked[0])
  assert out.confidence[out.visibility == VISIBLE].mean() > 0.88
  assert out.confidence[out.visibility == HIDDEN].mean() < 0.6


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10 ** 6))
def test_higher_severity_hides_what_a_lower_one_hides(seed):
  """And the clean view is the same for all; the hidden one differs at covered joints alone."""
  outs = [hidden(seed, severity) for severity in SEVERITIES]
  for low, high in zip(outs, outs[1:], strict=False):
    assert (low.covered <= high.covered).all()
    assert (low.blocked <= high.blocked).all()
  for out in outs:
    np.testing.assert_array_equal(out.clean_keypoints_2d, outs[0].clean_keypoints_2d)
    np.testing.assert_array_equal(out.keypoints_2d[~out.covered],
                                  out.clean_keypoints_2d[~out.covered])
    np.testing.assert_array_equal(out.confidence[~out.covered],
                                  out.clean_confidence[~out.covered])
    assert (out.visibility[out.covered] == HIDDEN).all()
    assert ((out.cause > 0) == (out.visibility == HIDDEN)).all()
    assert np.isfinite(out.keypoints_2d).all()


def test_shares_of_covered_joints_rise_as_the_table_says():
  """Fewer clips than were measured, every ninth frame of each: four standard errors are allowed."""
  clips = [s.clip(np.arange(0, 243, 9), 0) for s in synthetic.load(
    'train', num_sequences=60, cameras=1).sequences]
  bodies = [clip.keypoints_3d for clip in clips]
  nothing = np.zeros((27, 17), np.uint8)
  shares = np.array([[hide(np.random.default_rng(i), bodies[i], clips[i].camera, H36M, severity,
                           strangers=[bodies[i - 1]], own_blocked=nothing).covered.mean()
                      for i in range(60)] for severity in SEVERITIES])
  np.testing.assert_array_less(np.abs(shares.mean(1) - hidden_clips.SHARES),
                               4 * shares.std(1) / 60 ** 0.5 + 1e-9)
  assert (np.diff(shares.mean(1)) > 0).all()


def test_same_generator_same_clip_and_another_another():
  first, again, other = (hidden(seed, 'severity5') for seed in (4, 4, 5))
  for one, two in zip(first, again, strict=True):
    np.testing.assert_array_equal(one, two)
  assert not np.array_equal(first.covered, other.covered)


def test_kept_own_body_changes_nothing():
  own = visibility.own_body(walker(2), H36M)
  for one, two in zip(hidden(2, 'severity3', own_blocked=own), hidden(2, 'severity3'),
                      strict=True):
    np.testing.assert_array_equal(one, two)


def test_what_a_detector_said_gets_no_noise():
  seen = Seen(np.full((40, 17, 2), 7, np.float32), np.full((40, 17), 0.3, np.float32))
  out = hidden(1, 'severity5', detected=seen)
  np.testing.assert_array_equal(out.clean_keypoints_2d, seen.keypoints)
  np.testing.assert_array_equal(out.clean_confidence, seen.confidence)
  assert out.covered.any() and (out.visibility[~out.covered] == HIDDEN).any()
  np.testing.assert_array_equal(out.keypoints_2d[~out.covered], 7)
  assert (out.confidence[out.covered] != np.float32(0.3)).any()


def test_noise_and_errors_are_about_the_projection():
  exact = cameras.project(walker(6), CAMERA.params)
  out = hidden(6, 'severity3', strength=0)
  np.testing.assert_allclose(out.keypoints_2d, exact, atol=1e-3)
  out = hidden(6, 'none')
  assert np.abs(out.keypoints_2d - exact)[out.visibility == VISIBLE].max() < 20


def test_partners_are_in_the_way_where_they_are_and_nobody_else():
  person = walker(8)
  partner = person * 0.75
  for severity, count in (('none', 0), ('severity1', 0)):
    people, _ = hidden_clips.draw(np.random.default_rng(0), person, H36M, severity, [partner])
    assert len(people) == count
  counts = 0
  for seed in range(100):
    people, _ = hidden_clips.draw(np.random.default_rng(seed), person, H36M, 'severity5',
                                  [partner, partner], [person])
    assert len(people) in (0, 2)
    counts += len(people) > 0
    assert all(p is partner for p in people)
  assert 65 <= counts <= 92
  outs = [hide(np.random.default_rng(seed), person, CAMERA, H36M, 'severity5', partners=[partner])
          for seed in range(20)]
  assert 10 <= sum((out.cause == visibility.PERSON).mean() > 0.5 for out in outs) < 20


def test_partners_behind_the_camera_hide_nothing_and_are_never_seen():
  person = walker(8)
  for seed in range(20):
    out = hide(np.random.default_rng(seed), person, CAMERA, H36M, 'severity5',
               partners=[person - [0, 0, 6000]])
    assert visibility.PERSON not in out.cause
    assert (np.abs(out.keypoints_2d - 500) < 900).all()


def test_strangers_come_in_front():
  person, stranger = walker(9), walker(10) + [3000, 0, 4000]
  came = 0
  for seed in range(60):
    people, _ = hidden_clips.draw(np.random.default_rng(seed), person, H36M, 'severity5', (),
                                  [stranger])
    for other in people:
      came += 1
      np.testing.assert_allclose(np.diff(other, axis=0), np.diff(stranger, axis=0), atol=1e-2)
      gap = person[20, 0] - other[20, 0]
      assert 350 < np.linalg.norm(gap * [0, 0, 1]) < 1550 and abs(gap[0]) < 700
  assert came > 35
  people, _ = hidden_clips.draw(np.random.default_rng(1), person, H36M, 'severity5')
  assert people == []


def test_things_are_between_the_camera_and_the_person():
  person, kinds = walker(11), set()
  for seed in range(60):
    _, things = hidden_clips.draw(np.random.default_rng(seed), person, H36M, 'severity5')
    assert len(things) in (4, 5)
    for frames, balls in things:
      kinds.add((balls.shape[1], bool(np.ptp(balls[:, 0, 0]) > 0)))
      assert balls.shape == (len(frames), balls.shape[1], 4) and balls.dtype == np.float32
      assert frames[0] >= 0 and frames[-1] < 40 and (np.diff(frames) == 1).all()
      assert (balls[..., 2] > 0.3 * person[..., 2].min()).all()
      assert (balls[..., 2] < person[frames, :, 2].max() - 100).all()
  assert kinds == {(1, True), (1, False), (12, True), (12, False), (25, True), (25, False)}


def test_unknown_severity_and_unknown_camera_are_named():
  with pytest.raises(UserError, match="severity1, .*, severity5, not 'severity6'"):
    hidden(0, 'severity6')
  unknown = CAMERA._replace(focal=None, name='A')
  with pytest.raises(UserError, match="camera 'A' has no focal length"):
    hide(np.random.default_rng(0), walker(), unknown, H36M, 'none')


def test_kept_computes_each_frame_once_and_travels_empty(monkeypatch):
  calls = []
  real = visibility.own_body

  def counted(joints, skeleton):
    calls.append(len(joints))
    return real(joints, skeleton)

  monkeypatch.setattr(visibility, 'own_body', counted)
  person, kept = walker(12), Kept()
  frames = np.array([5, 5, 6, 20, 5])
  whole = real(person, H36M)
  for _ in range(2):
    np.testing.assert_array_equal(kept.own_body('a', 40, frames, person[frames], H36M),
                                  whole[frames])
  frames = np.arange(4, 8)
  np.testing.assert_array_equal(kept.own_body('a', 40, frames, person[frames], H36M), whole[4:8])
  assert calls == [3, 2]
  kept.own_body('b', 40, frames, person[frames], H36M)
  assert calls == [3, 2, 4]
  assert len(pickle.dumps(kept)) < 200
  assert pickle.loads(pickle.dumps(kept))._blocked == {}
