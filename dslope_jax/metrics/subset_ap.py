"""COCO's AP for many subsets of the people at little cost: similarities once, matching per subset.

The numbers are those of pycocotools, whose loops over people and thresholds are arrays here.
"""
import dataclasses

import numpy as np

from dslope_jax.metrics import pose_errors

_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0, 1, 101)
_MOST = 20  # poses per picture, the best ones
_STATISTICS = {'AP': slice(None), 'AP50': slice(0, 1), 'AP75': slice(5, 6)}


@dataclasses.dataclass(frozen=True)
class Candidates:
  """Poses, best first in each picture, and the people that they could be.

  poses: (D,) rows of the poses looked at, picture by picture; rank: (D,) place in the picture;
  scores: (D,); extent: (D,) square pixels that the joints span; owner: (D,) row of the most
  similar counted person, -1 if nobody's OKS reaches 0.1.
  person, pose: (P,) pairs with OKS of at least 0.5, as rows of people and places in `poses`;
  oks: (P,); order: (D,) places in `poses`, best first over the set.
  """
  poses: np.ndarray
  rank: np.ndarray
  scores: np.ndarray
  extent: np.ndarray
  owner: np.ndarray
  order: np.ndarray
  person: np.ndarray
  pose: np.ndarray
  oks: np.ndarray


def candidates(people, image_id, keypoints, scores, sigmas, labelled=None):
  """What `average_precision` needs; the slow part, for any number of subsets.

  people: N `People`; image_id: (M,), keypoints: (M,K,2 or more) pixels of the whole picture,
  scores: (M,): the poses; sigmas: (K,); labelled: (N,K) bool, the joints that count, all labelled
  ones if None. Raises ValueError if shapes disagree or a number is not finite.
  """
  image_id, scores = np.asarray(image_id), np.asarray(scores, np.float64)
  keypoints = np.asarray(keypoints, np.float64)[..., :2]
  if keypoints.shape != (len(scores), len(sigmas), 2) or image_id.shape != scores.shape:
    raise ValueError(f'{len(scores)} scores and {len(sigmas)} sigmas, but keypoints '
                     f'{keypoints.shape} and image_id {image_id.shape}')
  if not (np.isfinite(keypoints).all() and np.isfinite(scores).all()):
    raise ValueError('a pose or score is NaN or infinite')
  rows = np.lexsort((-scores, image_id))
  _, first, count = np.unique(image_id[rows], return_index=True, return_counts=True)
  rank = np.arange(len(rows)) - np.repeat(first, count)
  rows, rank = rows[rank < _MOST], rank[rank < _MOST]
  kept = keypoints[rows]
  person, pose, oks = pose_errors.near_pairs(people, image_id[rows], kept, sigmas, 0.1, labelled)
  best = np.lexsort((-person, oks))
  best = best[people.counted[person[best]]]
  owner = np.full(len(rows), -1, np.int64)
  owner[pose[best]] = person[best]  # the last one written stays
  near = oks >= _THRESHOLDS[0]
  return Candidates(rows, rank, scores[rows], np.ptp(kept, axis=1).prod(-1), owner,
                    np.argsort(-scores[rows], kind='stable'), person[near], pose[near], oks[near])


def average_precision(found, people, chosen=None, counted=None):
  """AP and AR over the chosen people, the others ignored, as in pycocotools.

  found: from `candidates`. chosen: (N,) bool, everyone if None; `people.ignored` stay ignored.
  counted: (D,) bool over found.poses, the poses that are false positives if they match nobody;
  all if None. COCO's AP by size counts those whose `extent` has the size; for other subsets those
  whose owner is chosen or who have none are the counterpart.
  Returns {'AP', 'AP50', 'AP75', 'AR'}: floats 0..1, None if nobody is chosen.
  """
  ignored = people.ignored if chosen is None else people.ignored | ~np.asarray(chosen, bool)
  total = int((~ignored).sum())
  if not total:
    return dict.fromkeys((*_STATISTICS, 'AR'))
  matches = _match(found, people.crowd, ignored)
  missed = matches < 0
  excused = ~missed & ignored[np.where(missed, 0, matches)]
  if counted is not None:
    excused |= missed & ~np.asarray(counted, bool)
  right = np.cumsum((~missed & ~excused)[:, found.order], axis=1, dtype=np.float64)
  wrong = np.cumsum((missed & ~excused)[:, found.order], axis=1, dtype=np.float64)
  if not right.shape[1]:
    return dict.fromkeys((*_STATISTICS, 'AR'), 0.0)
  precision = right / (right + wrong + np.spacing(1))
  precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
  reached = np.array([np.searchsorted(r, _RECALLS) for r in right / total])
  padded = np.pad(precision, ((0, 0), (0, 1)))
  curve = np.take_along_axis(padded, reached, axis=1)
  out = {name: float(curve[part].mean()) for name, part in _STATISTICS.items()}
  return out | {'AR': float((right[:, -1] / total).mean())}


def _match(found, crowd, ignored):
  """(T,D) row of the person that each pose is matched with at each threshold, -1 for nobody.

  Poses choose by rank; all pictures at once. A pose prefers people who are not ignored, then the
  highest OKS, then the later row; only a crowd can be chosen again.
  """
  matches = np.full((len(_THRESHOLDS), len(found.poses)), -1, np.int64)
  free = np.ones((len(_THRESHOLDS), len(crowd)), bool)
  best_last = np.lexsort((found.person, found.oks, ~ignored[found.person], found.pose))
  person, pose, oks = (a[best_last] for a in (found.person, found.pose, found.oks))
  limits = np.minimum(_THRESHOLDS, 1 - 1e-10)[:, None]
  rank = found.rank[pose]
  for step in range(rank.max(initial=-1) + 1):
    at = np.flatnonzero(rank == step)
    if not len(at):
      continue
    who = person[at]
    possible = (oks[at] >= limits) & (free[:, who] | crowd[who])
    starts = np.flatnonzero(np.r_[True, pose[at][1:] != pose[at][:-1]])
    chosen = np.maximum.reduceat(np.where(possible, np.arange(len(at)), -1), starts, axis=1)
    t, s = np.nonzero(chosen >= 0)
    winner = who[chosen[t, s]]
    matches[t, pose[at][starts][s]] = winner
    free[t, winner] = False
  return matches
