"""MPJPE with recall on scenes whose errors are known."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslope_jax.errors import UserError
from dslope_jax.metrics import panoptic

ROOT = panoptic.ROOT


def scene():
  """3 frames of 2 activities with 2, 1 and 1 people; predicted without an error."""
  rng = np.random.default_rng(0)
  visibility = np.full((3, 2, 15), 2)
  visibility[1:, 1] = 0
  gt2d = rng.normal(0, 20, (3, 2, 15, 2)) + np.array([[100, 100], [300, 100]])[:, None]
  gt3d = rng.normal(0, 300, (3, 2, 15, 3)) + (0, 0, 4000)
  return dict(activity=['mafia', 'mafia', 'pizza'], num_pred=np.array([2, 1, 1]), gt2d=gt2d,
              gt3d=gt3d, visibility=visibility, pred2d=gt2d.copy(), pred3d=gt3d.copy())


def of(scene):
  return panoptic.evaluate(**scene)


def test_exact_poses_anywhere():
  scenes = scene()
  scenes['pred3d'] += 500  # relative to the pelvis nothing changes
  for found in of(scenes).values():
    assert found == {'mpjpe': pytest.approx(0, abs=1e-9), 'recall': 100, 'joints': 100,
                     'mpjpe_all': pytest.approx(0, abs=1e-9), 'recall_all': 100}


def test_one_wrong_joint():
  scenes = scene()
  scenes['pred3d'][0, 1, 4] += (30, 0, 40)
  found = of(scenes)
  assert found['mafia']['mpjpe'] == pytest.approx(50 / 45)
  assert found['pizza']['mpjpe'] == 0 and found['mean']['mpjpe'] == pytest.approx(50 / 90)


def mean_pose(scenes):
  root = scenes['gt3d'] - scenes['gt3d'][:, :, ROOT, None]
  return root, root[scenes['visibility'][..., ROOT] > 0].mean(0)


def test_who_is_not_found():
  scenes = scene()
  scenes['pred2d'][0, 1] += 30  # 42 pixels off
  found = of(scenes)
  assert found['mafia']['mpjpe'] == 0 and found['mafia']['recall'] == pytest.approx(200 / 3)
  assert found['mafia']['joints'] == pytest.approx(200 / 3)
  assert found['pizza']['recall'] == 100
  root, mean = mean_pose(scenes)
  error = np.linalg.norm(root[0, 1] - mean, axis=-1)
  assert found['mafia']['mpjpe_all'] == pytest.approx(error.sum() / 45)


def test_a_hidden_pelvis_counts_only_among_all():
  scenes = scene()
  scenes['visibility'][0, 0, ROOT] = 1
  scenes['pred3d'][0, 0, 5] += (300, 0, 400)
  found = of(scenes)['mafia']
  assert found['mpjpe'] == 0 and found['recall'] == 100
  assert found['mpjpe_all'] == pytest.approx(500 / 45)


def test_joints_that_are_missing_or_not_labelled():
  scenes = scene()
  scenes['visibility'][1, 0, 7] = 0
  scenes['gt3d'][1, 0, 7] = np.nan
  scenes['pred3d'][1, 0, 8:] = np.nan
  found = of(scenes)['mafia']
  assert found['mpjpe'] == 0 and found['joints'] == pytest.approx(100 * 37 / 44)
  assert found['mpjpe_all'] > 0 and found['recall_all'] == 100


def test_nobody_is_predicted():
  scenes = scene()
  found = of(scenes | dict(num_pred=np.zeros(3, int), pred2d=np.zeros((3, 0, 15, 2)),
                           pred3d=np.zeros((3, 0, 15, 3))))
  root, mean = mean_pose(scenes)
  assert np.isnan(found['mean']['mpjpe']) and found['mean']['recall'] == 0
  error = np.linalg.norm(root[2, 0] - mean, axis=-1)
  assert found['pizza']['mpjpe_all'] == pytest.approx(error.mean())


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**16), st.integers(0, 5), st.integers(0, 5))
def test_the_closest_two_are_a_pair(seed, people, predictions):
  rng = np.random.default_rng(seed)
  truth, found = rng.uniform(0, 60, (people, 2)), rng.uniform(0, 60, (predictions, 2))
  want = np.full(people, -1)
  gaps = sorted((np.hypot(*(t - f)), i, j) for i, t in enumerate(truth)
                for j, f in enumerate(found))
  for gap, i, j in gaps:
    if gap < 30 and want[i] < 0 and j not in want:
      want[i] = j
  np.testing.assert_array_equal(panoptic.match(truth, found), want)


@pytest.mark.parametrize('change, message', [
  (dict(pred2d=np.zeros((3, 2, 14, 2))), 'pred2d has the shape'),
  (dict(num_pred=np.array([3, 1, 1])), 'num_pred has 3'),
  (dict(gt3d=np.full((3, 2, 15, 3), np.nan)), 'joint 0 of person 0 in frame 0')])
def test_bad_input(change, message):
  with pytest.raises(UserError, match=message):
    of(scene() | change)
