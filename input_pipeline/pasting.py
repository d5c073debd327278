"""Draws patches onto crops, and says which points they hide.

What is hidden is computed from places and opacities alone, in the picture's pixels: it depends
neither on the size of the crop nor on how a library interpolates.
"""
from typing import NamedTuple

import cv2
import numpy as np

BLACK = -1  # the number of a patch that is no cut-out: a black square from (0, 0) to (1, 1)
_GAIN = 0.5, 2.0  # limits of the colour match


class Placement(NamedTuple):
  """A patch of the bank, or BLACK, and the (2,3) map from its pixels to the picture's.

  match: how far its colours are pulled to those it covers, 0 to 1.
  """
  patch: int
  matrix: np.ndarray
  match: float = 0.0


def invert(matrix):
  """(2,3) map that undoes an affine (2,3) map."""
  (a, b, tx), (c, d, ty) = matrix
  scale = 1 / (a * d - b * c)
  inverse = np.array([[d, -b], [-c, a]]) * scale
  return np.column_stack([inverse, -inverse @ (tx, ty)])


def opacity(placement, points, bank) -> np.ndarray:
  """(N,) opacity, 0 to 1, of one placement over (N,2) points of the picture; bilinear."""
  back = invert(placement.matrix)
  x, y = (points @ back[:, :2].T + back[:, 2]).T
  if placement.patch == BLACK:
    return ((x >= 0) & (x <= 1) & (y >= 0) & (y <= 1)).astype(np.float64)
  alpha = bank.patch(placement.patch)[..., 3]
  h, w = alpha.shape
  x, y = np.clip(x, -1, w), np.clip(y, -1, h)
  x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
  fx, fy = x - x0, y - y0

  def at(column, row):
    inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
    return np.where(inside, alpha[np.clip(row, 0, h - 1), np.clip(column, 0, w - 1)], 0)

  top = at(x0, y0) * (1 - fx) + at(x0 + 1, y0) * fx
  bottom = at(x0, y0 + 1) * (1 - fx) + at(x0 + 1, y0 + 1) * fx
  return (top * (1 - fy) + bottom * fy) / 255


def hidden_points(placements, points, bank) -> np.ndarray:
  """(N,) bool: points of the picture that lie under at least half opacity of all placements."""
  light = np.ones(len(points))
  for placement in placements:
    light *= 1 - opacity(placement, points, bank)
  return light <= 0.5


def paste(crop, matrix, placements, bank):
  """Draws placements, in their order, onto a copy of a crop.

  crop: (H,W,3) uint8. matrix: (2,3) map from the picture to the crop, mirror included.
  Returns the occluded crop and a (H,W) bool mask of the pixels under at least half opacity.
  """
  out = crop.copy()
  light = np.ones(crop.shape[:2], np.float32)
  for placement in placements:
    to_crop = matrix @ np.vstack([placement.matrix, [0, 0, 1]])
    patch = None
    w, h = 1, 1
    if placement.patch != BLACK:
      patch, to_crop = _reduced(bank.patch(placement.patch), to_crop)
      h, w = patch.shape[:2]
    # Only the rectangle that the patch can reach is warped and blended.
    corners = np.array([[-1, -1], [w, -1], [-1, h], [w, h]]) if patch is not None else \
      np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    corners = corners @ to_crop[:, :2].T + to_crop[:, 2]
    x1, y1 = np.maximum(np.floor(corners.min(0)), 0).astype(int)
    x2, y2 = np.minimum(np.ceil(corners.max(0)) + 1, crop.shape[1::-1]).astype(int)
    if x1 >= x2 or y1 >= y2:
      continue
    region, local = out[y1:y2, x1:x2], to_crop - [[0, 0, x1], [0, 0, y1]]
    if patch is None:
      inside = _inside_square(local, region.shape)
      region[inside] = 0
      light[y1:y2, x1:x2][inside] = 0
      continue
    opaque = _blend(region, patch, local, placement.match)
    light[y1:y2, x1:x2] *= 1 - opaque
  return out, light <= 0.5


def _inside_square(to_crop, shape):
  """(h,w) bool: pixel centres inside the image of the unit square."""
  back = invert(to_crop)
  x, y = np.arange(shape[1]), np.arange(shape[0])[:, None]
  u, v = (row[0] * x + row[1] * y + row[2] for row in back)
  return (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)


def _reduced(patch, to_crop):
  """A patch much larger than what is drawn of it is halved first, so that no pixel is skipped."""
  while (abs(np.linalg.det(to_crop[:, :2])) < 0.25) and min(patch.shape[:2]) > 3:
    h, w = patch.shape[0] // 2 * 2, patch.shape[1] // 2 * 2
    quarters = patch[:h, :w].astype(np.uint16).reshape(h // 2, 2, w // 2, 2, 4)
    patch = ((quarters.sum((1, 3)) + 2) // 4).astype(np.uint8)
    to_crop = to_crop @ np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]])
  return patch, to_crop


def _blend(region, patch, local, match):
  """Draws a patch into a region (h,w,3), in place; returns its opacity (h,w)."""
  # Colour is weighted by opacity before the warp, so the edge takes no colour from outside.
  weighted = patch.astype(np.float32)
  weighted[..., :3] *= weighted[..., 3:] * np.float32(1 / 255)
  weighted = cv2.warpAffine(weighted, local, region.shape[1::-1], flags=cv2.INTER_LINEAR)
  opaque = weighted[..., 3:] * np.float32(1 / 255)
  colour = weighted[..., :3]
  if match:
    total = max(float(opaque.sum()), 1e-3)
    mine = colour.sum((0, 1), dtype=np.float64) / total + 8  # near black nothing can be matched
    theirs = (region * opaque).sum((0, 1), dtype=np.float64) / total + 8
    colour = np.minimum(colour * np.clip((theirs / mine) ** match, *_GAIN).astype(np.float32),
                        255 * opaque)
  region[:] = np.round(colour + region * (1 - opaque)).astype(np.uint8)
  return opaque[..., 0]
