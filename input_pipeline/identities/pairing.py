"""Pairs of pictures for verification, drawn by seed where a set has none of its own.

Frames of one video are never a pair: they are alike for other reasons than the face.
"""
import numpy as np

from dslope_jax.errors import UserError
from input_pipeline.identities.identity_set import NO_VIDEO

_MOST = 200  # pictures of an identity that pairs are drawn from, at most
_MOST_PICTURES = 2000  # of a set all of whose pairs are looked at
_PER_IDENTITY = 100


def draw(identity, video, count: int, seed: int, per_identity: int = _PER_IDENTITY):
  """(M,3) int64 pairs: rows a < b and whether they are one person, M <= count, half of them are.

  identity, video: (N,) as of `identity_set.Identities`. No pair repeats. Identities take turns: as
  far as their pictures reach, each has as many genuine pairs as any other, at most per_identity,
  and is in as many impostor pairs, about twice that. Fewer than `count` where there are no more.
  Raises UserError where there is no pair of one of both kinds.
  """
  if count < 2:
    raise UserError(f'evals.*.pairs is {count}: at least 2 are needed, one of each kind')
  identity, video = np.asarray(identity), np.asarray(video)
  rng = np.random.default_rng([seed, 0x9A12])
  people, starts = np.unique(identity[np.argsort(identity, kind='stable')], return_index=True)
  rows = np.split(np.argsort(identity, kind='stable'), starts[1:])
  wanted = min(count // 2, per_identity * len(people))
  genuine = _genuine(rows, video, wanted, per_identity, rng)
  if not len(genuine):
    raise UserError('no identity has two pictures that may be a pair (frames of one video may '
                    'not): verification needs genuine pairs; take a set with more pictures a '
                    'person')
  impostor = _impostors(rows, video, len(genuine), rng)
  if not len(impostor):
    raise UserError('no pictures of two identities may be a pair: verification needs two people, '
                    'not in one video')
  genuine = genuine[:len(impostor)]
  pairs = np.concatenate([genuine, impostor])
  return np.column_stack([np.sort(pairs, 1), np.arange(len(pairs)) < len(genuine)]).astype(np.int64)


def draw_in_folds(identity, video, count: int, seed: int, folds: int = 10,
                  per_identity: int = _PER_IDENTITY):
  """((M,3) pairs as of `draw`, (M,) fold of each): no identity is in two folds.

  Every fold has as many pairs as any other, about count / folds. Raises UserError where a fold
  would have fewer than two people or lack pairs.
  """
  identity, video = np.asarray(identity), np.asarray(video)
  people = np.random.default_rng([seed, 0xF01D]).permutation(np.unique(identity))
  if len(people) < 2 * folds:
    raise UserError(f'{folds} folds by identity need {2 * folds} people or more, and there are '
                    f'{len(people)}')
  if count < 2 * folds:
    raise UserError(f'evals.*.pairs is {count}: at least {2 * folds} are needed, two in each of '
                    f'{folds} folds')
  found = []
  for fold in range(folds):
    rows = np.flatnonzero(np.isin(identity, people[fold::folds]))
    pairs = draw(identity[rows], video[rows], count // folds, seed, per_identity)
    found.append(np.column_stack([rows[pairs[:, :2]], pairs[:, 2]]))
  each = min(pairs[:, 2].sum() for pairs in found)
  found = [np.concatenate([pairs[pairs[:, 2] == same][:each] for same in (1, 0)])
           for pairs in found]
  return np.concatenate(found), np.repeat(np.arange(folds), [len(pairs) for pairs in found])


def may_be_pair(video, a, b):
  """Whether rows a and b are of different videos, or of none."""
  return (video[a] != video[b]) | (video[a] == NO_VIDEO)


def _genuine(rows, video, wanted, most, rng):
  """(M,2) pairs of one identity, M <= wanted; rows: of each identity."""
  order, of, found = rng.permutation(len(rows)).tolist(), {}, []
  for turn in range(most):
    before = len(found)
    for person in order:
      if len(found) == wanted:
        return np.array(found, np.int64).reshape(-1, 2)
      if person not in of:
        of[person] = _pairs_within(rows[person], video, rng)[:most].tolist()
      if turn < len(of[person]):
        found.append(of[person][turn])
    if len(found) == before:
      break
  return np.array(found, np.int64).reshape(-1, 2)


def _pairs_within(rows, video, rng):
  """(M,2) all pairs of the pictures of an identity, in random order."""
  if len(rows) > _MOST:
    rows = rng.choice(rows, _MOST, replace=False)
  a, b = np.triu_indices(len(rows), 1)
  pairs = np.column_stack([rows[a], rows[b]])
  pairs = pairs[may_be_pair(video, *pairs.T)]
  return pairs[rng.permutation(len(pairs))]


def _impostors(rows, video, wanted, rng):
  """(M,2) pairs of two identities, M <= wanted.

  In a turn everybody meets the next one of a random circle, and so is in two pairs. Where that does
  not find enough, the set is small, and the rest is drawn from all pairs that there are.
  """
  found = {}
  for _ in range(2 + 4 * wanted // len(rows)):
    circle = rng.permutation(len(rows))
    for first, second in zip(circle, np.roll(circle, -1), strict=True):
      a, b = sorted((int(rng.choice(rows[first])), int(rng.choice(rows[second]))))
      if first != second and may_be_pair(video, a, b):
        found.setdefault((a, b))
      if len(found) == wanted:
        return np.array(list(found), np.int64)
  for pair in _pairs_between(rows, video, rng):
    if len(found) == wanted:
      break
    found.setdefault(tuple(pair))
  return np.array(list(found), np.int64).reshape(-1, 2)


def _pairs_between(rows, video, rng):
  """[[a, b]] all pairs of two identities, in random order; of a large set, of some pictures."""
  of = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
  flat = np.concatenate(rows)
  chosen = rng.permutation(len(flat))[:_MOST_PICTURES]
  a, b = np.triu_indices(len(chosen), 1)
  pairs = np.sort(np.column_stack([flat[chosen[a]], flat[chosen[b]]]), 1)
  pairs = pairs[(of[chosen[a]] != of[chosen[b]]) & may_be_pair(video, *pairs.T)]
  return pairs[rng.permutation(len(pairs))].tolist()
