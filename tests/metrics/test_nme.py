"""Face landmark errors by hand, and properties; JHMDB's table."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dslope_jax import skeletons
from dslope_jax.metrics import nme, pck
from dslope_jax.skeletons import COFW, FACE_300W, JHMDB, WFLW


def faces(n=4, skeleton=FACE_300W, seed=0):
  return np.random.default_rng(seed).uniform(0, 100, (n, skeleton.num_keypoints, 2))


def labelled(points):
  return np.ones(points.shape[:2], bool)


def test_references():
  # Numbers of the points as papers state them.
  for skeleton, a, b in ((FACE_300W, 36, 45), (COFW, 8, 9), (WFLW, 60, 72)):
    points = faces(3, skeleton)
    want = np.linalg.norm(points[:, a] - points[:, b], axis=-1)
    np.testing.assert_allclose(nme.inter_ocular(points, labelled(points), skeleton), want)
  for skeleton, a, b in ((COFW, 16, 17), (WFLW, 96, 97)):
    points = faces(3, skeleton)
    want = np.linalg.norm(points[:, a] - points[:, b], axis=-1)
    np.testing.assert_allclose(nme.inter_pupil(points, labelled(points), skeleton), want)
  points = faces(3)
  want = np.linalg.norm(points[:, 36:42].mean(1) - points[:, 42:48].mean(1), axis=-1)
  np.testing.assert_allclose(nme.inter_pupil(points, labelled(points), FACE_300W), want)
  np.testing.assert_allclose(nme.box_side([[5, 5, 4, 9], [0, 0, 2, 2]]), [6, 2])
  for reference in (nme.inter_ocular, nme.inter_pupil):
    with pytest.raises(ValueError, match='the points of coco do not mark both eyes'):
      reference(np.zeros((1, 17, 2)), np.ones((1, 17)), skeletons.COCO)


def test_a_face_without_a_labelled_corner_has_no_reference():
  points = faces(3, COFW)
  known = labelled(points)
  points[1, 8], known[1, 8] = 0, False  # the outer corner of one eye
  np.testing.assert_array_equal(np.isnan(nme.inter_ocular(points, known, COFW)), [0, 1, 0])
  assert np.isfinite(nme.inter_pupil(points, known, COFW)).all()
  points, known = faces(3), labelled(faces(3))
  known[2, 40] = False  # one of the six points of an eye
  np.testing.assert_array_equal(np.isnan(nme.inter_pupil(points, known, FACE_300W)), [0, 0, 1])
  errors = nme.face_errors(points + 1, points, known, nme.inter_pupil(points, known, FACE_300W))
  assert nme.nme_table(errors)['no_reference'] == 1 and np.isfinite(errors[:2]).all()


def test_errors_by_hand():
  truth = np.zeros((4, 2, 2))
  predictions = np.array([[[3, 4], [0, 0]], [[3, 4], [9, 9]], [[1, 0], [1, 0]], [[0, 1], [0, 1]]])
  visible = np.array([[1, 1], [1, 0], [0, 0], [1, 1]])
  errors = nme.face_errors(predictions, truth, visible, [10, 100, 10, 0])
  np.testing.assert_allclose(errors, [0.25, 0.05, np.nan, np.nan])
  assert nme.nme_table(errors) == pytest.approx({
    'NME': 15, 'FR@0.08': 50, 'AUC@0.08': 100 * (1 - .05 / .08) / 2, 'FR@0.10': 50,
    'AUC@0.10': 25, 'missed': 0, 'no_reference': 2})
  assert nme.failure_rate([0.08, 0.0801], 0.08) == 50  # the threshold itself is no failure


def test_missed_faces_are_failures_and_not_in_the_mean():
  truth = np.zeros((4, 2, 2))
  predictions = np.where(np.arange(4)[:, None, None] % 2, np.nan, truth + [3, 4])
  errors = nme.face_errors(predictions, truth, np.ones((4, 2)), [100, 100, 100, 0],
                           [False, True, False, True])
  np.testing.assert_allclose(errors, [.05, np.inf, .05, np.nan])
  assert nme.nme_table(errors) == pytest.approx({
    'NME': 5, 'FR@0.08': 100 / 3, 'AUC@0.08': 100 * 2 / 3 * 3 / 8, 'FR@0.10': 100 / 3,
    'AUC@0.10': 100 / 3, 'missed': 1, 'no_reference': 1})


def test_nobody_counts():
  errors = nme.face_errors(faces(2), faces(2), np.zeros((2, 68)), np.ones(2))
  table = nme.nme_table(errors)
  assert table.pop('no_reference') == 2 and table.pop('missed') == 0
  assert all(np.isnan(v) for v in table.values())
  assert np.isnan(nme.failure_rate([], 0.1)) and np.isnan(nme.ced_area([np.nan], 0.1))


@settings(deadline=None, max_examples=50)
@given(hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 0.3)),
       st.floats(0.01, 0.2))
def test_area_is_that_of_the_curve(errors, limit):
  x = np.linspace(0, limit, 20001)
  curve = np.searchsorted(np.sort(errors), x, side='right') / len(errors)
  assert nme.ced_area(errors, limit) == pytest.approx(100 * np.trapezoid(curve, x) / limit, abs=.02)
  assert nme.failure_rate(errors, limit) == pytest.approx(100 * (1 - curve[-1]), abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(st.floats(0.1, 10), st.floats(-50, 50), st.integers(0, 99))
def test_size_and_place_do_not_matter(scale, shift, seed):
  truth, predictions = faces(seed=seed), faces(seed=seed + 100)
  visible = np.random.default_rng(seed).random((4, 68)) < 0.8

  def errors(change):
    return nme.face_errors(change(predictions), change(truth), visible,
                           nme.inter_ocular(change(truth), labelled(truth), FACE_300W))
  np.testing.assert_allclose(errors(lambda p: p * scale + shift), errors(lambda p: p), rtol=1e-6)


@pytest.mark.parametrize('message, edit', [
  ('shapes disagree', lambda p, t, v, r: (p[:1], t, v, r)),
  ('shapes disagree', lambda p, t, v, r: (p, t, v[:, :1], r)),
  ('shapes disagree', lambda p, t, v, r: (p, t, v, r[:1])),
  ('2 of 4 faces hold NaN', lambda p, t, v, r: (
    np.where(np.arange(4)[:, None, None] < 2, np.nan, p), t, v, r)),
])
def test_errors_of_input(message, edit):
  with pytest.raises(ValueError, match=message):
    nme.face_errors(*edit(faces(), faces(), np.ones((4, 68)), np.ones(4)))


def test_jhmdb():
  rng = np.random.default_rng(0)
  truth = rng.uniform(0, 200, (50, 15, 2))
  predictions = truth + rng.normal(0, 12, truth.shape)
  visible = rng.random((50, 15)) < 0.9
  boxes = np.concatenate([truth.min(1), np.ptp(truth, axis=1)], 1)
  truth[3, JHMDB.index('left_shoulder')] = truth[3, JHMDB.index('right_hip')]
  torso = pck.jhmdb_torso(truth, predictions)
  np.testing.assert_allclose(np.delete(torso, 3), np.linalg.norm(
    truth[:, 4] - truth[:, 5], axis=-1)[np.arange(50) != 3])  # numbers as MMPose has them
  assert torso[3] == np.linalg.norm(predictions[3, 4] - predictions[3, 5]) > 0
  for reference in (pck.box_length(boxes), torso):
    table = pck.jhmdb_table(predictions, truth, visible, reference)
    near = np.linalg.norm(predictions - truth, axis=-1) / reference[:, None] < 0.2
    share = 100 * (near & visible).sum(0) / visible.sum(0)
    assert table['Mean'] == pytest.approx(share.mean())
    for name, joints in (('Head', [2]), ('Shoulder', [3, 4]), ('Elbow', [7, 8]),
                         ('Wrist', [11, 12]), ('Hip', [5, 6]), ('Knee', [9, 10]),
                         ('Ankle', [13, 14])):
      assert table[name] == pytest.approx(share[joints].mean()), name
  assert pck.box_length([[9, 9, 4, 7]]).tolist() == [7]
