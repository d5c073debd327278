"""Faces in COCO's form whose annotations have an `identity`, and a `video` where frames of one are
among them."""
import functools
import os
from typing import Any, TypedDict

import numpy as np

from dslope_jax import plausibility
from dslope_jax.errors import UserError, counted, quoted
from dslope_jax.visibility import is_labelled
from input_pipeline.identities import identity_set
from input_pipeline.identities.identity_set import NO_VIDEO, Identities
from input_pipeline.sources import categories, checks, coco

_MEND = 'Check config.data.root, and annotations and images of config.data.loader'


class _Annotation(TypedDict, total=False):
  id: Any
  image_id: Any
  category_id: Any
  bbox: Any
  iscrowd: Any
  keypoints: Any
  identity: Any
  video: Any


class _File(TypedDict, total=False):
  images: Any
  annotations: list[_Annotation]
  categories: Any


def load(split, *, root, annotations='{split}.json', images='', category='', skeleton='',
         skip_invalid=False, held_out=0, seed=0) -> Identities:
  """The faces of one split: with landmarks where the category lists keypoints, else with boxes.

  root, annotations, images, category, skeleton, skip_invalid: as for `sources.coco.load`, such as
  skeleton=300w for 68 points. Five keypoints are those of `face_alignment.TEMPLATE`, in its order.
  identity: a whole number or a name; faces without one are left out, and told. video: likewise; a
  face without one is of none. A face without bbox has that around its labelled keypoints.
  held_out: so many identities, drawn by seed, are 'val', the others 'train', of one file; 0: all.

  Raises FileNotFoundError or UserError, one line naming the file, the annotation and the mend.
  """
  path, folder = coco.find_set(root, (annotations,), images, split, _MEND)
  truth = coco.read_json(path, coco.COCO_LISTS, _File)
  listed, known, notes = _category(truth, path, category, skeleton)
  faces = [a for a in truth['annotations'] if checks.has_category(a, {c['id'] for c in listed})
           and not a.get('iscrowd')]
  named = [_plain(a) for a in faces if a.get('identity') is not None]
  if not named:
    raise UserError(f"{path}: no annotation has an 'identity', a whole number or a name that says "
                    'whose face it is; add it')
  if len(named) < len(faces):
    notes.append(f'{len(faces) - len(named)} faces without identity are left out')
  alone = sum('video' not in a for a in named)
  if 0 < alone < len(named):
    notes.append(f'{counted(alone, "face")} without video, where others have one, may be in pairs '
                 'with any other')
  people = _checked(truth, named, listed[0], path, skip_invalid)
  checks.check_pictures(people.images, folder, path, _MEND)
  names, identity = _numbered(people.annotations, path)
  files = np.array([image['file_name'] for image in people.images])
  return identity_set.divided(Identities(
    os.path.splitext(os.path.basename(path))[0], split, names, identity, files,
    np.array([a['id'] for a in people.annotations], np.int64),
    functools.partial(coco.read_row, _Below(folder, files), people.size),
    _videos(people.annotations), people.box.astype(np.float32),
    *((people.keypoints[..., :2].astype(np.float32), people.keypoints[..., 2].astype(np.uint8),
       known) if people.keypoints.shape[1] else ()), folder=folder,
    notes=(*notes, *_implausible(people, path))), held_out, seed)


class _Below:
  """Paths of files below a folder."""

  def __init__(self, folder, files):
    self.folder, self.files = folder, files

  def __getitem__(self, row):
    return os.path.join(self.folder, str(self.files[row]))


def _category(truth, path, chosen, skeleton):
  """(categories of the faces, their skeleton, notes); None for the skeleton of five points and of
  none."""
  if not any(c.get('keypoints') for c in truth['categories']):
    listed = [c for c in truth['categories'] if isinstance(c.get('id'), int)
              and (not chosen or str(chosen) in (str(c['id']), c.get('name')))]
    if not listed:
      raise UserError(f"{path}: no category {quoted(chosen)} with an id; check 'categories'")
    return listed, None, []
  listed, said = categories.choose(truth, path, chosen=chosen)
  if skeleton:
    listed = [categories.as_known(c, skeleton, path) for c in listed]
  known = categories.skeleton_of(listed[0], path)
  notes = [plausibility.line(found) for found in said]
  return listed, None if known.num_keypoints == 5 else known, notes


def _plain(annotation):
  """The annotation without fields that are null, and with a box around its keypoints if it has
  none."""
  annotation = {k: v for k, v in annotation.items() if v is not None}
  given = annotation.get('keypoints')
  if 'bbox' not in annotation and isinstance(given, list) and given:
    # What is no list of x, y, visibility becomes NaN here, and is told by `_checked`.
    points = checks.numbers([given], len(given) // 3 * 3 or 3).reshape(-1, 3)
    points = points[is_labelled(points[:, 2]), :2]
    if len(points):
      annotation['bbox'] = [*points.min(0).tolist(), *np.ptp(points, axis=0).tolist()]
  return annotation


def _checked(truth, annotations, category, path, skip_invalid):
  """The `checks.People` of the annotations that are valid; others are refused, or counted."""
  count = len(category.get('keypoints') or ())
  keypoints, faults = np.zeros((len(annotations), count, 3)), {}
  if count:
    rows, joints, faults = checks.joints_of(annotations, count)
    keypoints[rows] = joints
  for row, annotation in enumerate(annotations):
    for field in ('identity', 'video'):
      value = annotation.get(field, '')
      if isinstance(value, bool) or not isinstance(value, (int, str)) or (
          value == '' and field in annotation):
        faults[row] = field, f'its {field} {quoted(value)} is neither a whole number nor a name'
  people, _ = checks.examples(annotations, checks.index_pictures(truth, path),
                              np.arange(len(annotations)), keypoints, faults, path, skip_invalid)
  if not people.annotations:
    raise UserError(f'{path}: no face with an identity is valid; mend the file')
  return people


def _implausible(people, path):
  """Lines of what looks wrong with boxes and landmarks; UserError for what surely is."""
  table = plausibility.Table(
    np.array([a['id'] for a in people.annotations]), people.size,
    checks.numbers([a['bbox'] for a in people.annotations], 4), people.keypoints[..., :2],
    is_labelled(people.keypoints[..., 2]))
  found = plausibility.check(table)
  plausibility.refuse(found, path)
  return map(plausibility.line, found)


def _numbered(annotations, path):
  """(names, (N,) numbers) of the identities; the name of a number is its text."""
  given = {a['identity'] for a in annotations}
  twice = next((v for v in given if isinstance(v, int) and str(v) in given), None)
  if twice is not None:
    raise UserError(f"{path}: two identities have the name '{twice}', one a number and one a text; "
                    'name them apart')
  order = sorted(given, key=lambda value: (isinstance(value, str), value))
  numbers = {value: number for number, value in enumerate(order)}
  return tuple(map(str, order)), np.array([numbers[a['identity']] for a in annotations], np.int32)


def _videos(annotations):
  numbers = {}
  for annotation in annotations:
    if 'video' in annotation:
      numbers.setdefault(annotation['video'], len(numbers))
  return np.array([numbers[a['video']] if 'video' in a else NO_VIDEO for a in annotations],
                  np.int64)
