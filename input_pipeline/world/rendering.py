"""Ray casting: which solid a pixel's ray meets first, where, and how the surface looks there.

Solids are capsules (the hull of two balls) and boxes, in the camera's frame: x right, y down,
z forward, mm. A ray leaves the origin towards (x, y, 1), so that its length is counted in depth;
pixel (u, v) has its centre at (u, v) and looks along ((u, v) - center) / focal.

All work is done on flat lists of pairs (solid, pixel), taken from the rectangles that the solids
project to.
"""
from typing import NamedTuple

import cv2
import numpy as np


class Camera(NamedTuple):
  """focal (2,), center (2,): pixels. turn (3,3): world to camera. height: mm above the floor.

  World: x right, y up, z towards the viewer, the camera above the origin.
  """
  focal: np.ndarray
  center: np.ndarray
  turn: np.ndarray
  height: float

  def look(self, points):
    """(...,3) world to camera."""
    return (points - (0, self.height, 0)) @ self.turn.T

  def project(self, points):
    """(...,3) camera to (...,2) pixels."""
    return points[..., :2] / points[..., 2:] * self.focal + self.center

  def rays(self, size):
    """(H,W) x and y of the directions (x, y, 1)."""
    x, y = ((np.arange(n) - c) / f for n, c, f in zip(size, self.center, self.focal, strict=True))
    return np.meshgrid(x.astype(np.float32), y.astype(np.float32))


class Solids(NamedTuple):
  """C capsules, then M boxes; a solid's id is its place.

  ends (C,2,3), radii (C,2), middle (M,3), half (M,3): mm. axes (M,3,3): rows are a box's axes.
  """
  ends: np.ndarray
  radii: np.ndarray
  middle: np.ndarray
  half: np.ndarray
  axes: np.ndarray


class View(NamedTuple):
  """ids (H,W) int32, -1 for none. depth (H,W) float32 mm, inf for none. share (H,W): place along a
  capsule's axis, 0 to 1."""
  ids: np.ndarray
  depth: np.ndarray
  share: np.ndarray


def _tables(solids):
  """(9,C) float32: what the ray test needs to know of a capsule.

  Start, axis, radius at the start, its growth; then 1 / sqrt(axis^2 - growth^2), where 0 marks a
  capsule that is a single ball, because one end contains the other.
  """
  (start, end), (first, last) = (np.moveaxis(v, 1, 0) for v in (solids.ends, solids.radii))
  axis, growth = end - start, last - first
  slack = (axis ** 2).sum(-1) - growth ** 2
  is_ball = slack < 1e-3
  swallowed = (is_ball & (growth > 0))[:, None]
  start, first = np.where(swallowed, end, start), np.where(swallowed[:, 0], last, first)
  axis, growth = np.where(is_ball[:, None], 0, axis), np.where(is_ball, 0, growth)
  scale = np.where(is_ball, 0, 1 / np.sqrt(np.where(is_ball, 1, slack)))
  return np.concatenate([start.T, axis.T, first[None], growth[None], scale[None]]).astype(
    np.float32)


def _meet(table, x, y):
  """Where rays enter their capsules: depth (N,), inf for a miss, and place along the axis, 0 to 1.

  table: (9,N), a column for each ray. A capsule is all balls between its two. The first of them
  that a ray enters is found from the cone that they touch: where on the axis it is met gives the
  ball, clamped to the two ends.
  """
  ax, ay, az, mx, my, mz, radius, growth, scale = table
  # Counted from the depth of the start, numbers stay small enough for float32.
  wx, wy = ax - az * x, ay - az * y
  ray = mx * x + my * y
  ray += mz
  ray *= scale
  offset = mx * wx + my * wy
  offset -= radius * growth
  offset *= scale
  length = x * x + y * y
  length += 1
  a = length - ray * ray
  b = x * wx + y * wy - ray * offset
  c = wx * wx + wy * wy - radius * radius - offset * offset
  root = np.sqrt(np.maximum(b * b - a * c, 0))  # a ray that misses the cone misses any ball of it
  a[np.abs(a) < 1e-7] = 1e-7
  s = ((b - root) / a * ray - offset) * scale
  # On the cone's other half, radii are negative: the ray runs along the axis, to the larger end.
  wrong = np.flatnonzero(radius + s * growth < 0)
  np.clip(s, 0, 1, out=s)
  s[wrong] = growth[wrong] > 0
  radius = radius + s * growth
  wx += s * mx
  wy += s * my
  wz = s * mz
  b = x * wx + y * wy + wz
  inside = b * b - length * (wx * wx + wy * wy + wz * wz - radius * radius)
  near = (b - np.sqrt(np.maximum(inside, 0))) / length + az
  near[inside <= 0] = np.inf
  return near, s


def _enter(solids, which, x, y):
  """Depth (N,) where rays enter their boxes, inf for a miss."""
  axes = solids.axes.transpose(1, 2, 0)[..., which]
  start = (solids.axes * solids.middle[:, None]).sum(-1).T[:, which]
  half = solids.half.T[:, which]
  along = axes[:, 0] * x + axes[:, 1] * y + axes[:, 2]
  along[np.abs(along) < 1e-9] = 1e-9
  center, reach = start / along, half / np.abs(along)
  near, far = (center - reach).max(0), (center + reach).min(0)
  return np.where((near < far) & (near > 0), near, np.inf).astype(np.float32)


def outlines(solids, camera):
  """(C+M,4) pixels: left, top, right, bottom of the rectangles that the solids project to."""
  z, r = solids.ends[..., 2:], solids.radii[..., None]
  square = np.maximum(z * z - r * r, 1)
  middle = solids.ends[..., :2] * z / square
  reach = r / square * np.sqrt(solids.ends[..., :2] ** 2 + square)
  low, high = middle - reach, middle + reach
  low, high = np.minimum(low[:, 0], low[:, 1]), np.maximum(high[:, 0], high[:, 1])
  if len(solids.middle):
    corners = solids.middle[:, None] + (_CORNERS * solids.half[:, None]) @ solids.axes
    corners = corners[..., :2] / np.maximum(corners[..., 2:], 1)
    low, high = np.concatenate([low, corners.min(1)]), np.concatenate([high, corners.max(1)])
  return np.concatenate([v * camera.focal + camera.center for v in (low, high)], 1)


_CORNERS = np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, -1).T


def _pairs(outlines, size):
  """Flat lists of every pixel of each rectangle: which rectangle, column, row."""
  low = np.clip(np.ceil(outlines[:, :2]), 0, size).astype(np.intp)
  high = np.clip(np.floor(outlines[:, 2:]) + 1, low, size).astype(np.intp)
  width, height = (high - low).T
  which = np.repeat(np.arange(len(low)), height)  # a row of a rectangle
  line = np.arange(len(which))
  line += (low[:, 1] - np.cumsum(height) + height)[which]
  widths = width[which]
  first = np.cumsum(widths) - widths
  column = np.arange(widths.sum())
  column += np.repeat(low[which, 0] - first, widths)
  return np.repeat(which, widths), column, np.repeat(line, widths)


def first_hits(solids, rectangles, camera, points):
  """(N,) ids of the solids that the rays to N points (N,2) in pixels meet first, -1 for none.

  rectangles: the solids' outlines.
  """
  left, top, right, bottom = rectangles.T[..., None]
  px, py = points.T
  which, ray = np.nonzero((px >= left) & (px <= right) & (py >= top) & (py <= bottom))
  x, y = ((points - camera.center) / camera.focal).astype(np.float32).T
  depth, _ = _reach(solids, which, x[ray], y[ray])
  nearest, wins = _front(ray, depth, len(points))
  ids = np.full(len(points), -1, np.int32)
  ids[ray[wins]] = which[wins]
  return ids


def _reach(solids, which, x, y):
  """Depth (N,) where rays meet the solids with the ids `which`, inf for a miss, and the share along
  the axis of a capsule. Ids ascend."""
  count = len(solids.ends)
  split = np.searchsorted(which, count)
  times = np.bincount(which[:split], minlength=count)
  depth, share = _meet(np.repeat(_tables(solids), times, 1), x[:split], y[:split])
  if split == len(which):
    return depth, share
  boxes = _enter(solids, which[split:] - count, x[split:], y[split:])
  return np.append(depth, boxes), np.append(share, np.zeros_like(boxes))


def _front(place, depth, size):
  """Nearest depth (size,) at each place, inf for none, and which of the pairs are the nearest."""
  nearest = np.full(size, np.inf, np.float32)
  np.minimum.at(nearest, place, depth)
  return nearest, np.flatnonzero((depth == nearest[place]) & (depth < np.inf))


def cast(solids, camera, size) -> View:
  """The front-most solid of every pixel."""
  which, column, row = _pairs(outlines(solids, camera), size)
  x, y = camera.rays(size)
  depth, share = _reach(solids, which, x[0][column], y[:, 0][row])
  place = row * size[0] + column
  nearest, wins = _front(place, depth, size[0] * size[1])
  ids, shares = np.full(len(nearest), -1, np.int32), np.zeros_like(nearest)
  ids[place[wins]], shares[place[wins]] = which[wins], share[wins]
  return View(*(v.reshape(size[::-1]) for v in (ids, nearest, shares)))


class Hits(NamedTuple):
  """N pixels that show a solid: place in the flat picture, id, point and normal (3,N), camera
  frame; share (N,) along the axis of a capsule."""
  place: np.ndarray
  ids: np.ndarray
  point: np.ndarray
  normal: np.ndarray
  share: np.ndarray


def surface(solids, camera, view) -> Hits:
  """Points and outward normals of all pixels that show a solid."""
  place = np.flatnonzero(view.ids.ravel() >= 0)
  ids, depth, share = (v.ravel()[place] for v in view)
  ids = ids.astype(np.intp)  # many tables are looked up by it
  x, y = (v.ravel()[place] for v in camera.rays(view.ids.shape[::-1]))
  point = np.stack([x * depth, y * depth, depth])
  normal = np.empty_like(point)
  flat = np.flatnonzero(ids >= len(solids.ends))
  table = np.take(_tables(solids)[:6], ids, 1, mode='clip')  # of boxes: replaced below
  np.subtract(point, table[:3] + share * table[3:], out=normal)
  if len(flat):
    which = ids[flat] - len(solids.ends)
    offset = point[:, flat] - solids.middle.T.astype(np.float32)[:, which]
    axes = solids.axes.transpose(1, 2, 0).astype(np.float32)[..., which]
    local = (axes * offset).sum(1) / solids.half.T.astype(np.float32)[:, which]
    face = np.abs(local).argmax(0)
    sign = np.sign(local[face, np.arange(len(flat))])
    normal[:, flat] = solids.axes[which, face].T * sign
  return Hits(place, ids, point, normal / _length(normal), share)


def _length(v):
  """(N,) lengths of (3,N) vectors."""
  return np.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2] + np.float32(1e-12))


def shade(hits, color, light):
  """(3,N) colours under a light from direction (3,), with some of the sky and a bright rim."""
  nx, ny, nz = hits.normal
  px, py, pz = hits.point
  facing = np.clip(-(nx * px + ny * py + nz * pz) / _length(hits.point), 0, 1)
  lx, ly, lz = (np.float32(v) for v in light)
  gain = 0.42 - 0.13 * ny + 0.62 * np.maximum(nx * lx + ny * ly + nz * lz, 0)
  aside = 1 - facing
  return color * (gain * (0.72 + 0.28 * np.sqrt(facing)) + 0.1 * aside * aside * aside)


def _creases(depth):
  """(H,W) brightness: solids are darker right behind what is a little nearer."""
  solid = np.isfinite(depth).astype(np.float32)
  depth = np.where(solid > 0, depth, 0)
  around = cv2.blur(depth, (7, 7)) / np.maximum(cv2.blur(solid, (7, 7)), 1e-3)
  gap = depth - around
  return 1 - 0.4 * np.clip((gap - 10) / 90, 0, 1) * np.clip(1.5 - gap / 250, 0, 1)


def finish(image, view, rng, size):
  """(H,W,3) uint8 of a float picture: creases, light, soft silhouettes, blur, noise."""
  lit = cv2.resize(rng.uniform(0.75, 1.2, (2, 2)).astype(np.float32), size)
  lit *= _creases(view.depth)
  image *= cv2.merge([lit * gain for gain in rng.uniform(0.93, 1.07, 3).astype(np.float32)])
  edge = cv2.morphologyEx(view.ids.astype(np.int16), cv2.MORPH_GRADIENT, np.ones((2, 2))) > 0
  cv2.copyTo(cv2.GaussianBlur(image, (3, 3), 0.7), edge.astype(np.uint8), image)
  if rng.random() < 0.4:
    image = cv2.GaussianBlur(image, (3, 3), rng.uniform(0.3, 0.8))
  noise = rng.integers(256, size=(2, *image.shape), dtype=np.uint8)  # two make a triangle
  noise = np.add(*noise, dtype=np.float32)
  noise -= 255
  noise *= np.float32(rng.uniform(0, 0.055))
  image += noise
  return np.clip(image, 0, 255).astype(np.uint8)
