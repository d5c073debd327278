"""Fits of confidences and the measures of how far they can be believed."""
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from dslope_jax.metrics import calibration as cal

RNG = np.random.default_rng(0)
P = RNG.uniform(0, 1, 40000)
RIGHT = RNG.random(P.shape) < P


def test_calibrated_data_is_found_calibrated():
  assert cal.ece(P, RIGHT) < .012
  assert cal.brier(P, RIGHT) == pytest.approx(1 / 6, abs=.005)  # mean of p (1 - p)
  for row in cal.reliability(P, RIGHT, 10):
    assert row['count'] == 4000 and abs(row['confidence'] - row['accuracy']) < .03


def test_measures_by_hand():
  p, right = np.array([[.2, .2], [.7, .9]]), np.array([[0, 1], [1, 1]])
  assert cal.reliability(p, right, 2) == [
    {'bin': 0, 'confidence': .2, 'accuracy': .5, 'count': 2},
    {'bin': 1, 'confidence': pytest.approx(.8), 'accuracy': 1., 'count': 2}]
  assert cal.ece(p, right, 2) == pytest.approx(.25)
  assert cal.brier(p, right) == pytest.approx((.04 + .64 + .09 + .01) / 4)
  # Equal probabilities are not split, whatever the number of bins.
  assert cal.reliability(np.full(9, .5), np.arange(9) < 3, 4) == [
    {'bin': 0, 'confidence': .5, 'accuracy': pytest.approx(1 / 3), 'count': 9}]


def test_isotonic_repairs_any_rising_distortion():
  scores = .3 * P ** 3
  fit = cal.fit_isotonic(scores[::2], RIGHT[::2])
  assert cal.ece(cal.apply(fit, scores[1::2]), RIGHT[1::2]) < .02 < .3 < cal.ece(scores, RIGHT)


def test_logistic_recovers_weights_and_separable_data_stay_finite():
  x = np.random.default_rng(2).normal(3, 2, (20000, 2))
  right = RNG.random(20000) < special.expit(.5 * x[:, 0] - x[:, 1] + 1)
  fit = cal.fit_logistic(x, right)
  weights = np.array(fit['weights']) / fit['deviation']
  np.testing.assert_allclose(weights, (.5, -1), atol=.05)
  assert fit['bias'] - weights @ fit['mean'] == pytest.approx(1, abs=.15)
  fit = cal.fit_logistic(np.array([[0, 1], [1, 1.]]), [False, True])
  assert np.isfinite(cal.apply(fit, [[-1e6, 1], [1e6, 1]])).all()


def brute_force(values, weights):
  """Least squares over all ways to cut the row into level pieces, those that rise."""
  best, least = None, np.inf
  for cuts in itertools.product((False, True), repeat=len(values) - 1):
    piece = np.cumsum((False, *cuts))
    means = np.bincount(piece, values * weights) / np.bincount(piece, weights)
    loss = (weights * (values - means[piece]) ** 2).sum()
    if (np.diff(means) >= 0).all() and loss < least - 1e-12:
      best, least = means[piece], loss
  return best


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3)), min_size=1, max_size=7))
def test_pooling_is_the_nearest_rising_row(row):
  values, weights = np.array(row, float).T
  level, weight, first, last = cal.pool(values, weights)
  got = np.repeat(level, last - first + 1)
  np.testing.assert_allclose(got, brute_force(values, weights), atol=1e-9)
  np.testing.assert_allclose(got, optimize.isotonic_regression(values, weights=weights).x)
  assert (np.diff(level) > 0).all() and weight.sum() == weights.sum()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(-2, 2, width=16), st.booleans()), min_size=1, max_size=30))
def test_every_fit_gives_probabilities_that_rise(row):
  scores, right = np.array([s for s, _ in row]), np.array([r for _, r in row])
  grid = np.linspace(-3, 3, 50)
  fits = [cal.fit_isotonic(scores, right), None]
  for fit in fits:
    p = cal.apply(json.loads(json.dumps(fit)), grid)
    assert (np.diff(p) >= 0).all() and (p >= 0).all() and (p <= 1).all()
    np.testing.assert_array_equal(p, cal.apply(fit, grid))
  # Constant probability cannot be nearer to the outcomes than the isotonic fit.
  fitted = cal.brier(cal.apply(fits[0], scores), right)
  assert fitted <= cal.brier(np.full(len(right), right.mean()), right) + 1e-12


def test_round_trip_of_a_logistic_fit_and_shapes():
  fit = cal.fit_logistic(RNG.normal(size=(5, 4, 3)), RNG.random((5, 4)) < .5)
  x = RNG.normal(size=(2, 6, 3))
  np.testing.assert_array_equal(cal.apply(json.loads(json.dumps(fit)), x), cal.apply(fit, x))
  assert cal.apply(fit, x).shape == (2, 6)


def test_errors():
  for call in (cal.fit_isotonic, cal.reliability, cal.ece, cal.brier):
    for scores, right in (([], []), ([np.nan], [True]), ([.5], [True, False])):
      with pytest.raises(ValueError, match='at least one score'):
        call(scores, right)
  with pytest.raises(ValueError, match='needs finite features'):
    cal.fit_logistic(np.ones((2, 3)), [True])
  with pytest.raises(ValueError, match="called 'odd'"):
    cal.apply({'kind': 'odd'}, [.5])
  with pytest.raises(ValueError, match='has 1 features'):
    cal.apply({'kind': 'logistic', 'weights': [1.]}, np.ones((4, 2)))
