"""Leeds Sports Pose and its extension from the official joints.mat: 14 joints, one person each."""
import functools
import os

import numpy as np

from dslope_jax import skeletons
from dslope_jax.errors import UserError
from input_pipeline.geometry import box_to_center_scale
from input_pipeline.sources.checks import check_pictures, folder_is_there
from input_pipeline.sources.coco import read_row
from input_pipeline.sources.counts import check_counts
from input_pipeline.sources.mat_files import read_variable
from input_pipeline.sources.source import Source

_HOW_TO_GET = (
  'LSP is lsp_dataset_original.zip, its extension hr-lspet.zip: joints.mat and images/ in one '
  "folder; then pass --config.data.root=FOLDER. Joints as COCO json are read by data.name 'coco'")
_TRAIN = 1000  # LSP: the first half of the pictures
_AROUND = 1.15  # the sets have no boxes: the extent of the joints, enlarged by this


def load(split, *, root, extended=False, aspect=0.75, padding=1.25) -> Source:
  """The people of 'train' or 'test' of LSP, or of 'train' of the extension.

  extended: the folder is that of LSPET, whose third number says 1 for labelled; in LSP every joint
  is labelled and it says 1 for hidden. The box is the extent of the labelled joints times 1.15.
  Coordinates stay as they are: whether they count from 0 or 1 is published nowhere. aspect,
  padding: as for `coco.load`. People without a box, all joints on one line or unlabelled, are left
  out. Raises UserError also if the number of people is that of another split.

  Raises FileNotFoundError or UserError, one line naming the file and the mend.
  """
  name = 'lspet' if extended else 'lsp'
  path, folder = os.path.join(root, 'joints.mat'), os.path.join(root, 'images')
  for needed, is_there in ((path, os.path.isfile), (folder, folder_is_there)):
    if not is_there(needed):
      raise FileNotFoundError(f"no '{needed}'. {_HOW_TO_GET}")
  joints, visibility = _read(path, extended)
  rows = _rows(split, len(joints), extended, path)
  check_counts(name, split, path, people=len(rows))
  box = _boxes(joints, visibility)
  rows = rows[box[rows, 2:].min(1) > 0]
  if not rows.size:
    raise UserError(f'{path}: nobody of {split} has labelled joints; get the file again')
  pattern = 'im{:05d}.jpg' if len(joints) > 9999 or extended else 'im{:04d}.jpg'
  files = [pattern.format(row + 1) for row in rows.tolist()]
  check_pictures([{'file_name': f} for f in files], folder, path, _HOW_TO_GET)
  files = np.array([os.path.join(folder, f) for f in files])
  center, scale = box_to_center_scale(box[rows].T, aspect, padding)
  return Source(
    name=name, split=split, skeleton=skeletons.LSP, image_id=rows + 1, annotation_id=rows + 1,
    file=files, box=box[rows].astype(np.float32), center=center, scale=scale,
    keypoints=(joints[rows] * (visibility[rows] > 0)[..., None]).astype(np.float32),
    visibility=visibility[rows], box_score=np.ones(len(rows), np.float32), folder=folder,
    read=functools.partial(read_row, files, np.zeros((len(rows), 2), np.int32)))


def _read(path, extended):
  """(N,14,2) joints and (N,14) COCO's codes of visibility."""
  values = read_variable(path, 'joints')
  if values.dtype.kind not in 'biuf':
    raise UserError(f'{path}: joints holds no numbers; get the file again')
  values = values.astype(np.float64)
  if values.ndim != 3 or set(values.shape[:2]) != {3, 14}:
    raise UserError(f'{path}: joints has shape {values.shape}, not (3,14,N) or (14,3,N); get the '
                    'file again')
  if values.shape[0] == 3:
    values = values.transpose(1, 0, 2)
  values = values.transpose(2, 0, 1)  # (N,14,3)
  if not np.isin(values[..., 2], (0, 1)).all() or not np.isfinite(values).all():
    raise UserError(f'{path}: joints holds a flag that is neither 0 nor 1 or a number that is not '
                    'finite; get the file again')
  flag = values[..., 2] > 0
  return values[..., :2], np.where(flag, *((2, 0) if extended else (1, 2))).astype(np.uint8)


def _rows(split, count, extended, path):
  known = ('train',) if extended else ('train', 'test')
  if split not in known:
    raise UserError(f"{path}: the splits are {' and '.join(known)}, not '{split}'; name one of "
                    'them')
  if extended:
    return np.arange(count)
  return np.arange(count)[slice(_TRAIN) if split == 'train' else slice(_TRAIN, None)]


def _boxes(joints, visibility):
  """(N,4) x, y, width, height around the labelled joints; width 0 where there are none."""
  labelled = (visibility > 0)[..., None]
  low = np.where(labelled, joints, np.inf).min(1)
  high = np.where(labelled, joints, -np.inf).max(1)
  low, high = (np.where(labelled.any(1), side, 0) for side in (low, high))
  size = (high - low) * _AROUND
  return np.concatenate([(low + high - size) / 2, size], 1)
