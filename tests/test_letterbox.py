"""Letterboxed pictures: exact places, cameras that stay true, pixels where the joints are."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslope_jax.skeletons import MPI15
from input_pipeline import letterbox
from tests.pictures import made

TARGET = (832, 512)


@pytest.mark.parametrize('size, scale, offset', [
  ((1920, 1080), 832 / 1920, (0, 22)), ((2048, 2048), 0.25, (160, 0)), (TARGET, 1, (0, 0)),
  ((416, 512), 1, (208, 0))])
def test_a_picture_fits_in_the_middle(size, scale, offset):
  shown = letterbox.fit(size, TARGET)
  assert shown.scale == pytest.approx(scale) and not shown.mirrored
  np.testing.assert_allclose(shown.offset, offset, atol=1e-9)
  np.testing.assert_allclose(shown.matrix, [[scale, 0, offset[0]], [0, scale, offset[1]]],
                             atol=1e-9)


def test_what_is_beside_the_picture_is_grey():
  image = np.full((100, 50, 3), 7, np.uint8)
  out = letterbox.warp(image, letterbox.fit((50, 100), (96, 64)), (96, 64))
  assert out.shape == (64, 96, 3) and (out[:, :31] == 128).all() and (out[:, 66:] == 128).all()
  assert (out[1:63, 34:62] == 7).all()


@pytest.mark.parametrize('size', [(64, 48), (320, 240), (515, 333)])
@pytest.mark.parametrize('rotation, mirrored', [(0, False), (0, True), (8, False), (-8, True)])
def test_pixels_go_where_joints_go(size, rotation, mirrored):
  rng = np.random.default_rng(0)
  spots = rng.uniform(0.25, 0.75, (6, 2)) * size
  shown = letterbox.view(size, (96, 64), 1, rotation, (3, -2), mirrored)
  wide = 1.5 / shown.scale
  y, x = np.mgrid[:size[1], :size[0]]
  for spot in spots:
    blob = 255 * np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * wide ** 2))
    out = letterbox.warp(np.repeat(blob[..., None], 3, 2).astype(np.uint8), shown, (96, 64))
    place, grid = shown.matrix @ (*spot, 1), np.mgrid[:64, :96][::-1]
    weight = out[..., 0] * (np.hypot(*(grid - place[:, None, None])) < 6)  # all in the picture
    np.testing.assert_allclose((weight * grid).sum((1, 2)) / weight.sum(), place, atol=0.1)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10**6), mirrored=st.booleans(), factor=st.floats(0.7, 1.3))
def test_the_camera_projects_people_as_they_are_seen(seed, mirrored, factor):
  rng = np.random.default_rng(seed)
  joints = made.STANDING + rng.uniform((-60, -30, 250), (60, 30, 600), (3, 1, 3))
  shown = letterbox.view(made.SIZE, (192, 128), factor, 0, rng.uniform(-9, 9, 2), mirrored)
  people = letterbox.people(shown, (192, 128), made.seen(joints), joints, np.full((3, 15), 2),
                            MPI15.flip_order)
  fx, fy, cx, cy, scale, *offset = letterbox.camera(shown, made.SIZE, made.CAMERA)
  pixels = people[..., 2:4] / people[..., 4:5] * (fx, fy) + (cx, cy)
  np.testing.assert_allclose(pixels * scale + offset, people[..., :2], atol=2e-3)
  inside = ((people[..., :2] >= 0) & (people[..., :2] <= (191, 127))).all(-1)
  np.testing.assert_array_equal(people[..., 5], 2 * inside)


def test_a_mirrored_person_is_the_person_in_a_mirror():
  joints = made.STANDING[None] + (20, 0, 400)
  plain, mirrored = (letterbox.people(
    letterbox.view(made.SIZE, (192, 128), mirrored=flag), (192, 128), made.seen(joints), joints,
    np.full((1, 15), 2), MPI15.flip_order)[0] for flag in (False, True))
  left, right = (MPI15.names.index(f'{side}_wrist') for side in ('left', 'right'))
  np.testing.assert_allclose(mirrored[left, 0], 191 - plain[right, 0], atol=1e-4)
  np.testing.assert_allclose(mirrored[left, 2:5], plain[right, 2:5] * (-1, 1, 1))
  np.testing.assert_allclose(mirrored[0, 1:5], plain[0, 1:5] * (1, -1, 1, 1), rtol=1e-6)


def test_a_turned_picture_keeps_its_middle_and_depths():
  shown = letterbox.view((320, 240), (192, 128), rotation=90)
  np.testing.assert_allclose(shown.matrix @ (160, 120, 1), (96, 64), atol=1e-9)
  right = shown.matrix @ (260, 120, 1)  # degrees turn x towards y
  np.testing.assert_allclose(right, (96, 64 + 100 * shown.scale), atol=1e-9)


def test_views_for_training_keep_to_their_limits():
  rng, augmentation = np.random.default_rng(0), letterbox.Augmentation(5, 0.1, (0.8, 1.1), 0.5)
  shown = [letterbox.draw(rng, augmentation, (320, 240), (96, 64)) for _ in range(300)]
  base = letterbox.fit((320, 240), (96, 64)).scale
  factor = np.array([v.scale for v in shown]) / base
  assert 0.8 <= factor.min() < 0.82 and 1.08 < factor.max() <= 1.1
  assert 0.4 < np.mean([v.mirrored for v in shown]) < 0.6
  angle = [np.degrees(np.arctan2(v.matrix[1, 0], v.matrix[1, 1])) for v in shown]
  assert 4.5 < np.abs(angle).max() <= 5
  middle = np.array([v.matrix @ (160, 120, 1) for v in shown if not v.mirrored]) - (48, 32)
  assert 8 < np.abs(middle).max() <= 9.6 + 1e-9


def test_boxes_become_places_of_the_map():
  shown = letterbox.fit((192, 128), (192, 128))
  found = letterbox.boxes_map(shown, (192, 128), np.array([(40, 20, 40, 20.0)]), 4)
  expected = np.zeros((32, 48), bool)
  expected[5:11, 10:21] = True
  np.testing.assert_array_equal(found, expected)
  assert not letterbox.boxes_map(shown, (192, 128), np.zeros((0, 4)), 4).any()
