"""3DPW as Human3.6M's 17 joints, which need SMPL's body and so are made by whoever has it.

FOLDER/3dpw_SPLIT.npz, no pickle: `name` (S,) of the tracks, `frames` (S,) their lengths, and of all
F frames one after the other `keypoints_3d` (F,17,3) mm in the camera's frame, `keypoints_2d`
(F,17,2) pixels, `confidence` (F,17), `valid` (F,) bool (campose_valid); `size` (2,) W, H of the
pictures; `params` (S,9) of the cameras as in dslope_jax/cameras.py.
"""
import os

import numpy as np

from dslope_jax import own_files
from dslope_jax.errors import UserError
from dslope_jax.skeletons import H36M
from input_pipeline.sequences.sequence import Camera, Sequence, Sequences

_FORM = {
  'name': own_files.Column('U', ('S',)),
  'frames': own_files.Column('iu', ('S',), values=lambda frames: frames > 0),
  'keypoints_3d': own_files.Column('f', ('F', 17, 3)),
  'keypoints_2d': own_files.Column('f', ('F', 17, 2)),
  'confidence': own_files.Column('f', ('F', 17), values=lambda c: (c >= 0) & (c <= 1)),
  'valid': own_files.Column('b', ('F',)),
  'size': own_files.Column('iu', (2,), values=lambda size: size > 0),
  'params': own_files.Column('f', ('S', 9), values=lambda params: (params[:, :2] > 0).all(1))}


def load(split: str, root: str):
  """The tracks of a split, such as 'train' or 'test'."""
  path = os.path.join(root, f'3dpw_{split}.npz')
  found = own_files.read_npz(path, _FORM, 'write it as input_pipeline/sequences/pw3d.py says')
  ends = np.cumsum(found['frames'])
  if not len(ends) or ends[-1] != len(found['valid']):
    raise UserError(f"'{path}': 'frames' adds up to {ends[-1] if len(ends) else 0}, and there are "
                    f"{len(found['valid'])} frames; write the length of each track")
  size = tuple(found['size'].tolist())
  return Sequences('3dpw', split, H36M, tuple(
    _track(found, size, i, slice(end - count, end)) for i, (count, end) in enumerate(
      zip(found['frames'], ends, strict=True))))


def _track(found, size, number, rows):
  name, params = str(found['name'][number]), found['params'][number].astype(np.float64)
  return Sequence(
    name, found['keypoints_3d'][rows].astype(np.float32),
    (Camera(size, params[:2], params[2:4], params[4:]),), 30.0, subject=name, action='',
    family='3dpw', take=name.rsplit('_', 1)[0],
    keypoints_2d=found['keypoints_2d'][None, rows].astype(np.float32),
    confidence=found['confidence'][None, rows].astype(np.float32), valid=found['valid'][rows])
