"""Verification and identification against slow definitions, scikit-learn and values by hand."""
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslope_jax.metrics import verification
from tests.refusals import fails

# Genuine pairs 0.9, 0.7, 0.4; impostor pairs 0.8, 0.4, 0.3, 0.2.
SCORES = np.array([0.4, 0.9, 0.8, 0.7, 0.4, 0.3, 0.2])
SAME = np.array([True, True, False, True, False, False, False])
CASES = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=30).filter(
  lambda pairs: len({same for _, same in pairs}) == 2)


def columns(pairs):
  scores, same = zip(*pairs, strict=True)
  return np.array(scores) / 6, np.array(same)


def shares(scores, same, threshold):
  """(FAR, TAR) where all scores from the threshold on are accepted."""
  accepted = scores >= threshold
  return (accepted & ~same).sum() / (~same).sum(), (accepted & same).sum() / same.sum()


def thresholds(scores):
  return [math.inf, *sorted(set(scores.tolist()), reverse=True)]


def slow_tar(scores, same, far):
  return max(tar for t in thresholds(scores) for f, tar in [shares(scores, same, t)] if f <= far)


def slow_eer(scores, same):
  before = None
  for threshold in thresholds(scores):
    far, tar = shares(scores, same, threshold)
    if far >= 1 - tar:
      # Where the line from (FAR, FRR) before to (FAR, FRR) here crosses FAR = FRR.
      (f0, r0), (f1, r1) = before, (far, 1 - tar)
      share = (r0 - f0) / ((r0 - f0) - (r1 - f1))
      return f0 + share * (f1 - f0)
    before = far, 1 - tar
  raise AssertionError


def slow_right(scores, same, threshold):
  return ((scores >= threshold) == same).sum()


def test_by_hand():
  assert verification.tar_at_far(SCORES, SAME, 0.0) == pytest.approx(1 / 3)
  assert verification.tar_at_far(SCORES, SAME, 0.25) == pytest.approx(2 / 3)
  assert verification.tar_at_far(SCORES, SAME, 0.5) == 1  # 0.4 accepts a genuine and an impostor
  # FAR, FRR go from (1/4, 1/3) at 0.7 to (1/2, 0) at 0.4.
  assert verification.eer(SCORES, SAME) == pytest.approx(1 / 4 + 1 / 4 * (1 / 12) / (7 / 12))
  assert verification.best_threshold(SCORES, SAME) == pytest.approx(0.85)
  assert verification.eer(np.array([0.1, 0.9]), np.array([False, True])) == 0
  assert verification.eer(np.array([0.9, 0.1]), np.array([False, True])) == 1
  assert verification.eer(np.full(9, 0.5), np.arange(9) < 4) == pytest.approx(0.5)


@given(CASES, st.sampled_from([0, 0.01, 0.1, 0.29, 1 / 3, 0.5, 1]))
def test_rates_are_those_of_the_slow_definition(pairs, far):
  scores, same = columns(pairs)
  assert verification.tar_at_far(scores, same, far) == pytest.approx(
    slow_tar(scores, same, far + 1e-12))
  assert verification.eer(scores, same) == pytest.approx(slow_eer(scores, same), abs=1e-12)


@given(CASES)
def test_the_threshold_tells_most_pairs_right(pairs):
  scores, same = columns(pairs)
  found = slow_right(scores, same, verification.best_threshold(scores, same))
  assert found == max(slow_right(scores, same, t) for t in [*thresholds(scores), -math.inf])


@given(st.data())
@settings(max_examples=30)
def test_each_fold_is_told_by_the_threshold_of_the_others(data):
  pairs = data.draw(CASES)
  scores, same = columns(pairs)
  folds = np.arange(len(pairs)) % data.draw(st.integers(2, min(10, len(pairs))))
  wanted = []
  for fold in range(folds.max() + 1):
    train, test = folds != fold, folds == fold
    best = verification.best_threshold(scores[train], same[train])
    wanted.append(slow_right(scores[test], same[test], best) / test.sum())
  assert verification.ten_fold_accuracy(scores, same, folds) == pytest.approx(np.mean(wanted))


def test_ten_folds_are_made_where_none_are_given():
  same = np.repeat([True, False], (30, 20))
  folds = verification.every_tenth(same)
  assert (np.bincount(folds[same]) == 3).all() and (np.bincount(folds[~same]) == 2).all()
  scores = np.where(same, 0.8, 0.2)
  assert verification.ten_fold_accuracy(scores, same) == 1


@pytest.mark.parametrize('seed', range(3))
def test_as_scikit_learn_has_it(seed):
  metrics = pytest.importorskip('sklearn.metrics', reason='scikit-learn is not installed')
  rng = np.random.default_rng(seed)
  same = rng.random(2000) < 0.4
  scores = np.round(rng.normal(same * 1.0, 0.8), 2)
  far, tar, _ = metrics.roc_curve(same, scores, drop_intermediate=False)
  for limit in (0.001, 0.01, 0.1):
    assert verification.tar_at_far(scores, same, limit) == pytest.approx(tar[far <= limit].max())
  crossing = np.interp(0, far + tar - 1, far)
  assert verification.eer(scores, same) == pytest.approx(crossing)


EMBEDDINGS = np.array([[2., 0], [1, 1], [0, 3], [-1, 0]])
LABELS = np.array([7, 7, 5, 5])


def test_pairs_of_labels_and_of_lists():
  half = math.sqrt(0.5)
  scores, same = verification.pair_scores(EMBEDDINGS, LABELS)
  np.testing.assert_allclose(scores, [half, 0, -1, half, -half, 0], atol=1e-12)
  assert same.tolist() == [True, False, False, False, False, True]
  pairs = np.array([[0, 1, 1], [3, 0, 0]])
  scores, same = verification.pair_scores(EMBEDDINGS, pairs)
  np.testing.assert_allclose(scores, [half, -1])
  assert same.tolist() == [True, False]
  # b is looked up among the others, which are turned by a right angle.
  scores, _ = verification.pair_scores(EMBEDDINGS, pairs, EMBEDDINGS @ [[0, 1], [-1, 0]])
  np.testing.assert_allclose(scores, [-half, 0], atol=1e-12)
  scores, same = verification.pair_scores(EMBEDDINGS, LABELS, -EMBEDDINGS)
  assert len(scores) == 12 and same.sum() == 4
  assert verification.eer(EMBEDDINGS, pairs) == 0
  assert verification.tar_at_far(EMBEDDINGS, LABELS, 0.0) == 0


def test_the_nearest_of_the_gallery():
  points = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9], [1, 1]])
  labels = np.array([0, 0, 1, 1, 2])  # the last has no mate: it does not count
  assert verification.rank1(points, labels) == 1
  right, counts = verification.identified(points, labels)
  assert right.tolist() == counts.tolist() == [True, True, True, True, False]
  # Frames of one video are not compared: 0 and 1 have no mate then.
  _, counts = verification.identified(points, labels, group=np.array([4, 4, 0, 1, 2]))
  assert counts.tolist() == [False, False, True, True, False]
  probes, own = np.array([[0, 1], [0.2, 1], [1, 0.3]]), np.array([1, 0, 0])
  assert verification.rank1(probes, own, points, labels) == pytest.approx(2 / 3)
  # The nearest of the second probe is out of the question, the next one is of its identity.
  groups = np.array([9, 3, 9]), np.array([1, 2, 3, 3, 3])
  assert verification.rank1(probes, own, points, labels, *groups) == 1
  assert math.isnan(verification.rank1(np.eye(2), np.array([0, 1])))


def test_many_probes_are_looked_up_in_parts(monkeypatch):
  rng = np.random.default_rng(0)
  points, labels = rng.normal(size=(40, 3)), rng.integers(0, 5, 40)
  whole = verification.identified(points, labels), verification.pair_scores(points, labels)
  monkeypatch.setattr(verification, '_CHUNK', 100)
  again = verification.identified(points, labels), verification.pair_scores(points, labels)
  for one, other in zip(whole, again, strict=True):
    np.testing.assert_array_equal(one, other)


def test_intervals_draw_identities():
  """A slow bootstrap with the same draws, which repeats each pair."""
  rng = np.random.default_rng(1)
  labels = np.repeat(np.arange(8), 4)
  points = rng.normal(size=(8, 4))[labels] + rng.normal(0, 1.2, (32, 4))
  a, b = np.triu_indices(32, 1)
  scores, same = verification.pair_scores(points, labels)
  measures = {'eer': lambda found, weights: verification.eer_of(found),
              'genuine': lambda found, weights: weights[same].sum()}
  found = verification.intervals(scores, same, np.stack([labels[a], labels[b]], 1), measures, 50, 3)
  slow = {'eer': [], 'genuine': []}
  for drawn in verification.resampled(8, 50, 3):
    times = np.where(labels[a] == labels[b], drawn[labels[a]], drawn[labels[a]] * drawn[labels[b]])
    again = np.repeat(scores, times), np.repeat(same, times)
    slow['eer'].append(slow_eer(*again))
    slow['genuine'].append(again[1].sum())
  for name, values in slow.items():
    assert found[name] == pytest.approx(tuple(np.percentile(values, (2.5, 97.5))))
  assert found['eer'][0] < verification.eer(points, labels) < found['eer'][1]
  none = verification.intervals(scores[:1], same[:1], np.array([[0, 0]]), measures, 5)
  assert np.isnan(none['eer']).all()


def test_jackknife_leaves_one_identity_out():
  rng = np.random.default_rng(1)
  labels = np.repeat(np.arange(6), 4)
  points = rng.normal(size=(6, 4))[labels] + rng.normal(0, 1.2, (24, 4))
  a, b = np.triu_indices(24, 1)
  scores, same = verification.pair_scores(points, labels)
  measures = {'eer': lambda found, weights: verification.eer_of(found)}
  pairs = 2 * np.stack([labels[a], labels[b]], 1) + 1
  people, found = verification.jackknife(scores, same, pairs, measures)
  without = np.array([verification.eer(points[labels != i], labels[labels != i]) for i in range(6)])
  whole = verification.eer(points, labels)
  assert people.tolist() == [1, 3, 5, 7, 9, 11]
  np.testing.assert_allclose(found['eer'], whole + 5 * (without.mean() - without))
  assert found['eer'].mean() == pytest.approx(whole)
  two = labels < 2
  _, none = verification.jackknife(*verification.pair_scores(points[two], labels[two]), np.stack(
    [labels[two][i] for i in np.triu_indices(8, 1)], 1), measures)
  assert np.isnan(none['eer']).all()


def test_wrong_input_is_refused():
  fails(lambda: verification.eer(np.ones(3), np.ones(3, bool)), 'no impostor pairs')
  fails(lambda: verification.eer(np.ones(3), np.ones(4, bool)), '3 scores', '(4,)')
  fails(lambda: verification.eer(EMBEDDINGS, np.array([[0, 4, 1]])), 'none of the 4')
  fails(lambda: verification.eer(EMBEDDINGS, np.ones((3, 2))), 'shape (3, 2)')
  fails(lambda: verification.eer(EMBEDDINGS, LABELS, EMBEDDINGS[:3]), '(4, 2)', '(3, 2)')
  fails(lambda: verification.rank1(EMBEDDINGS * np.nan, LABELS), 'NaN')
  fails(lambda: verification.rank1(EMBEDDINGS, LABELS[:2]), 'shapes disagree')
  fails(lambda: verification.rank1(EMBEDDINGS, LABELS, EMBEDDINGS, LABELS, LABELS), 'or none')
  fails(lambda: verification.ten_fold_accuracy(SCORES, SAME, np.zeros(7)), 'two of them')
