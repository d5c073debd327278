"""Checks of the pictures and annotations of a file; every message names the entry and the mend."""
import contextlib
import contextvars
import os
import struct
from typing import NamedTuple

import numpy as np

from dslope_jax.errors import UserError
from input_pipeline.geometry import clip_box

_LIMIT = 1e9  # of coordinates, pixels


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

  Second, the annotations of the category that a metric must know of: the valid ones, without fields
  that are null, and with the keypoints that crowds and unlabelled people may lack.
  """
  pictures = index_pictures(truth, path)
  annotations = [a if None not in a.values() else {k: v for k, v in a.items() if v is not None}
                 for a in truth['annotations'] if a.get('category_id') == category['id']]
  rows, joints, findings = _joints(annotations, skeleton.num_keypoints)
  crowd = np.array([bool(annotations[row].get('iscrowd')) for row in rows.tolist()], bool)
  labelled = (joints[..., 2] > 0).any(1) & ~crowd
  rows, joints = rows[labelled], joints[labelled]
  people, scored = examples(annotations, pictures, rows, joints,
                            _wrong_areas(annotations, rows) | findings, path, skip_invalid)
  if not people.annotations:
    raise UserError(f'{path}: no annotation of category {category["id"]} has a labelled keypoint '
                     'and a picture in this file; check category_id and image_id')
  blank = {'keypoints': [0] * (3 * skeleton.num_keypoints)}
  return people, [a if a.get('keypoints') else a | blank for a in scored]


def examples(annotations, pictures, rows, keypoints, findings, path, skip_invalid):
  """`People` of the valid ones of these rows (M,) of annotations, and all annotations that are
  valid and have a box.

  keypoints: (M,K,3). findings: {row: what is wrong} so far. Raises UserError with the first
  finding, or prints how many annotations are left out.
  """
  entries = [pictures.get(i) if isinstance(i, int) else None
             for i in (a.get('image_id') for a in annotations)]
  size = stated_sizes([entry or {} for entry in entries])
  table = numbers([a.get('bbox') for a in annotations], 4)
  box, inside = clip_box(table.T, *np.where(size > 0, size, 10**9).T)
  finite = _is_finite(table)
  findings = (_wrong_boxes(annotations, rows, finite, inside, size) | findings
              | _wrong_entries(annotations, entries))  # the last one of a row counts
  if findings:
    _report(annotations, findings, path, skip_invalid)
  valid = ~np.isin(rows, list(findings))
  rows = rows[valid].tolist()
  people = People([annotations[row] for row in rows], [entries[row] for row in rows], size[rows],
                  box[rows], keypoints[valid])
  return people, [annotations[row] for row in np.flatnonzero(finite).tolist()
                  if row not in findings]


def _report(annotations, findings, path, skip_invalid):
  row, more = min(findings), ''
  first = f"annotation {annotations[row].get('id')!r}: {findings[row]}"
  if skip_invalid:
    print(f'{path}: {len(findings)} invalid annotations left out; the first: {first}')
    return
  if len(findings) > 1:
    more = f' ({len(findings) - 1} more annotations are invalid)'
  raise UserError(f'{path}: {first}{more}; mend the file, or leave such annotations out by the '
                   'option skip_invalid (--config.data.loader.skip_invalid=True)')


def _wrong_entries(annotations, entries):
  """{row: what is wrong with the id of an annotation, or its picture's}."""
  findings, ids = {}, set()
  for row, (annotation, entry) in enumerate(zip(annotations, entries, strict=True)):
    number = annotation.get('id')
    if not isinstance(number, int) or not 0 <= number < 2**63 or number in ids:
      findings[row] = 'its id is not a whole number, is negative or repeats'
    elif entry is None:
      findings[row] = f"image_id {annotation.get('image_id')!r} matches no picture of the file"
    ids.add(number if isinstance(number, int) else None)
  return findings


def _wrong_boxes(annotations, rows, finite, inside, size):
  """{row: what is wrong with the box of an example}."""
  findings = {}
  for row in rows[~(finite & inside)[rows]].tolist():
    box = annotations[row].get('bbox')
    if not finite[row]:
      findings[row] = f'bbox {box!r} is not four finite numbers x, y, width, height'
    elif min(box[2:]) <= 0:
      findings[row] = f'bbox {box} has no area'
    else:
      findings[row] = f'bbox {box} lies outside its picture of {size[row, 0]}x{size[row, 1]}'
  return findings


def _wrong_areas(annotations, rows):
  """{row: what is wrong with the area}: where it is stated it must be above 0, as for HRNet."""
  areas = [annotations[row].get('area') for row in rows.tolist()]
  return {row: f'its area {area!r} is not a finite number above 0; leave it away if it is unknown'
          for row, area in zip(rows.tolist(), areas, strict=True)
          if area is not None and not (isinstance(area, (int, float)) and 0 < area < np.inf)}


def _joints(annotations, count):
  """Rows (M,) of the annotations with any keypoint, their (M,K,3) x, y, visibility, and {row: what
  is wrong with them}."""
  blank, given = [0] * (3 * count), [a.get('keypoints') for a in annotations]
  rows = [row for row, values in enumerate(given) if values and values != blank]
  table = numbers([given[row] for row in rows], 3 * count)
  joints = table.reshape(len(rows), count, 3)
  codes = joints[..., 2]
  valid = _is_finite(table) & ((codes == 0) | (codes == 1) | (codes == 2)).all(1)
  findings = {rows[i]: _wrong_keypoints(given[rows[i]], 3 * count)
              for i in np.flatnonzero(~valid).tolist()}
  return np.array(rows, np.int64), joints, findings


def _wrong_keypoints(values, length):
  """What is wrong with keypoints of which something is."""
  if not isinstance(values, list) or not all(isinstance(v, (int, float)) for v in values):
    return 'its keypoints are not a list of numbers'
  if len(values) != length:
    return (f'has {len(values)} keypoint numbers, {length // 3} joints need {length} (x, y, v '
            'each)')
  code = next((v for v in values[2::3] if v not in (0, 1, 2)), None)
  return ('a keypoint is not a finite number' if code is None else
          f'visibility {code!r} is not 0 (not labelled), 1 (hidden) or 2 (visible)')


def numbers(lists, length):
  """(N,length) float64 of N lists of `length` numbers; NaN in the rows of anything else."""
  pack = struct.Struct(f'{length}d').pack
  nothing = pack(*[np.nan] * length)

  def packed(values):
    try:
      return pack(*values)
    except (OverflowError, struct.error, TypeError):  # too large, another length, no numbers
      return nothing
  return np.frombuffer(b''.join(map(packed, lists))).reshape(-1, length)


def _is_finite(numbers):
  """(N,) bool: rows whose numbers are all finite, and coordinates of a picture."""
  return (np.abs(numbers) < _LIMIT).all(1)


def index_pictures(truth, path):
  """{id: picture entry} of a file's content; raises UserError for one that is not valid."""
  pictures = {}
  for picture in truth['images']:
    number, name = picture.get('id'), picture.get('file_name')
    if not isinstance(number, int) or number in pictures:
      raise UserError(f'{path}: picture id {number!r} is not a whole number or repeats; number '
                       'the pictures anew')
    if not isinstance(name, str) or not name:
      raise UserError(f'{path}: picture {number} has the file_name {name!r}; give it the path of '
                       'the file below the picture folder')
    sides = [picture.get(side) or 0 for side in ('width', 'height')]
    if not all(isinstance(s, int) and s >= 0 for s in sides) or (0 in sides and any(sides)):
      raise UserError(f'{path}: picture {number} has the width and height {sides}, which are not '
                       'whole numbers; mend them or leave both away')
    pictures[number] = picture
  return pictures


def stated_sizes(pictures):
  """(N,2) stated width and height of picture entries, 0 where none is stated."""
  return np.array([(p.get('width') or 0, p.get('height') or 0) for p in pictures],
                  np.int32).reshape(-1, 2)


_pictures_needed = contextvars.ContextVar('pictures_needed', default=True)


@contextlib.contextmanager
def without_pictures():
  """Within it, sets load whose pictures are not there: to score a result file takes none."""
  token = _pictures_needed.set(False)
  try:
    yield
  finally:
    _pictures_needed.reset(token)


def folder_is_there(folder):
  """Whether a folder of pictures is there, or none is needed."""
  return os.path.isdir(folder) or not _pictures_needed.get()


def check_pictures(images, folder, path, how_to_get):
  """Every picture that is needed exists, below the folder; one listing instead of a stat each."""
  if not _pictures_needed.get():
    return
  present, missing = {}, []
  names = {image['file_name'] for image in images}
  for name in sorted(names.difference(os.listdir(folder))):
    if os.path.isabs(name) or '..' in name.replace('\\', '/').split('/'):
      raise UserError(f"{path}: file_name '{name}' leads out of the picture folder; make it "
                       'relative to the folder')
    below, base = os.path.split(name)
    if below not in present:
      parent = os.path.join(folder, below)
      present[below] = set(os.listdir(parent)) if os.path.isdir(parent) else set()
    if base not in present[below]:
      missing.append(name)
  if missing:
    raise FileNotFoundError(f"{len(missing)} pictures of {path} are not in '{folder}', the first "
                            f"is '{missing[0]}'. {how_to_get}")
