"""CMU Panoptic: groups who play or talk, seen by HD cameras 16 and 30 (Joo et al., 2015).

Files: SEQUENCE/calibration_SEQUENCE.json, SEQUENCE/hdPose3d_stage1/body3DScene_00000000.json (15
joints, as SMAP takes them) or hdPose3d_stage1_coco19/ (19 joints, of which the second is the nose,
so that the top of the head has no labels), SEQUENCE/hdImgs/00_16/00_16_00000000.jpg.
"""
import os
from typing import TypedDict

import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.visibility import VISIBLE
from input_pipeline.pictures import checks, files, picture

_HOW_TO_GET = ('CMU Panoptic is fetched with the scripts of its toolbox (domedb.perception.cs.cmu.'
               'edu): hdImgs of cameras 16 and 30, hdPose3d_stage1 and the calibration of each '
               'sequence; then pass --config.data.root=FOLDER')
# Splits of SMAP and HUPOR; {activity: sequences}.
SPLITS = {
  'train': {'haggling': ('160224_haggling1',),
            'mafia': ('160226_mafia2', '160224_mafia1', '160224_mafia2'),
            'ultimatum': ('160224_ultimatum1', '160224_ultimatum2')},
  'val': {'mafia': ('160422_mafia2',)},
  'test': {'haggling': ('160226_haggling1', '160422_haggling1'), 'mafia': ('160226_mafia1',),
           'ultimatum': ('160226_ultimatum1', '160422_ultimatum1'), 'pizza': ('160906_pizza1',)}}
_TESTED = 2400  # pictures of an activity
_FORMS = {'hdPose3d_stage1': 15, 'hdPose3d_stage1_coco19': 19}  # folder: joints
_SURE = 0.1  # confidence of a joint that counts
_EARS = 16, 18  # of 19 joints
_FURTHEST = 1000  # cm from the middle of the dome to a camera, and a lot
_WIDE = 1.3  # times the furthest corner: beyond, the lens model does not hold


class _Body(TypedDict, total=False):
  joints15: list[float]
  joints19: list[float]


class _Scene(TypedDict):
  bodies: list[_Body]


class _Camera(TypedDict):
  name: str
  resolution: tuple[int, int]
  K: list[list[float]]
  distCoef: list[float]
  R: list[list[float]]
  t: list[list[float]]


class _Calibration(TypedDict):
  cameras: list[_Camera]


def load(split, *, root, cameras='16,30', count=0, every=1, sequences='', visibility='proxy'):
  """Pictures of the sequences of 'train', 'val' or 'test', or of those named, with an activity that
  is the letters of their name.

  cameras: numbers of HD cameras. count: pictures of an activity, spread evenly over its sequences,
  cameras and frames; 0: 2400 of 'test', as published, else all. every: of the frames, the first of
  so many. visibility: 'proxy', see `picture.gather`, as the set does not tell who is hidden; or
  'set', all joints visible. Joints in the picture are where the lens shows them, with its
  distortion; cameras are without it. Frames without pictures are counted in the notes.
  """
  checks.at_least('panoptic', 1, every=every)
  checks.at_least('panoptic', 0, count=count)
  found, notes = [], []
  cameras = [f'00_{int(number):02d}' for number in _words(cameras, 'cameras', str.isdigit)]
  for activity, names in _activities(split, sequences).items():
    wanted = count or (_TESTED if split == 'test' and not sequences else 0)
    share = -(-wanted // (len(names) * len(cameras)))
    for name in names:
      pictures, more = _sequence(root, name, activity, cameras, share, every)
      found += pictures
      notes += more
  read = files.reader(root, found, root, _HOW_TO_GET)
  head = all(p.visibility[:, _HEAD].any() for p in found if len(p.visibility))
  return picture.gather(
    'panoptic', split, found, read, visibility=visibility, notes=notes,
    channels=picture.channels_without(() if head else ('head_top',)))


_HEAD = picture.SKELETON.index('head_top')


def _words(text, what, fits):
  words = [word.strip() for word in str(text).split(',')]
  if not all(map(fits, words)):
    raise UserError(f"panoptic: {what} is '{text}', must be such as '16,30'")
  return words


def _activities(split, sequences):
  """{activity: sequences}."""
  if not sequences:
    if split not in SPLITS:
      raise UserError(f"a split of panoptic is {', '.join(SPLITS)}, not '{split}'")
    return SPLITS[split]
  found = {}
  for name in _words(sequences, 'sequences', bool):
    activity = ''.join(filter(str.isalpha, name)) or name
    found[activity] = (*found.get(activity, ()), name)
  return found


def _sequence(root, name, activity, cameras, share, every):
  """The `Picture`s of a sequence, `share` of each camera, and lines of what is missing."""
  folder = next((f for f in _FORMS if os.path.isdir(os.path.join(root, name, f))), None)
  if folder is None:
    raise FileNotFoundError(f"no folder {' or '.join(_FORMS)} in '{os.path.join(root, name)}'. "
                            f'{_HOW_TO_GET}')
  numbers = sorted(int(file[12:-5]) for file in os.listdir(os.path.join(root, name, folder))
                   if file.startswith('body3DScene_') and file[12:-5].isdigit())
  path = os.path.join(root, name, f'calibration_{name}.json')
  known = {c['name']: c for c in files.read_json(path, _Calibration, _HOW_TO_GET)['cameras']}
  found, notes, bodies = [], [], {}
  for camera in cameras:
    if camera not in known:
      raise UserError(f"{path} has no camera '{camera}'; name others by data.loader.cameras")
    below = f'{name}/hdImgs/{camera}'
    there = set(os.listdir(os.path.join(root, below))) if os.path.isdir(
      os.path.join(root, below)) else ()
    frames = [n for n in numbers if f'{camera}_{n:08d}.jpg' in there]
    if not frames:
      raise FileNotFoundError(f"no pictures of annotated frames in '{os.path.join(root, below)}'. "
                              f'{_HOW_TO_GET}')
    if len(frames) < len(numbers):
      notes.append(f'{name}, camera {camera}: {len(numbers) - len(frames)} of {len(numbers)} '
                   'annotated frames have no picture and are left out')
    frames = frames[::every]
    if share and share < len(frames):
      frames = [frames[i] for i in np.linspace(0, len(frames) - 1, share).astype(int)]
    for frame in frames:
      if frame not in bodies:
        bodies[frame] = _bodies(os.path.join(root, name, folder, f'body3DScene_{frame:08d}.json'),
                                _FORMS[folder])
      found.append(_picture(f'{below}/{camera}_{frame:08d}.jpg', known[camera], path,
                            *bodies[frame], name, activity))
  return found, notes


def _bodies(path, count):
  """(N,15,3) cm in the world, and whether a joint is known (N,15)."""
  key = f'joints{count}'
  table = [files.numbers(body.get(key), (4 * count,), f"{path}: '{key}' of body {i}").reshape(-1, 4)
           for i, body in enumerate(files.read_json(path, _Scene, _HOW_TO_GET)['bodies'])]
  table = np.array(table).reshape(-1, count, 4)
  places, known = table[:, :15, :3].copy(), table[:, :15, 3] > _SURE
  if count == 19:  # for who hides whom the head is needed: from the neck through the ears' middle
    places[:, _HEAD] = places[:, 0] + 1.35 * (table[:, _EARS, :3].mean(1) - places[:, 0])
    known[:, _HEAD] = False
  return places, known


def _picture(file, camera, path, places, known, take, activity):
  where = f"{path}: '{{}}' of camera {camera['name']}".format
  matrix, turn = (files.numbers(camera[key], (3, 3), where(key)) for key in ('K', 'R'))
  move = files.numbers(camera['t'], (3, 1), where('t'))[:, 0]
  if not (np.diag(matrix)[:2] > 0).all():
    raise UserError(f"{where('K')} has no focal lengths above 0; get the file again")
  if not np.allclose(turn @ turn.T, np.eye(3), atol=0.01):
    raise UserError(f"{where('R')} is no rotation; get the file again")
  if np.linalg.norm(move) > _FURTHEST:
    raise UserError(f"{where('t')} is {np.linalg.norm(move):.0f} cm away; it looks like mm, and "
                    'must be cm, as the joints are')
  places = places @ turn.T + move
  points, sharp = _project(places, matrix, files.numbers(camera['distCoef'], (5,),
                                                         where('distCoef')), camera['resolution'])
  return picture.Picture(
    file, tuple(camera['resolution']), points, places, np.where(known & sharp, VISIBLE, 0),
    matrix[[0, 1, 0, 1], [0, 1, 2, 2]], take=take, activity=activity)


def _project(places, matrix, lens, size):
  """Pixels (...,2) of places (...,3), by OpenCV's lens k1 k2 p1 p2 k3, and where they mean
  something: in front of the camera and not far beside the picture."""
  front = places[..., 2] > 0
  flat = places[..., :2] / np.where(front, places[..., 2], 1)[..., None]
  r2 = (flat * flat).sum(-1, keepdims=True)
  corners = (np.array([(0, 0), (size[0], 0), (0, size[1]), size]) - matrix[:2, 2]) / np.diag(
    matrix)[:2]
  sharp = front & (r2[..., 0] < _WIDE**2 * (corners**2).sum(1).max())
  k1, k2, p1, p2, k3 = lens
  xy = flat.prod(-1, keepdims=True)
  bent = flat * (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) + 2 * xy * (p1, p2) + (p2, p1) * (
    r2 + 2 * flat * flat)
  points = bent @ matrix[:2, :2].T + matrix[:2, 2]
  return np.where(sharp[..., None], points, 0), sharp
