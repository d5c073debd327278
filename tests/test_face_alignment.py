"""Five points and the map that brings them onto the template."""
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from dslope_jax import skeletons
from input_pipeline import face_alignment, geometry
from input_pipeline.world import faces
from tests.refusals import fails

TEMPLATE = face_alignment.TEMPLATE


def umeyama(points, targets):
  """The closed form by singular values: Umeyama, PAMI 1991, equations 40 to 43."""
  a, b = points - points.mean(0), targets - targets.mean(0)
  u, d, vt = np.linalg.svd(b.T @ a / len(a))
  sign = np.array([1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
  turn = u @ np.diag(sign) @ vt
  linear = turn * (d @ sign) / a.var(0).sum()
  return np.column_stack([linear, targets.mean(0) - linear @ points.mean(0)])


@given(arrays.arrays(np.float64, (5, 2), elements=st.floats(-300, 300)), st.integers(0, 99))
def test_a_similarity_is_that_of_the_closed_form(points, seed):
  points = np.round(points, 3) + np.random.default_rng(seed).normal(0, 1, (5, 2))
  found = face_alignment.similarity(points, TEMPLATE)
  np.testing.assert_allclose(found, umeyama(points, TEMPLATE), atol=1e-8)


@pytest.mark.parametrize('count', [2, 3, 5])
def test_a_turned_and_scaled_template_comes_back(count):
  angle, factor, shift = np.radians(140), 2.5, np.array([31.0, -7.0])
  linear = factor * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
  moved = TEMPLATE @ linear.T + shift
  matrix = face_alignment.similarity(moved[:count], TEMPLATE[:count])
  np.testing.assert_allclose(geometry.transform(moved, matrix), TEMPLATE, atol=1e-9)


def test_a_mirror_is_never_made_and_one_place_keeps_its_size():
  matrix = face_alignment.similarity(TEMPLATE * (-1, 1), TEMPLATE)
  assert np.linalg.det(matrix[:, :2]) > 0
  matrix = face_alignment.similarity(np.full((5, 2), 3.0), TEMPLATE)
  np.testing.assert_allclose(matrix, np.column_stack([np.eye(2), TEMPLATE.mean(0) - 3]))


def test_the_template_grows_with_the_crop():
  np.testing.assert_allclose(face_alignment.template(224), 2 * TEMPLATE)


@pytest.mark.parametrize('skeleton, rows', [
  (skeletons.FACE_300W, (range(36, 42), range(42, 48), [30], [48], [54])),
  (skeletons.WFLW, ([96], [97], [54], [76], [82])),
  (skeletons.COFW, ([16], [17], [20], [22], [23])),
  (skeletons.AFLW, ([7], [10], [13], [15], [17]))], ids=lambda value: getattr(value, 'name', ''))
def test_the_five_points_of_known_sets(skeleton, rows):
  weights = face_alignment.five_points(skeleton)
  for found, expected in zip(weights, rows, strict=True):
    np.testing.assert_array_equal(np.flatnonzero(found), list(expected))
    np.testing.assert_allclose(found.sum(), 1)


def test_five_points_are_taken_as_they_are_and_bodies_are_refused():
  np.testing.assert_array_equal(face_alignment.five_points(None), np.eye(5))
  fails(lambda: face_alignment.five_points(skeletons.COCO), "17 keypoints of 'coco' lack an eye",
        'data.loader.skeleton')


def test_a_point_of_which_a_landmark_is_not_labelled_is_not_known():
  weights = face_alignment.five_points(skeletons.FACE_300W)
  landmarks, visibility = np.zeros((68, 2)), np.full(68, 2, np.uint8)
  landmarks[36:42] = np.arange(12).reshape(6, 2)
  visibility[[38, 54]], visibility[45] = (0, 3), 1  # hidden ones have a place
  points, known = face_alignment.known_points(weights, landmarks, visibility)
  np.testing.assert_array_equal(known, [False, True, True, True, False])
  np.testing.assert_allclose(points[0], (5, 6))


def test_the_mean_face_stands_in_for_landmarks():
  in_box = face_alignment.standing_in((10, 20, 300, 50))
  np.testing.assert_allclose((in_box[:, 1].min(), in_box[:, 1].max()), (20, 70))
  np.testing.assert_allclose((in_box[:, 0].min() + in_box[:, 0].max()) / 2, 160)
  weights = face_alignment.five_points(skeletons.FACE_300W)
  on_template = face_alignment.standing_in(points=TEMPLATE)
  assert np.abs(weights @ on_template - TEMPLATE).max() < 5  # no two faces are alike
  whole = face_alignment.standing_in(picture=(92, 112))
  assert (whole > 0).all() and (whole < (92, 112)).all()
  np.testing.assert_allclose(np.ptp(whole, axis=0).max(), 0.7 * 92)
  assert faces.mean_points().shape == (68, 2)
