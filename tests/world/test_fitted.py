"""Bodies on given joints: limbs end there, turns are rotations, heads look where eyes are."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslope_jax.skeletons import H36M
from input_pipeline.world import bodies, fitted, scenes, truth
from tests.sequences import made

LIMBS = [name for name in H36M.names if name.startswith(('left', 'right'))]


def fit(joints):
  return fitted.on_joints(bodies.draw_builds(np.random.default_rng(0), len(joints)), joints)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), straight=st.booleans())
def test_limbs_end_at_the_joints_and_turns_are_rotations(seed, straight):
  joints = made.motion(3, seed)
  if straight:  # arms and legs
    for side in ('left', 'right'):
      for a, b, c in (('shoulder', 'elbow', 'wrist'), ('hip', 'knee', 'ankle')):
        a, b, c = (H36M.index(f'{side}_{name}') for name in (a, b, c))
        joints[:, b] = (joints[:, a] + joints[:, c]) / 2
  body = fit(joints)
  for name in LIMBS:
    np.testing.assert_allclose(body.centers[:, bodies.BALL[name]], joints[:, H36M.index(name)],
                               atol=1e-6)
  eye = np.broadcast_to(np.eye(3), body.turns.shape)
  np.testing.assert_allclose(body.turns @ body.turns.swapaxes(-1, -2), eye, atol=1e-9)
  np.testing.assert_allclose(np.linalg.det(body.turns), 1, atol=1e-9)
  assert np.isfinite(body.centers).all() and (body.radii > 0).all()


def test_who_faces_z_looks_there_and_bends_knees_and_elbows_the_right_way():
  joints = made.STANDING[None].copy()
  body = fit(joints)
  ball = lambda name: body.centers[0, bodies.BALL[name]]
  assert ball('nose')[2] > ball('skull')[2] + 50 and ball('left_eye')[0] > ball('right_eye')[0]
  assert ball('left_toe')[2] > ball('left_heel')[2] + 100
  assert abs(ball('left_toe')[1] - ball('left_heel')[1]) < 25  # level, on the floor
  eyes = (ball('left_eye') + ball('right_eye')) / 2 - body.origins[0, bodies.SEGMENT['head']]
  given = joints[0, H36M.index('head')] - body.origins[0, bodies.SEGMENT['head']]
  np.testing.assert_allclose(eyes / np.linalg.norm(eyes), given / np.linalg.norm(given), atol=1e-6)
  bend = joints.copy()
  bend[:, H36M.index('left_ankle')] += (0, 200, -300)
  bend[:, H36M.index('left_wrist')] += (0, 200, 200)
  turns = fit(bend).turns[0]
  for name in ('left_shin', 'left_forearm', 'left_thigh', 'left_arm'):
    assert turns[bodies.SEGMENT[name]][0, 0] > 0.7, name  # its left is still on the left


@pytest.mark.parametrize('seed', range(5))
def test_two_keep_their_places_to_each_other_in_a_scene(seed):
  joints = np.stack([made.STANDING, made.STANDING * (-1, 1, -1) + (100, 0, 500)])
  body = fit(joints)
  scene = scenes.of_bodies(np.random.default_rng(seed), body, (192, 128))
  apart = lambda centers: np.linalg.norm(centers[0][:, None] - centers[1][None], axis=-1)
  np.testing.assert_allclose(apart(scene.centers), apart(body.centers), atol=1e-6)
  assert scene.centers[..., 2].min() > 1000
  np.testing.assert_allclose((scene.stand[..., 1] - scene.radii).min(), 0, atol=1e-6)
  true = truth.of(scene, (192, 128), truth.OF_MPI15)
  assert true.visibility.any()
  up = scene.camera.turn @ (0, 1, 0)
  assert up[1] < -0.7  # y is down in the camera's frame
