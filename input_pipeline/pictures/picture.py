"""The one form in which pictures of several people in space enter: people in columns."""
import dataclasses
import functools
import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dslope_jax.skeletons import MPI15
from dslope_jax.visibility import HIDDEN, VISIBLE, is_labelled
from input_pipeline import workers
from input_pipeline.occlusion import visibility as ray_test
from input_pipeline.pictures import checks

SKELETON = MPI15
JOINTS, LIMBS = SKELETON.num_keypoints, len(SKELETON.limbs)
# Maps in order: heatmaps of joints; x and y of each limb's field; relative depth of each limb.
CHANNELS = JOINTS + 3 * LIMBS
VISIBILITIES = 'set', 'proxy'


class Picture(NamedTuple):
  """N people in a picture W x H; pixel (x, y) has its centre at (x, y).

  name: of its file. size: (W, H). joints_2d: (N,15,2) pixels. joints_3d: (N,15,3) cm in the
  camera's frame (X right, Y down, Z forward), None where the set has no depth. visibility: (N,15)
  uint8, 0 not labelled or outside the picture, 1 hidden, 2 visible. camera: (4,) fx fy cx cy in
  pixels, None where it is unknown. ignore: (M,4) boxes x, y, width, height of people without
  labels. take: what belongs together, such as the frames of a video. activity: a name, or ''.
  """
  name: str
  size: tuple[int, int]
  joints_2d: np.ndarray
  joints_3d: np.ndarray | None
  visibility: np.ndarray
  camera: np.ndarray | None = None
  ignore: np.ndarray = np.zeros((0, 4), np.float32)
  take: str = ''
  activity: str = ''


@dataclasses.dataclass(frozen=True)
class Pictures(workers.Shared):
  """A split of a set: R pictures of M people in all; `[row]` is a `Picture`. Columns are as there.

  name, split: for messages and stamps. file, take, activity: (R,) str. size: (R,2). camera: (R,4).
  people, ignored: (R+1,), the first person, or box, of each picture; the last is M, or their
  number. joints_2d (M,15,2), joints_3d (M,15,3) or None, visibility (M,15): of people in a row.
  ignore: (Q,4) boxes. channels: (57,) float32, 1 for maps that the set has truth for. proxy: who is
  hidden comes from the ray test, not from `visibility`. read: row -> (H,W,3) uint8 RGB; raises
  OSError if it cannot be read. notes: lines to be told once.
  """
  name: str
  split: str
  file: np.ndarray
  size: np.ndarray
  camera: np.ndarray
  people: np.ndarray
  joints_2d: np.ndarray
  joints_3d: np.ndarray | None
  visibility: np.ndarray
  ignored: np.ndarray
  ignore: np.ndarray
  take: np.ndarray
  activity: np.ndarray
  channels: np.ndarray
  read: Callable[[int], np.ndarray]
  proxy: bool = False
  notes: tuple[str, ...] = ()
  skeleton = SKELETON

  def __len__(self):
    return len(self.file)

  def __getitem__(self, row: int) -> Picture:
    of = slice(*self.people[row:row + 2])
    joints_3d = None if self.joints_3d is None else self.joints_3d[of]
    visibility = self.visibility[of]
    if self.proxy:
      visibility = hidden_by_rays(joints_3d, visibility)
    return Picture(
      str(self.file[row]), tuple(self.size[row].tolist()), self.joints_2d[of], joints_3d,
      visibility, self.camera[row], self.ignore[slice(*self.ignored[row:row + 2])],
      str(self.take[row]), str(self.activity[row]))

  @property
  def has_depth(self) -> bool:
    return self.joints_3d is not None

  @functools.cached_property
  def digest(self) -> str:
    """Of all that is known of the pictures, 12 hex digits."""
    found = hashlib.sha256(b'proxy' * self.proxy)
    for field in ('file', 'size', 'camera', 'people', 'joints_2d', 'joints_3d', 'visibility',
                  'ignored', 'ignore', 'channels'):
      column = getattr(self, field)
      found.update(b'' if column is None else '\n'.join(column).encode() if field == 'file'
                   else np.ascontiguousarray(column).tobytes())
    return found.hexdigest()[:12]


def gather(name: str, split: str, pictures, read, *, channels=None, visibility='set',
           notes=()) -> Pictures:
  """The `Pictures` of a list of `Picture`, checked; read: as there.

  Joints outside their picture get v = 0. An unknown camera becomes fx = fy = W with its centre in
  the middle of the picture; where there are depths, the notes say so. visibility: 'set', or 'proxy'
  for the ray test.
  Raises UserError, see `checks`.
  """
  where = f'{name} {split}'
  checks.named(where, pictures, visibility, VISIBILITIES)
  size = np.array([p.size for p in pictures], np.int32)
  unknown = np.array([p.camera is None for p in pictures])
  camera = np.array([_guessed(p.size) if p.camera is None else p.camera for p in pictures],
                    np.float32)
  starts = lambda field: np.cumsum([0, *(len(getattr(p, field)) for p in pictures)])
  joined = lambda field, *last: np.concatenate(
    [np.asarray(getattr(p, field)).reshape(-1, *last) for p in pictures])
  has_depth = pictures[0].joints_3d is not None
  found = Pictures(
    name, split, np.array([p.name for p in pictures]), size, camera, starts('joints_2d'),
    _single(joined('joints_2d', JOINTS, 2)),
    _single(joined('joints_3d', JOINTS, 3)) if has_depth else None,
    checks.codes(joined('visibility', JOINTS)), starts('ignore'),
    _single(joined('ignore', 4)), np.array([p.take for p in pictures]),
    np.array([p.activity for p in pictures]),
    np.ones(CHANNELS, np.float32) if channels is None else channels, read, visibility == 'proxy')
  told = checks.values(where, found, unknown)
  if has_depth and unknown.any():
    told.append(f'{unknown.sum()} of {len(unknown)} pictures have no camera; taken is fx = fy = '
                'width, with the centre in the middle')
  owner = np.repeat(np.arange(len(size)), np.diff(found.people))
  inside = ((found.joints_2d >= 0) & (found.joints_2d <= size[owner, None] - 1)).all(-1)
  return dataclasses.replace(
    found, visibility=found.visibility * inside, notes=(*notes, *told),
    joints_2d=np.where(np.isfinite(found.joints_2d), found.joints_2d, 0))  # of v = 0


def hidden_by_rays(joints_3d, visibility):
  """(N,15) uint8: labelled joints are hidden, or visible, by the ray test among the N people."""
  if not len(joints_3d):
    return visibility
  hidden = ray_test.of_people(10 * joints_3d[:, None], SKELETON).occluded[:, 0]
  return np.where(is_labelled(visibility), np.where(hidden, HIDDEN, VISIBLE), 0).astype(np.uint8)


def channels_without(joints=(), depth=True) -> np.ndarray:
  """(57,) float32: 0 for the maps of these joints and of their limbs, and, without depth, for all
  relative depths."""
  limbs = np.array(SKELETON.limbs)
  wanted_joints = ~np.isin(SKELETON.names, joints)
  wanted = wanted_joints[limbs].all(1)
  return np.concatenate([wanted_joints, np.repeat(wanted, 2), wanted & depth]).astype(np.float32)


def _single(values):
  """float32, infinite where that cannot hold a number."""
  with np.errstate(over='ignore'):
    return values.astype(np.float32)


def _guessed(size):
  w, h = size
  return np.array([w, w, w / 2, h / 2])
