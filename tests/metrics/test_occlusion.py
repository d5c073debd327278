"""Joints right or wrong by visible, hidden and covered."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dslope_jax.metrics import keypoint_ap, occlusion
from dslope_jax.skeletons import COCO

SHAPES = st.tuples(st.integers(0, 6), st.integers(1, 17))


@st.composite
def joints(draw):
  shape = draw(SHAPES)
  visibility = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 2)))
  return visibility, draw(hnp.arrays(bool, shape)), draw(hnp.arrays(bool, shape))


@settings(deadline=None, max_examples=100)
@given(joints())
def test_every_labelled_joint_is_in_exactly_one_group(case):
  visibility, covered, correct = case
  groups = occlusion.joint_groups(visibility, covered)
  assert list(groups) == ['visible', 'hidden', 'covered']
  np.testing.assert_array_equal(sum(m.astype(int) for m in groups.values()), visibility > 0)
  table = occlusion.split(correct, groups)
  assert sum(row['joints'] for row in table.values()) == (visibility > 0).sum()
  right = sum(row['joints'] * row['share'] / 100 for row in table.values() if row['joints'])
  assert right == pytest.approx((correct & (visibility > 0)).sum())


def test_split_by_hand():
  visibility = np.array([[2, 2, 1, 0], [2, 1, 1, 0]])
  covered = np.array([[0, 1, 0, 1], [0, 0, 1, 0]], bool)
  correct = np.array([[1, 1, 0, 1], [0, 1, 0, 1]], bool)
  table = occlusion.split(correct, occlusion.joint_groups(visibility, covered))
  assert table == {'visible': {'share': 50, 'joints': 2}, 'hidden': {'share': 50, 'joints': 2},
                   'covered': {'share': 50, 'joints': 2}}
  empty = occlusion.split(correct, {'none': np.zeros((2, 4), bool)})['none']
  assert empty['joints'] == 0 and np.isnan(empty['share'])


def test_oks_correct_at_the_threshold():
  sigma, area = .1, 2500.
  edge = np.sqrt(np.log(2) * 2 * area) * 2 * sigma
  truth = np.zeros((1, 3, 2))
  guess = truth.copy()
  guess[0, :, 0] = edge * (1 - 1e-9), edge * (1 + 1e-9), np.nan
  got = occlusion.oks_correct(guess, truth, [area], np.full(3, sigma))
  assert got.tolist() == [[True, False, False]]
  assert occlusion.oks_correct(truth, truth, [0.], np.full(3, sigma)).all()
  # Twice the length in both, same answer.
  got = occlusion.oks_correct(2 * guess, truth, [4 * area], np.full(3, sigma))
  assert got.tolist() == [[True, False, False]]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**16), st.sampled_from([.1, .5, .9]))
def test_oks_correct_agrees_with_oks_of_a_single_joint(seed, threshold):
  rng = np.random.default_rng(seed)
  truth = rng.uniform(0, 100, (4, 17, 2))
  guess = truth + rng.normal(0, 6, truth.shape)
  areas = rng.uniform(100, 1e4, 4)
  got = occlusion.oks_correct(guess, truth, areas, COCO.sigmas, threshold)
  for i in range(4):
    for j in range(17):
      one = keypoint_ap.oks(guess[i:i + 1, j:j + 1], truth[i:i + 1, j:j + 1], areas[i:i + 1],
                            areas[i:i + 1], COCO.sigmas[j:j + 1])
      assert got[i, j] == (one[0, 0] >= threshold)


def test_errors():
  with pytest.raises(ValueError, match='covered'):
    occlusion.joint_groups(np.zeros((2, 3)), np.zeros((3, 2), bool))
  with pytest.raises(ValueError, match='must be 0, 1 or 2, but has values such as 3'):
    occlusion.joint_groups(np.full((2, 3), 3), np.zeros((2, 3), bool))
  with pytest.raises(ValueError, match="group 'odd' has shape"):
    occlusion.split(np.zeros((2, 3), bool), {'odd': np.zeros((2, 4), bool)})
  with pytest.raises(ValueError, match='shapes disagree'):
    occlusion.oks_correct(np.zeros((2, 3, 2)), np.zeros((2, 3, 2)), [1, 1], [.1] * 4)
