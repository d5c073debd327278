"""MPI-INF-3DHP, 17 joints and exact 2D keypoints, in the form of P-STMO; not unpickled.

FOLDER/data_train_3dhp.npz: 'data' is a dict 'S1 Seq1' -> [{camera: {'data_2d', 'data_3d'}}, frames
a second]; FOLDER/data_test_3dhp.npz: 'data' is a dict 'TS1' -> {'data_2d', 'data_3d', 'valid'}.
(F,17,2) pixels, (F,17,3) mm in the camera's frame, (F,).
"""
import dataclasses
import os

import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.skeletons import MPI_INF_3DHP
from input_pipeline.sequences import published
from input_pipeline.sequences.sequence import Camera, Sequence, Sequences

_WIDE = 'TS5', 'TS6'  # 1920 x 1080, all others 2048 x 2048
_FPS = 25.0  # where a file does not say it, as that of the test videos


def load(split: str, root: str, cameras: tuple = (0, 1, 2, 4, 5, 6, 7, 8)):
  """The sequences of 'train' or 'test'. cameras: numbers of those of the training videos."""
  if split not in ('train', 'test'):
    raise UserError(f"a split of mpi_inf_3dhp is train or test, not '{split}'")
  data = published.load_npz(os.path.join(root, f'data_{split}_3dhp.npz'), 'data')
  if split == 'test':
    return Sequences('mpi_inf_3dhp', split, MPI_INF_3DHP, tuple(_test(data)))
  asked = [*map(str, np.ravel(cameras))]
  found = tuple(_training(data, asked))
  if not found:
    raise UserError(f'{data.where} has no videos of the cameras {cameras}; give others')
  lost = sorted({*asked} - {s.cameras[0].name for s in found})
  empty = sorted({*map(str, data)} - {s.take for s in found})
  notes = (f"no video is of camera {', '.join(lost)}",) * bool(lost) + (
    f"{', '.join(empty)}: no video of the cameras asked for",) * bool(empty)
  return Sequences('mpi_inf_3dhp', split, MPI_INF_3DHP, found, notes)


def _training(data, cameras):
  for take in data:
    content = published.listed(data.value(take))
    if not content:
      raise UserError(f'{data.place(take)} is not [videos of the cameras, frames a second], as in '
                      'the file of the training videos')
    videos, *rest = content
    videos = published.Table(videos, data.place(take))
    fps = float(published.numbers((rest or [_FPS])[0], (), f'{data.place(take)}, frames a second'))
    for camera in videos:
      if str(camera) in cameras:
        yield _sequence(f'{take} camera {camera}', videos.table(camera),
                        Camera((2048, 2048), name=str(camera)), take, fps)


def _test(data):
  for name in data:
    found = data.table(name)
    camera = Camera((1920, 1080) if name in _WIDE else (2048, 2048))
    sequence = _sequence(name, found, camera, name, _FPS)
    valid = published.numbers(np.ravel(found.value('valid')), (len(sequence),),
                              found.place('valid'))
    if not np.isin(valid, (0, 1)).all():
      raise UserError(f"{found.place('valid')} holds other numbers than 0 and 1; get the file "
                      'again')
    yield dataclasses.replace(sequence, valid=valid > 0)


def _sequence(name, found, camera, take, fps):
  poses = found.numbers('data_3d', None, 17, 3)
  points = found.numbers('data_2d', len(poses), 17, 2)
  return Sequence(str(name), poses, (camera,), fps, subject=str(take).split(' ')[0],
                  action=str(take), family='mpi_inf_3dhp', take=str(take),
                  keypoints_2d=points[None])
