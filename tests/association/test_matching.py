"""Matching inside of a step against the one of the metric."""
import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dslope_jax.association import matching
from dslope_jax.metrics import panoptic

match = jax.jit(matching.match)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10 ** 6), st.integers(0, 4), st.integers(0, 6))
def test_pairs_are_those_of_the_metric(seed, people, found):
  rng = np.random.default_rng(seed)
  truth, places = np.full((2, 4, 2), np.inf), np.full((2, 6, 2), np.inf)
  truth[:, :people], places[:, :found] = (rng.uniform(0, 60, (2, n, 2)) for n in (people, found))
  rows = np.asarray(match(truth, places, 30.0))
  for picture in range(2):
    want = panoptic.match(truth[picture, :people], places[picture, :found])
    got = [np.flatnonzero(rows[picture] == person) for person in range(people)]
    assert [row[0] if len(row) else -1 for row in got] == want.tolist()
    assert (rows[picture, found:] == -1).all() and rows.dtype == np.int32


def test_as_far_apart_as_the_limit_is_no_pair():
  truth = np.array([[[0.0, 0.0]]])
  assert match(truth, truth + [30.0, 0], 30.0).tolist() == [[-1]]
  assert match(truth, truth + [29.9, 0], 30.0).tolist() == [[0]]
