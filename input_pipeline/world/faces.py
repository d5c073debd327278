"""Drawn faces with 68 points: a head of 3D landmarks, turned, projected and painted in flat layers.

Lengths are in distances between the eyes, in the frame of the head: x to the picture's right, y
down, z towards the viewer, the middle of the eyes in the origin.
"""
from typing import NamedTuple

import cv2
import numpy as np

from input_pipeline.world.looks import palette
from input_pipeline.world.surroundings import muted

_OF_MOMENT = np.isin(np.arange(24), (9, 10, 12, *range(15, 21)))  # of the numbers of a face
_SHAPES = 8
_EYES = np.array([(60, 38, 22), (95, 65, 35), (70, 95, 120), (80, 105, 75), (110, 115, 115)])
_TURN = np.array([14, 7, 8])  # degrees, deviation of yaw, pitch and roll
_MOST = np.array([28, 20, 35])
_SHIFT = 4  # bits of a pixel's fraction that OpenCV draws with
_BACK = -0.2  # z of a turned normal below which a point of the jaw is on the far side


class Layer(NamedTuple):
  """A polygon (N,2) in picture pixels, its colour (3,), and whether it hides what is below it."""
  polygon: np.ndarray
  color: np.ndarray
  hides: bool = False


class Face(NamedTuple):
  """keypoints (68,2) px, also outside of the picture; visibility (68,): 0 outside, 1 under hair,
  dark lenses or on the far side of the head, 2 visible; layers, the lowest first."""
  keypoints: np.ndarray
  visibility: np.ndarray
  layers: list


class Identity(NamedTuple):
  """What makes a person: the form of head, eyes, brows, nose and mouth, hair, colours.

  numbers: (24,) 0 to 1; those of `Nuisance` are used in place of the ones that change. shape: (8,)
  -0.5 to 0.5, further differences from the mean head. colors: {what: (3,) 0 to 255}.
  """
  numbers: np.ndarray
  shape: np.ndarray
  colors: dict


class Nuisance(NamedTuple):
  """What differs between pictures of a person: pose, expression, light, glasses, place and size.

  numbers: (24,) 0 to 1, as of `Identity`. turn: (3,3) rotation of the head. unit: distance of the
  eyes, and middle: (2,) of the head, both in pixels.
  """
  numbers: np.ndarray
  turn: np.ndarray
  unit: float
  middle: np.ndarray


def identity(rng) -> Identity:
  """A random person."""
  colors = palette(rng)
  colors['eye'] = _EYES[rng.integers(len(_EYES))] + rng.uniform(-15, 15, 3)
  return Identity(rng.random(24), rng.random(_SHAPES) - 0.5, colors)


def nuisance(rng, size) -> Nuisance:
  """Random conditions of a picture of (W, H) pixels."""
  return Nuisance(rng.random(24), *_place(rng, size))


def _place(rng, size):
  turn = _rotation(*np.radians(np.clip(rng.normal(0, _TURN), -_MOST, _MOST)))
  unit = min(size) * rng.uniform(0.2, 0.28)
  return turn, unit, np.array(size) * (0.5, 0.42) + unit * rng.uniform(-0.35, 0.35, 2)


def mean_points():
  """(68,2) points of the mean face, seen from the front, in distances of the eyes."""
  return _head(np.full(24, 0.4), np.zeros(_SHAPES))[:, :2]


def _head(u, shape):
  """(68,3) points of the head; u, shape: how it differs from the mean, see `Identity`."""
  spread = lambda low, high, k: low + (high - low) * u[k]
  wide, tall = spread(1.0, 1.2, 0), spread(1.6, 1.9, 1)
  s = np.linspace(-1, 1, 17) * np.pi / 2
  jaw = np.stack([wide * np.sin(s) * (1 + 0.35 * shape[0] * np.cos(s)),
                  tall * np.cos(s) ** spread(0.65, 0.95, 2),
                  -0.9 * np.abs(np.sin(s)) ** 1.5 + 0.1], 1)
  x = np.linspace(-0.88, -0.2, 5)
  lift = spread(0.28, 0.45, 3)
  arch = -lift - 0.1 * np.sin(np.linspace(0.2, 2.8, 5)) + 0.35 * shape[1] * (x + 0.54)
  brow = np.stack([x, arch, 0.3 - 0.5 * x * x], 1)
  nose_end = spread(0.55, 0.75, 4)
  y = np.linspace(0.05, nose_end, 4)
  nose = np.stack([0 * y, y, np.linspace(0.25, 0.62, 4)], 1)
  x = np.linspace(-1, 1, 5) * spread(0.2, 0.3, 5)
  nostril = np.stack([x, nose_end + 0.17 - 0.6 * x * x, 0.42 - 2 * x * x], 1)
  lid = spread(0.03, 0.12, 6)
  eye = np.array([(-0.23, 0), (-0.09, -lid), (0.08, -lid), (0.22, 0.01), (0.08, 0.8 * lid),
                  (-0.09, 0.8 * lid)]) * (1 + 0.5 * shape[2])
  eye[:, 1] += 0.4 * shape[3] * eye[:, 0]
  eye = eye - (0.5 + 0.16 * shape[4], 0)
  eye = np.column_stack([eye, 0.2 - 0.3 * eye[:, 0] ** 2])
  return np.concatenate([jaw, brow, _mirrored(brow[::-1]), nose, nostril, eye,
                         _mirrored(eye[[3, 2, 1, 0, 5, 4]]), _mouth(u, nose_end + 0.2 * shape[5])])


def _mouth(u, nose_end):
  """(20,3): upper and lower outline, then upper and lower edge of the opening."""
  half, lips, smile = 0.32 + 0.16 * u[7], 0.07 + 0.07 * u[8], 0.3 * u[9] - 0.1
  opening = 0.3 * max(0.0, u[10] - 0.4)

  def arc(count, y, first=1.0, inner=1.0):
    x = -first * np.linspace(1, -1, count) * half * inner
    bow = 1 - (x / half) ** 2
    return np.stack([x, nose_end + 0.5 + y * bow - smile * (x / half) ** 2, 0.42 - 0.8 * x * x], 1)

  return np.concatenate([arc(7, -lips - opening / 3), arc(7, lips + opening, -1)[1:-1],
                         arc(5, -opening / 3, inner=0.85), arc(5, opening, -1, 0.85)[1:-1]])


def _mirrored(points):
  return points * (-1, 1, 1)


def _rotation(yaw, pitch, roll):
  (cy, cp, cr), (sy, sp, sr) = np.cos((yaw, pitch, roll)), np.sin((yaw, pitch, roll))
  return (np.array([(cr, -sr, 0), (sr, cr, 0), (0, 0, 1)])
          @ np.array([(1, 0, 0), (0, cp, -sp), (0, sp, cp)])
          @ np.array([(cy, 0, sy), (0, 1, 0), (-sy, 0, cy)]))


def face(rng, size) -> Face:
  """A random face on a picture of (W, H) pixels."""
  numbers = rng.random(24)
  how = Nuisance(numbers, *_place(rng, size))
  return draw(Identity(numbers, np.zeros(_SHAPES), palette(rng)), how, size)


def draw(who: Identity, how: Nuisance, size) -> Face:
  """The face of a person under these conditions, on a picture of (W, H) pixels."""
  u = np.where(_OF_MOMENT, how.numbers, who.numbers)
  head = _head(u, who.shape)

  def project(points):
    turned = (np.asarray(points) - (0, 0.4, -0.5)) @ how.turn.T
    return how.middle + how.unit * (turned[:, :2] / (1 - turned[:, 2:] / 12) + (0, 0.4))

  points = project(head)
  layers = _layers(head, points, project, who, u, how.unit)
  s = np.linspace(-1, 1, 17) * np.pi / 2
  normal = np.stack([np.sin(s), 0 * s, 0.6 * np.cos(s)], 1) @ how.turn.T
  hidden = np.append(normal[:, 2] < _BACK, np.zeros(51, bool))
  for layer in layers:
    if layer.hides:
      outline = layer.polygon.astype(np.float32)
      hidden |= [cv2.pointPolygonTest(outline, tuple(p), False) >= 0 for p in points.tolist()]
  inside = ((points >= 0) & (points <= np.array(size) - 1)).all(1)
  return Face(points, np.where(inside, np.where(hidden, 1, 2), 0).astype(np.uint8), layers)


def _layers(head, points, project, who, u, unit):
  """What a face is painted of, the lowest first."""
  color, shape = who.colors, who.shape
  a = np.linspace(-1, 1, 21) * np.pi / 2
  high = 1.3 * (1 + 0.3 * shape[6])
  crown = np.stack([1.12 * np.sin(a), -high * np.cos(a) - 0.05, -0.8 * np.abs(np.sin(a))], 1)
  hull = lambda p: cv2.convexHull(np.asarray(p, np.float32))[:, 0].astype(np.float64)
  skull = hull(np.concatenate([project(crown), points[:17]]))
  centre = skull.mean(0)
  long = 0.3 + 1.7 * u[11] ** 2
  mane = project(np.concatenate([crown * (1.2, 1.18, 1) - (0, 0, 0.5),
                                 [(1.3, long, -0.8), (-1.3, long, -0.8)]]))
  neck = project([(-0.6, 1.0, -0.5), (0.6, 1.0, -0.5), (0.75, 3.5, -0.7), (-0.75, 3.5, -0.7)])
  skin, dark = color['skin'], color['skin'] * (0.8, 0.72, 0.7)
  layers = [Layer(hull(mane), color['hair'] * 0.8), Layer(neck, dark)]
  # Light from one side: three shells, the inner ones moved towards it.
  for shell, light in ((1.0, 0.86), (0.88, 0.95), (0.7, 1.03)):
    shift = np.array([(u[12] - 0.5) * 0.7 * (1 - shell), 0]) * unit * 2
    layers.append(Layer(centre + shell * (skull - centre) + shift, np.minimum(skin * light, 255)))
  if u[13] < 0.15:
    layers.append(Layer(np.concatenate([points[2:15], points[[54, 57, 48]]]),
                        0.5 * skin + 0.5 * color['hair']))
  bridge = head[[27, 30]] + [(0.09 * (1 + shape[7]), 0, -0.1),
                              (0.17 * (1 + shape[7]), 0.05, -0.2)]
  layers.append(Layer(np.concatenate([points[[27, 30]], project(bridge[::-1])]), dark))
  layers.append(Layer(hull(points[31:36]), color['nose'] * 0.85))
  for first in (36, 42):
    eye = points[first:first + 6]
    layers.append(Layer(hull(eye), color['white']))
    lids = np.ptp(eye[:, 1])
    ring = np.linspace(0, 2 * np.pi, 12)
    radius = min(0.1 * unit, 0.5 * lids + 0.3)
    layers.append(Layer(eye.mean(0) + radius * np.stack([np.cos(ring), np.sin(ring)], 1),
                        color['eye']))
  for first in (17, 22):
    thick = np.array([0, 0.05 + 0.05 * u[14]]) * unit
    brow = points[first:first + 5]
    layers.append(Layer(np.concatenate([brow - thick, (brow + thick)[::-1]]), color['brow']))
  layers.append(Layer(points[48:60], color['lip']))
  layers.append(Layer(points[60:68], np.array((70, 25, 25)) + 120 * (u[15] < 0.3)))
  return layers + _glasses(project, u) + _fringe(project, color, u)


def _glasses(project, u):
  if u[16] > 0.3:
    return []
  half, high, dark = 0.36 + 0.06 * u[17], 0.2 + 0.1 * u[18], u[19] < 0.5
  ring = np.linspace(0, 2 * np.pi, 17)[:-1]
  frame, out = np.array((20, 20, 25)) + 60 * u[20], []
  bar = lambda a, b: project([a, b, np.add(b, (0, 0.05, 0)), np.add(a, (0, 0.05, 0))])
  for side in (-1, 1):
    oval = np.stack([half * np.cos(ring) + 0.5 * side, high * np.sin(ring), 0 * ring + 0.35], 1)
    if dark:
      out.append(Layer(project(oval), frame * 0.7, True))
    inner = 0.86 * (oval - (0.5 * side, 0, 0)) + (0.5 * side, 0, 0.05)
    rim = np.concatenate([oval, oval[:1], inner[:1], inner[::-1]])
    out += [Layer(project(rim), frame),
            Layer(bar((side * (0.5 + half), -0.05, 0.3), (side * 1.05, -0.08, -0.7)), frame)]
  return [*out, Layer(bar((half - 0.5, -0.04, 0.4), (0.5 - half, -0.04, 0.4)), frame)]


def _fringe(project, color, u):
  """Hair over the forehead; at its longest it hides the brows and an eye."""
  if u[21] < 0.2:
    return []
  low, side = 0.45 + 0.45 * u[22] ** 3 * 2, np.sign(u[23] - 0.5)
  a = np.linspace(-1, 1, 15)
  top = np.stack([1.15 * np.sin(a * np.pi / 2), -1.35 * np.cos(a * np.pi / 2) - 0.1,
                  0.1 - 0.9 * np.abs(a)], 1)
  edge = -1.25 + low * (0.55 + 0.45 * side * a) * (1 - 0.3 * a * a)
  line = np.stack([1.1 * a, edge, 0.35 - 0.9 * np.abs(a)], 1)
  return [Layer(project(np.concatenate([top, line[::-1]])), color['hair'], True)]


def paint(found: Face, rng, size):
  """(H,W,3) uint8 RGB picture of (W, H) pixels of a face."""
  w, h = size
  walls = muted(rng, (3, 3), 1.0).astype(np.float32)
  image = np.clip(cv2.resize(walls, (w, h), interpolation=cv2.INTER_CUBIC), 0, 255)
  for layer in found.layers:
    shifted = np.round(layer.polygon * 2 ** _SHIFT).astype(np.int32)
    cv2.fillPoly(image, [shifted], np.clip(layer.color, 0, 255).tolist(), cv2.LINE_8, _SHIFT)
  image = cv2.GaussianBlur(image, (3, 3), rng.uniform(0.4, 0.9))
  image = image * rng.uniform(0.65, 1.1) + rng.normal(0, 4, image.shape)
  return np.clip(image, 0, 255).astype(np.uint8)


def worsen(image, rng):
  """The picture (H,W,3) uint8 under coloured light, and as a worse camera takes it."""
  size, share = image.shape[1::-1], rng.uniform(0.45, 1)
  small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
  image = cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)
  return np.clip(image * rng.uniform(0.88, 1.12, 3), 0, 255).astype(np.uint8)
