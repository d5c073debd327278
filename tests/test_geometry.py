"""Crop geometry against the published implementation, and its properties."""
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslope_jax import skeletons
from input_pipeline import geometry
from tests.golden_data import GOLDEN

CASES = json.loads((GOLDEN / 'top_down/cases.json').read_text())
ARRAYS = np.load(GOLDEN / 'top_down/arrays.npz')


@pytest.mark.parametrize('group', CASES['box_to_center_scale'], ids=lambda g: g['name'])
def test_box_to_center_scale(group):
  for case in group['cases']:
    center, scale = geometry.box_to_center_scale(case['box_xywh'], group['aspect_ratio'])
    assert center.dtype == scale.dtype == np.float32
    np.testing.assert_allclose(center, case['center'], rtol=1e-6)
    # The published code makes no crop at all of a box without sides; here it is one pixel.
    wanted = case['scale'] if any(case['scale']) else (
      np.array([1, 1 / group['aspect_ratio']]) * 1.25 / 200)
    np.testing.assert_allclose(scale, wanted, rtol=1e-6)


def test_clip_box():
  for case in CASES['annotation_box_cleaning']:
    box, inside = geometry.clip_box(case['bbox'], case['width'], case['height'])
    assert inside == case['kept'], case
    if inside:
      np.testing.assert_allclose(box, case['clean_bbox'])
      center, scale = geometry.box_to_center_scale(box, 0.75)
      np.testing.assert_allclose(center, case['center'], rtol=1e-6)
      np.testing.assert_allclose(scale, case['scale'], rtol=1e-6)


@pytest.mark.parametrize('box, wanted', [
  ([10, 20, 1, 30], [10, 20, 0, 29]), ([10, 20, 30, 0.5], [10, 20, 29, 0]),
  ([-3, 5, 0.5, 0.5], [0, 5, 0, 0]), ([99, 49, 30, 30], [99, 49, 0, 0]),
  ([99.5, 5, 9, 9], None), ([5, 50, 9, 9], None), ([5, 5, 0, 9], None)])
def test_boxes_of_a_pixel_are_kept(box, wanted):
  """HRNet's rule: x2 >= x1 and y2 >= y1, where a side of one pixel has the length 0."""
  clipped, inside = geometry.clip_box(box, 100, 50)
  assert inside == (wanted is not None)
  if wanted:
    np.testing.assert_allclose(clipped, wanted)
    for aspect in (0.75, 1.0):
      _, scale = geometry.box_to_center_scale(clipped, aspect)
      np.testing.assert_allclose(scale[0] / scale[1], aspect, rtol=1e-6)
      assert scale.min() >= np.float32(1.25 / 200) * (1 - 1e-6)  # one padded pixel
      matrix = geometry.affine(clipped[:2], scale, 0, (96, 128))
      assert np.isfinite(matrix).all() and np.linalg.det(matrix[:, :2]) > 0


def test_half_of_a_body_in_one_point_has_a_crop():
  joints, visible = np.full((17, 2), 30.0), np.full(17, 2)
  _, scale = geometry.half_body(joints, visible, skeletons.COCO.lower_body, 0.75, True)
  assert (scale > 0).all()


def test_affine():
  for case in CASES['affine']:
    args = (case['center'], case['scale'], case['rot'], case['output_size_wh'])
    points = np.array(case['points'])
    for inverse, matrix, mapped in ((False, 'matrix', 'points_fwd'),
                                    (True, 'matrix_inv', 'points_inv')):
      got = geometry.affine(*args, inverse=inverse)
      np.testing.assert_allclose(got, case[matrix], rtol=1e-4, atol=1e-3)
      np.testing.assert_allclose(geometry.transform(points, got), case[mapped], atol=1e-3)


def test_half_body():
  for case in CASES['half_body']:
    skeleton = {'coco': skeletons.COCO, 'mpii': skeletons.MPII}[case['kind']]
    upper = np.flatnonzero(~skeleton.lower_body).tolist()
    assert upper == sorted(case['upper_body_ids'])
    for prefer_upper, key in ((True, 'draw_below_half'), (False, 'draw_not_below_half')):
      got = geometry.half_body(np.array(case['joints']), np.array(case['vis']),
                               skeleton.lower_body, case['aspect_ratio'], prefer_upper)
      if case[key] is None:
        assert got is None
      else:
        np.testing.assert_allclose(got[0], case[key]['center'], rtol=1e-5)
        np.testing.assert_allclose(got[1], case[key]['scale'], rtol=1e-5)


def test_mirror_equals_the_published_order():
  """Mirroring inside the crop's map moves joints as mirroring the picture first does."""
  for case in CASES['fliplr_joints']:
    joints, width = np.array(case['joints'])[:, :2], case['width']
    visible = np.array(case['vis'])[:, 0] > 0
    skeleton = skeletons.COCO if len(joints) == 17 else skeletons.MPII
    if not visible.any():
      continue
    center, scale = np.array([120., 80.]), np.array([1.2, 1.6])
    matrix = geometry.crop_matrix(center, scale, 20, True, width, (96, 128))
    got = geometry.transform(joints, matrix)[skeleton.flip_order]
    mirrored = np.array(case['joints_out'])[:, :2]
    upright = geometry.affine((width - center[0] - 1, center[1]), scale, 20, (96, 128))
    want = geometry.transform(mirrored, upright)
    shown = visible[skeleton.flip_order]
    np.testing.assert_array_equal(shown, np.array(case['vis_out'])[:, 0] > 0)
    np.testing.assert_allclose(got[shown], want[shown], atol=1e-3)


@pytest.mark.parametrize('i', [0, 1])
def test_warp(i):
  got = geometry.warp(ARRAYS['crop/image'], ARRAYS[f'crop/{i}/matrix'], (48, 64))
  # OpenCV versions round bilinear weights differently.
  assert np.abs(got.astype(int) - ARRAYS[f'crop/{i}/out']).mean() < 1


number = st.floats(-200, 200)


@settings(max_examples=60, deadline=None)
@given(number, number, st.floats(0.1, 5), st.floats(-90, 90), st.booleans(), number, number)
def test_crop_matrix_round_trip(cx, cy, scale, rotation, mirror, px, py):
  args = ((cx, cy), (scale, scale / 0.75), rotation)
  point = np.array([px, py])
  there = geometry.affine(*args, (96, 128))
  back = geometry.affine(*args, (96, 128), inverse=True)
  np.testing.assert_allclose(geometry.transform(geometry.transform(point, there), back), point,
                             atol=0.05)
  matrix = geometry.crop_matrix(*args, mirror, 640, (96, 128))
  assert (np.linalg.det(matrix[:, :2]) < 0) == mirror
  np.testing.assert_allclose(geometry.transform(np.array([cx, cy]), matrix), (48, 64), atol=0.05)


def test_draws_follow_the_published_probabilities():
  rng = np.random.default_rng(0)
  joints, visible = np.random.default_rng(1).uniform(0, 100, (17, 2)), np.full(17, 2)
  flips, turned, zooms = 0, 0, []
  n = 4000
  for _ in range(n):
    augmentation = geometry.Augmentation(half_body_prob=0)
    matrix, mirror = geometry.draw_crop(rng, augmentation, np.array([50., 50.]),
                                        np.array([0.5, 0.6667]), joints, visible,
                                        skeletons.COCO.lower_body, 100, (96, 128))
    flips += mirror
    turned += abs(matrix[0, 1]) > 1e-6
    zooms.append(0.96 / np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
  assert abs(flips / n - 0.5) < 0.03 and abs(turned / n - 0.6) < 0.03
  zooms = np.array(zooms)
  assert zooms.min() >= 0.65 - 1e-4 and zooms.max() <= 1.35 + 1e-4
  assert abs((zooms > 1.3499).mean() - 0.1587) < 0.03  # clipped beyond one deviation
