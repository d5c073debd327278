"""Geometry of whole pictures: a picture W x H, its joints and camera, in the network's picture.

A picture is scaled to fit and padded with grey (letterboxed). Training turns it about its middle,
moves it, and mirrors it; then parts may leave the network's picture. Source: SMAP (Zhen et al.,
ECCV 2020) and HUPOR (Liu et al., ECCV 2022), but that the turned picture keeps its middle.
Sizes are (W, H); pixel (x, y) has its centre at (x, y).
"""
from typing import NamedTuple

import cv2
import numpy as np

BORDER = 128  # grey level


class Augmentation(NamedTuple):
  """rotation: degrees, at most. jitter: share of the network's width that the picture is moved by
  in x and in y, at most. scale: limits of a factor. flip_prob: of a mirrored picture."""
  rotation: float = 10.0
  jitter: float = 40 / 832
  scale: tuple[float, float] = (0.8, 1.1)
  flip_prob: float = 0.5


class View(NamedTuple):
  """How a picture is shown to the network. matrix: (2,3) map from pixels of the picture to those of
  the network. Without rotation it is x * scale + offset, offset (2,), for pixels x of the picture,
  mirrored before where `mirrored`."""
  matrix: np.ndarray
  scale: float
  offset: np.ndarray
  mirrored: bool = False


def fit(size, target) -> View:
  """The whole of a picture of `size` in the middle of a network's picture of size `target`."""
  return view(size, target)


def draw(rng, augmentation: Augmentation, size, target) -> View:
  """A view for training. Order of the draws: rotation, scale, jitter, mirror."""
  a = augmentation
  rotation, factor = rng.uniform(-a.rotation, a.rotation), rng.uniform(*a.scale)
  jitter = rng.uniform(-a.jitter, a.jitter, 2) * target[0]
  return view(size, target, factor, rotation, jitter, rng.random() < a.flip_prob)


def view(size, target, factor=1.0, rotation=0.0, jitter=(0.0, 0.0), mirrored=False) -> View:
  """A picture scaled to fit times `factor`, turned by degrees about its middle, moved by jitter
  (2,) network pixels, mirrored last."""
  size, target = np.array(size, np.float64), np.array(target, np.float64)
  scale = float((target / size).min() * factor)
  offset = (target - scale * size) / 2 + jitter
  angle = np.deg2rad(rotation)
  linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
  middle = size / 2
  matrix = np.column_stack([linear, scale * middle + offset - linear @ middle])
  if mirrored:
    matrix = np.array([[-1.0, 0], [0, 1]]) @ matrix + [[0, 0, target[0] - 1], [0, 0, 0]]
    offset = np.array([target[0] - 1 - offset[0] - scale * (size[0] - 1), offset[1]])
  return View(matrix, scale, offset, bool(mirrored))


def warp(image, shown: View, target):
  """(H,W,3) uint8 picture of the network; what is shrunk a lot is averaged first."""
  matrix, (h, w) = shown.matrix, image.shape[:2]
  shrink = int(1 / shown.scale)
  if shrink > 1:
    small = max(1, w // shrink), max(1, h // shrink)
    image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    x, y = w / small[0], h / small[1]
    matrix = np.column_stack([matrix[:, :2] * (x, y),
                              matrix[:, :2] @ ((x - 1) / 2, (y - 1) / 2) + matrix[:, 2]])
  return cv2.warpAffine(image, matrix, target, flags=cv2.INTER_LINEAR,
                        borderMode=cv2.BORDER_CONSTANT, borderValue=(BORDER,) * 3)


def people(shown: View, target, joints_2d, joints_3d, visibility, flip_order):
  """(N,J,6) float32 x, y in network pixels; X, Y, Z, 0 without joints_3d; v, 0 outside the
  network's picture. As seen: of a mirrored picture X is negated, left and right are exchanged."""
  points = joints_2d @ shown.matrix[:, :2].T + shown.matrix[:, 2]
  inside = ((points >= 0) & (points <= np.array(target) - 1)).all(-1)
  places = np.zeros((*points.shape[:-1], 3)) if joints_3d is None else np.array(joints_3d)
  if shown.mirrored:
    places[..., 0] *= -1
  out = np.concatenate([points, places, (visibility * inside)[..., None]], -1).astype(np.float32)
  return out[:, flip_order] if shown.mirrored else out


def camera(shown: View, size, given):
  """(7,) float32 fx fy cx cy of the picture, mirrored where it is, scale, offset in x and y."""
  fx, fy, cx, cy = given
  cx = size[0] - 1 - cx if shown.mirrored else cx
  return np.array([fx, fy, cx, cy, shown.scale, *shown.offset], np.float32)


def boxes_map(shown: View, target, boxes, stride):
  """(H/stride, W/stride) bool: where boxes (M,4) x, y, width, height of the picture lie."""
  found = np.zeros((target[1] // stride, target[0] // stride), np.uint8)
  corners = boxes[:, None, :2] + np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * boxes[:, None, 2:]
  for one in (corners @ shown.matrix[:, :2].T + shown.matrix[:, 2]) / stride:
    cv2.fillConvexPoly(found, np.round(one).clip(-2**14, 2**14).astype(np.int32), 1)
  return found.astype(bool)
