"""Human3.6M, 17 joints, in both forms in which it is passed on. No file is unpickled.

Variant A, MotionBERT's pkl: poses in image space with the factor to mm, 2D keypoints of a stacked
hourglass with confidence. Variant B, VideoPose3D's npz: 32 joints in metres in the world, and the
2D keypoints of a detector, or exact ones, seen by four cameras.
"""
import os
import re

import numpy as np

from dslope_jax import plain_pickle
from dslope_jax.errors import UserError, quoted
from dslope_jax.skeletons import H36M
from input_pipeline.sequences import h36m_cameras, published
from input_pipeline.sequences.sequence import Camera, Sequence, Sequences

A_FILE = 'h36m_sh_conf_cam_source_final.pkl'
_SUBJECTS = {'train': ('S1', 'S5', 'S6', 'S7', 'S8'), 'test': ('S9', 'S11')}
_OF_32 = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]
# Published evaluations of variant A leave these out: their ground truth is broken.
_SKIPPED = 's_09_act_05_subact_02', 's_09_act_10_subact_02', 's_09_act_13_subact_01'
# A video of variant A: the take (subject, action, repetition), and its camera.
_NAME = re.compile(r'(s_(\d+)_(act_\d+)_subact_\d+)_ca_\d+$')
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
  part = published.Table(plain_pickle.load(path), f"'{path}'").table(split)
  image = part.numbers('joint3d_image', None, 17, 3, wider=True)
  count = len(image)
  points = part.numbers('joint_2d', count, 17, 2, wider=True)
  confidence = np.ones((count, 17), np.float32)
  if 'confidence' in part:  # (N,17) or (N,17,1)
    flat = getattr(part.value('confidence'), 'ndim', 3) == 2
    confidence = part.numbers('confidence', *(count, 17, 1)[:3 - flat]).reshape(count, 17)
  poses, factor = image, None  # mm are in the test part alone
  if '2.5d_factor' in part and 'joints_2.5d_image' in part:
    poses = part.numbers('joints_2.5d_image', count, 17, 3)
    factor = part.numbers('2.5d_factor', count)
  source, cameras = part.texts('source', count), part.texts('camera_name', count)
  action = part.texts('action', count) if 'action' in part else None
  for rows in _videos(source):
    name, camera = str(source[rows.start]), str(cameras[rows.start])
    words = _NAME.match(name)
    if not words:
      raise UserError(f"{part.place('source')} names a video {quoted(name)}, not as in "
                      "'s_09_act_02_subact_01_ca_01'; get the file again")
    if camera not in h36m_cameras.SIZES or (cameras[rows] != camera).any():
      raise UserError(f"{part.place('camera_name')} says that {quoted(name)} was seen by "
                      f"{' and '.join(map(quoted, np.unique(cameras[rows]).tolist()))}, not by one "
                      f"of {', '.join(h36m_cameras.SIZES)}; get the file again")
    yield Sequence(
      name, poses[rows], (Camera(h36m_cameras.SIZES[camera], name=camera),), _FPS,
      subject=f'S{int(words[2])}', action=words[3] if action is None else str(action[rows.start]),
      family='h36m', take=words[1], keypoints_2d=points[None, rows],
      confidence=confidence[None, rows], image_3d=image[rows],
      factor=None if factor is None else factor[rows])


def _videos(source):
  """Slices of frames that follow each other and have the same name."""
  ends = [*(np.flatnonzero(source[1:] != source[:-1]) + 1).tolist(), len(source)]
  return map(slice, [0, *ends[:-1]], ends) if len(source) else ()


def _variant_b(path, root, split):
  points = published.load_npz(path, 'positions_2d')
  poses = published.load_npz(os.path.join(root, 'data_3d_h36m.npz'), 'positions_3d')
  for subject in _SUBJECTS[split]:
    cameras, own = h36m_cameras.of_subject(subject), poses.table(subject)
    if not [*own]:
      raise UserError(f'{own.where} has no actions; get the file again')
    for action in own:
      world = own.numbers(action, None, 32, 3)
      seen = points.table(subject)
      views = published.listed(seen.value(action))
      if len(views) != len(cameras):
        raise UserError(f'{seen.place(action)} is not a list of {len(cameras)} views; get the file '
                        'again')
      views = [published.numbers(view, (None, 17, 2), f'{seen.place(action)}, view {number}', True)
               for number, view in enumerate(views)]
      if min(map(len, views)) < len(world):
        raise UserError(f'{seen.place(action)} has views of {[*map(len, views)]} frames, and '
                        f'{own.place(action)} {len(world)}; get both files from one place')
      yield Sequence(
        f'{subject} {action}', 1000 * world[:, _OF_32], cameras, _FPS, subject=subject,
        action=str(action).rsplit(' ', 1)[0], family='h36m', take=f'{subject} {action}',
        keypoints_2d=np.stack([view[:len(world)] for view in views]))
