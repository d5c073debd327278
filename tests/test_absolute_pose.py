"""Absolute poses: the published numbers, exact cases, and how exact ideal maps are."""
import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from dslope_jax import absolute_pose
from tests.golden import rule

GOLDEN = pathlib.Path(__file__).parent / 'golden/hupor'
CAMERA, SIZE, SCALE = np.array([1500., 1400, 950, 530]), np.array([1920, 1080]), 832 / 1920


def mlp(x, seed):
  """The refinement network with the weights of the rule."""
  entries = json.loads((GOLDEN / 'keys_refinenet.json').read_text())['entries']
  w = rule.weights(entries, seed)
  for i in range(1, 5):
    x = x @ w[f'block.layer{i}.0.weight'].T + w[f'block.layer{i}.0.bias']
    norm = {n: w[f'block.layer{i}.1.{n}'] for n in ('weight', 'bias', 'running_mean',
                                                    'running_var')}
    x = (x - norm['running_mean']) / np.sqrt(norm['running_var'] + 1e-5)
    x = np.maximum(x * norm['weight'] + norm['bias'], 0)
  return x @ w['block.layer5.weight'].T + w['block.layer5.bias']


@pytest.mark.parametrize('arrays', [np, jnp], ids=['numpy', 'jax'])
@pytest.mark.parametrize('name', ['associate_s81', 'associate_s82', 'associate_s83'])
def test_published_numbers(name, arrays):
  with np.load(GOLDEN / f'{name}.npz') as g:
    meta = json.loads(str(g['meta']))
    joints = arrays.asarray(g['people_px_relz_f64'] * (1 / 4, 1 / 4, 1, 1))
    root = arrays.asarray(g['root_depth_f64'] / (meta['focal'] * meta['scale']))
    w, h = meta['img_wh']
    camera = [meta['focal'], meta['focal'], w / 2, h / 2]
    poses = absolute_pose.absolute(joints, root, camera, meta['scale'], (w, h))
    np.testing.assert_allclose(poses, g['people_3d_f64'], atol=1e-3)
    assert type(poses) is type(joints)
    output = mlp(np.asarray(absolute_pose.refinement_input(joints, poses)), meta['seed'])
    refined = absolute_pose.refined(poses, arrays.asarray(output))
    np.testing.assert_allclose(refined, g['refined_3d_f64'], atol=0.02)


def random_people(seed=0):
  """Joints (2,3,15,4) and root depths (2,3); one joint and one person are missing."""
  rng = np.random.default_rng(seed)
  joints = rng.uniform(1, 100, (2, 3, 15, 4))
  joints[0, 0, 4] = joints[1, 2] = 0
  return joints, rng.uniform(0.3, 1, (2, 3))


def test_poses_lie_behind_their_pixels():
  joints, root = random_people()
  poses = absolute_pose.absolute(joints, root, CAMERA, SCALE, SIZE)
  there = joints[..., 3] > 0
  assert not poses[~there].any()
  x, y, z, _ = np.moveaxis(poses[there], -1, 0)
  u, v = x / z * 1500 + 950, y / z * 1400 + 530
  # The network sees 22.0 px of padding above and below, none at the sides.
  np.testing.assert_allclose(u * SCALE, 4 * joints[there][:, 0])
  np.testing.assert_allclose(v * SCALE + (512 - 468) / 2, 4 * joints[there][:, 1])
  depth = np.broadcast_to(root[..., None], there.shape)[there] * SCALE * 1500
  np.testing.assert_allclose(z, depth + joints[there][:, 2])


def test_every_picture_has_its_own_camera():
  joints, root = random_people()
  cameras, sizes = np.stack([CAMERA, CAMERA + 7]), np.stack([SIZE, SIZE // 2])
  scales = np.array([SCALE, 2 * SCALE])
  together = absolute_pose.absolute(joints, root, cameras, scales, sizes)
  for i in range(2):
    np.testing.assert_array_equal(
      together[i], absolute_pose.absolute(joints[i], root[i], cameras[i], scales[i], sizes[i]))


def test_refinement_gives_what_is_missing_and_keeps_the_root():
  joints, root = random_people()
  poses = absolute_pose.absolute(joints, root, CAMERA, SCALE, SIZE)
  seen = absolute_pose.refinement_input(joints, poses).reshape(2, 3, 15, 5)
  assert not seen[0, 0, 4].any() and not seen[1, 2].any()
  np.testing.assert_allclose(seen[0, 1, 2], [*4 * joints[0, 1, 2, :2], *poses[0, 1, 2, :3]])
  np.testing.assert_allclose(seen[0, 1, 5, 2:], poses[0, 1, 5, :3] - poses[0, 1, 2, :3])
  same = np.where(joints[..., 3:] > 0, poses[..., :3] - poses[..., 2:3, :3], 5)
  refined = absolute_pose.refined(poses, same.reshape(2, 3, 45))
  np.testing.assert_allclose(refined[0, 0, 4], [*poses[0, 0, 2, :3] + 5, 1])
  np.testing.assert_allclose(refined[0, 1, :, :3], poses[0, 1, :, :3])
  assert not refined[1, 2].any()
  moved = absolute_pose.refined(poses, same.reshape(2, 3, 45) + 8)
  again = absolute_pose.reprojected(moved, poses)
  np.testing.assert_array_equal(again[0, 0, 4], moved[0, 0, 4])
  np.testing.assert_array_equal(again[0, :, 2, :3], poses[0, :, 2, :3])
  np.testing.assert_allclose(again[..., 2:], moved[..., 2:])
  ratio = lambda x: x[0, 1, :, :2] / x[0, 1, :, 2:3]
  np.testing.assert_allclose(ratio(again), ratio(poses))


def test_an_unknown_camera():
  np.testing.assert_array_equal(absolute_pose.assumed_camera([[640, 480], [10, 20]]),
                                [[640, 640, 320, 240], [10, 10, 5, 10]])
