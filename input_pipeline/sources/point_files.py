"""Landmarks of faces in a .pts file beside each picture, as 300W is published."""
import glob
import os
import re

import numpy as np

from dslope_jax.errors import UserError
from input_pipeline.sources import media
from input_pipeline.sources.pictures import read_file

_POINTS = re.compile(rb'\s*version:\s*1\s+n_points:\s*(\d+)\s*\{([^{}]*)\}\s*', re.IGNORECASE)


def read(path) -> np.ndarray:
  """(K,2) float64 points of one file, x and y in pixels counted from 0; the file counts from 1.

  Raises UserError, one line, for a file of another form.
  """
  found = _POINTS.fullmatch(read_file(path))
  try:
    if not found:
      raise ValueError('the beginning or the braces are not there')
    points = np.array(found[2].split(), np.float64).reshape(-1, 2)
    if len(points) != int(found[1]) or not np.isfinite(points).all():
      raise ValueError(f'{len(points)} points, n_points {int(found[1])}')
  except ValueError as error:
    raise UserError(f"'{path}' is not a .pts file (version: 1, n_points: K, and K lines x y of "
                    f'finite numbers between braces; {error}); get the file again') from None
  return points - 1


def coco_form(root, folders, skeleton) -> dict:
  """The faces of the folders below root as a COCO dict, a face a picture, by name.

  The box is the extent of the points. Raises UserError for a file without picture, with another
  number of points than the skeleton's, or with all of them on a line.
  """
  images, annotations = [], []
  for folder in folders:
    for path in sorted(glob.glob(os.path.join(glob.escape(os.path.join(root, folder)), '*.pts'))):
      points = read(path)
      size = np.ptp(points, axis=0) if len(points) else np.zeros(2)
      if len(points) != skeleton.num_keypoints or not size.all():
        raise UserError(f"'{path}' has {len(points)} points, {size[0]:g} x {size[1]:g} pixels wide "
                        f'and high; a face of this set has {skeleton.num_keypoints}, and is '
                        'neither flat nor thin; mend or remove the file')
      number = len(images) + 1
      images.append({'id': number, 'file_name': os.path.relpath(_picture_of(path), root)})
      annotations.append({
        'id': number, 'image_id': number, 'category_id': 1, 'iscrowd': 0,
        'bbox': [*points.min(0).tolist(), *(size + 1).tolist()],  # in pixels, which have a width
        'keypoints': np.column_stack([points, np.full(len(points), 2)]).ravel().tolist()})
  return {'images': images, 'annotations': annotations, 'categories': [
    {'id': 1, 'name': 'face', 'keypoints': list(skeleton.names)}]}


def _picture_of(path):
  stem = path.removesuffix('.pts')
  there = (stem + ending for suffix in media.PICTURES for ending in (suffix, suffix.upper()))
  found = next(filter(os.path.exists, there), None)
  if found is None:
    raise UserError(f"'{path}' has no picture of its name beside it; get that, or remove the file")
  return found
