"""MPI-INF-3DHP, 17 joints and exact 2D keypoints, in the form of P-STMO; not unpickled.

FOLDER/data_train_3dhp.npz: 'data' is a dict 'S1 Seq1' -> [{camera: {'data_2d', 'data_3d'}}];
FOLDER/data_test_3dhp.npz: 'data' is a dict 'TS1' -> {'data_2d', 'data_3d', 'valid'}.
(F,17,2) pixels, (F,17,3) mm in the camera's frame.
"""
import os

import numpy as np

from dslope_jax import plain_pickle
from dslope_jax.errors import UserError, quoted
from dslope_jax.skeletons import MPI_INF_3DHP
from input_pipeline.sequences.sequence import Camera, Sequence, Sequences

_WIDE = 'TS5', 'TS6'  # 1920 x 1080, all others 2048 x 2048
_FPS = 25.0


def load(split: str, root: str, cameras: tuple = (0, 1, 2, 4, 5, 6, 7, 8)):
  """The sequences of 'train' or 'test'. cameras: numbers of those of the training videos."""
  if split not in ('train', 'test'):
    raise UserError(f"a split of mpi_inf_3dhp is train or test, not '{split}'")
  path = os.path.join(root, f'data_{split}_3dhp.npz')
  data = plain_pickle.load_npz(path).get('data')
  if not isinstance(data, np.ndarray) or data.shape != () or not isinstance(data.item(), dict):
    raise UserError(f"'{path}' has no dict 'data'; give the file as P-STMO makes it")
  read = _training if split == 'train' else _test
  return Sequences('mpi_inf_3dhp', split, MPI_INF_3DHP,
                   tuple(read(data.item(), path, {str(c) for c in cameras})))


def _training(data, path, cameras):
  for name, content in data.items():
    for camera, found in content[0].items():
      if str(camera) in cameras:
        yield _sequence(f'{name} camera {camera}', found, path, (2048, 2048), name)


def _test(data, path, cameras):
  for name, found in data.items():
    size = (1920, 1080) if name in _WIDE else (2048, 2048)
    yield _sequence(name, found, path, size, name, np.asarray(found['valid'], bool).ravel())


def _sequence(name, found, path, size, take, valid=None):
  points, poses = (np.asarray(found.get(field), np.float32) for field in ('data_2d', 'data_3d'))
  if points.shape != (len(points), 17, 2) or poses.shape != (len(points), 17, 3) or (
      valid is not None and len(valid) != len(points)):
    raise UserError(f"'{path}': {quoted(name)} has data_2d {points.shape} and data_3d "
                    f'{poses.shape}, not (F,17,2) and (F,17,3) of as many frames; get the file '
                    'again')
  return Sequence(name, poses, (Camera(size),), _FPS, subject=take.split()[0], action=take,
                  family='mpi_inf_3dhp', take=take, keypoints_2d=points[None], valid=valid)
