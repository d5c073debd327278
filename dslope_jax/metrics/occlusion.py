"""What occlusion costs: joints right by circumstances, kinds of errors, collapse and swap."""
import numpy as np

from dslope_jax.metrics import people as people_lib
from dslope_jax.metrics import pose_errors
from dslope_jax.visibility import is_labelled

# Bounds of the three kinds of pictures in the CrowdPose paper; its evaluator cuts at 0.2 and 0.8.
CROWD_EDGES = (0.1, 0.8)
_QUARTERS = ('0', '(0,.25]', '(.25,.5]')
_SMALL, _LARGE = 32 ** 2, 96 ** 2  # square pixels, COCO


def report(people, predictions, right, skeleton, crowd_edges=CROWD_EDGES):
  """Everything this file knows about one output on one set of pictures; plain values for json.

  people: N `people.People`, crowds and people without labels included. predictions: (N,K,2 or
  more), row i for person i, pixels of the whole picture, NaN where there is none. right: (N,K)
  bool, such as from `pose_errors.right_joints`. skeleton: the K joints.
  Returns {'overall': row, 'by': {split: {bin: row}}, 'errors': {kind: {'joints', 'share'}},
  'rates': ...}, see `splits` and `rates`. A row is {'people', 'joints', 'right', 'share' (percent
  of the joints)}, share None where there is no joint. Rows of split 'joint' are of joints and have
  no 'people'; in every other split people and joints add up to the overall ones.
  Raises UserError if shapes disagree.
  """
  of_pairs = people_lib.pairs(people.image_id)
  kinds = pose_errors.classify(predictions, people, skeleton, of_pairs)
  kinds = np.where(people.counted[:, None], kinds, pose_errors.NOT_LABELLED)
  labelled = people.labelled & people.counted[:, None]
  everybody = np.ones(len(people), bool)

  def of_joints(joints):
    joints = joints & labelled
    count, correct = int(joints.sum()), int((joints & right).sum())
    return {'joints': count, 'right': correct, 'share': _percent(correct, count)}

  def of_people(members):
    return {'people': int((members & people.counted).sum())} | of_joints(members[:, None])

  groups = joint_groups(people.visibility, people.covered)
  by = {'joint': {name: of_joints(joints) for name, joints in groups.items()}}
  for split, bins in splits(people, of_pairs, crowd_edges).items():
    by[split] = {name: of_people(members) for name, members in bins.items()}
  counts = {name: int((kinds == number).sum()) for number, name in enumerate(pose_errors.KINDS)}
  return {'overall': of_people(everybody), 'by': by,
          'errors': {name: {'joints': count, 'share': _percent(count, sum(counts.values()))}
                     for name, count in counts.items()},
          'rates': rates(kinds, pose_errors.collapsed(predictions, people, skeleton, of_pairs))}


def joint_groups(visibility, covered):
  """Sorts the labelled joints into three groups without overlap.

  visibility: (N,K), 0 not labelled, 1 hidden, 2 visible, as annotated in the clean picture;
  covered: (N,K) bool, the joint lies under something pasted onto the picture.
  Returns {name: (N,K) bool}: 'visible' and 'hidden' as annotated and not covered, 'covered' of
  either kind. Every labelled joint is in exactly one.
  """
  return {'visible': (visibility == 2) & ~covered, 'hidden': (visibility == 1) & ~covered,
          'covered': is_labelled(visibility) & covered}


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
  return out | {'size': _bins(size, ('small', 'medium', 'large'))}


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


def _quarters(values, last):
  return _bins(np.digitize(values, (0, 0.25, 0.5), right=True), (*_QUARTERS, last))


def _bins(number, names):
  return {name: number == index for index, name in enumerate(names)}


def _percent(part, whole):
  return 100 * part / whole if whole else None
