"""MuPoTS-3D: the published numbers, and cases whose scores are known."""
import pathlib

import numpy as np
import pytest

from dslope_jax.errors import UserError
from dslope_jax.metrics import mupots

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden/hupor/mupots_eval_s84.npz'
ALL = tuple(f'{mode}/{people}/{scale}' for mode in ('rel', 'abs') for people in ('all', 'matched')
            for scale in ('rescale', 'raw'))


def inputs():
  with np.load(GOLDEN) as g:
    return {key.removesuffix('_in'): g[key] for key in g
            if key.endswith('_in') or key in ('seq_id', 'num_gt', 'num_pred')}


def perfect():
  """The golden scenes, predicted without an error."""
  given = inputs()
  back = np.argsort(mupots.FROM_MPI15)
  return given | dict(
    num_pred=given['num_gt'], pred2d=given['gt2d_cpm'].swapaxes(-1, -2)[:, :, back],
    pred3d=given['gt3d_cpm'].swapaxes(-1, -2)[:, :, back])


@pytest.mark.parametrize('mode', ['rel', 'abs'])
@pytest.mark.parametrize('people', ['all', 'matched'])
def test_published_numbers(mode, people):
  fair, published = f'{mode}/{people}/rescale', f'{mode}/{people}/rescale/published'
  results = mupots.evaluate(**inputs(), variants=(fair, published))
  found = results[f'mupots/{mode}/{people}/univ/rescale/published']
  with np.load(GOLDEN) as g:
    want = {key.removeprefix(f'{mode}_{people}_').removesuffix('_f64'): g[key] for key in g
            if key.startswith(f'{mode}_{people}_')}
    np.testing.assert_array_equal(found['matching'], g['matching_per_valid_person'])
  for name in ('pck', 'auc', 'pck_visible', 'pck_occluded'):
    np.testing.assert_allclose(found['per_sequence'][name], want[f'{name}_per_seq'], rtol=1e-9)
  np.testing.assert_allclose(found['per_joint'], want['per_joint_pck_per_seq'], rtol=1e-9)
  recall = 1 - want['undetected_per_seq'] / want['annotated_per_seq']
  np.testing.assert_allclose(found['per_sequence']['recall'], 100 * recall)
  if mode == 'abs':
    np.testing.assert_allclose(found['per_sequence']['ordinal'], want['ordinal_per_seq'])
  for name in ('pck', 'auc'):
    np.testing.assert_allclose(found[name], want[f'{name}_mean'], rtol=1e-9)
  missing = want['errors'] > 1e5
  np.testing.assert_array_equal(np.isinf(found['errors']), missing)
  np.testing.assert_allclose(np.where(missing, 0, found['errors']),
                             np.where(missing, 0, want['errors']), rtol=1e-9, atol=1e-9)
  # Nobody errs by 150 mm to the last digit here, so only the order may differ.
  other = results[f'mupots/{mode}/{people}/univ/rescale']
  assert all(found[key] == other[key] for key in found['per_sequence'] if key != 'ordinal')


def test_ground_truth_as_prediction():
  for found in mupots.evaluate(**perfect(), variants=ALL).values():
    for name in ('pck', 'pck_visible', 'pck_occluded', 'recall'):
      assert found[name] == 100
    assert found['auc'] == pytest.approx(100 * 30 / 31)
    assert found.get('ordinal', 1) == 1 and found.get('pck_root', 100) == 100


def test_all_people_is_matched_people_times_recall():
  found = mupots.evaluate(**inputs(), variants=ALL)
  of = lambda name: found[f'mupots/{name}']['per_sequence']
  for mode in ('rel', 'abs'):
    for scale in ('rescale', 'raw'):
      everyone, matched = (of(f'{mode}/{who}/univ/{scale}') for who in ('all', 'matched'))
      np.testing.assert_allclose(everyone['pck'], matched['pck'] * matched['recall'] / 100)
      np.testing.assert_allclose(everyone['auc'], matched['auc'] * matched['recall'] / 100)


def test_a_person_who_is_never_found():
  given = perfect()
  given['num_pred'] = np.minimum(given['num_gt'], 1)
  found = mupots.evaluate(**given, variants=ALL)
  everyone = found['mupots/abs/all/univ/rescale']
  people = given['valid'] & (np.arange(3) < given['num_gt'][:, None])
  recall = [100 * people[rows, 0].sum() / people[rows].sum()
            for rows in (given['seq_id'] == s for s in (0, 1))]
  np.testing.assert_allclose(everyone['per_sequence']['pck'], recall)
  # Each pair lacks somebody: none is right, and of the people that are found there is none.
  assert everyone['ordinal'] == 0
  assert np.isnan(found['mupots/abs/matched/univ/rescale']['ordinal'])


def test_a_shift_in_depth_and_a_scale():
  given, moved = perfect(), perfect()
  moved['pred3d'] = given['pred3d'] + np.float32([0, 0, 200])
  found = mupots.evaluate(**moved)
  assert found['mupots/rel/all/univ/rescale']['pck'] == 100
  assert found['mupots/abs/all/univ/rescale']['pck'] == 0
  assert found['mupots/abs/all/univ/rescale']['pck_root'] == 100
  root = given['pred3d'][:, :, [2]]
  larger = given | {'pred3d': root + 1.9 * (given['pred3d'] - root)}
  found = mupots.evaluate(**larger, variants=ALL, truth='metric')
  assert found['mupots/rel/all/metric/rescale']['pck'] == 100
  assert found['mupots/rel/all/metric/raw']['pck'] < 60


def test_matching_by_place():
  truth = np.stack([np.full((15, 2), 100.0), np.full((15, 2), 110.0)])
  far, near, hidden = np.full((3, 15, 2), 160.0)
  near[:] = 149.9  # 39.9 from the second person only
  hidden[:] = 0
  assert mupots.match(truth, np.stack([far, near, hidden])).tolist() == [-1, 1]
  near[:3] = 105.0  # two of the joints that count are near the first
  assert mupots.match(truth, np.stack([far, near, hidden])).tolist() == [1, -1]
  better = np.full((15, 2), 100.0)
  assert mupots.match(truth, np.stack([near, better])).tolist() == [1, 0]
  assert mupots.match(truth, np.zeros((0, 15, 2))).tolist() == [-1, -1]
  at_corner = np.full((1, 15, 2), 20.0)
  assert mupots.match(at_corner, np.zeros((1, 15, 2))).tolist() == [-1]


def test_a_missing_joint_is_wrong_and_so_is_what_hangs_on_it():
  given = perfect()
  given['pred3d'][:, :, 4] = np.nan  # the left elbow
  found = mupots.evaluate(**given, variants=('rel/all/rescale', 'rel/all/raw'))
  for scale, wrong in (('rescale', (6, 7)), ('raw', (6,))):
    joints = found[f'mupots/rel/all/univ/{scale}']['per_joint']
    np.testing.assert_array_equal(joints, 2 * [[0 if j in wrong else 100 for j in range(14)]])


def test_bad_input():
  with pytest.raises(UserError, match="not 'rel/some/raw'"):
    mupots.evaluate(**inputs(), variants=('rel/some/raw',))
  with pytest.raises(UserError, match="not 'unit'"):
    mupots.evaluate(**inputs(), truth='unit')
  with pytest.raises(UserError, match='pred3d has the shape'):
    mupots.evaluate(**inputs() | {'pred3d': np.zeros((11, 3, 15, 2))})
  with pytest.raises(UserError, match='num_pred needs a number'):
    mupots.evaluate(**inputs() | {'num_pred': np.full(11, 4)})
  bad = inputs()
  bad['gt3d_cpm'][3, 1, 0, 2] = np.nan
  with pytest.raises(UserError, match='frame 3, person 1, is not finite'):
    mupots.evaluate(**bad)


def test_nothing_is_found_at_all():
  given = inputs()
  empty = given | dict(num_pred=np.zeros(11, int), pred2d=given['pred2d'][:, :0],
                       pred3d=given['pred3d'][:, :0])
  found = mupots.evaluate(**empty, variants=ALL)
  assert found['mupots/rel/all/univ/rescale']['pck'] == 0
  assert found['mupots/rel/matched/univ/rescale']['recall'] == 0
  assert np.isnan(found['mupots/rel/matched/univ/rescale']['pck'])
