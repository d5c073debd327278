"""Annotated people as arrays, and how they crowd each other: pairs, overlap, crowd index, borders.

Work and memory grow with the pairs of people in one picture, never with pairs of the whole set.
"""
import dataclasses

import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.visibility import OUTSIDE, is_labelled

# CrowdPose has no person areas; its official evaluator takes this share of the box for them.
_AREA_OF_BOX = 0.53


@dataclasses.dataclass(frozen=True)
class People:
  """N annotated people with K joints; coordinates are pixels of the whole picture.

  image_id: (N,). keypoints: (N,K,2). visibility: (N,K), 0 not labelled, 1 hidden, 2 visible, 3
  outside of the picture, as annotated in the clean picture. areas: (N,) square pixels.
  boxes: (N,4) x, y, width, height. crowd: (N,) bool, a region that stands for a group.
  ignored: (N,) bool, neither found nor missed in COCO's sense: crowds and people without a labelled
  joint, if None.
  covered: (N,K) bool, the joint lies under something pasted onto the picture; nowhere if None.
  image_size: (N,2) width, height of the picture, None if unknown. crowd_index: (N,) of the
  picture, computed by `crowd_index` if None. annotation_id: (N,), the row numbers if None.

  Raises UserError where shapes disagree or a visibility is none of 0, 1, 2, 3.
  """
  image_id: np.ndarray
  keypoints: np.ndarray
  visibility: np.ndarray
  areas: np.ndarray
  boxes: np.ndarray
  crowd: np.ndarray | None = None
  ignored: np.ndarray | None = None
  covered: np.ndarray | None = None
  image_size: np.ndarray | None = None
  crowd_index: np.ndarray | None = None
  annotation_id: np.ndarray | None = None

  def __post_init__(self):
    n, k = np.shape(self.visibility)
    put = lambda field, value: object.__setattr__(self, field, value)
    put('visibility', np.asarray(self.visibility))
    put('keypoints', np.asarray(self.keypoints, np.float64)[..., :2])
    for field in ('image_id', 'annotation_id', 'image_size', 'crowd_index'):
      if getattr(self, field) is not None:
        put(field, np.asarray(getattr(self, field)))
    for field in ('areas', 'boxes'):
      put(field, np.asarray(getattr(self, field), np.float64))
    if self.annotation_id is None:
      put('annotation_id', np.arange(n))
    put('crowd', _flags(self.crowd, np.zeros(n, bool)))
    put('covered', _flags(self.covered, np.zeros((n, k), bool)))
    put('ignored', _flags(self.ignored, self.crowd | ~self.labelled.any(1)))
    shapes = {'image_id': (n,), 'keypoints': (n, k, 2), 'areas': (n,), 'boxes': (n, 4),
              'crowd': (n,), 'ignored': (n,), 'covered': (n, k), 'image_size': (n, 2),
              'crowd_index': (n,), 'annotation_id': (n,)}
    for field, shape in shapes.items():
      value = getattr(self, field)
      if value is not None and value.shape != shape:
        raise UserError(f'visibility has shape {(n, k)}, but {field} {value.shape}')
    if not np.isin(self.visibility, (0, 1, 2, 3)).all():
      raise UserError('a visibility is none of 0, 1, 2, 3')

  def __len__(self):
    return len(self.areas)

  @property
  def labelled(self):
    """(N,K) bool: the joint has a place in the picture."""
    return is_labelled(self.visibility)

  @property
  def counted(self):
    """(N,) bool: the people that tables count; the others can only excuse a pose."""
    return ~self.ignored & self.labelled.any(1)

  def rows(self, annotation_ids):
    """(M,) rows of the annotations with these ids; raises UserError if one is unknown."""
    order = np.argsort(self.annotation_id, kind='stable')
    wanted = np.asarray(annotation_ids)
    places = np.searchsorted(self.annotation_id, wanted, sorter=order)
    rows = order[np.minimum(places, len(order) - 1)] if len(order) else np.zeros(0, np.int64)
    unknown = self.annotation_id[rows] != wanted if len(order) else np.ones(len(wanted), bool)
    if unknown.any():
      raise UserError(f'{unknown.sum()} annotation ids are unknown, such as {wanted[unknown][0]}')
    return rows


def from_coco(ground_truth, num_keypoints):
  """All annotations of a COCO dict as `People`, in the order of the file.

  Defaults of missing fields are those of `keypoint_ap.coco_ap`. A picture's `crowdIndex`, as in
  CrowdPose's files, becomes crowd_index, its width and height image_size; each only if all
  pictures have it. `covered` is read where an annotation has it, as in exported benchmarks.
  Raises UserError if an annotation has another number of joints or no box.
  """
  people, none = ground_truth['annotations'], [0] * num_keypoints
  for person in people:
    if len(person.get('keypoints', ())) != 3 * num_keypoints or len(person.get('bbox', ())) != 4:
      raise UserError(f'annotation {person.get("id")} has no box or not {num_keypoints} joints')
    if len(person.get('covered', none)) != num_keypoints:
      raise UserError(f'annotation {person.get("id")} has not {num_keypoints} flags as covered')
  column = lambda key, default: np.array([p.get(key, default) for p in people])
  joints = np.array([p['keypoints'] for p in people], np.float64).reshape(-1, num_keypoints, 3)
  boxes = np.array([p['bbox'] for p in people], np.float64).reshape(-1, 4)
  areas = np.array([p.get('area', np.nan) for p in people], np.float64)
  labels = np.array([p.get('num_keypoints', -1) for p in people], np.int64)
  crowd = column('iscrowd', 0).astype(bool)
  # Programs differ in whether their count has joints outside of the picture; 0 excuses a person.
  anew = (labels < 0) | (joints[..., 2] == OUTSIDE).any(1) & (labels > 0)
  labels = np.where(anew, is_labelled(joints[..., 2]).sum(1), labels)
  pictures = {entry['id']: entry for entry in ground_truth['images']}
  of_people = [pictures[p['image_id']] for p in people]
  index = [p.get('crowdIndex') for p in of_people]
  sizes = [(p.get('width'), p.get('height')) for p in of_people]
  covered = np.array([p.get('covered', none) for p in people], bool).reshape(-1, num_keypoints)
  return People(
    image_id=column('image_id', None), keypoints=joints, visibility=joints[..., 2].astype(np.uint8),
    areas=np.where(np.isnan(areas), _AREA_OF_BOX * boxes[:, 2] * boxes[:, 3], areas), boxes=boxes,
    crowd=crowd, ignored=crowd | (labels == 0), covered=covered, annotation_id=column('id', -1),
    image_size=None if any(None in s for s in sizes) else np.array(sizes, float).reshape(-1, 2),
    crowd_index=None if None in index else np.array(index, np.float64))


def pairs(image_id):
  """Every row with every other row of the same picture.

  image_id: (N,). Returns i, j: (P,) int64 rows; all pairs of one i are side by side, their j
  ascending.
  """
  image_id = np.asarray(image_id)
  order = np.argsort(image_id, kind='stable')
  first = np.searchsorted(image_id, image_id, 'left', sorter=order)
  count = np.searchsorted(image_id, image_id, 'right', sorter=order) - first
  i = np.repeat(np.arange(len(image_id)), count)
  within = np.arange(len(i)) - np.repeat(np.cumsum(count) - count, count)
  j = order[np.repeat(first, count) + within] if len(i) else i
  return i[i != j], j[i != j]


def largest(rows, values, out):
  """Raises out[rows] to `values` where these are larger, in place; equal rows lie side by side."""
  if len(rows):
    starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
    own = rows[starts]
    out[own] = np.maximum(out[own], np.maximum.reduceat(values, starts, axis=0))


def box_iou(boxes, others):
  """(P,) intersection over union of row p of boxes with row p of others; 0 for two empty boxes.

  boxes, others: (P,4) x, y, width, height in pixels of one picture.
  """
  low = np.maximum(boxes[:, :2], others[:, :2])
  high = np.minimum(boxes[:, :2] + boxes[:, 2:], others[:, :2] + others[:, 2:])
  inside = np.maximum(high - low, 0).prod(1)
  union = boxes[:, 2:].prod(1) + others[:, 2:].prod(1) - inside
  return np.divide(inside, union, out=np.zeros(len(inside)), where=union > 0)


def crowd_index(people, of_pairs=None):
  """(N,) crowd index of each person's picture, 0 where one person stands alone.

  The mean over a picture's people of the joints of others inside the box divided by the own joints
  inside it. People without an own joint inside their box are left out of the mean, crowd regions
  altogether. It can exceed 1. of_pairs: `pairs(people.image_id)` where at hand.
  Formula: Crowd Index of CrowdPose (Li et al., CVPR 2019).
  """
  i, j = pairs(people.image_id) if of_pairs is None else of_pairs
  usable = ~people.crowd
  i, j = (rows[usable[i] & usable[j]] for rows in (i, j))
  everyone = np.arange(len(people))
  own = _joints_inside(people, everyone, everyone)
  foreign = np.bincount(i, _joints_inside(people, i, j), len(people))
  usable = usable & (own > 0)
  _, picture = np.unique(people.image_id, return_inverse=True)
  ratio = np.where(usable, foreign / np.maximum(own, 1), 0)
  count = np.bincount(picture, usable)
  return (np.bincount(picture, ratio) / np.maximum(count, 1))[picture]


def touches_border(boxes, image_size, margin=1):
  """(N,) bool: the box comes within `margin` pixels of the picture's border.

  boxes: (N,4) x, y, width, height; image_size: (N,2) width, height; pixels.
  """
  return ((boxes[:, :2] <= margin) | (boxes[:, :2] + boxes[:, 2:] >= image_size - margin)).any(1)


def _flags(value, default):
  return default if value is None else np.asarray(value, bool)


def _joints_inside(people, boxes_of, joints_of, block=1 << 16):
  """(P,) how many labelled joints of people joints_of[p] lie in the box of person boxes_of[p]."""
  counts = np.zeros(len(boxes_of), np.int64)
  for start in range(0, len(counts), block):
    part = slice(start, start + block)
    box, rows = people.boxes[boxes_of[part], None], joints_of[part]
    offset = people.keypoints[rows] - box[..., :2]
    inside = ((offset >= 0) & (offset <= box[..., 2:])).all(-1)
    counts[part] = (inside & people.labelled[rows]).sum(1)
  return counts
