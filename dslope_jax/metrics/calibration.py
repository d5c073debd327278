"""Confidences that mean something: from heatmap peaks to the probability of being right.

A fit is a plain dict, ready for json; `apply` turns scores into probabilities by it. What the
probability is of, a joint's own OKS reaching 0.5 or its being visible, is decided by the labels
that it was fitted to. Fit on pictures that no number is reported on.
"""
import numpy as np
from scipy import special

from dslope_jax.errors import UserError


def fit_isotonic(scores, right):
  """Fit of the rising curve nearest to the outcomes, in least squares.

  scores: any shape, finite; right: as scores, bool.
  Returns {'kind': 'isotonic', 'x', 'y'}: lists of the ends of the level pieces and their heights;
  `apply` goes straight between them. Pool adjacent violators: Zadrozny and Elkan, KDD 2002.
  Raises UserError if there is no score, one is not finite, or shapes disagree.
  """
  scores, right = _checked(scores, right)
  x, place, count = np.unique(scores, return_inverse=True, return_counts=True)
  level, weight, first, last = pool(np.bincount(place, right) / count, count)
  # A piece of a single score is one point: two would make np.interp's knots repeat.
  ends = np.stack([x[first], x[last]], 1)
  keep = np.stack([np.ones(len(first), bool), first < last], 1)
  return {'kind': 'isotonic', 'x': ends[keep].tolist(),
          'y': np.repeat(level, 2).reshape(-1, 2)[keep].tolist()}


def pool(values, weights):
  """Pool adjacent violators: neighbours that fall are merged into their mean until all rise.

  values, weights: (N,), weights positive. Returns levels (B,), strictly rising, their weights,
  and the first and last place of each: (B,) int.
  """
  blocks = []  # mean, weight, first, last
  for place, (mean, weight) in enumerate(zip(np.asarray(values).tolist(),
                                             np.asarray(weights).tolist(), strict=True)):
    first = place
    while blocks and blocks[-1][0] >= mean:
      before, its_weight, first, _ = blocks.pop()
      mean = (before * its_weight + mean * weight) / (its_weight + weight)
      weight += its_weight
    blocks.append((mean, weight, first, place))
  mean, weight, first, last = zip(*blocks, strict=True) if blocks else ((),) * 4
  return np.array(mean), np.array(weight), np.array(first, int), np.array(last, int)


def fit_logistic(features, right, ridge=1e-3, steps=50):
  """Logistic regression by Newton's method on features brought to mean 0 and deviation 1.

  features: (..., F), such as the logit of the peak, the box score, the person's size; right: (...)
  bool. ridge: pull of the weights to 0, per sample, which keeps separable data finite.
  Returns {'kind': 'logistic', 'mean', 'deviation', 'weights': lists of F, 'bias'}.
  Raises UserError as `fit_isotonic`.
  """
  features = np.asarray(features, np.float64)
  width = features.shape[-1]
  features, right = features.reshape(-1, width), np.asarray(right, bool).ravel()
  if not len(right) or len(features) != len(right) or not np.isfinite(features).all():
    raise UserError(f'needs finite features of at least one joint, and as many labels: '
                    f'{len(features)} and {len(right)}')
  mean, deviation = features.mean(0), features.std(0)
  deviation = np.where(deviation > 0, deviation, 1)
  x = np.concatenate([(features - mean) / deviation, np.ones((len(features), 1))], 1)
  pull = ridge * len(x) * np.r_[np.ones(width), 1e-6]
  weights = np.zeros(width + 1)
  for _ in range(steps):
    p = special.expit(x @ weights)
    gradient = x.T @ (p - right) + pull * weights
    change = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + np.diag(pull), gradient)
    # Far from the optimum a whole step overshoots where the curve is flat.
    weights = weights - change / max(1, np.abs(change).max() / 2)
    if np.abs(change).max() < 1e-10:
      break
  return {'kind': 'logistic', 'mean': mean.tolist(), 'deviation': deviation.tolist(),
          'weights': weights[:-1].tolist(), 'bias': float(weights[-1])}


def apply(fit, scores):
  """Probabilities 0..1 by a fit.

  fit: from a `fit_*` function, or read from json; None gives the scores back, cut to 0..1.
  scores: any shape; (..., F) features for a logistic fit. Returns float64 of that shape, (...)
  for a logistic fit. Raises UserError for an unknown kind or another number of features.
  """
  scores = np.asarray(scores, np.float64)
  if fit is None:
    return np.clip(scores, 0, 1)
  if fit['kind'] == 'isotonic':
    return np.interp(scores, fit['x'], fit['y'])
  if fit['kind'] != 'logistic':
    raise UserError(f"no kind of fit is called '{fit['kind']}'")
  if scores.shape[-1:] != (len(fit['weights']),):
    raise UserError(f'the fit has {len(fit["weights"])} features, the data {scores.shape[-1:]}')
  x = (scores - np.array(fit['mean'])) / np.array(fit['deviation'])
  return special.expit(x @ np.array(fit['weights']) + fit['bias'])


def reliability(probabilities, right, bins=15):
  """Confidence and accuracy in bins of equal numbers of joints.

  probabilities: any shape, 0..1; right: as it, bool. Equal probabilities share a bin, so that bins
  can be fewer and uneven. Returns a list, lowest first, of {'bin': number, 'confidence': mean
  probability, 'accuracy': share right 0..1, 'count'}. Raises UserError as `fit_isotonic`.
  """
  p, right = _checked(probabilities, right)
  ordered = np.sort(p)
  edges = np.unique(ordered[np.arange(1, bins) * len(p) // bins])
  place = np.searchsorted(edges, p, 'right')
  count, inside, hits = (np.bincount(place, w, len(edges) + 1) for w in (None, p, right))
  return [{'bin': number, 'confidence': float(inside[b] / count[b]),
           'accuracy': float(hits[b] / count[b]), 'count': int(count[b])}
          for number, b in enumerate(np.flatnonzero(count))]


def ece(probabilities, right, bins=15):
  """Expected calibration error 0..1: mean gap of confidence and accuracy, weighted by joints.

  Arguments and errors as for `reliability`. Guo et al., ICML 2017, equation 3, but with bins of
  equal numbers (Nguyen and O'Connor, EMNLP 2015).
  """
  table = reliability(probabilities, right, bins)
  gaps = sum(row['count'] * abs(row['confidence'] - row['accuracy']) for row in table)
  return gaps / sum(row['count'] for row in table)


def brier(probabilities, right):
  """Mean square of probability minus outcome, 0..1; arguments and errors as for `reliability`.

  Formula: Brier, Monthly Weather Review 1950, for two outcomes and one of the two squares.
  """
  p, right = _checked(probabilities, right)
  return float(np.square(p - right).mean())


def _checked(scores, right):
  scores, right = np.asarray(scores, np.float64), np.asarray(right, bool)
  if not scores.size or scores.shape != right.shape or not np.isfinite(scores).all():
    raise UserError(f'needs at least one score, all finite, and as many labels: {scores.shape} '
                    f'and {right.shape}')
  return scores.ravel(), right.ravel()
