"""The labelled people of a COCO file: checked all at once, one by one where that fails."""
import struct
from itertools import starmap
from typing import NamedTuple

import numpy as np

from input_pipeline.sources.checks import (
  check_box,
  check_entry,
  index_pictures,
  is_box,
  report,
  stated_sizes,
)


class People(NamedTuple):
  """N valid annotations: their entries and those of their pictures, (N,2) stated width and height
  of these, (N,4) boxes clipped to them, (N,K,3) x, y, visibility."""
  annotations: list
  images: list
  size: np.ndarray
  box: np.ndarray
  keypoints: np.ndarray


def labelled_people(truth, category, skeleton, path, skip_invalid):
  """Every person with a labelled joint, checked; crowds and unlabelled people are no examples.

  Second, the annotations of the category that a metric must know of: the valid ones, where the
  fields that crowds and unlabelled people may lack are filled in.
  """
  images = index_pictures(truth, path)
  own = [a for a in truth['annotations'] if a.get('category_id') == category['id']]
  length = 3 * skeleton.num_keypoints
  people, scored = (_all_at_once(own, images, length)
                    or _one_by_one(own, images, length, path, skip_invalid))
  if not people.annotations:
    raise ValueError(f'{path}: no annotation of category {category["id"]} has a labelled keypoint '
                     'and a picture in this file; check category_id and image_id')
  empty = {'keypoints': [0] * length}
  return people, [a if a.get('keypoints') else a | empty for a in scored]


def _all_at_once(own, images, length):
  """What `_one_by_one` returns, in a tenth of its time; None if anything may be wrong."""
  ids, pictures, joints, boxes = ([a.get(key) for a in own]
                                  for key in ('id', 'image_id', 'keypoints', 'bbox'))
  if not (_types(ids + pictures) == {int} and min(ids) >= 0 and max(ids) < 2**63
          and len(set(ids)) == len(ids) and images.keys() >= set(pictures)):
    return None
  blank = [0] * length
  rows = [row for row, values in enumerate(joints) if values and values != blank]
  joints, boxes = _table([joints[row] for row in rows], length), _table(boxes, 4)
  if not rows or joints is None or boxes is None:
    return None
  joints = joints.reshape(len(rows), -1, 3)
  codes = joints[..., 2]
  crowd = np.array([bool(own[row].get('iscrowd')) for row in rows])
  chosen = np.flatnonzero(codes.any(1) & ~crowd)
  people = [own[rows[i]] for i in chosen.tolist()]
  boxes = boxes[np.array(rows)[chosen]]
  entries = [images[a['image_id']] for a in people]
  size = stated_sizes(entries)
  limit = np.where(size > 0, size, 10**9) - 1
  low = np.maximum(0, boxes[:, :2])  # as `top_down.clip_box`
  side = np.minimum(limit, low + np.maximum(0, boxes[:, 2:] - 1)) - low
  if ((codes == 0) | (codes == 1) | (codes == 2)).all() and (side > 0).all() and (
      boxes[:, 2:] > 0).all():
    return People(people, entries, size, np.concatenate([low, side], 1), joints[chosen]), own
  return None


def _types(values):
  return set(map(type, values))


def _table(rows, length):
  """(N,length) float64 of N lists of so many numbers below 1e9; None if they are anything else."""
  try:
    packed = b''.join(starmap(struct.Struct(f'{length}d').pack, rows))
  except (struct.error, TypeError):  # another length, or what is no number
    return None
  table = np.frombuffer(packed).reshape(-1, length)
  return table if (np.abs(table) < 1e9).all() else None


def _one_by_one(own, images, length, path, skip_invalid):
  """The people to learn from, and the annotations that a metric takes; reports what is wrong."""
  people, scored, problems, seen = [], [], [], set()
  for annotation in own:
    problem, person = _check(annotation, images, length, seen)
    if problem:
      problems.append(f"annotation {annotation.get('id')!r}: {problem}")
      continue
    if person:
      people.append(person)
    if person or is_box(annotation.get('bbox')):
      scored.append(annotation)
  report(problems, path, skip_invalid)
  return as_people(people), scored


def as_people(found):
  """`People` of (annotation, picture's entry, box, keypoints) of each."""
  annotations, images, box, keypoints = map(list, zip(*found, strict=True)) if found else [[]] * 4
  return People(annotations, images, stated_sizes(images), np.array(box), np.array(keypoints))


def _check(annotation, images, length, seen):
  """(what is wrong or None, what `as_people` takes or None if nothing is labelled)."""
  problem, image = check_entry(annotation, images, seen)
  if problem:
    return problem, None
  values = annotation.get('keypoints') or [0] * length
  if not isinstance(values, list) or not all(isinstance(v, (int, float)) for v in values):
    return 'its keypoints are not a list of numbers', None
  keypoints = np.array([float(v) if abs(v) < 1e9 else np.nan for v in values])
  if len(keypoints) != length:
    return (f'has {len(keypoints)} keypoint numbers, {length // 3} joints need '
            f'{length} (x, y, v each)'), None
  keypoints = keypoints.reshape(-1, 3)
  bad = [v for v in keypoints[:, 2].tolist() if v not in (0, 1, 2)]
  if bad:
    return f'visibility {bad[0]:g} is not 0 (not labelled), 1 (hidden) or 2 (visible)', None
  if not np.isfinite(keypoints).all():
    return 'a keypoint is not a finite number', None
  if annotation.get('iscrowd') or not keypoints[:, 2].any():
    return None, None
  problem, box = check_box(annotation, image)
  return problem, None if problem else (annotation, image, box, keypoints)
