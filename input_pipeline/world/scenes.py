"""Scenes: who stands where and does what, seen by which camera, among which things.

A scene is geometry only and is cheap; nothing is drawn here.
"""
import zlib
from typing import NamedTuple

import numpy as np

from input_pipeline.world import bodies, poses, surroundings
from input_pipeline.world.rendering import Camera, Solids

_STANDING = 1650  # mm, of whom the shares of the picture's height are meant
_SHARE = 0.45, 0.9
_OUTDOORS = 30_000  # mm to the open view
_NEAREST = 1200  # mm from the camera to a thing
_TAPER = 0.97  # of a capsule's second ball: of two capsules that share a ball, one lies in front
CAPSULES = len(bodies.ENDS)  # of a person
_FACING_SHARE = 0.4  # of people who turn to the camera more or less


class Scene(NamedTuple):
  """P people and their surroundings in the camera's frame: x right, y down, z forward, mm.

  radii (P,B), origins (P,S,3), turns (P,S,3,3), centers (P,B,3): of balls and segments.
  solids: CAPSULES of each person, then the things. stand (P,B,3): centers in the world.
  pose (P,24) degrees; style (P,) numbers of `poses.STYLES`. wall: mm. rng: goes on to draw looks.
  """
  camera: Camera
  centers: np.ndarray
  radii: np.ndarray
  origins: np.ndarray
  turns: np.ndarray
  solids: Solids
  things: surroundings.Things
  stand: np.ndarray
  pose: np.ndarray
  style: np.ndarray
  wall: float
  rng: np.random.Generator


def draw(seed, split, picture, size, people, activities) -> Scene:
  """The scene of a picture; the same for the same arguments."""
  rng = np.random.default_rng([seed, zlib.crc32(split.encode()), picture])
  count = int(rng.integers(people[0], people[1] + 1))
  style, partner = poses.draw_styles(rng, count, activities)
  mirror = np.where(partner >= 0, True, rng.random(count) < 0.5)
  mirror[partner[partner >= 0]] = False  # the leading sides of a pair meet
  pose = poses.draw(rng, style, mirror)
  yaw = np.where(rng.random(count) < _FACING_SHARE, rng.uniform(-60, 60, count),
                 rng.uniform(-180, 180, count))
  focal = rng.uniform(1.2, 2.6) * max(size)
  away, aside = _spots(rng, style, partner, focal, size)
  for i in np.flatnonzero(partner >= 0):
    _join(rng, style[i], partner[i], i, yaw, away, aside)
  body = bodies.build(rng, pose, yaw)
  stand = _stand(rng, body, style, away, aside)
  return _surrounded(rng, body, stand, style, yaw, pose, focal, size)


def of_bodies(rng, body: bodies.Bodies, size) -> Scene:
  """The scene of people who are where they are to each other, seen from any side.

  body: in the world, y up; the lowest ball of all of them is put on the floor. style and pose of
  the scene are those of people who stand.
  """
  focal = rng.uniform(1.2, 2.6) * max(size)
  away = focal * _STANDING / (rng.uniform(*_SHARE) * size[1])
  aside = rng.uniform(-0.1, 0.1) * size[0] / focal * away
  turn = bodies.rotations(np.array([0, rng.uniform(-np.pi, np.pi), 0]))
  centers, origins = body.centers @ turn.T, body.origins @ turn.T
  hips = centers[:, bodies.BALL['pelvis']]
  low = (centers[..., 1] - body.radii).min()
  stand = hips * (1, 0, 1)
  body = bodies.Bodies(centers - stand[:, None], body.radii, origins - stand[:, None],
                       turn @ body.turns)
  stand += np.array([aside, -low, -away]) - hips.mean(0) * (1, 0, 1)
  style, yaw = np.zeros(len(hips), int), np.zeros(len(hips))
  return _surrounded(rng, body, stand, style, yaw, np.zeros((len(hips), len(poses.ANGLES))), focal,
                     size)


def _surrounded(rng, body, stand, style, yaw, pose, focal, size):
  """People with a camera, a wall and things around them."""
  away = -stand[:, 2]
  camera = _camera(rng, body.centers[..., 1] + stand[:, None, 1], away, focal, size)
  wall = _OUTDOORS if rng.random() < 0.25 else away.max() + rng.uniform(800, 5000)
  things = _things(rng, camera, body, stand, style, yaw, wall, size)
  return _seen(camera, body, stand, things, pose, style, wall, rng)


def _spots(rng, style, partner, focal, size):
  """Distances from the camera and places to its right, (P,) mm, no two people in one place."""
  count = len(style)
  share = rng.uniform(*_SHARE, count) * np.where(poses.IS_LYING[style], 0.75, 1)
  away = focal * _STANDING / (share * size[1])
  last = 0.0
  for i in np.argsort(away):
    if partner[i] < 0:
      away[i] = last = max(away[i], last)
      last += 950 if poses.IS_LYING[style[i]] or i in partner else 480
  column = (rng.permutation(count) + rng.uniform(0.1, 0.9, count)) / count - 0.5
  # Some pictures are crowds that stand behind one another, some are rows side by side.
  aside = column * rng.uniform(0.2, 0.9) + rng.uniform(-0.1, 0.1)
  return away, aside * size[0] / focal * away


def _join(rng, style, first, second, yaw, away, aside):
  """Moves and turns the second of a pair to the first, in place."""
  distance, bearing, turn, spread = poses.PAIRS[poses.pair_of(style)]
  angle = np.radians(yaw[first] + bearing + rng.uniform(-spread, spread))
  distance *= rng.uniform(0.92, 1.12)
  nearer, right = distance * np.cos(angle) / 2, distance * np.sin(angle) / 2
  away[[first, second]] = away[first] + (nearer, -nearer)
  aside[[first, second]] = aside[first] + (-right, right)
  yaw[second] = yaw[first] + turn + rng.uniform(-spread, spread)


def _stand(rng, body, style, away, aside):
  """(P,3) mm: where the bodies' roots are, so that the lowest ball touches the floor."""
  lift = np.where(poses.IS_JUMPING[style], rng.uniform(80, 480, len(style)), 0)
  low = (body.centers[..., 1] - body.radii).min(1)
  return np.stack([aside, lift - low, -away], -1)


def _camera(rng, heights, away, focal, size):
  """A camera that has the people in the middle, with every fifth picture aimed badly."""
  height = rng.uniform(650, 2100)
  middle = (heights.min(1) + heights.max(1)) / 2
  miss = rng.uniform(-0.3, 0.3) if rng.random() < 0.2 else rng.uniform(-0.04, 0.04)
  pitch = np.arctan2(height - middle, away).mean() + miss * size[1] / focal
  roll = np.radians(rng.normal(0, 2))
  (s, c), (sr, cr) = ((np.sin(a), np.cos(a)) for a in (pitch, roll))
  down = np.array([[1, 0, 0], [0, -c, s], [0, -s, -c]])  # from y up and z back, then bent down
  turn = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]]) @ down
  return Camera(np.array([focal, focal]), (np.array(size) - 1) / 2, turn, height)


def _things(rng, camera, body, stand, style, yaw, wall, size):
  """Things in front of people, stools under them and clutter behind."""
  away, aside = -stand[:, 2], stand[:, 0]
  front, behind = int(rng.integers(5) * 0.6), int(rng.integers(1, 6))
  whom = rng.integers(len(away), size=front)
  near = np.maximum(away[whom] - rng.uniform(400, 1100, front), _NEAREST)
  shift = rng.uniform(-400, 400, front)
  far = np.minimum(away.max() + rng.uniform(500, 3500, behind), wall - 300)
  across = rng.uniform(-0.6, 0.6, behind) * size[0] / camera.focal[0] * far
  z = np.append(near, far)
  x = np.append((aside[whom] + shift) * near / away[whom], across)
  is_free = (np.hypot(x[:, None] - aside, z[:, None] - away) > 620).all(1)
  is_front = np.arange(len(z)) < front
  spots = np.stack([x, -z], -1)[is_free]
  seats = []
  hips = body.centers[:, bodies.BALL['pelvis']] + stand
  for p in np.flatnonzero(np.array(poses.STYLES)[style] == 'sitting'):
    height = (body.centers[p, _SEAT, 1] - body.radii[p, _SEAT]).min() + stand[p, 1]
    if height > 150:
      back = 60 * np.array([np.sin(np.radians(yaw[p])), np.cos(np.radians(yaw[p]))])
      seats.append((*(hips[p, [0, 2]] - back), height + 15, yaw[p]))
  return surroundings.place(rng, spots, is_front[is_free], seats)


_SEAT = [bodies.BALL[name] for name in ('left_hip', 'right_hip', 'pelvis')]


def _seen(camera, body, stand, things, pose, style, wall, rng):
  """Everything in the camera's frame."""
  world = body.centers + stand[:, None]
  centers = camera.look(world)
  ends = centers[:, bodies.ENDS].reshape(-1, 2, 3)
  radii = (body.radii[:, bodies.ENDS] * (1, _TAPER)).reshape(-1, 2)
  solids = Solids(np.concatenate([ends, camera.look(things.ends)]),
                  np.concatenate([radii, things.radii]), camera.look(things.middle), things.half,
                  things.axes @ camera.turn.T)
  return Scene(camera, centers, body.radii, camera.look(body.origins + stand[:, None]),
               camera.turn @ body.turns, solids, things, world, pose, style, wall, rng)
