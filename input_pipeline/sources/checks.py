"""Checks of the pictures and annotations of a file; every message names the entry and the mend."""
import contextlib
import contextvars
import os
import struct
from typing import NamedTuple

import numpy as np

from dslope_jax.errors import UserError, counted, quoted
from dslope_jax.files import leads_out
from dslope_jax.plausibility import Finding, ImplausibleError
from dslope_jax.visibility import is_labelled
from input_pipeline.geometry import clip_box

_LIMIT = 1e9  # of coordinates, pixels
_CODES = 0, 1, 2, 3  # of visibility


class People(NamedTuple):
  """N valid annotations: their entries and those of their pictures, (N,2) stated width and height
  of these, (N,4) boxes clipped to them, (N,K,3) x, y, visibility."""
  annotations: list
  images: list
  size: np.ndarray
  box: np.ndarray
  keypoints: np.ndarray


def labelled_people(truth, categories, skeleton, path, skip_invalid):
  """Every person with a labelled joint, checked; crowds and unlabelled people are no examples.

  categories: of the people; they count as the first of them. Second, the annotations that a metric
  must know of: the valid ones, without fields that are null, and with the keypoints that crowds and
  unlabelled people may lack.
  """
  pictures, ids = index_pictures(truth, path), {c['id'] for c in categories}
  annotations = [a if None not in a.values() else {k: v for k, v in a.items() if v is not None}
                 for a in truth['annotations'] if has_category(a, ids)]
  if len(ids) > 1:
    annotations = [a | {'category_id': categories[0]['id']} for a in annotations]
  rows, joints, faults = joints_of(annotations, skeleton.num_keypoints)
  crowd = np.array([bool(annotations[row].get('iscrowd')) for row in rows.tolist()], bool)
  labelled = is_labelled(joints[..., 2]).any(1) & ~crowd
  rows, joints = rows[labelled], joints[labelled]
  people, scored = examples(
    annotations, pictures, rows, joints,
    _wrong_fields(annotations, rows, skeleton.num_keypoints) | faults, path, skip_invalid)
  if not people.annotations:
    raise UserError(f'{path}: no annotation of category {categories[0]["id"]} has a labelled '
                    'keypoint (v = 1 or 2) and a picture in this file; check category_id and '
                    'image_id')
  blank = {'keypoints': [0] * (3 * skeleton.num_keypoints)}
  return people, [a if a.get('keypoints') else a | blank for a in scored]


def has_category(annotation, ids):
  """Whether an annotation is of one of these categories."""
  number = annotation.get('category_id')
  return isinstance(number, int) and number in ids


def examples(annotations, pictures, rows, keypoints, faults, path, skip_invalid):
  """`People` of the valid ones of these rows (M,) of annotations, and all annotations that are
  valid and have a box.

  keypoints: (M,K,3). faults: {row: (field, what is wrong)} so far. Raises UserError with the first
  one, or prints how many annotations are left out.
  """
  entries = [pictures.get(i) if isinstance(i, int) else None
             for i in (a.get('image_id') for a in annotations)]
  size = stated_sizes([entry or {} for entry in entries])
  table = numbers([a.get('bbox') for a in annotations], 4)
  box, inside = clip_box(table.T, *np.where(size > 0, size, 10**9).T)
  finite = _is_finite(table)
  faults = (_wrong_boxes(annotations, rows, finite, inside, size) | faults
            | _wrong_entries(annotations, entries))  # the last one of a row counts
  if faults:
    _report(annotations, faults, path, skip_invalid)
  valid = ~np.isin(rows, list(faults))
  rows = rows[valid].tolist()
  people = People([annotations[row] for row in rows], [entries[row] for row in rows], size[rows],
                  box[rows], keypoints[valid])
  return people, [annotations[row] for row in np.flatnonzero(finite).tolist()
                  if row not in faults]


def _report(annotations, faults, path, skip_invalid):
  """One finding a field; the message has the first annotation and how many more there are."""
  row, ids = min(faults), [a.get('id') for a in annotations]
  first = f'annotation {quoted(ids[row])}: {faults[row][1]}'
  if skip_invalid:
    print(f'{path}: {len(faults)} invalid annotations left out; the first: {first}')
    return
  rows_of = {}
  for at in sorted(faults):
    rows_of.setdefault(faults[at][0], []).append(at)
  found = [Finding(field, 'error', faults[rows[0]][1], len(rows), tuple(ids[r] for r in rows[:3]),
                   'mend the file') for field, rows in rows_of.items()]
  more = ''
  if len(faults) > 1:
    counts = ', '.join(f'{f.count - (f.kind == faults[row][0])} by {f.kind}' for f in found)
    more = f' ({len(faults) - 1} more annotations are invalid: {counts})'
  raise ImplausibleError(
    f'{path}: {first}{more}; mend the file, or leave such annotations out by the option '
    'skip_invalid (--config.data.loader.skip_invalid=True)', found)


def _wrong_entries(annotations, entries):
  """{row: what is wrong with the id of an annotation, or its picture's}."""
  faults, ids = {}, set()
  for row, (annotation, entry) in enumerate(zip(annotations, entries, strict=True)):
    number = annotation.get('id')
    if not isinstance(number, int) or not 0 <= number < 2**63 or number in ids:
      faults[row] = 'id', 'its id is not a whole number, is negative or repeats'
    elif entry is None:
      shown = quoted(annotation.get('image_id'))
      faults[row] = 'image_id', f'image_id {shown} matches no picture of the file'
    ids.add(number if isinstance(number, int) else None)
  return faults


def _wrong_boxes(annotations, rows, finite, inside, size):
  """{row: what is wrong with the box of an example}."""
  faults = {}
  for row in rows[~(finite & inside)[rows]].tolist():
    box = annotations[row].get('bbox')
    if not finite[row]:
      text = f'bbox {quoted(box)} is not four finite numbers x, y, width, height'
    elif min(box[2:]) <= 0:
      text = f'bbox {box} has no area'
    else:
      text = f'bbox {box} lies outside its picture of {size[row, 0]}x{size[row, 1]}'
    faults[row] = 'bbox', text
  return faults


_AREA = 'is not a finite number above 0; leave it out if it is unknown'
_FIELDS = {  # what a metric reads of every annotation: (is it valid, what is wrong)
  'area': (lambda v: _is_number(v) and 0 <= v < _LIMIT ** 2, _AREA),
  'iscrowd': (lambda v: _is_number(v) and v in (0, 1), 'is neither 0 nor 1'),
  'num_keypoints': (lambda v: _is_number(v) and 0 <= v < 1e6 and v == int(v),
                    'is not a whole number of joints; leave it out, it is counted')}


def _wrong_fields(annotations, examples, count):
  """{row: what is wrong with a field besides box and joints}; the area of an example must be above
  0, as for HRNet."""
  faults = {}
  for field, (is_valid, text) in _FIELDS.items():
    faults |= {row: (field, f'its {field} {quoted(a[field])} {text}')
               for row, a in enumerate(annotations) if field in a and not is_valid(a[field])}
  faults |= {row: ('area', f"its area {quoted(annotations[row]['area'])} {_AREA}")
             for row in examples.tolist() if annotations[row].get('area') == 0}
  return faults | {
    row: ('covered', f'covered {quoted(a["covered"])} is not a list of {count} times 0 or 1')
    for row, a in enumerate(annotations) if 'covered' in a and not (
      isinstance(a['covered'], list) and len(a['covered']) == count
      and all(_is_number(v) and v in (0, 1) for v in a['covered']))}


def _is_number(value):
  return isinstance(value, (int, float))


def joints_of(annotations, count):
  """Rows (M,) of the annotations with any keypoint, their (M,K,3) x, y, visibility, and {row: what
  is wrong with them}."""
  blank, given = [0] * (3 * count), [a.get('keypoints') for a in annotations]
  rows = [row for row, values in enumerate(given) if values and values != blank]
  table = numbers([given[row] for row in rows], 3 * count)
  joints = table.reshape(len(rows), count, 3)
  valid = _is_finite(table) & np.isin(joints[..., 2], _CODES).all(1)
  faults = {rows[i]: _wrong_keypoints(given[rows[i]], 3 * count)
            for i in np.flatnonzero(~valid).tolist()}
  return np.array(rows, np.int64), joints, faults


def _wrong_keypoints(values, length):
  """What is wrong with keypoints of which something is."""
  if not isinstance(values, list) or not all(map(_is_number, values)):
    return 'keypoints', 'its keypoints are not a list of numbers'
  if len(values) != length:
    return 'keypoints', (f'has {len(values)} keypoint numbers, {length // 3} joints need {length} '
                         '(x, y, v each)')
  code = next((v for v in values[2::3] if v not in _CODES), None)
  if code is None:
    return 'keypoints', 'a keypoint is not a finite number'
  return 'visibility', (f'visibility {quoted(code)} is not 0 (not labelled), 1 (hidden), 2 '
                        '(visible) or 3 (outside of the picture)')


def numbers(lists, length):
  """(N,length) float64 of N lists of `length` numbers; NaN in the rows of anything else."""
  pack = struct.Struct(f'{length}d').pack
  nothing = pack(*[np.nan] * length)

  def packed(values):
    try:
      return nothing if bool in map(type, values) else pack(*values)
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
    if not isinstance(number, int) or abs(number) >= 2**63 or number in pictures:
      raise UserError(f'{path}: picture id {quoted(number)} is not a whole number or repeats; '
                      'number the pictures anew')
    if not isinstance(name, str) or not name:
      raise UserError(f'{path}: picture {number} has the file_name {quoted(name)}; give it the '
                      'path of the file below the picture folder')
    sides = [picture.get(side) or 0 for side in ('width', 'height')]
    if not all(isinstance(s, int) and 0 <= s < _LIMIT for s in sides) or any(sides) != all(sides):
      raise UserError(f'{path}: picture {number} has the width and height {quoted(sides)}, which '
                      'are not whole numbers; mend them or leave both out')
    crowding = picture.get('crowdIndex', 0)
    if crowding is not None and not (_is_number(crowding) and 0 <= crowding < _LIMIT):
      raise UserError(f'{path}: picture {number} has the crowdIndex {quoted(crowding)}, not a '
                      'number; leave it out, it is computed')
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
  if not os.path.isdir(folder):
    raise FileNotFoundError(f"no folder '{folder}' of the pictures of {path}. {how_to_get}")
  present, missing = {}, []
  names = {image['file_name'] for image in images}
  for name in sorted(names.difference(os.listdir(folder))):
    if leads_out(name):
      raise UserError(f'{path}: file_name {quoted(name)} leads out of the picture folder; make it '
                      'relative to the folder')
    below, base = os.path.split(name)
    if below not in present:
      parent = os.path.join(folder, below)
      present[below] = set(os.listdir(parent)) if os.path.isdir(parent) else set()
    if base not in present[below]:
      missing.append(name)
  if missing:
    raise FileNotFoundError(f"{counted(len(missing), 'picture')} of {path} cannot be found in "
                            f"'{folder}', the first is {quoted(missing[0])}. {how_to_get}")
