"""What is around the people: floor, wall and their clutter, and things that stand about.

World frame: x right, y up, z towards the viewer, mm; the floor is y = 0 and the camera looks
against z. Things are solids and hide people as people hide each other.
"""
from typing import NamedTuple

import cv2
import numpy as np

from input_pipeline.world.bodies import rotations


class Things(NamedTuple):
  """Solids in the world and their looks, capsules first.

  ends (C,2,3), radii (C,2); middle, half (M,3), axes (M,3,3): mm. color (C+M,3): 0 to 255.
  wave (C+M,3): a stripe pattern in space, radians per mm, zero where plain.
  foot (T,3): x, z and radius of the things' shadows.
  """
  ends: np.ndarray
  radii: np.ndarray
  middle: np.ndarray
  half: np.ndarray
  axes: np.ndarray
  color: np.ndarray
  wave: np.ndarray
  foot: np.ndarray


def muted(rng, shape, saturation):
  """shape + (3,) random colours, 0 to 255, of all saturations up to one."""
  color = rng.uniform(12, 244, (*shape, 3))
  saturation = saturation * rng.uniform(0.1, 1, (*shape, 1))
  gray = color.mean(-1, keepdims=True)
  return gray + saturation * (color - gray)


# A thing is rows of capsules (start, end, radius, radius, tone) and of boxes (middle, size, tone),
# around the spot where it stands; tone 0 or 1: which of its two colours. u: numbers from 0 to 1.
def _pole(u):
  r = 25 + 60 * u[0]
  return [((0, 0, 0), (0, 3200, 0), r, r, 0)], []


def _bollard(u):
  r, h = 80 + 90 * u[0], 450 + 550 * u[1]
  return [((0, r, 0), (0, h, 0), r, r * (0.6 + 0.4 * u[2]), 0)], []


def _ball(u):
  r = 110 + 250 * u[0]
  return [((0, r, 0), (0, r, 0), r, r, 0)], []


def _railing(u):
  h, w = 780 + 300 * u[0], 500 + 700 * u[1]
  rails = [((-w, y, 0), (w, y, 0), 28, 28, 0) for y in (h, 0.5 * h)[:1 + int(2 * u[2])]]
  return rails + [((x, 0, 0), (x, h, 0), 28, 28, 1) for x in (-w, w)], []


def _plant(u):
  h = 220 + 200 * u[0]
  out = []
  for i in range(11):
    a, up = 2.4 * i + 6 * u[1], 0.35 + 0.65 * u[2 + i]
    reach = 420 * np.sqrt(1 - 0.8 * up ** 2)
    tip = (reach * np.cos(a), h + (500 + 700 * u[13]) * up, reach * np.sin(a))
    out.append(((0, h, 0), tip, 18, 55, 0))
  return out, [((0, h / 2, 0), (300, h, 300), 1)]


def _crate(u):
  size = 300 + 500 * u[0], 250 + 750 * u[1], 300 + 300 * u[2]
  return [], [((0, size[1] / 2, 0), size, 0)]


def _crates(u):
  one, two = (500 + 300 * u[0], 350, 450), (350, 250 + 200 * u[1], 350)
  return [], [((0, 175, 0), one, 0), ((60 * u[2], 350 + two[1] / 2, 0), two, 1)]


def _table(u):
  h, w, d = 700 + 80 * u[0], 400 + 350 * u[1], 300 + 100 * u[2]
  legs = [((x, 0, z), (x, h, z), 26, 26, 1) for x in (0.9 * w, -0.9 * w)
          for z in (0.85 * d, -0.85 * d)]
  return legs, [((0, h, 0), (2 * w, 45, 2 * d), 0)]


def _shelf(u):
  w, h = 350 + 350 * u[0], 1300 + 900 * u[1]
  boards = [((0, y * h, 40), (2 * w, 40, 330), 1) for y in (0.2, 0.4, 0.6, 0.8, 0.99)]
  return [], [((0, h / 2, -120), (2 * w, h, 40), 0), *boards]


_KINDS = (_crate, _pole, _plant, _railing, _bollard, _ball, _table, _crates, _shelf)
_FOOT = np.array([380, 80, 260, 0, 190, 230, 0, 420, 400])  # mm, radius of the shadow of a kind
_FRONT = 8  # a shelf in front would hide everything
_GREEN = np.array([70, 115, 55])


def place(rng, spots, is_front, seats) -> Things:
  """Things at spots (T,2) x and z, and stools (S,4): x, z, height and turn in degrees."""
  count = len(spots)
  kind = np.where(is_front, rng.integers(_FRONT, size=count), rng.integers(len(_KINDS), size=count))
  numbers, yaw = rng.random((count, 14)), rng.uniform(-40, 40, count)
  tones = muted(rng, (count + len(seats), 2), 0.6)
  wave = rng.normal(0, 0.02, (count + len(seats), 3)) * (rng.random((count + len(seats), 1)) < 0.4)
  capsules, boxes = [], []
  for t, ((x, z), k) in enumerate(zip(spots, kind.tolist(), strict=True)):
    if _KINDS[k] is _plant:
      tones[t, 0] = _GREEN * (0.6 + numbers[t, 1])
    rows, more = _KINDS[k](numbers[t].tolist())
    turn = 0.0 if _KINDS[k] is _plant else yaw[t]
    capsules += [(t, x, z, turn, *a, *b, *rest) for a, b, *rest in rows]
    boxes += [(t, x, z, turn, *middle, *size, tone) for middle, size, tone in more]
  boxes += [(count + s, x, z, turn, 0, height / 2, 0, 360, height, 360, 0)
            for s, (x, z, height, turn) in enumerate(seats)]
  foot = np.array([(x, z, r) for (x, z), r in zip(spots, _FOOT[kind], strict=True)]
                  + [(x, z, 280) for x, z, *_ in seats], np.float64).reshape(-1, 3)
  c = np.array(capsules, np.float64).reshape(-1, 13)
  b = np.array(boxes, np.float64).reshape(-1, 11)
  thing = np.concatenate([c[:, 0], b[:, 0]]).astype(int)
  tone = np.concatenate([c[:, 12], b[:, 10]]).astype(int)
  turns, box_turns = _turns(c[:, 3]), _turns(b[:, 3])
  ends = (c[:, 4:10].reshape(-1, 2, 3) @ np.swapaxes(turns, 1, 2)) + _ground(c)[:, None]
  middle = (box_turns @ b[:, 4:7, None])[..., 0] + _ground(b)
  return Things(ends, c[:, 10:12], middle, b[:, 7:10] / 2, np.swapaxes(box_turns, 1, 2),
                tones[thing, tone], wave[thing], foot)


def _turns(degrees):
  angles = np.zeros((len(degrees), 3))
  angles[:, 1] = np.radians(degrees)
  return rotations(angles)


def _ground(rows):
  return np.stack([rows[:, 1], np.zeros(len(rows)), rows[:, 2]], -1)


def paint(rng, camera, size, wall, stand, things):
  """(H,W,3) float32: floor, and a wall or an open view at a distance of `wall` mm.

  stand: (P,B,3) mm in the world, bodies; they and the things cast shadows on the floor.
  """
  x, y = camera.rays(size)
  turn = camera.turn.astype(np.float32)
  right, up, back = (turn[0, i] * x + turn[1, i] * y + turn[2, i] for i in range(3))
  to_floor = camera.height / np.maximum(-up, 1e-4)
  to_wall = wall / np.maximum(-back, 1e-3)
  is_floor = to_floor < to_wall
  reach = np.minimum(to_floor, to_wall)
  across = right * reach
  along = np.where(is_floor, -back * reach, camera.height + up * reach)
  share = np.empty_like(x)
  tones = 25 + 0.9 * muted(rng, (2, 2), 0.5)
  tones[:, 1] = tones[:, 0] + rng.uniform(0.15, 0.6, (2, 1)) * (tones[:, 1] - tones[:, 0])
  grain = np.where(is_floor, reach * reach / camera.height, reach) / camera.focal[0]
  for area in (is_floor, ~is_floor):
    share[area] = _pattern(rng, across[area], along[area], grain[area])
  image = cv2.merge([np.where(is_floor, *(one + share * (two - one) for one, two in plane))
                     for plane in tones.transpose(2, 0, 1).astype(np.float32)])
  _hang(rng, image, camera, wall)
  gain = cv2.resize(rng.uniform(0.72, 1.2, (5, 4)).astype(np.float32), size,
                    interpolation=cv2.INTER_CUBIC)
  gain *= _shadows(camera, size, stand, things.foot)
  grain = rng.standard_normal((size[1] // 2 + 1, size[0] // 2 + 1), np.float32)
  grain = cv2.resize(grain, size) * np.float32(rng.uniform(2, 9))
  image *= cv2.merge([gain] * 3)
  image += cv2.merge([grain] * 3)
  return image


def _pattern(rng, u, v, grain):
  """(N,) 0 to 1: bands, tiles, bricks, planks or a slow blend of two colours, by place in mm.

  grain (N,): mm that a pixel covers; where it is coarse, a pattern fades, as it does for a lens.
  """
  kind, scale = rng.integers(5), np.float32(rng.uniform(120, 480))
  fade = np.clip(1.5 - 4 * grain / scale, 0, 1)
  return 0.5 + fade * (_tile(rng, kind, u / scale, v / scale) - np.float32(0.5))


def _tile(rng, kind, u, v):
  """(N,) 0 to 1: a pattern whose step is 1."""
  if kind == 0:
    return u - np.floor(u) < rng.uniform(0.15, 0.5)
  if kind == 1:
    half = (np.floor(u) + np.floor(v)) * np.float32(0.5)
    return 2 * (half - np.floor(half))
  if kind == 2:
    v = 2 * v
    row = np.floor(v)
    u = u + np.float32(0.5) * row
    return (v - row < 0.14) | (u - np.floor(u) < 0.07)
  if kind == 3:
    plank = np.floor(np.float32(1.7) * v) * np.float32(0.37)
    return plank - np.floor(plank)
  return 0.5 + 0.5 * np.sin(0.5 * v + 0.33 * u)


def _hang(rng, image, camera, wall):
  """Windows, pictures, doors and shelves of books on the wall, and a few blots; in place."""
  count = int(rng.integers(1, 6))
  width = wall / camera.focal[0] * image.shape[1]
  where = rng.uniform((-0.5 * width, 200), (0.5 * width, 2300), (count, 2))
  extent = rng.uniform(150, 700, (count, 2))
  rows = []
  for kind, (x, y), (w, h), tone in zip(rng.integers(4, size=count), where, extent,
                                        muted(rng, (count, 2), 0.6), strict=True):
    y, h = (1000, 1000) if kind == 0 else (y, h)  # a door
    rows += [(x, y, w, h, *tone[0]), (x, y, 0.8 * w, 0.85 * h, *tone[1])]
    if kind == 1:
      books = muted(rng, (9,), 0.8)
      rows += [(x + w * (0.2 * i - 0.8), y - 0.2 * h, 0.08 * w, h * (0.3 + 0.08 * (5 * i % 4)),
                *book) for i, book in enumerate(books)]
  rows = np.array(rows)
  corners = rows[:, None, :2] + rows[:, None, 2:4] * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
  corners = np.concatenate([corners, np.full((*corners.shape[:2], 1), -wall)], -1)
  corners = np.round(np.clip(camera.project(camera.look(corners)), -999, 9999) * 16)
  for polygon, color in zip(corners.astype(np.int32), rows[:, 4:].tolist(), strict=True):
    cv2.fillConvexPoly(image, polygon, color, cv2.LINE_AA, 4)


def _shadows(camera, size, stand, foot):
  """(H,W) brightness of the floor under bodies (P,B,3) and things (T,3) in the world."""
  middle, spread = stand.mean(1), 1.9 * stand.std(1) + 60
  x, z = np.concatenate([middle[:, [0, 2]], foot[:, :2]]).T
  wide, deep = np.concatenate([spread[:, [0, 2]], foot[:, [2, 2]]]).T[..., None]
  rim = np.stack([x[:, None] + wide * _CIRCLE[0], np.zeros((len(x), _CIRCLE.shape[1])),
                  z[:, None] + deep * _CIRCLE[1]], -1)
  rim = camera.look(rim)
  ahead = rim[..., 2].min(1) > 200
  polygons = np.round(np.clip(camera.project(rim[ahead]), -999, 9999) * 16).astype(np.int32)
  mask = np.zeros(size[::-1], np.float32)
  for polygon in polygons:
    cv2.fillConvexPoly(mask, polygon, 1.0, cv2.LINE_AA, 4)
  return 1 - 0.5 * cv2.GaussianBlur(mask, (7, 7), 2.0)


_CIRCLE = np.stack([f(np.linspace(0, 2 * np.pi, 20)[:-1]) for f in (np.cos, np.sin)])
