"""Draws patches onto crops, and says which points they hide.

What is hidden is computed from places and opacities alone, in the picture's pixels: it depends
neither on the size of the crop nor on how a library interpolates.
"""
import math
from typing import NamedTuple

import cv2
import numpy as np

BLACK = -1  # the number of a patch that is no cut-out: a black square from (0, 0) to (1, 1)
BORDER = -2  # the same, but the picture ends here: its top edge, y = 0, lies on the new border
_SQUARES = BLACK, BORDER
_GAIN = 0.5, 2.0  # limits of the colour match


class Placement(NamedTuple):
  """A patch of the bank, BLACK or BORDER, and the (2,3) map from its pixels to the picture's.

  match: how far its colours are pulled to those it covers, 0 to 1.
  """
  patch: int
  matrix: np.ndarray
  match: float = 0.0


def invert(matrix):
  """(2,3) map that undoes an affine (2,3) map."""
  (a, b, tx), (c, d, ty) = matrix.tolist()
  f = 1 / (a * d - b * c)
  return np.array([[d * f, -b * f, (b * ty - d * tx) * f], [-c * f, a * f, (c * tx - a * ty) * f]])


def opacity(placement, points, bank) -> np.ndarray:
  """(N,) opacity, 0 to 1, of one placement over (N,2) points of the picture; bilinear."""
  back = invert(placement.matrix)
  x, y = back[:, :2] @ points.T + back[:, 2:]
  if placement.patch in _SQUARES:
    return ((x >= 0) & (x <= 1) & (y >= 0) & (y <= 1)).astype(np.float64)
  alpha = bank.patch(placement.patch)[..., 3]
  h, w = alpha.shape
  out = np.zeros(len(points))
  for i in np.flatnonzero((x > -1) & (x < w) & (y > -1) & (y < h)).tolist():
    u, v = float(x[i]), float(y[i])
    column, row = math.floor(u), math.floor(v)
    u, v = u - column, v - row
    for r, share_r in ((row, 1 - v), (row + 1, v)):
      for c, share_c in ((column, 1 - u), (column + 1, u)):
        if 0 <= r < h and 0 <= c < w:
          out[i] += share_r * share_c * int(alpha[r, c])
  return out / 255


def hidden_points(placements, points, bank) -> np.ndarray:
  """(N,) bool: points of the picture that lie under at least half opacity of all placements."""
  light = np.ones(len(points))
  for placement in placements:
    light *= 1 - opacity(placement, points, bank)
  return light <= 0.5


def window(placements):
  """(4,) x1, y1, x2, y2: what borders leave of the picture, +-inf on sides that keep theirs."""
  ends = np.array([-np.inf, -np.inf, np.inf, np.inf])
  for placement in placements:
    if placement.patch == BORDER:
      axis = int(np.abs(placement.matrix[:, 1]).argmax())
      place = placement.matrix[axis, 2]
      if placement.matrix[axis, 1] > 0:
        ends[axis + 2] = min(ends[axis + 2], place)
      else:
        ends[axis] = max(ends[axis], place)
  return ends


def beyond(ends, points):
  """(N,) bool: points (N,2) outside of a `window`."""
  return ((points < ends[:2]) | (points > ends[2:])).any(-1)


def paste(crop, matrix, placements, bank):
  """Draws placements, in their order, onto a copy of a crop.

  crop: (H,W,3) uint8. matrix: (2,3) map from the picture to the crop, mirror included.
  Returns the occluded crop and a (H,W) bool mask of the pixels under at least half opacity.
  """
  out = crop.copy()
  light = np.full(crop.shape[:2], 255, np.uint8)
  for placement in placements:
    to_crop = matrix @ np.vstack([placement.matrix, [0, 0, 1]])
    if placement.patch in _SQUARES:
      low, high = np.zeros(2), np.ones(2)
    else:
      patch, to_crop = _reduced(bank.patch(placement.patch), to_crop)
      low, high = np.full(2, -1.0), np.array(patch.shape[1::-1], np.float64)
    # Only the rectangle that the patch can reach is warped and blended.
    middle, reach = (low + high) / 2, np.abs(to_crop[:, :2]) @ (high - low) / 2
    middle = to_crop[:, :2] @ middle + to_crop[:, 2]
    x1, y1 = np.maximum(np.floor(middle - reach), 0).astype(int).tolist()
    x2, y2 = np.minimum(np.ceil(middle + reach) + 1, crop.shape[1::-1]).astype(int).tolist()
    if x1 >= x2 or y1 >= y2:
      continue
    region, shade = out[y1:y2, x1:x2], light[y1:y2, x1:x2]
    local = to_crop - [[0, 0, x1], [0, 0, y1]]
    if placement.patch in _SQUARES:
      inside = _inside_square(local, shade.shape)
      region[inside] = 0
      shade[inside] = 0
    else:
      _blend(region, shade, patch, local, placement.match)
  return out, light < 128


def _inside_square(to_crop, shape):
  """(h,w) bool: pixel centres inside the image of the unit square."""
  back = invert(to_crop)
  x, y = np.arange(shape[1]), np.arange(shape[0])[:, None]
  u, v = (row[0] * x + row[1] * y + row[2] for row in back)
  return (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)


def _reduced(patch, to_crop):
  """A patch much larger than what is drawn of it is halved first, so that no pixel is skipped."""
  (a, b, _), (c, d, _) = to_crop
  while abs(a * d - b * c) < 0.25 and min(patch.shape[:2]) > 3:
    h, w = patch.shape[0] // 2, patch.shape[1] // 2
    patch = cv2.resize(patch[:2 * h, :2 * w], (w, h), interpolation=cv2.INTER_AREA)
    to_crop = to_crop @ np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]])
    a, b, c, d = 2 * a, 2 * b, 2 * c, 2 * d
  return patch, to_crop


def _blend(region, shade, patch, local, match):
  """Draws a patch, its colours weighted by opacity, into a region (h,w,3), and what is left of the
  light (h,w) into `shade`, both in place."""
  drawn = cv2.warpAffine(patch, local, region.shape[1::-1], flags=cv2.INTER_LINEAR)
  # OpenCV splits and joins channels many times faster than NumPy.
  colour, opaque = cv2.cvtColor(drawn, cv2.COLOR_RGBA2RGB), cv2.extractChannel(drawn, 3)
  clear = cv2.bitwise_not(opaque)
  if match:
    total = max(int(opaque.sum()), 1)
    # Near black nothing can be matched: hence the 8 of 255.
    mine = colour.sum((0, 1), dtype=np.float64) / total + 8 / 255
    theirs = np.einsum('hwc,hw->c', region, opaque, dtype=np.float64) / (255 * total) + 8 / 255
    gain = np.clip((theirs / mine) ** match, *_GAIN)
    colour = np.minimum(colour * gain.astype(np.float32), opaque[..., None]).astype(np.uint8)
  through = cv2.multiply(region, cv2.cvtColor(clear, cv2.COLOR_GRAY2RGB), scale=1 / 255)
  region[:] = cv2.add(through, colour)
  shade[:] = cv2.multiply(shade, clear, scale=1 / 255)
