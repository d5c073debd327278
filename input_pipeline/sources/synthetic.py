"""People rendered without any file: an embedded 3D world with exact ground truth.

Bodies are ray-cast capsules that hide each other, themselves and are hidden by things; a joint is
visible where the ray to it first meets a capsule of its own. Needs no drawing to be known.
"""
import dataclasses
from typing import NamedTuple

import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.skeletons import COCO
from input_pipeline.geometry import box_to_center_scale
from input_pipeline.sources.source import Source
from input_pipeline.world import bodies, kept, painting, poses, rendering, scenes, truth

_MIN_LABELLED, _MIN_VISIBLE = 6, 3  # joints a person needs to be a row; others are only drawn
PART_NAMES = bodies.PARTS  # part ids are places in this


class Picture(NamedTuple):
  """A picture of H x W pixels and all that is true of its P people and their K joints.

  image (H,W,3) uint8 RGB. keypoints, visibility, box, keypoints_3d, order: see `truth.Truth`.
  focal (2,), center (2,): px; pixel (u, v) has its centre at (u, v). instances (H,W): person or -1.
  parts (H,W): place in PART_NAMES or -1. depth (H,W) mm of what is nearest, inf where only floor
  and wall are. pose (P,24) degrees, named by `poses.ANGLES`. activity: P names.
  """
  image: np.ndarray
  keypoints: np.ndarray
  visibility: np.ndarray
  box: np.ndarray
  keypoints_3d: np.ndarray
  focal: np.ndarray
  center: np.ndarray
  instances: np.ndarray
  parts: np.ndarray
  depth: np.ndarray
  order: np.ndarray
  pose: np.ndarray
  activity: tuple[str, ...]


def _persons(ids, scene):
  """The person that each solid id belongs to, -1 for things and for none."""
  return np.where(ids < len(scene.radii) * scenes.CAPSULES, ids // scenes.CAPSULES, -1)


def _parts(ids, scene):
  """The part of the body that each solid id shows, -1 for things and for none."""
  return np.where(_persons(ids, scene) >= 0, bodies.PART[ids % scenes.CAPSULES], -1)


@dataclasses.dataclass(frozen=True)
class World:
  """Draws the pictures and the masks of rows; small, so that it travels to data workers.

  size: (W, H). people: fewest and most. activities: of `poses.ACTIVITIES`; empty for all. rows:
  (N,2) picture number and person.
  """
  seed: int
  split: str
  size: tuple[int, int]
  people: tuple[int, int] = (1, 4)
  activities: tuple[str, ...] = ()
  rows: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 2), np.int64))

  def scene(self, number) -> scenes.Scene:
    return scenes.draw(self.seed, self.split, int(number), self.size, self.people,
                       self.activities)

  def picture(self, number) -> Picture:
    """The picture of that number (from 0 on) with its whole truth."""
    scene = self.scene(number)
    view = rendering.cast(scene.solids, scene.camera, self.size)
    true = truth.of(scene, self.size, truth.OF_COCO)
    return Picture(
      image=painting.paint(scene, view, self.size), focal=scene.camera.focal,
      center=scene.camera.center, instances=_persons(view.ids, scene),
      parts=_parts(view.ids, scene), depth=view.depth,
      pose=scene.pose, activity=tuple(poses.STYLES[s] for s in scene.style), **true._asdict())

  def read(self, row) -> np.ndarray:
    number = int(self.rows[row, 0])

    def draw():
      scene = self.scene(number)
      return painting.paint(scene, rendering.cast(scene.solids, scene.camera, self.size), self.size)

    return kept.picture(('people', self.seed, self.split, self.size, self.people, self.activities,
                         number), draw)

  def mask(self, row) -> np.ndarray:
    return self._own_parts(row) >= 0

  def parts(self, row) -> dict[str, np.ndarray]:
    shown = self._own_parts(row)
    return {PART_NAMES[i]: shown == i for i in np.unique(shown[shown >= 0])}

  def _own_parts(self, row):
    """(H,W) part ids of the row's person, -1 elsewhere."""
    number, person = self.rows[row]
    scene = self.scene(number)
    ids = rendering.cast(scene.solids, scene.camera, self.size).ids
    return np.where(_persons(ids, scene) == person, _parts(ids, scene), -1)


def load(split, *, num_people=2000, size=(160, 192), seed=0, people=(1, 4), aspect=0.75,
         activities=()) -> Source:
  """People of an endless rendered world; splits differ in all pictures.

  num_people: how many, one a row. size: (W, H) of each picture in pixels. people: fewest and most
  persons in a picture. aspect: width / height of the crops. activities: of `poses.ACTIVITIES`, what
  people do; empty for all. seed: of the world.

  A picture is a function of seed, split, its number and the options; only geometry is computed
  here, pictures are rendered when read.

  Raises UserError, one line naming the option and what it must be.
  """
  if isinstance(activities, str):
    activities = (activities,)
  size, people, activities = tuple(map(int, size)), tuple(map(int, people)), tuple(activities)
  _check(num_people, size, people, activities)
  world = World(int(seed), split, size, people, activities)
  rows, columns, number = [], [], 0
  while len(rows) < num_people:
    scene = world.scene(number)
    true = truth.of(scene, size, truth.OF_COCO)
    seen = true.visibility
    labelled = np.flatnonzero(((seen > 0).sum(1) >= _MIN_LABELLED)
                              & ((seen == 2).sum(1) >= _MIN_VISIBLE))
    camera = np.concatenate([scene.camera.focal, scene.camera.center])
    rows += [(number, person) for person in labelled]
    columns += [(true.keypoints[p], seen[p], true.box[p], true.keypoints_3d[p], camera)
                for p in labelled]
    number += 1
  world = dataclasses.replace(world, rows=np.array(rows[:num_people], np.int64))
  return _source(world, aspect, *(np.array(x) for x in zip(*columns[:num_people], strict=True)))


def _check(num_people, size, people, activities):
  if num_people < 1:
    raise UserError(f'synthetic: num_people is {num_people}, must be at least 1')
  if len(people) != 2 or not 1 <= people[0] <= people[1]:
    raise UserError(f'synthetic: people is {people}, must be (fewest, most), 1 <= fewest <= most')
  if len(size) != 2 or min(size) < 32:
    raise UserError(f'synthetic: size is {size}, must be (width, height), 32 pixels or more')
  if not set(activities) <= set(poses.ACTIVITIES):
    raise UserError(f'synthetic: activities is {activities}, must be names out of '
                    f'{", ".join(poses.ACTIVITIES)}')


def _source(world, aspect, points, visibility, box, points_3d, camera):
  pictures = world.rows[:, 0]
  points = np.where(visibility[..., None] > 0, points, 0).astype(np.float32)
  center, scale = box_to_center_scale(box.T, aspect)
  source = Source(
    name='synthetic', split=world.split, skeleton=COCO, image_id=pictures + 1,
    annotation_id=np.arange(1, len(box) + 1, dtype=np.int64),
    file=np.array([f'synthetic/{world.split}/{picture:06d}' for picture in pictures]),
    box=box.astype(np.float32), center=center, scale=scale, keypoints=points,
    visibility=visibility, box_score=np.ones(len(box), np.float32),
    keypoints_3d=points_3d.astype(np.float32), camera=camera.astype(np.float32),
    read=world.read, mask=world.mask, parts=world.parts)
  annotations = source.as_coco()
  for picture in annotations['images']:
    picture |= {'width': world.size[0], 'height': world.size[1]}
  return dataclasses.replace(source, ground_truth=annotations)
