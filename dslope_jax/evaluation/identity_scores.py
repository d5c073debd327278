"""From embeddings of faces to numbers: verification of pairs and identification, in percent.

A pair is scored three times: both pictures clean, the first clean and the second occluded, both
occluded. Rows are NETWORK/clean-clean, NETWORK/clean-occluded and NETWORK/occluded-occluded.
"""
from typing import NamedTuple

import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.evaluation.base import SampleTable, Scores
from dslope_jax.metrics import verification
from dslope_jax.metrics.verification import FOLDS

CLEAN, OCCLUDED = 'clean', 'occluded'
VIEWS = (CLEAN, CLEAN), (CLEAN, OCCLUDED), (OCCLUDED, OCCLUDED)
RESAMPLES = 500
_FARS = 1e-2, 1e-3
_LEAST = 10  # impostor pairs that the threshold of a false acceptance rate must accept


class Faces(NamedTuple):
  """What scoring knows of N pictures of C identities, and of M pairs.

  identity: (N,) numbers from 0. group: (N,) pictures of one group are never compared, such as
  frames of one video; each alone where nothing is known. pairs: (M,3) rows a and b, and whether
  they are of the same. folds: (M,) number of the fold of each pair. names: (N,) for captions.
  """
  identity: np.ndarray
  group: np.ndarray
  pairs: np.ndarray
  folds: np.ndarray
  names: np.ndarray

  @property
  def same(self):
    return self.pairs[:, 2].astype(bool)


def faces_of(identity, video, pairs, folds, names) -> Faces:
  """`Faces` of columns (N,), the numbers of videos (-1: of none), pairs and their folds or None.

  Raises UserError where the pairs are not both of one identity and of two.
  """
  video = np.full(len(identity), -1) if video is None else np.asarray(video)
  group = np.where(video < 0, video.max(initial=-1) + 1 + np.arange(len(video)), video)
  identity = np.unique(identity, return_inverse=True)[1]
  pairs = np.asarray(pairs, np.int64).reshape(-1, 3)
  same = pairs[:, 2].astype(bool)
  folds = verification.every_tenth(same) if folds is None else (
    np.unique(folds, return_inverse=True)[1])
  if not same.any() or same.all() or len(np.unique(folds)) < 2:
    raise UserError(f'{same.sum()} genuine and {(~same).sum()} impostor pairs in '
                    f'{len(np.unique(folds))} folds cannot be verified; each kind is needed, in '
                    f'two folds or more ({FOLDS} are usual)')
  return Faces(identity, group, pairs, folds, np.asarray(names))


def score(faces: Faces, outputs: dict, *, mixes=(), full=True) -> Scores:
  """Scores every network, and where two answer together, the mean of their similarities.

  outputs: {'net/clean': {'embedding': (N,D) of unit length}}, views clean and occluded. Not full:
  only rows with occluded pictures, without samples and files.
  Numbers: EER with the ends of its interval (95 %, bootstrap over identities), accuracy (folds),
  TAR at a false acceptance rate, where at least ten impostor pairs decide it, and rank1, of
  pictures among all others, clean ones where one side is.
  """
  found = _embeddings(outputs, mixes)
  results, samples, report, intervals, worst = {}, {}, {}, {}, ()
  for network in dict.fromkeys(name for name, _ in found):
    for views in VIEWS if full else VIEWS[1:]:
      first, second = (found.get((network, view)) for view in views)
      if first is None or second is None:
        continue
      row = f'{network}/{"-".join(views)}'
      seen = _Seen(faces, first, second, views)
      results[row], intervals[row] = seen.numbers()
      if full:
        samples[row] = seen.samples()
        report[row] = {'overall': seen.counts()}
        worst = seen.hardest()
  if not full:
    return Scores(results)
  files = {'intervals.json': intervals, 'report.json': {'report': report, 'words': _WORDS}}
  return Scores(results, samples, files, worst)


_WORDS = {'report': 'Pairs that were scored, and pictures that have another one of their identity '
          'to be found.'}


def _embeddings(outputs, mixes):
  """{(network, view): (N,D)}, with the mixture 'mean' of those that answer together."""
  found = {tuple(row.rsplit('/', 1)): fields['embedding'] for row, fields in outputs.items()
           if row != 'batch'}
  for pair in mixes:
    for view in (CLEAN, OCCLUDED):
      both = [found.get((name, view)) for name in pair]
      if all(one is not None for one in both):
        # Side by side their product is the mean of the networks' own: their spaces are not one.
        found['mean', view] = np.concatenate(both, 1) / np.sqrt(len(both))
  return found


class _Seen:
  """One row of results: the similarities of its pairs, and who is found."""

  def __init__(self, faces, first, second, views):
    self.faces, self.views = faces, views
    self.scores, self.same = verification.pair_scores(first, faces.pairs, second)
    self.right = verification.told_right(self.scores, self.same, faces.folds)
    self.rates = verification.rates(self.scores, self.same)
    # The clean pictures are the gallery where there are any.
    self.found, self.sought = verification.identified(
      second, faces.identity, first, faces.identity, faces.group, faces.group)
    self.weight = 1 / np.bincount(faces.folds)[faces.folds]  # of a pair in the mean over folds
    impostors = int((~self.same).sum())
    self.fars = [far for far in _FARS if far * impostors >= _LEAST]

  def numbers(self):
    """({metric: number}, {metric: (low, high)}), in percent."""
    out = {'EER': verification.eer_of(self.rates), 'EER_low': None, 'EER_high': None,
           'accuracy': float((self.weight * self.right).sum() / self.weight.sum())}
    out |= {_tar(far): verification.tar_of(self.rates, far) for far in self.fars}
    if self.sought.any():
      out['rank1'] = float(self.found[self.sought].mean())
    ends = {name: (100 * low, 100 * high) for name, (low, high) in self._intervals().items()}
    out = {name: value if value is None else 100 * value for name, value in out.items()}
    out['EER_low'], out['EER_high'] = ends['EER']
    return out, ends

  def _intervals(self):
    identity, pairs = self.faces.identity, self.faces.pairs
    measures = self._of_pairs() | {_tar(far): lambda found, _, far=far: verification.tar_of(
      found, far) for far in self.fars}
    ends = verification.intervals(self.scores, self.same, identity[pairs[:, :2]], measures,
                                  RESAMPLES)
    if self.sought.any():
      count = int(identity.max()) + 1
      right, sought = (np.bincount(identity, flags, count)
                       for flags in (self.found, self.sought))
      drawn = list(verification.resampled(count, RESAMPLES))
      with np.errstate(invalid='ignore'):
        ends['rank1'] = verification.quantiles([(t @ right) / (t @ sought) for t in drawn])
    return ends

  def _of_pairs(self):
    """What is measured on pairs whose identities are drawn, see `verification.intervals`."""
    return {'EER': lambda found, _: verification.eer_of(found),
            'accuracy': lambda _, times: (times * self.weight * self.right).sum() / (
              times * self.weight).sum()}

  def samples(self):
    """Tables for paired comparisons. A pair is of two identities, so that EER and accuracy are told
    by pseudo-values of identities; left out where too few identities are there to have any."""
    identity = self.faces.identity
    people, parts = verification.jackknife(
      self.scores, self.same, identity[self.faces.pairs[:, :2]], self._of_pairs())
    tables = {name: SampleTable(people, 100 * values, np.ones(len(people)))
              for name, values in parts.items() if np.isfinite(values).all()}
    return tables | {'rank1': SampleTable(identity, 100.0 * self.found,
                                          self.sought.astype(np.float64))}

  def counts(self):
    return {'genuine pairs': int(self.same.sum()), 'impostor pairs': int((~self.same).sum()),
            'folds': len(np.unique(self.faces.folds)), 'pictures sought': int(self.sought.sum()),
            'identities': int(self.faces.identity.max()) + 1}

  def hardest(self):
    """Rows of pictures of the pairs that are furthest on the wrong side, a pair after the other."""
    near = np.argmin(np.abs(self.rates.far - (1 - self.rates.tar)))
    off = (self.scores - self.rates.threshold[near]) * np.where(self.same, 1, -1)
    order = np.argsort(off, kind='stable')
    rows = self.faces.pairs[order, :2].ravel().tolist()
    return tuple(dict.fromkeys(rows))


def nearest(faces: Faces, outputs: dict, rows) -> dict:
  """{network: (R,) row of the clean picture that is most similar to each of these occluded ones},
  but those of the same group; networks that were not run on both views are left out."""
  found, out = _embeddings(outputs, ()), {}
  for network in dict.fromkeys(name for name, _ in found):
    clean, occluded = (found.get((network, view)) for view in (CLEAN, OCCLUDED))
    if clean is not None and occluded is not None:
      apart = faces.group[rows, None] != faces.group
      out[network] = np.where(apart, occluded[rows] @ clean.T, -np.inf).argmax(1)
  return out


def _tar(far):
  return f'TAR@{far:g}'
