"""Two people of the CMU database who dance together, drawn as people of the embedded world.

Files: as of `sequences.cmu_mocap`; taken are the scenes of two people. Limbs run between the
recorded joints; girth, head and clothes are the world's, and cameras and surroundings are drawn by
seed. The truth is what is drawn: 2D, depth and who hides whom are exact. The data was obtained from
mocap.cs.cmu.edu, which was created with funding from NSF EIA-0196217.
"""
import dataclasses
import os
import zlib

import numpy as np

from dslope_jax.errors import UserError, counted
from dslope_jax.skeletons import H36M
from input_pipeline.pictures import picture
from input_pipeline.sequences import cmu_mocap
from input_pipeline.world import bodies, fitted, kept, painting, rendering, scenes, truth

_VAL = 0.2  # share of the takes
# MPI15's joints from Human3.6M's as CMU's converters have them, {joint: {joint: weight}}; those not
# listed have the same name, and the spine's own place is dropped. `thorax` lies above the line of
# the shoulders, `head` between the eyes, which are below and in front of the top of the head: that
# lies further up along the trunk and back towards the thorax.
TO_MPI15 = {'neck': {'left_shoulder': 0.5, 'right_shoulder': 0.5},
            'head_top': {'head': 0.7, 'thorax': 0.7, 'spine': -0.4}}



def load(split, *, root, size=(384, 256), every=15, views=1, seed=0, visibility='set'):
  """Pictures of the takes of 'train', 'val' or 'all'; about a fifth of the takes, by seed, is val.

  root: folder with index.json. size: (W, H) in pixels. every: frames from one picture to the next,
  of 60 in a second. views: pictures of a frame, by different cameras. seed: of split, cameras,
  looks. visibility: 'set' is exact; 'proxy' for the ray test. Frames with marker swaps are left
  out, and counted in the notes, as is how far the drawn joints lie from the recorded ones.

  Raises UserError, one line, for options that cannot be and for a folder without scenes of two.
  """
  size = tuple(map(int, size))
  if every < 1 or views < 1 or len(size) != 2 or min(size) < 32:
    raise UserError(f'cmu_pairs: every={every} and views={views} must be 1 or more, size={size} '
                    '(width, height) of 32 pixels or more')
  takes = _takes(split, root, seed)
  valid = [np.logical_and.reduce([s.valid for s in take])[::every] for take in takes]
  keys = np.array([(zlib.crc32(take[0].name.encode()), frame, view)
                   for take, good in zip(takes, valid, strict=True)
                   for frame in np.flatnonzero(good) * every for view in range(views)])
  joints = np.repeat(np.concatenate([
    np.stack([s.keypoints_3d[::every][good] for s in take], 1)
    for take, good in zip(takes, valid, strict=True)]), views, 0)
  names = np.repeat([take[0].take for take in takes], [views * good.sum() for good in valid])
  drawn = Drawn(keys, joints, size, int(seed))
  found = [_picture(drawn, row, str(names[row])) for row in range(len(keys))]
  left_out = sum(int((~good).sum()) for good in valid)
  notes = (f'{counted(left_out, "frame")} left out (marker swaps in the recording)',) * bool(
    left_out)
  return picture.gather('cmu_pairs', split, found, drawn.read, visibility=visibility,
                        notes=(*notes, _distances(drawn)))


@dataclasses.dataclass(frozen=True)
class Drawn:
  """Draws pictures of recorded people. keys: (R,3) whole numbers, of take, frame and view. joints:
  (R,2,17,3) mm, y up. size: (W, H)."""
  keys: np.ndarray
  joints: np.ndarray
  size: tuple[int, int]
  seed: int

  def bodies(self, row) -> bodies.Bodies:
    """The two people as they are built for this take, in the frame of the recording."""
    builds = bodies.draw_builds(np.random.default_rng([self.seed, int(self.keys[row, 0])]), 2)
    return fitted.on_joints(builds, self.joints[row])

  def scene(self, row) -> scenes.Scene:
    rng = np.random.default_rng([self.seed, *self.keys[row].tolist()])
    return scenes.of_bodies(rng, self.bodies(row), self.size)

  def read(self, row) -> np.ndarray:
    def draw():
      scene = self.scene(row)
      return painting.paint(scene, rendering.cast(scene.solids, scene.camera, self.size), self.size)

    return kept.picture(('pairs', self.seed, self.size, *self.keys[row].tolist()), draw)


def _takes(split, root, seed):
  """[(sequence, its partner)] of this side."""
  found = cmu_mocap.load('all', root, cameras=1)
  pairs = [(s, found.by_name[s.partners[0]]) for s in found.sequences
           if s.partners and s.name < s.partners[0]]
  if len(pairs) < 2:
    raise UserError(f"'{os.path.join(root, 'index.json')}' has {len(pairs)} scenes of two people "
                    '(partner), and needs 2: one to train on, one held out')
  if split not in ('train', 'val', 'all'):
    raise UserError(f"a split of cmu_pairs is train, val or all, not '{split}'")
  order = sorted(pairs, key=lambda pair: zlib.crc32(f'{seed} {pair[0].name}'.encode()))
  held_out = {pair[0].name for pair in order[:max(1, round(_VAL * len(pairs)))]}
  return [pair for pair in pairs
          if split == 'all' or (pair[0].name in held_out) == (split == 'val')]


def _picture(drawn, row, take):
  scene = drawn.scene(row)
  true = truth.of(scene, drawn.size, truth.OF_MPI15)
  there = true.visibility.any(1)
  return picture.Picture(
    f'cmu_pairs/{take}/{drawn.keys[row, 1]:05d}_{drawn.keys[row, 2]}', drawn.size,
    true.keypoints[there], true.keypoints_3d[there] / 10, true.visibility[there],
    np.concatenate([scene.camera.focal, scene.camera.center]), take=take, activity='dancing')


def weights() -> np.ndarray:
  """(15,17) weights of Human3.6M's joints in MPI15's, by `TO_MPI15`; rows sum to 1."""
  out = np.zeros((picture.JOINTS, H36M.num_keypoints))
  for row, name in zip(out, picture.SKELETON.names, strict=True):
    for part, weight in TO_MPI15.get(name, {name: 1}).items():
      row[H36M.index(part)] = weight
  return out


def _distances(drawn):
  """A line: how far drawn joints lie from recorded ones, by `TO_MPI15`, mean of some pictures."""
  rows = np.unique(np.linspace(0, len(drawn.keys) - 1, 50).astype(int))
  body = [drawn.bodies(row) for row in rows]
  away = np.mean([np.linalg.norm(truth.OF_MPI15.places(b) - weights() @ j, axis=-1).mean(0)
                  for b, j in zip(body, drawn.joints[rows], strict=True)], 0)
  names = 'hip', 'neck', 'head_top'
  middle = [picture.SKELETON.index(name) for name in names]
  return ('drawn joints lie beside the recorded ones, and are the truth: '
          + ', '.join(f'{name} by {away[i]:.0f} mm' for name, i in zip(names, middle, strict=True))
          + f', limbs by {np.delete(away, middle).max():.0f} mm')
