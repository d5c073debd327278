"""What occlusion costs: joints right and AP by circumstances, kinds of errors, collapse and swap.

Also the table of right joints, one row per person, that runs are compared by.
"""
import os

import numpy as np

from dslope_jax.metrics import occlusion, pose_errors, subset_ap
from dslope_jax.metrics import people as people_lib

# Bounds of the three kinds of pictures in the CrowdPose paper; its evaluator cuts at 0.2 and 0.8.
CROWD_EDGES = (0.1, 0.8)
_QUARTERS = ('0', '(0,.25]', '(.25,.5]')
_SMALL, _LARGE = 32 ** 2, 96 ** 2  # square pixels, COCO


def report(people, predictions, poses, skeleton, crowd_edges=CROWD_EDGES):
  """Everything this file knows about one network on one set of pictures; plain values for json.

  people: N `people.People`, crowds and people without labels included, as AP ignores rather than
  forgets them. predictions: (N,K,2 or more), row i for person i, pixels of the whole picture, NaN
  where there is none (its joints are wrong). poses: {'image_id': (M,), 'keypoints': (M,K,2 or
  more), 'scores': (M,)}, the detections for AP, suppressed already. skeleton: the K joints.
  Returns {'overall': row, 'by': {split: {bin: row}}, 'errors': {kind: {'joints', 'share'}},
  'rates': ...}, see `splits` and `rates`. A row is {'people', 'joints', 'right', 'share' (percent
  of the joints), 'AP', 'AP50', 'AP75', 'AR' (0..1)}, None where there is nothing to divide by. A
  joint is right if its own OKS is at least 0.5. Rows of split 'joint' are of joints and have no
  'people'; in every other split people and joints add up to the overall ones.
  Raises ValueError if shapes disagree or a pose is not finite.
  """
  of_pairs = people_lib.pairs(people.image_id)
  right = occlusion.oks_correct(predictions, people.keypoints, people.areas, skeleton.sigmas)
  kinds = pose_errors.classify(predictions, people, skeleton, of_pairs)
  kinds = np.where(people.counted[:, None], kinds, pose_errors.NOT_LABELLED)
  score = _Score(people, right, poses, skeleton.sigmas)
  groups = occlusion.joint_groups(people.visibility, people.covered)
  by = {'joint': {name: score.joints(joints) for name, joints in groups.items()}}
  for split, bins in splits(people, of_pairs, crowd_edges).items():
    by[split] = {name: score.people(members, _EXTENTS.get(name) if split == 'size' else None)
                 for name, members in bins.items()}
  counts = {name: int((kinds == number).sum()) for number, name in enumerate(pose_errors.KINDS)}
  return {'overall': score.people(np.ones(len(people), bool)), 'by': by,
          'errors': {name: {'joints': count, 'share': _percent(count, sum(counts.values()))}
                     for name, count in counts.items()},
          'rates': rates(kinds, pose_errors.collapsed(predictions, people, skeleton, of_pairs))}


def splits(people, of_pairs=None, crowd_edges=CROWD_EDGES):
  """Bins of people by what makes them hard; a person is in exactly one bin of each split.

  'occluded': share of the labelled joints that are hidden (v = 1) or covered. 'crowd_index': of
  the picture, `people.crowd_index`, below the first edge, below the second, the rest. 'neighbour':
  largest IoU of the box with another person's. 'truncated': whether the box touches the picture's
  border, only where image_size is known. 'size': area below 32^2, up to 96^2, above (COCO).
  Returns {split: {bin: (N,) bool}}. of_pairs: `pairs(people.image_id)` where at hand.
  """
  i, j = people_lib.pairs(people.image_id) if of_pairs is None else of_pairs
  single = ~people.crowd[i] & ~people.crowd[j]
  overlap = np.zeros(len(people))
  iou = people_lib.box_iou(people.boxes[i], people.boxes[j])
  people_lib.largest(i, np.where(single, iou, 0), overlap)
  hard = people.labelled & ((people.visibility == 1) | people.covered)
  hidden = hard.sum(1) / np.maximum(people.labelled.sum(1), 1)
  index = people.crowd_index
  if index is None:
    index = people_lib.crowd_index(people, (i, j))
  low, high = crowd_edges
  crowd = np.digitize(index, crowd_edges)
  out = {'occluded': _quarters(hidden, '(.5,1]'),
         'crowd_index': _bins(crowd, (f'<{low}', f'<{high}', f'>={high}')),
         'neighbour': _quarters(overlap, '>.5')}
  if people.image_size is not None:
    cut = people_lib.touches_border(people.boxes, people.image_size)
    out['truncated'] = {'no': ~cut, 'yes': cut}
  size = np.where(people.areas < _SMALL, 0, np.where(people.areas <= _LARGE, 1, 2))
  return out | {'size': _bins(size, tuple(_EXTENTS))}


def rates(kinds, pairs_found):
  """How often neighbours collapse into one pose and how many people have swapped or turned joints.

  kinds: (N,K) from `pose_errors.classify`, -1 for all joints of people who do not count;
  pairs_found: from `pose_errors.collapsed`. Returns {'neighbours': pairs, 'collapsed': pairs,
  'collapse_rate', 'people', 'swap_rate', 'inversion_rate'}; rates in percent, of pairs of
  neighbours and of people with a labelled joint: those with at least one joint of that kind.
  """
  people = int((kinds != pose_errors.NOT_LABELLED).any(1).sum())
  collapsed, pairs = int(pairs_found['collapsed'].sum()), len(pairs_found['collapsed'])
  out = {'neighbours': pairs, 'collapsed': collapsed, 'collapse_rate': _percent(collapsed, pairs),
         'people': people}
  for kind in ('swap', 'inversion'):
    having = int((kinds == pose_errors.KINDS.index(kind)).any(1).sum())
    out[f'{kind}_rate'] = _percent(having, people)
  return out


def save_joint_table(path, image_id, right, labelled):
  """Writes which joints of which person are right, whole or not at all, without pickle.

  path: joints_<network>_<kind>.npz; image_id: (N,) integers; right, labelled: (N,K) bool.
  Raises ValueError if shapes disagree.
  """
  table = _joint_table(path, image_id, right, labelled)
  with open(f'{path}.part', 'wb') as f:
    np.savez_compressed(f, **table)
  os.replace(f'{path}.part', path)


def load_joint_table(path):
  """{'image_id': (N,), 'right': (N,K) bool, 'labelled': (N,K) bool} as written.

  Raises FileNotFoundError, or ValueError if it is no such table; never unpickles.
  """
  try:
    with np.load(path, allow_pickle=False) as f:
      return _joint_table(path, *(f[k] for k in ('image_id', 'right', 'labelled')))
  except FileNotFoundError:
    raise
  except Exception as error:  # what damaged archives raise is not documented
    raise ValueError(f"'{path}' is no table of joints: {error}") from None


class _Score:
  """Rows of the report: joints right and AP of any part of the people or the joints."""

  def __init__(self, all_people, right, poses, sigmas):
    self._people, self._right = all_people, right
    self._found = lambda labelled=None: subset_ap.candidates(
      all_people, poses['image_id'], poses['keypoints'], poses['scores'], sigmas, labelled)
    self._all = self._found()

  def people(self, members, extent=None):
    """Row of the people in `members` (N,) bool; extent: bounds of COCO's AP by size."""
    members = members & self._people.counted
    owner = self._all.owner
    if extent is None:
      counted = (owner < 0) | members[owner]
    else:
      counted = (self._all.extent >= extent[0]) & (self._all.extent <= extent[1])
    ap = subset_ap.average_precision(self._all, self._people, members, counted)
    return {'people': int(members.sum())} | self._shares(members[:, None]) | ap

  def joints(self, joints):
    """Row of the joints in (N,K) bool; for AP only they are labelled."""
    having = joints.any(1) & self._people.counted
    found, owner = self._found(joints), self._all.owner
    counted = (owner < 0) | having[owner]
    ap = subset_ap.average_precision(found, self._people, having, counted)
    return self._shares(joints) | ap

  def _shares(self, joints):
    joints = joints & self._people.labelled & self._people.counted[:, None]
    count, right = int(joints.sum()), int((joints & self._right).sum())
    return {'joints': count, 'right': right, 'share': _percent(right, count)}


_EXTENTS = {'small': (0, _SMALL), 'medium': (_SMALL, _LARGE), 'large': (_LARGE, 1e10)}


def _quarters(values, last):
  return _bins(np.digitize(values, (0, 0.25, 0.5), right=True), (*_QUARTERS, last))


def _bins(number, names):
  return {name: number == index for index, name in enumerate(names)}


def _percent(part, whole):
  return 100 * part / whole if whole else None


def _joint_table(path, image_id, right, labelled):
  table = {'image_id': np.asarray(image_id, np.int64), 'right': np.asarray(right, bool),
           'labelled': np.asarray(labelled, bool)}
  shapes = {k: v.shape for k, v in table.items()}
  if (table['right'].ndim != 2 or shapes['right'] != shapes['labelled']
      or shapes['image_id'] != shapes['right'][:1]):
    raise ValueError(f"'{path}': shapes disagree: {shapes}")
  return table
