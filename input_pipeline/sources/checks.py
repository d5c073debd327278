"""Checks of the entries of annotation files; every message names the entry and the mend."""
import contextlib
import contextvars
import os

import numpy as np

from input_pipeline.geometry import clip_box


def report(problems, path, skip_invalid):
  """Raises ValueError with the first of the problems, or says how many annotations are left out."""
  if problems and not skip_invalid:
    more = f' ({len(problems) - 1} more annotations are invalid)' if len(problems) > 1 else ''
    raise ValueError(f'{path}: {problems[0]}{more}; mend the file, or leave such annotations out '
                     'by the option skip_invalid (--config.data.loader.skip_invalid=True)')
  if problems:
    print(f'{path}: {len(problems)} invalid annotations left out; the first: {problems[0]}')


def index_pictures(truth, path):
  """{id: picture entry} of a file's content; raises ValueError for one that is not valid."""
  entries = truth['images']
  ids, names, width, height = ([entry.get(key) for entry in entries]
                               for key in ('id', 'file_name', 'width', 'height'))
  images = dict(zip(ids, entries, strict=True)) if set(map(type, ids)) == {int} else {}
  if len(images) == len(entries) and set(map(type, names)) == {str} and all(names) and (
      set(map(type, width + height)) == {int} and min(width + height) > 0):
    return images
  images = {}  # one by one, which tells what is wrong
  for image in entries:
    _check_image(image, images, path)
    images[image['id']] = image
  return images


def stated_sizes(images):
  """(N,2) stated width and height of picture entries, 0 where none is stated."""
  return np.array([[e.get(side, 0) for e in images] for side in ('width', 'height')], np.int32).T


def _check_image(image, before, path):
  number, name = image.get('id'), image.get('file_name')
  if not isinstance(number, int) or number in before:
    raise ValueError(f'{path}: picture id {number!r} is not a whole number or repeats; number the '
                     'pictures anew')
  if not isinstance(name, str) or not name:
    raise ValueError(f'{path}: picture {number} has the file_name {name!r}; give it the path of '
                     'the file below the picture folder')
  sides = [image.get(side) or 0 for side in ('width', 'height')]
  if not all(isinstance(side, int) and side >= 0 for side in sides) or (0 in sides and any(sides)):
    raise ValueError(f'{path}: picture {number} has the width and height {sides}, which are not '
                     "whole numbers; mend them or leave both away")


def check_entry(annotation, images, seen):
  """(what is wrong with its id or picture or None, the picture's entry); `seen` gains the id."""
  number = annotation.get('id')
  if not isinstance(number, int) or not 0 <= number < 2**63 or number in seen:
    return 'its id is not a whole number, is negative or repeats', None
  seen.add(number)
  image_id = annotation.get('image_id')
  image = images.get(image_id) if isinstance(image_id, int) else None
  if image is None:
    return f'image_id {image_id!r} matches no picture of the file', None
  return None, image


def is_box(box):
  return isinstance(box, list) and len(box) == 4 and all(
    isinstance(v, (int, float)) and abs(v) < 1e9 for v in box)


def check_box(annotation, image):
  """(what is wrong with the box or None, the box clipped to the picture)."""
  box = annotation.get('bbox')
  if not is_box(box):
    return f'bbox {box!r} is not four finite numbers x, y, width, height', None
  if box[2] <= 0 or box[3] <= 0:
    return f'bbox {box} has no area', None
  width, height = image.get('width', 0) or 10**9, image.get('height', 0) or 10**9
  clipped = clip_box(box, width, height)
  if clipped is None or clipped[2] * clipped[3] <= 0:
    return f'bbox {box} lies outside its picture of {width}x{height}', None
  return None, clipped


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
      raise ValueError(f"{path}: file_name '{name}' leads out of the picture folder; make it "
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


def edit_joints(truth, skeleton, edit):
  """Passes the (K,3) x, y, visibility of every annotation through `edit`, in place.

  What is not a list of 3K finite numbers is left for the checks to complain of.
  """
  for annotation in truth['annotations']:
    values = annotation.get('keypoints')
    if isinstance(values, list) and len(values) == 3 * skeleton.num_keypoints and all(
        isinstance(v, (int, float)) and abs(v) < 1e9 for v in values):
      joints = edit(np.array(values, np.float64).reshape(-1, 3))
      annotation['keypoints'] = joints.ravel().tolist()
