"""People of the embedded world who hide each other in whole pictures: exact 3D without any file."""
import re

import numpy as np

from dslope_jax.errors import UserError
from input_pipeline.pictures import picture
from input_pipeline.sources import synthetic as drawn
from input_pipeline.world import poses, truth


def load(split, *, count=2000, size=(384, 256), seed=0, people='1-4', activities=(),
         visibility='set'):
  """Pictures of an endless rendered world; splits and seeds differ in all of them.

  count: how many. size: (W, H) in pixels. people: in a picture, '3' or '1-4'. activities: of
  `poses.ACTIVITIES`, what people do; empty for all. seed: of the world.
  visibility: 'set' is exact; 'proxy' for the ray test, see `picture.gather`.

  A picture is a function of seed, split, its number and the options; it is drawn when it is read.
  Joints are those of MPI15: limbs as in the world; neck between the shoulders, hip between the
  hips, head_top on the skull. A joint is visible where the ray to it first meets the part of the
  body that it belongs to. Who is outside the picture with all joints is left out.

  Raises UserError, one line naming the option and what it must be.
  """
  fewest, most = _people(people)
  activities = (activities,) if isinstance(activities, str) else tuple(activities)
  size = tuple(map(int, size))
  _check(count, size, activities)
  numbers = np.stack([np.arange(count), np.zeros(count, int)], 1)  # picture, person
  world = drawn.World(int(seed), split, size, (fewest, most), activities, numbers)
  found = [_picture(world, number) for number in range(count)]
  return picture.gather('synthetic', split, found, world.read, visibility=visibility)


def _picture(world, number):
  scene = world.scene(number)
  true = truth.of(scene, world.size, truth.OF_MPI15)
  there = true.visibility.any(1)
  return picture.Picture(
    f'synthetic/{world.split}/{number:06d}', world.size, true.keypoints[there],
    true.keypoints_3d[there] / 10, true.visibility[there],
    np.concatenate([scene.camera.focal, scene.camera.center]), take=f'{number:06d}',
    activity=poses.STYLES[scene.style[0]])


def _people(text):
  """(fewest, most) of '3' or '1-4'."""
  found = re.fullmatch(r'(\d+)(?:-(\d+))?', str(text))
  fewest, most = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
  if not 1 <= fewest <= most <= 20:
    raise UserError(f"synthetic: people is {text!r}, must be such as '3' or '1-4', of 1 to 20")
  return fewest, most


def _check(count, size, activities):
  if count < 1:
    raise UserError(f'synthetic: count is {count}, must be at least 1')
  if len(size) != 2 or min(size) < 32:
    raise UserError(f'synthetic: size is {size}, must be (width, height), 32 pixels or more')
  if not set(activities) <= set(poses.ACTIVITIES):
    raise UserError(f'synthetic: activities is {activities}, must be names out of '
                    f'{", ".join(poses.ACTIVITIES)}')
