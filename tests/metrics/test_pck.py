"""PCK-type metrics against the published implementation."""
import json
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dslope_jax.metrics import pck
from dslope_jax.skeletons import COCO, MPII, Skeleton

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden/dslope'
MPII_NUMBERS = json.loads((GOLDEN / 'mpii_eval/numbers.json').read_text())


def mpii_case(name):
  """Predictions, ground truth (both 1-based), visible, head sizes."""
  with np.load(GOLDEN / 'mpii_eval/inputs.npz') as arrays:
    inputs = {key.split('/')[1]: arrays[key] for key in arrays if key.startswith(f'{name}/')}
  return (inputs['preds_0based'][..., :2] + 1, inputs['pos_gt_src_1based'].transpose(2, 0, 1),
          inputs['jnt_missing'].T == 0,
          pck.head_size(inputs['headboxes_src'].transpose(2, 0, 1)))


@pytest.mark.parametrize('name', ['a', 'b'])
def test_published_mpii_table(name):
  case, want = mpii_case(name), MPII_NUMBERS[name]
  table = pck.mpii_table(*case)
  assert table.pop('PCKh@0.10') == pytest.approx(want['true_mean_at_0.10'], abs=1e-9)
  assert table == pytest.approx(want['published'], abs=1e-9)
  assert table['Mean@0.1'] > want['true_mean_at_0.10']
  per_joint = pck.pckh(*case)
  np.testing.assert_allclose(per_joint, list(want['per_joint_pckh_0.5'].values()), atol=1e-9)
  assert case[2].sum(0).tolist() == list(want['visible_counts'].values())


def test_mpii_joint_visible_in_nobody():
  predictions, truth, visible, sizes = mpii_case('a')
  before = pck.mpii_table(predictions, truth, visible, sizes)
  left, right = MPII.index('left_knee'), MPII.index('right_knee')
  visible = visible.copy()
  visible[:, [left, MPII.index('head_top'), MPII.index('pelvis')]] = False
  per_joint = pck.pckh(predictions, truth, visible, sizes)
  table = pck.mpii_table(predictions, truth, visible, sizes)
  assert np.isnan(per_joint[left]) and np.isnan(table['Head'])
  assert table['Knee'] == pytest.approx(per_joint[right])
  assert table['Ankle'] == before['Ankle'] and np.isfinite(table['Mean'])
  nobody = pck.mpii_table(predictions, truth, np.zeros_like(visible), sizes * 0)
  assert np.isnan(list(nobody.values())).all()


@settings(deadline=None, max_examples=30)
@given(hnp.arrays(bool, (5, 16)), st.integers(0, 2**16))
def test_mpii_mean_ignores_pelvis_and_thorax(visible, seed):
  rng = np.random.default_rng(seed)
  truth = rng.uniform(0, 100, (5, 16, 2))
  guess = truth + rng.normal(0, 5, truth.shape)
  sizes = rng.uniform(5, 30, 5)
  other = guess.copy()
  other[:, [MPII.index('pelvis'), MPII.index('thorax')]] += 1e3
  np.testing.assert_equal(pck.mpii_table(guess, truth, visible, sizes),
                          pck.mpii_table(other, truth, visible, sizes))
  rest = np.delete(visible, [6, 7], 1)
  right = np.linalg.norm(guess - truth, axis=-1) / sizes[:, None] <= .5
  want = 100 * (np.delete(right, [6, 7], 1) & rest).sum() / rest.sum() if rest.any() else np.nan
  got = pck.mpii_table(guess, truth, visible, sizes)['Mean']
  np.testing.assert_allclose(got, want, atol=1e-9)


def test_head_size():
  boxes = np.array([[[10, 20], [40, 60]], [[0, 0], [5, 0]]])
  np.testing.assert_allclose(pck.head_size(boxes), [30, 3])
  np.testing.assert_allclose(pck.head_size(boxes.reshape(2, 4)), [30, 3])


def test_pck_by_hand():
  truth = np.zeros((3, 2, 2))
  guess = truth.copy()
  guess[:, 0, 0] = 2, 2.5, 0  # references 10, 10, none: 2 is just right
  guess[1, 1, 1] = 1
  visible = np.array([[1, 1], [1, 1], [1, 1]], bool)
  visible[0, 1] = False
  got = pck.pck(guess, truth, visible, [10, 10, 0], names=('head', 'tail'))
  assert got == {'PCK': pytest.approx(200 / 3), 'per_joint': {'head': 50, 'tail': 100},
                 'people_without_reference': 1}
  assert got['per_joint'] == pck.pck(guess, truth, visible, [10, 10, np.nan],
                                     names=('head', 'tail'))['per_joint']
  nobody = pck.pck(guess, truth, visible, [0, -1, 0])
  assert np.isnan(nobody['PCK']) and np.isnan(list(nobody['per_joint'].values())).all()
  assert nobody['people_without_reference'] == 3


@settings(deadline=None, max_examples=30)
@given(hnp.arrays(bool, (4, 3)), st.integers(0, 2**16))
def test_pck_grows_with_the_threshold(visible, seed):
  rng = np.random.default_rng(seed)
  truth, guess = rng.uniform(0, 100, (2, 4, 3, 2))
  reference = rng.uniform(0, 100, 4) * (rng.uniform(size=4) > .3)
  shares = [pck.pck(guess, truth, visible, reference, t)['PCK'] for t in (.1, .5, 1, 1e9)]
  if np.isnan(shares).any():
    assert np.isnan(shares).all()
  else:
    assert sorted(shares) == shares and shares[-1] == 100


def test_torso_diagonal():
  keypoints = np.zeros((4, 17, 2))
  keypoints[:, COCO.index('left_shoulder')] = 3, 4
  keypoints[:, COCO.index('right_shoulder')] = 6, 8
  visibility = np.full((4, 17), 2, np.uint8)
  visibility[1, COCO.index('right_shoulder')] = 0
  visibility[2, [COCO.index('left_hip'), COCO.index('right_hip')]] = 0
  visibility[3] = 1
  np.testing.assert_allclose(pck.torso_diagonal(keypoints, visibility, COCO), [10, 5, 0, 10])
  arms = Skeleton(names=('left_arm', 'right_arm'), limbs=(), sigmas=(.1, .1))
  assert pck.torso_diagonal(np.ones((2, 2, 2)), np.ones((2, 2)), arms).tolist() == [0, 0]


def test_errors():
  xy, visible, sizes = np.ones((3, 16, 2)), np.ones((3, 16), bool), np.ones(3)
  broken = np.where(np.arange(3)[:, None, None] < 2, np.nan, xy)
  with pytest.raises(ValueError, match='2 of 3 people hold NaN'):
    pck.mpii_table(broken, xy, visible, sizes)
  with pytest.raises(ValueError, match='2 of 3 people hold NaN'):
    pck.pck(broken, xy, visible, sizes)
  with pytest.raises(ValueError, match='1 of 3 people have no positive head size'):
    pck.pckh(xy, xy, visible, [1, 0, 2])
  with pytest.raises(ValueError, match='reference .2,.'):
    pck.pckh(xy, xy, visible, [1, 2])
  with pytest.raises(ValueError, match='shapes disagree'):
    pck.pckh(xy[:, :4], xy, visible, sizes)
  with pytest.raises(ValueError, match="MPII's 16 joints"):
    pck.mpii_table(xy[:, :4], xy[:, :4], visible[:, :4], sizes)
  with pytest.raises(ValueError, match='reference .2,.'):
    pck.pck(xy, xy, visible, [1, 2])
  with pytest.raises(ValueError, match='2 names'):
    pck.pck(xy, xy, visible, sizes, names=('a', 'b'))


def test_unlabelled_joints_may_hold_anything():
  xy, visible = np.ones((3, 16, 2)), np.ones((3, 16), bool)
  visible[0, 0] = False
  broken = xy.copy()
  broken[0, 0] = np.nan
  assert pck.pckh(broken, xy, visible, np.ones(3)).tolist() == [100] * 16
  assert pck.pck(broken, xy, visible, np.ones(3))['PCK'] == 100
