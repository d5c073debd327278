"""Cameras against the published numbers, and there and back."""
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslope_jax import cameras
from dslope_jax.errors import UserError
from input_pipeline.sequences.sequence import Camera, Sequence

GOLDEN = pathlib.Path(__file__).parent / 'golden/lifting_metrics'
PARAMS = np.array([1145.0, 1143.8, 512.5, 515.5, -0.2, 0.24, -0.002, -0.001, -0.003])


@functools.cache
def golden():
  with np.load(GOLDEN / 'camera_s63.npz') as found:
    return {k: found[k] for k in found.files if k != 'meta'}


def bodies(seed, shape=(2, 5, 17)):
  """mm in the camera's frame, 3 to 5 m away."""
  rng = np.random.default_rng(seed)
  root = rng.uniform((-800, -500, 3000), (800, 500, 5000), (*shape[:-1], 1, 3))
  return root + rng.normal(0, 300, (*shape, 3))


@pytest.mark.parametrize('arrays', [np, jnp])
def test_published_numbers(arrays):
  g = {k: arrays.asarray(v) for k, v in golden().items()}
  place = g['quat_in'], g['trans_in']
  found = {
    'projected': cameras.project(g['points_in'], g['cam_params_in']),
    'projected_linear': cameras.project_linear(g['points_in'], g['cam_params_in']),
    'world_to_camera': cameras.world_to_camera(g['points_in'], *place),
    'camera_to_world': cameras.camera_to_world(g['points_in'], *place),
    'normalized': cameras.normalise_screen(g['pixels_in'], 1000, 1002),
    'back': cameras.denormalise_screen(g['normalized'], 1000, 1002)}
  for name, value in found.items():
    np.testing.assert_allclose(value, golden()[name], rtol=1e-5, atol=1e-4 if 'proj' in name
                               or name == 'back' else 1e-6, err_msg=name)


def test_one_camera_for_all_or_one_for_each():
  points = bodies(0)
  each = np.stack([PARAMS, PARAMS * 1.1])
  for project in (cameras.project, cameras.project_linear):
    both = project(points, each)
    np.testing.assert_array_equal(both[0], project(points[0], PARAMS))
    np.testing.assert_array_equal(both[1], project(points[1], PARAMS * 1.1))
  pinhole = PARAMS * (np.arange(9) < 4)
  np.testing.assert_allclose(cameras.project(points, pinhole),
                             cameras.project_linear(points, PARAMS))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**16), st.integers(0, 16))
def test_there_and_back(seed, root):
  rng, points = np.random.default_rng(seed), bodies(seed)
  quaternion = rng.normal(size=4)
  place = quaternion / np.linalg.norm(quaternion), rng.normal(0, 1000, 3)
  back = cameras.world_to_camera(cameras.camera_to_world(points, *place), *place)
  np.testing.assert_allclose(back, points, atol=1e-8)
  relative = cameras.to_image_space(points, PARAMS, root)
  relative = relative - relative[..., root:root + 1, :]
  back = cameras.from_image_space(relative, points[..., root, :], PARAMS)
  np.testing.assert_allclose(back, points - points[..., root:root + 1, :], atol=1e-8)


def test_image_space_by_hand():
  """Focal lengths 1000 and 1200, the root on the axis 4 m ahead; the joint 400 mm behind it."""
  params = np.array([1000., 1200, 500, 400, 9, 9, 9, 9, 9])
  points = np.array([[[0., 0, 4000], [440, -220, 4400]]])
  want = [[[500, 400, 0], [600, 340, 110]]]  # 400 mm * 1100 / 4000 mm
  np.testing.assert_allclose(cameras.to_image_space(points, params, 0), want)
  relative = jnp.asarray(want, jnp.float32) - jnp.array([500., 400, 0])
  back = jax.jit(cameras.from_image_space)(relative, jnp.asarray(points[:, 0]), params)
  np.testing.assert_allclose(back, points - points[:, :1], atol=1e-3)


def test_a_sequence_projects_by_the_parameters_of_its_camera():
  world = bodies(1, (4, 17)).astype(np.float32)
  camera = Camera((1000, 1002), PARAMS[:2], PARAMS[2:4], PARAMS[4:])
  np.testing.assert_array_equal(camera.params, PARAMS)
  clip = Sequence('one', world, (camera,), 50.0).clip(np.array([0, 0, 3]), 0)
  np.testing.assert_allclose(clip.keypoints_2d, cameras.project(world[[0, 0, 3]], PARAMS),
                             rtol=1e-5)
  with pytest.raises(UserError, match="camera 'left' has no focal length"):
    Sequence('one', world, (Camera((1000, 1002), name='left'),), 50.0).clip(np.arange(2), 0)
