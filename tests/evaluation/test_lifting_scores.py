"""Scores of lifted poses: exact values on clips made here, in both units of prediction."""
import numpy as np
import pytest

from dslope_jax import cameras
from dslope_jax.evaluation import lifting_scores
from dslope_jax.skeletons import H36M, MPI_INF_3DHP
from tests.refusals import fails

PARAMS = np.array([1100, 1150, 510, 490, 0, 0, 0, 0, 0.0])
N, T, J, WIDTH = 6, 4, 17, 1000


def clips(target='image', seed=0, **changes):
  rng = np.random.default_rng(seed)
  poses = rng.normal(0, 300, (N, T, J, 3)) + (100, -50, 4000)
  return lifting_scores.Clips(
    H36M, 0, target, poses.astype(np.float32), np.ones((N, T), bool), np.tile(PARAMS, (N, 1)),
    np.full(N, WIDTH), None, np.array([0, 0, 1, 1, 2, 2]),
    np.array(['walk', 'walk', 'walk', 'walk', 'sit', 'sit']), np.array([''] * N),
    np.array(['a', 'a', 'a', 'b', 'b', 'b']), np.array([f'clip {i}' for i in range(N)])
  )._replace(**changes)


def units(of, poses=None):
  """Predictions that say exactly `poses` (mm in the camera's frame), else the ground truth."""
  poses = of.keypoints_3d if poses is None else poses
  if of.target == 'camera':
    return (poses - poses[:, :, :1]) / 1000
  pixels = cameras.to_image_space(poses.astype(np.float64), PARAMS, 0) * 2 / WIDTH
  return pixels - pixels[:, :, :1]


def batch(of, hidden=(), covered=()):
  flags = np.zeros((N, T, J), bool)
  seen, under = np.full((N, T, J), 2, np.uint8), flags.copy()
  seen[..., list(hidden)], under[..., list(covered)] = 1, True
  seen[under] = 1
  return {'visibility': seen, 'covered': under, 'keypoints_3d': units(of)}


def scores(of, predictions, metric='mpjpe', row='net/occluded', **kwargs):
  outputs = {row: {'keypoints_3d': predictions.astype(np.float32)}, 'batch': batch(of, **kwargs)}
  return lifting_scores.score(of, outputs, metric=metric)


@pytest.mark.parametrize('target', ['image', 'camera'])
def test_the_truth_has_no_error(target):
  of = clips(target)
  found = scores(of, units(of)).results['net/occluded']
  for name in ('MPJPE', 'P-MPJPE', 'N-MPJPE', 'MPJVE', 'MPJPE_xy', 'MPJPE_z'):
    assert found[name] == pytest.approx(0, abs=2e-2), name
  assert found['PCK'] == 100 and found['AUC'] == pytest.approx(100 * 30 / 31, abs=0.2)


@pytest.mark.parametrize('target', ['image', 'camera'])
def test_errors_in_depth_and_in_the_plane_are_told_apart(target):
  of = clips(target)
  poses = of.keypoints_3d.copy()
  poses[:, :, 3] += (0, 0, 34)
  found = scores(of, units(of, poses) if target == 'camera' else units(of, _deeper(of, 3, 34))
                 ).results['net/occluded']
  assert found['MPJPE_z'] == pytest.approx(34 / 16, rel=2e-3)
  assert found['MPJPE'] == pytest.approx(34 / 17, rel=0.02)
  if target == 'camera':
    assert found['MPJPE_xy'] == pytest.approx(0, abs=1e-2)


def _deeper(of, joint, mm):
  """The joint moved along its own line of sight, so that it stays where it is in the picture."""
  poses = of.keypoints_3d.astype(np.float64)
  z = poses[:, :, joint, 2:]
  poses[:, :, joint] *= (z + mm) / z
  return poses


def test_joints_are_told_apart_by_what_hides_them():
  of = clips('camera')
  poses = of.keypoints_3d.copy()
  for joint, error in ((1, 17), (2, 34), (3, 51)):
    poses[:, :, joint, 0] += error
  predictions = units(of, poses)
  found = scores(of, predictions, hidden=[1], covered=[2]).results['net/occluded']
  assert found['MPJPE_hidden'] == pytest.approx(17, rel=1e-4)
  assert found['MPJPE_covered'] == pytest.approx(34, rel=1e-4)
  assert found['MPJPE_visible'] == pytest.approx(51 / 15, rel=1e-4)
  clean = scores(of, predictions, row='net/clean', hidden=[1], covered=[2]).results['net/clean']
  assert 'MPJPE_covered' not in clean  # nothing is in the way there
  assert clean['MPJPE_visible'] == pytest.approx((51 + 34) / 16, rel=1e-4)


def test_actions_weigh_alike_where_the_protocol_says_so():
  of = clips('camera')
  poses = of.keypoints_3d.copy()
  poses[4:, :, 1:, 0] += 30  # of 'sit', a third of the frames
  predictions = units(of, poses)
  plain = scores(of, predictions)
  by_action = scores(of, predictions, 'h36m')
  error = 30 * 16 / 17
  assert plain.results['net/occluded']['MPJPE'] == pytest.approx(error / 3, rel=1e-4)
  assert by_action.results['net/occluded']['MPJPE'] == pytest.approx(error / 2, rel=1e-4)
  for found in (plain, by_action):
    table = found.samples['net/occluded']['MPJPE']
    assert table.numerator.sum() / table.denominator.sum() == pytest.approx(
      found.results['net/occluded']['MPJPE'])
  bins = by_action.files['report.json']['report']['net/occluded']['by']['action']
  assert bins['sit']['share'] == pytest.approx(error, rel=1e-4) and bins['walk']['share'] < 1e-3
  assert by_action.worst[:2] in ((4, 5), (5, 4))


def test_only_counted_frames_count():
  of = clips('camera')
  counted = np.ones((N, T), bool)
  counted[:, 0] = False
  poses = of.keypoints_3d.copy()
  poses[:, 0, 1:] += 500
  found = scores(of._replace(counted=counted), units(of, poses)).results['net/occluded']
  assert found['MPJPE'] == pytest.approx(0, abs=1e-2)
  assert found['MPJVE'] == pytest.approx(0, abs=1e-2)


def test_the_factor_of_a_data_set_is_used():
  of = clips('image', factor=np.full((N, T), 4.0, np.float32))
  predictions = np.zeros((N, T, J, 3), np.float32)
  predictions[:, :, 5, 0] = 0.1  # 50 pixels
  found = lifting_scores.in_mm(predictions, of)
  np.testing.assert_allclose(found[:, :, 5], np.tile([200.0, 0, 0], (N, T, 1)))


def test_the_input_is_measured_in_mm_at_the_root():
  of = clips('image')
  outputs = {'net/clean': {'keypoints_3d': units(of).astype(np.float32)}, 'batch': batch(of)}
  points = outputs['batch']['keypoints_3d'][..., :2].copy()
  points[:, :, 1:, 0] += 0.02  # 10 pixels
  outputs['batch']['keypoints_2d'] = points
  found = lifting_scores.score(of, outputs, metric='mpjpe').results['net/clean']
  depth = of.keypoints_3d[:, :, 0, 2].mean()
  assert found['MPJPE_xy_input'] == pytest.approx(10 * depth / 1125, rel=1e-4)


def test_two_networks_answer_together():
  of = clips('camera')
  one, other = of.keypoints_3d.copy(), of.keypoints_3d.copy()
  one[:, :, 1, 1] += 20
  other[:, :, 1, 1] -= 20
  outputs = {'gnet/clean': {'keypoints_3d': units(of, one)},
             'enet/clean': {'keypoints_3d': units(of, other)}, 'batch': batch(of)}
  found = lifting_scores.score(of, outputs, metric='mpjpe', mixes=(('gnet', 'enet'),)).results
  assert found['average/clean']['MPJPE'] == pytest.approx(0, abs=1e-3)
  assert found['gnet/clean']['MPJPE'] == pytest.approx(20 / 17, rel=1e-4)
  assert 'average/occluded' not in found


def test_protocols_have_their_joints():
  fails(lambda: lifting_scores.check_fit('mpjpee', H36M), 'mpjpe', 'h36m')
  fails(lambda: lifting_scores.check_fit('h36m', MPI_INF_3DHP), 'h36m', 'mpi_inf_3dhp')
  of = clips('camera')
  poses = of.keypoints_3d.copy()
  poses[:, :, 7] += 100  # the spine, which 3DPW leaves out
  found = scores(of, units(of, poses), '3dpw').results['net/occluded']
  assert found['MPJPE'] == pytest.approx(0, abs=1e-2)
  assert len(lifting_scores.PROTOCOLS['mpi_inf_3dhp'].pck_joints) == 14
