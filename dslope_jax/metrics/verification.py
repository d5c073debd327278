"""Who is who from embeddings: verification of pairs, and identification of the nearest.

Pairs are given in one of three forms, see `pair_scores`. Shares are from 0 to 1.
"""
from typing import NamedTuple

import numpy as np

from dslope_jax.errors import UserError

FOLDS = 10
_CHUNK = 2 ** 24  # similarities that are held at once


class Rates(NamedTuple):
  """What is accepted at falling thresholds, the first of which accepts nothing.

  threshold: (R,), inf, then every score there is. far: (R,) share of the impostor pairs that are
  accepted, which rises from 0 to 1. tar: (R,) that of the genuine pairs.
  """
  threshold: np.ndarray
  far: np.ndarray
  tar: np.ndarray


def pair_scores(embeddings, truth, others=None):
  """(scores, same): (M,) float64 cosines of pairs, the higher the more alike, and (M,) bool.

  embeddings: (N,D), of any length. truth: (M,3) pairs as a, b, same with rows a and b; or (N,)
  labels of identities, for all pairs of different rows. others: (N,D), of what b is looked up in,
  such as embeddings of occluded pictures; labels then give all N (N - 1) ordered pairs.
  Scores (M,) with same (M,) pass as they are.
  Raises UserError where shapes disagree, a number is not finite or a row is not there.
  """
  embeddings, truth = np.asarray(embeddings, np.float64), np.asarray(truth)
  _check(embeddings, 'embeddings')
  if embeddings.ndim == 1:
    if truth.shape != embeddings.shape:
      raise UserError(f'{len(embeddings)} scores, but whether a pair is the same has shape '
                      f'{truth.shape}')
    return embeddings, truth.astype(bool)
  first = _unit(embeddings)
  second = first if others is None else _unit(others)
  if first.shape != second.shape:
    raise UserError(f'embeddings have shape {first.shape}, the others {second.shape}')
  if truth.ndim == 1 and len(truth) == len(first):
    a, b = np.nonzero(~np.eye(len(truth), dtype=bool)) if others is not None else (
      np.triu_indices(len(truth), 1))
    same = truth[a] == truth[b]
  elif truth.ndim == 2 and truth.shape[1] == 3:
    a, b, same = truth.astype(np.int64).T
    if len(truth) and not 0 <= truth[:, :2].min() <= truth[:, :2].max() < len(first):
      raise UserError(f'a pair names a row that is none of the {len(first)} embeddings')
  else:
    raise UserError(f'{len(first)} embeddings need labels (N,) or pairs (M,3), not shape '
                    f'{truth.shape}')
  step = max(1, _CHUNK // first.shape[1])
  scores = [(first[a[i:i + step]] * second[b[i:i + step]]).sum(1)
            for i in range(0, len(a), step)]
  return np.concatenate(scores or [np.zeros(0)]), same.astype(bool)


def rates(scores, same, weights=None) -> Rates:
  """`Rates` of scores (M,) and whether a pair is the same (M,) bool; weights: (M,) of the pairs.

  Pairs of one score are accepted together. Raises UserError without genuine or impostor pairs.
  """
  order = np.argsort(-scores, kind='stable')
  return _rates(scores[order], same[order], None if weights is None else weights[order])


def _rates(scores, same, weights=None):
  """`rates` of scores that fall already."""
  weights = np.ones(len(scores)) if weights is None else weights
  genuine, impostor = np.cumsum(weights * same), np.cumsum(weights * ~same)
  if not len(scores) or not genuine[-1] > 0 or not impostor[-1] > 0:
    raise UserError('there are no genuine pairs, or no impostor pairs; verification needs both')
  last = np.append(scores[1:] != scores[:-1], True)
  start = lambda values: np.concatenate([[0.0], values[last] / values[-1]])
  return Rates(np.concatenate([[np.inf], scores[last]]), start(impostor), start(genuine))


def tar_at_far(embeddings, truth, far=1e-2, others=None) -> float:
  """Share of the genuine pairs accepted where at most the share `far` of the impostor pairs is.

  The rest is as for `pair_scores`.
  """
  return tar_of(rates(*pair_scores(embeddings, truth, others)), far)


def tar_of(found: Rates, far: float) -> float:
  return float(found.tar[found.far <= far + 1e-12].max())


def eer(embeddings, truth, others=None) -> float:
  """Equal error rate: where as large a share of the impostor pairs is accepted as of the genuine
  ones is rejected, linear between two thresholds. The rest is as for `pair_scores`."""
  return eer_of(rates(*pair_scores(embeddings, truth, others)))


def eer_of(found: Rates) -> float:
  gap = found.far - (1 - found.tar)  # rises from -1 to 1
  after = int(np.argmax(gap >= 0))
  share = -gap[after - 1] / (gap[after] - gap[after - 1])
  return float(found.far[after - 1] + share * (found.far[after] - found.far[after - 1]))


def ten_fold_accuracy(embeddings, truth, folds=None, others=None) -> float:
  """Mean over the folds of the share of pairs that are told right, each by the threshold that is
  best on all other folds.

  folds: (M,) number of each pair's fold, whose identities are in no other for an honest number;
  None for ten folds of which each takes every tenth genuine and every tenth impostor pair.
  The rest is as for `pair_scores`. Protocol: Huang et al., Labeled Faces in the Wild, 2007.
  """
  scores, same = pair_scores(embeddings, truth, others)
  folds = every_tenth(same) if folds is None else np.asarray(folds)
  right = told_right(scores, same, folds)
  return float(np.mean([right[folds == fold].mean() for fold in np.unique(folds)]))


def every_tenth(same):
  """(M,) number of the fold of each pair, see `ten_fold_accuracy`."""
  folds = np.zeros(len(same), np.int64)
  for kind in (same, ~same):
    folds[kind] = np.arange(kind.sum()) % FOLDS
  return folds


def told_right(scores, same, folds):
  """(M,) bool: pairs that are told right by the threshold that is best on all other folds."""
  if folds.shape != same.shape or len(np.unique(folds)) < 2:
    raise UserError(f'{len(same)} pairs need folds (M,), two of them at least; the folds have '
                    f'shape {folds.shape}')
  right = np.zeros(len(same), bool)
  for fold in np.unique(folds):
    test = folds == fold
    right[test] = (scores[test] >= best_threshold(scores[~test], same[~test])) == same[test]
  return right


def best_threshold(scores, same) -> float:
  """The threshold that tells most pairs right: the middle between two scores, of equally good ones
  the highest; above all scores or below them where that is best."""
  order = np.argsort(-scores, kind='stable')
  scores, same = scores[order], same[order]
  right = np.concatenate([[0], np.cumsum(np.where(same, 1, -1))])  # with so many accepted
  between = np.concatenate([[np.inf], (scores[:-1] + scores[1:]) / 2, [-np.inf]])
  cut = np.concatenate([[True], scores[1:] < scores[:-1], [True]])
  return float(between[np.argmax(np.where(cut, right, -len(scores) - 1))])


def rank1(embeddings, labels, gallery=None, gallery_labels=None, group=None, gallery_group=None
          ) -> float:
  """Share of the probes whose most similar picture of the gallery is of the same identity.

  As for `identified`; a probe without a picture of its identity to be found does not count. nan
  where none counts.
  """
  right, counts = identified(embeddings, labels, gallery, gallery_labels, group, gallery_group)
  return float(right[counts].mean()) if counts.any() else float('nan')


def identified(embeddings, labels, gallery=None, gallery_labels=None, group=None,
               gallery_group=None):
  """(right, counts), (N,) bool each: see `rank1`.

  embeddings: (N,D) of the probes; labels: (N,). gallery: (G,D), gallery_labels: (G,); None for the
  probes themselves, each but its own group. group, gallery_group: (N,) and (G,), what is never
  compared with its like, such as frames of one video; None compares all, but a picture of the
  probes' own gallery with itself. Of equally similar pictures the first counts.
  """
  probes, labels = _unit(embeddings), np.asarray(labels)
  if gallery is None:
    gallery, gallery_labels = probes, labels
    group = gallery_group = np.arange(len(probes)) if group is None else np.asarray(group)
  gallery, gallery_labels = _unit(gallery), np.asarray(gallery_labels)
  if labels.shape != (len(probes),) or gallery_labels.shape != (len(gallery),) or (
      probes.shape[1] != gallery.shape[1]):
    raise UserError(f'shapes disagree: probes {probes.shape}, labels {labels.shape}, gallery '
                    f'{gallery.shape}, its labels {gallery_labels.shape}')
  if (group is None) != (gallery_group is None):
    raise UserError('give group and gallery_group, or none of them')
  right, counts = np.zeros(len(probes), bool), np.zeros(len(probes), bool)
  step = max(1, _CHUNK // max(1, len(gallery)))
  for i in range(0, len(probes), step):
    rows = slice(i, i + step)
    similar = probes[rows] @ gallery.T
    mate = labels[rows, None] == gallery_labels
    if group is not None:
      apart = np.asarray(group)[rows, None] != np.asarray(gallery_group)
      similar, mate = np.where(apart, similar, -np.inf), mate & apart
    counts[rows] = mate.any(1)
    right[rows] = counts[rows] & (gallery_labels[similar.argmax(1)] == labels[rows])
  return right, counts


# ---- intervals

def resampled(identities, resamples=1000, seed=0):
  """Iterator of (C,) how often each of `identities` (a number C) is drawn, with replacement."""
  rng = np.random.default_rng(seed)
  for _ in range(resamples):
    yield np.bincount(rng.integers(0, identities, identities), minlength=identities)


def intervals(scores, same, identities, measures, resamples=1000, seed=0) -> dict:
  """{name: (low, high)}: 95 % of the bootstrap, which draws identities and with them their pairs.

  scores, same: (M,). identities: (M,2) of each pair, numbers from 0. measures: {name: function
  (Rates, weights (M,), in the order of the pairs) -> number}. A pair of two identities counts as
  often as both are drawn, a genuine one as often as its own. Draws that have no genuine or no
  impostor pairs are left out; (nan, nan) where none is left.
  """
  drawn = resampled(int(np.max(identities, initial=-1)) + 1, resamples, seed)
  found = _measured(scores, same, identities, measures, drawn)
  return {name: quantiles(values) for name, values in found.items()}


def jackknife(scores, same, identities, measures):
  """((P,) identities of the pairs, {name: (P,) pseudo-values}): each number in parts of identities.

  Their mean is the number, and their spread how it varies with who is in the set: a bootstrap of
  them stands for one of the identities, as for `intervals`. nan where the pairs without an identity
  are of one kind. Arguments as there.
  Method: Efron and Tibshirani, An Introduction to the Bootstrap, chapter 11, without the correction
  for bias.
  """
  people, whole = np.unique(identities), rates(scores, same)
  times = (np.arange(people[-1] + 1) != person for person in people.tolist())
  found = _measured(scores, same, identities, measures, times)
  return people, {
    name: measures[name](whole, np.ones(len(scores))) + (len(people) - 1) * (out.mean() - out)
    for name, out in found.items()}


def _measured(scores, same, identities, measures, drawn):
  """{name: (R,) numbers} of the pairs where identities are drawn so often, for `intervals`; nan of
  a draw without genuine or without impostor pairs. drawn: iterable of R arrays (C,)."""
  order, (a, b) = np.argsort(-scores, kind='stable'), np.asarray(identities).T
  found = {name: [] for name in measures}
  for times in drawn:
    weights = np.where(a == b, times[a], times[a] * times[b]).astype(np.float64)
    both = weights[same].any() and weights[~same].any()
    curve = _rates(scores[order], same[order], weights[order]) if both else None
    for name, measure in measures.items():
      found[name].append(measure(curve, weights) if both else np.nan)
  return {name: np.array(values, np.float64) for name, values in found.items()}


def quantiles(values):
  """(low, high) of the middle 95 %; (nan, nan) of nothing."""
  values = np.asarray(values, np.float64)
  values = values[np.isfinite(values)]
  if not len(values):
    return float('nan'), float('nan')
  return tuple(np.percentile(values, (2.5, 97.5)).tolist())


def _unit(embeddings):
  embeddings = np.asarray(embeddings, np.float64)
  _check(embeddings, 'embeddings')
  if embeddings.ndim != 2:
    raise UserError(f'embeddings have shape {embeddings.shape}, not (N,D)')
  length = np.linalg.norm(embeddings, axis=1, keepdims=True)
  return embeddings / np.where(length > 0, length, 1)


def _check(values, what):
  if not np.isfinite(values).all():
    raise UserError(f'{what} hold NaN or infinite numbers')
