"""Pairs for verification: what must hold of any set, and small cases that are known."""
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from input_pipeline.identities import pairing
from tests.refusals import fails


@st.composite
def sets(draw):
  """(identity, video) of a set: identities with gaps in their numbers, videos of one person or of
  several, pictures of none."""
  count = draw(st.integers(2, 12))
  sizes = draw(st.lists(st.integers(1, 9), min_size=count, max_size=count))
  identity = np.repeat(3 * np.arange(count), sizes)
  video = draw(st.lists(st.integers(-1, 2 * count), min_size=len(identity),
                        max_size=len(identity)))
  order = np.random.default_rng(draw(st.integers(0, 99))).permutation(len(identity))
  return identity[order], np.array(video)[order]


def possible(identity, video):
  """{(a, b): same} of all pairs there may be."""
  n = len(identity)
  return {(a, b): int(identity[a] == identity[b]) for a in range(n) for b in range(a + 1, n)
          if video[a] == -1 or video[a] != video[b]}


@settings(deadline=None)
@given(sets(), st.integers(2, 60), st.integers(0, 5), st.integers(1, 8))
def test_pairs_are_valid_balanced_and_none_repeats(data, count, seed, most):
  identity, video = data
  allowed = possible(identity, video)
  if len(set(allowed.values())) < 2:
    fails(lambda: pairing.draw(identity, video, count, seed), 'verification needs')
    return
  pairs = pairing.draw(identity, video, count, seed, most)
  assert 2 <= len(pairs) <= count and pairs.dtype == np.int64
  assert len({(a, b) for a, b, _ in pairs.tolist()}) == len(pairs)
  for a, b, same in pairs.tolist():
    assert allowed[a, b] == same
  assert pairs[:, 2].sum() * 2 == len(pairs)
  genuine = np.bincount(identity[pairs[pairs[:, 2] == 1, 0]])
  assert genuine.max() <= most
  np.testing.assert_array_equal(pairs, pairing.draw(identity, video, count, seed, most))


@settings(deadline=None)
@given(sets(), st.integers(0, 5))
def test_identities_take_turns(data, seed):
  """Nobody has two genuine pairs more than another who has more to give."""
  identity, video = data
  allowed = possible(identity, video)
  if len(set(allowed.values())) < 2:
    return
  pairs = pairing.draw(identity, video, 30, seed)
  genuine = pairs[pairs[:, 2] == 1]
  numbers = np.unique(identity)
  taken = [(identity[genuine[:, 0]] == n).sum() for n in numbers]
  there = [sum(same and identity[a] == n for (a, _), same in allowed.items()) for n in numbers]
  for one, its in zip(taken, there, strict=True):
    if one < its:
      assert max(taken) <= one + 1


def test_everybody_is_in_as_many_impostor_pairs():
  identity = np.repeat(np.arange(40), 10)
  pairs = pairing.draw(identity, np.full(400, -1), 800, 0)
  assert len(pairs) == 800
  impostors = pairs[pairs[:, 2] == 0]
  np.testing.assert_array_equal(np.bincount(identity[impostors[:, :2]].ravel()), 20)
  np.testing.assert_array_equal(np.bincount(identity[pairs[pairs[:, 2] == 1, 0]]), 10)


def test_all_genuine_pairs_are_found_and_frames_of_a_video_never_meet():
  identity, video = np.array([0, 0, 0, 0, 1, 1]), np.array([7, 7, 8, 9, 7, 6])
  pairs = pairing.draw(identity, video, 100, 3)
  genuine = {tuple(p) for p in pairs[pairs[:, 2] == 1, :2].tolist()}
  assert genuine <= {(0, 2), (0, 3), (1, 2), (1, 3), (2, 3), (4, 5)}
  impostors = {tuple(p) for p in pairs[pairs[:, 2] == 0, :2].tolist()}
  assert impostors == {(0, 5), (1, 5), (2, 4), (2, 5), (3, 4), (3, 5)} and len(genuine) == 6


@pytest.mark.parametrize('identity, video, text', [
  ([0, 0, 1, 1], [3, 3, 4, 4], 'no identity has two pictures'),
  ([0, 1, 2], [-1, -1, -1], 'no identity has two pictures'),
  ([5, 5], [-1, -1], 'no pictures of two identities')])
def test_sets_without_pairs_are_refused(identity, video, text):
  fails(lambda: pairing.draw(np.array(identity), np.array(video), 10, 0), text)


def test_too_few_pairs_are_refused():
  identity, alone = np.repeat(np.arange(30), 2), np.full(60, -1)
  fails(lambda: pairing.draw(identity, alone, 1, 0), 'evals.*.pairs is 1: at least 2')
  fails(lambda: pairing.draw_in_folds(identity, alone, 19, 0), 'pairs is 19: at least 20')
  assert len(pairing.draw_in_folds(identity, alone, 20, 0)[0]) == 20


def test_a_large_set_is_drawn_from_quickly():
  identity = np.repeat(np.arange(30_000), 3)
  identity[:5000] = 0  # somebody with very many pictures
  pairs = pairing.draw(identity, np.full(90_000, -1), 2000, 0)
  assert len(pairs) == 2000 and len(set(identity[pairs[pairs[:, 2] == 1, 0]])) == 1000


def test_folds_share_no_identity():
  identity = np.repeat(np.arange(50), 8)
  video = np.repeat(np.arange(100), 4)
  pairs, folds = pairing.draw_in_folds(identity, video, 600, 1)
  assert len(pairs) == len(folds) == 600
  np.testing.assert_array_equal(np.bincount(folds), 60)
  of = [set(identity[pairs[folds == fold, :2]].ravel().tolist()) for fold in range(10)]
  assert sum(map(len, of)) == len(set.union(*of)) == 50
  assert pairing.may_be_pair(video, *pairs[:, :2].T).all()
  np.testing.assert_array_equal(identity[pairs[:, 0]] == identity[pairs[:, 1]], pairs[:, 2])
  for fold in range(10):
    assert pairs[folds == fold, 2].mean() == 0.5
  fails(lambda: pairing.draw_in_folds(identity[:80], video[:80], 100, 0), '10 folds by identity')
