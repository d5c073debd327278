"""AFLW's common split as it is published, AFLWinfo_release.mat, beside AFLW's own pictures.

Zhu et al., Unconstrained Face Alignment via Cascaded Compositional Learning, CVPR 2016. For each of
N faces `nameList` has its picture, `bbox` left, right, top and bottom, `data` 19 x and then 19 y,
`mask_new` which points are in sight; `ra` has the numbers of the faces, from 1, in the order of the
split.
"""
import numpy as np

from dslope_jax.errors import UserError
from input_pipeline.sources import mat_files

NAME = 'AFLWinfo_release.mat'
TRAINING = 20000  # the first faces of `ra`
_SPLITS = 'train', 'test', 'test_frontal'


def coco_form(path, split, skeleton) -> dict:
  """The faces of a split as a COCO dict: train, test, or test_frontal, whose points are all in
  sight. Raises UserError for a file of another form."""
  if split not in _SPLITS:
    raise UserError(f"{path} has the splits {', '.join(_SPLITS)}, not '{split}'; take one of them")
  points = skeleton.num_keypoints
  faces = _numbers(path, 'data', 2 * points)
  boxes, seen = _numbers(path, 'bbox', 4), _numbers(path, 'mask_new', points)
  files = [_text(cell) for cell in mat_files.read_variable(path, 'nameList').ravel()]
  order = _numbers(path, 'ra', 1)[:, 0]
  if not len(faces) == len(boxes) == len(seen) == len(files) or None in files or not np.array_equal(
      np.sort(order), np.arange(1, len(faces) + 1)):
    raise UserError(f'{path}: nameList, data, bbox, mask_new and ra are not of the same faces; get '
                    'the file again')
  chosen = order.astype(np.int64) - 1
  chosen = chosen[:TRAINING] if split == 'train' else chosen[TRAINING:]
  if split == 'test_frontal':
    chosen = chosen[(seen[chosen] == 1).all(1)]
  images, annotations = {}, []
  for face in chosen.tolist():
    picture = images.setdefault(files[face], {'id': len(images) + 1, 'file_name': files[face]})
    left, right, top, bottom = boxes[face].tolist()
    width, height = right - left, bottom - top
    annotations.append({
      'id': face + 1, 'image_id': picture['id'], 'category_id': 1, 'iscrowd': 0,
      'bbox': [left, top, width, height], 'box_size': max(width * height, 0) ** 0.5,
      'keypoints': np.column_stack([*faces[face].reshape(2, -1), np.full(points, 2)]).ravel(
        ).tolist()})
  return {'images': list(images.values()), 'annotations': annotations, 'categories': [
    {'id': 1, 'name': 'face', 'keypoints': list(skeleton.names)}]}


def _numbers(path, name, count):
  """(N,count) float64 of a variable; UserError for another form."""
  table = mat_files.read_variable(path, name)
  if count == 1:
    table = table.reshape(-1, 1)
  if table.dtype.kind not in 'biuf' or table.ndim != 2 or table.shape[1] != count:
    raise UserError(f'{path}: {name} is no table of {count} numbers a face; get the file again')
  return table.astype(np.float64)


def _text(cell):
  """The text of a cell, None where it is none."""
  cell = np.ravel(cell)
  return str(cell[0]) if len(cell) == 1 and isinstance(cell[0], str) else None
