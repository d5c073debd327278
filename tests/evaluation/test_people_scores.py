"""From predictions of several people to numbers: the truth, and what is done to it."""
import numpy as np
import pytest

from dslope_jax.errors import UserError
from dslope_jax.evaluation import people_scores
from tests import tiny_people

N, P = 6, 3


def pictures(count=N):
  names = np.array([f'picture {i}' for i in range(count)])
  return people_scores.Pictures(tiny_people.SIZE, names, np.array(['a', 'b'] * (count // 2)),
                                np.array(['walking', 'sitting', 'sitting'] * (count // 3)))


def truth(**options):
  return tiny_people.batch(N, P, **options) | {'overflow': np.zeros(N, np.int32)}


def perfect(batch):
  """The truth as a prediction."""
  people = np.zeros((N, 5, 15, 6), np.float32)
  people[:, :batch['people'].shape[1]] = batch['people']
  valid = np.zeros((N, 5), bool)
  valid[:, :batch['valid'].shape[1]] = batch['valid']
  return {'keypoints': people[..., :2], 'keypoints_3d': people[..., 2:5],
          'scores': np.repeat(valid[..., None].astype(np.float32), 15, -1), 'valid': valid,
          'overflow': np.zeros(N, np.int32)}


def score(batch, found, metric='mupots', view='clean', full=True):
  outputs = {f'reasoned/{view}': found, 'batch': batch}
  return people_scores.score(pictures(), outputs, metric=metric, full=full)


def test_the_truth_is_perfect():
  scores = score(truth(), perfect(truth()))
  row = scores.results['reasoned/clean']
  for name in ('PCK_rel', 'PCK_abs', 'PCK_visible', 'PCK_hidden', 'PCK_rel_matched', 'PCK_root',
               'PCOD', 'recall', 'recall_MPJPE', 'joints_MPJPE'):
    assert row[name] == 100, name
  assert row['MPJPE'] < 1e-3 and row['MPJPE_all'] < 1e-3
  assert row['overflow'] == row['truth_overflow'] == 0
  assert next(iter(row)) == 'PCK_rel'
  table = scores.samples['reasoned/clean']['PCK_rel']
  assert table.numerator.sum() / table.denominator.sum() == pytest.approx(100)
  assert table.group.tolist() == [0, 1] * 3
  by = scores.files['report.json']['report']['reasoned/clean']['by']
  assert by['joint']['hidden']['share'] == 100 and set(by['action']) == {'sitting', 'walking'}
  assert sum(of['joints'] for of in by['joint'].values()) == N * P * 14
  file = scores.files['predictions_reasoned_clean.npz']
  camera = tiny_people.CAMERA
  np.testing.assert_allclose(file['keypoints'][0, 0, 0] * camera[4] + camera[5:],
                             truth()['people'][0, 0, 0, :2], rtol=1e-5)
  np.testing.assert_allclose(file['keypoints_3d'][0, 0], 10 * truth()['people'][0, 0, :, 2:5])


def test_depth_is_off_by_20_cm():
  found = perfect(truth())
  found['keypoints_3d'] = found['keypoints_3d'] + [0, 0, 20]
  row = score(truth(), found).results['reasoned/clean']
  assert row['PCK_rel'] == 100 and row['PCK_abs'] == 0 and row['PCK_root'] == 100
  assert row['MPJPE'] < 1e-3


def test_people_who_are_not_found():
  batch, found = truth(), perfect(truth())
  for name in ('keypoints', 'keypoints_3d', 'scores'):
    found[name][:, P - 1] = 0
  found['valid'][:, P - 1] = False
  row = score(batch, found).results['reasoned/clean']
  assert row['PCK_rel'] == pytest.approx(100 * 2 / 3) == row['recall']
  assert row['PCK_rel_matched'] == 100 and row['MPJPE'] < 1e-3 < row['MPJPE_all']


def test_nobody_is_found():
  found = {name: 0 * value for name, value in perfect(truth()).items()}
  found['valid'] = found['valid'] > 0
  for metric in people_scores.METRICS:
    row = score(truth(), found, metric).results['reasoned/clean']
    assert row['PCK_rel'] == row['recall'] == 0 and np.isnan(row['MPJPE'])


def test_nobody_is_there():
  batch = tiny_people.batch(N, 0) | {'overflow': np.full(N, 2)}
  found = perfect(truth())
  row = score(batch, found).results['reasoned/clean']
  assert np.isnan(row['PCK_rel']) and row['truth_overflow'] == 2 * N


def test_hidden_joints_are_those_of_the_view():
  batch, found = truth(hidden=0), perfect(truth(hidden=0))
  covered = batch['people'].copy()
  covered[:, :, 5, 5] = np.minimum(covered[:, :, 5, 5], 1)
  elbow, wrist = (found['keypoints_3d'][:, :, joint] for joint in (4, 5))
  found['keypoints_3d'][:, :, 5] = 2 * elbow - wrist  # the joint that is covered is wrong
  batch |= {'occluded_people': covered}
  clean = score(batch, found).results['reasoned/clean']
  row = score(batch, found, view='occluded').results['reasoned/occluded']
  assert np.isnan(clean['PCK_hidden']) and clean['PCK_visible'] < 100
  assert row['PCK_hidden'] == 0 and row['PCK_visible'] == 100


def test_the_metric_comes_first_and_panoptic_tells_activities():
  row = score(truth(), perfect(truth()), 'panoptic').results['reasoned/clean']
  assert next(iter(row)) == 'MPJPE' and {'MPJPE_sitting', 'MPJPE_walking'} < set(row)
  short = score(truth(), perfect(truth()), full=False)
  assert not short.samples and 'MPJPE' not in short.results['reasoned/clean']


def test_the_worst_picture_comes_first():
  found = perfect(truth())
  found['keypoints_3d'][4] += np.linspace(0, 500, 15)[:, None]
  assert score(truth(), found).worst[0] == 4


def test_an_unknown_metric():
  with pytest.raises(UserError, match="is one of mupots, panoptic, not 'pck'"):
    people_scores.check_metric('pck')
