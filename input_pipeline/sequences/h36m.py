"""Human3.6M, 17 joints, in both forms in which it is passed on. No file is unpickled.

Variant A, MotionBERT's pkl: poses in image space with the factor to mm, 2D keypoints of a stacked
hourglass with confidence. Variant B, VideoPose3D's npz: 32 joints in metres in the world, and the
2D keypoints of a detector, or exact ones, seen by four cameras.
"""
import os

import numpy as np

from dslope_jax import plain_pickle
from dslope_jax.errors import UserError, quoted
from dslope_jax.skeletons import H36M
from input_pipeline.sequences import h36m_cameras
from input_pipeline.sequences.sequence import Camera, Sequence, Sequences

A_FILE = 'h36m_sh_conf_cam_source_final.pkl'
_SUBJECTS = {'train': ('S1', 'S5', 'S6', 'S7', 'S8'), 'test': ('S9', 'S11')}
_OF_32 = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]
# Published evaluations of variant A leave these out: their ground truth is broken.
_SKIPPED = 's_09_act_05_subact_02', 's_09_act_10_subact_02', 's_09_act_13_subact_01'
_FPS = 50.0


def load(split: str, root: str, file: str = ''):
  """The sequences of 'train' (S1, S5 to S8) or 'test' (S9, S11).

  file: of the 2D keypoints; '' or a .pkl is variant A, an .npz such as
  data_2d_h36m_cpn_ft_h36m_dbb.npz variant B, with data_3d_h36m.npz beside it.
  """
  if split not in _SUBJECTS:
    raise UserError(f"a split of h36m is train or test, not '{split}'")
  path = os.path.join(root, file or A_FILE)
  if path.endswith('.npz'):
    return Sequences('h36m B', split, H36M, tuple(_variant_b(path, root, split)))
  found = tuple(_variant_a(path, split))
  kept = tuple(s for s in found if not s.name.startswith(_SKIPPED))
  notes = (f'{len(found) - len(kept)} videos are left out, as published: their ground truth is '
           'broken',) * (len(found) > len(kept))
  return Sequences('h36m A', split, H36M, kept, notes)


def _variant_a(path, split):
  part = _entry(plain_pickle.load(path), split, path)
  columns = {name: np.asarray(_entry(part, name, path), np.float32)
             for name in ('joint_2d', 'joint3d_image')}
  count = len(columns['joint_2d'])
  source, cameras = (np.asarray(_entry(part, name, path)) for name in ('source', 'camera_name'))
  for name, column in (*columns.items(), ('source', source), ('camera_name', cameras)):
    if len(column) != count or (name in columns and column.shape[1] != 17):
      raise UserError(f"'{path}': '{name}' of '{split}' has the shape {column.shape}, not "
                      f'({count}, 17, ...) of {count} frames; get the file again')
  confidence = np.asarray(part.get('confidence', np.ones((count, 17))), np.float32)
  truth, factor, action = (part.get(name) for name in ('joints_2.5d_image', '2.5d_factor',
                                                       'action'))
  first = np.flatnonzero(np.append(True, source[1:] != source[:-1]))
  for start, stop in zip(first, np.append(first[1:], count), strict=True):
    rows, name, camera = slice(start, stop), str(source[start]), str(cameras[start])
    if camera not in h36m_cameras.SIZES:
      raise UserError(f"'{path}': '{name}' was seen by the camera {quoted(camera)}, which is none "
                      f"of {', '.join(h36m_cameras.SIZES)}")
    image = columns['joint3d_image'][rows]
    words = name.split('_')
    yield Sequence(
      name, image if truth is None else np.asarray(truth[rows], np.float32),
      (Camera(h36m_cameras.SIZES[camera], name=camera),), _FPS, subject=f'S{int(words[1])}',
      action='_'.join(words[2:4]) if action is None else str(action[start]), family='h36m',
      take='_'.join(words[:6]), keypoints_2d=columns['joint_2d'][None, rows, :, :2],
      confidence=confidence[None, rows].reshape(1, -1, 17), image_3d=image,
      factor=None if factor is None else np.asarray(factor[rows], np.float32))


def _variant_b(path, root, split):
  points = _content(path, 'positions_2d')
  poses_path = os.path.join(root, 'data_3d_h36m.npz')
  poses = _content(poses_path, 'positions_3d')
  for subject in _SUBJECTS[split]:
    cameras = h36m_cameras.of_subject(subject)
    for action, world in _entry(poses, subject, poses_path).items():
      seen = _entry(_entry(points, subject, path), action, path)
      world = np.asarray(world, np.float32)
      short = [i for i, view in enumerate(seen) if len(view) < len(world)]
      if len(seen) != len(cameras) or short or world.shape[1:] != (32, 3):
        raise UserError(
          f"'{path}' has {[np.shape(view) for view in seen]} for '{subject} {action}', and "
          f"'{poses_path}' {world.shape}: four views of as many frames, and 32 joints in 3D, are "
          'needed; get both files from one place')
      yield Sequence(
        f'{subject} {action}', 1000 * world[:, _OF_32], cameras, _FPS, subject=subject,
        action=action.rsplit(' ', 1)[0], family='h36m', take=f'{subject} {action}',
        keypoints_2d=np.stack([np.asarray(view, np.float32)[:len(world), :, :2]
                               for view in seen]))


def _content(path, name):
  """The dict in an array of no dimensions."""
  arrays = plain_pickle.load_npz(path)
  value = _entry(arrays, name, path)
  return value.item() if isinstance(value, np.ndarray) and value.shape == () else value


def _entry(table, name, path):
  if not isinstance(table, dict) or name not in table:
    raise UserError(f"'{path}' has no {quoted(name)}; give the file as MotionBERT or VideoPose3D "
                    'distribute it')
  return table[name]
