"""Geometry of top-down crops: box -> center and scale -> affine map, and HRNet's augmentation.

Pixels of the full picture, unless said otherwise. scale = box side / 200, (width, height).
"""
from typing import NamedTuple

import cv2
import numpy as np

from dslope_jax.visibility import is_labelled


class Augmentation(NamedTuple):
  """Strengths of the training augmentation; the defaults are HRNet's for COCO.

  scale: deviation of the factor, cut to 1 +- scale. rotation: deviation in degrees, cut to twice.
  Probabilities: rotation_prob, flip_prob, half_body_prob (only above half_body_joints labelled).
  """
  scale: float = 0.35
  rotation: float = 45.0
  rotation_prob: float = 0.6
  flip_prob: float = 0.5
  half_body_prob: float = 0.3
  half_body_joints: int = 8


def clip_box(box, width, height):
  """COCO's box x, y, w, h clipped to the picture as HRNet does, and whether any of it is inside;
  of N boxes and pictures, if these are (N,) arrays.

  A side is the distance of its last pixel from its first: 0 for one pixel or less.
  """
  x, y, w, h = box
  x1, y1 = np.maximum(0, x), np.maximum(0, y)
  x2 = np.minimum(width - 1, x1 + np.maximum(0, w - 1))
  y2 = np.minimum(height - 1, y1 + np.maximum(0, h - 1))
  inside = (x2 >= x1) & (y2 >= y1) & (w > 0) & (h > 0)
  return np.stack([x1, y1, x2 - x1, y2 - y1], -1), inside


def box_to_center_scale(box, aspect, padding=1.25):
  """Centre and scale of a box x, y, w, h, its shorter side enlarged to aspect = width / height;
  of N boxes, if these are (N,) arrays.

  Returns (...,2) float32 each; scale is multiplied by padding. As published, a centre whose x is
  exactly -1 (HRNet's mark of a missing box) is not padded. A box without sides counts as one pixel,
  so that it has a crop.
  """
  x, y, w, h = box
  center = np.stack([x + w * 0.5, y + h * 0.5], -1).astype(np.float32)
  factor = np.where(center[..., :1] == -1, 1, padding).astype(np.float32)
  return center, _side_to_scale(w, h, aspect) * factor


def iou(boxes, others):
  """(N,M) intersection over union of boxes (N,4) and (M,4), x, y, width, height, 0 of empty
  ones."""
  a, b = (np.asarray(x).reshape(-1, 4) for x in (boxes, others))
  low = np.maximum(a[:, None, :2], b[None, :, :2])
  high = np.minimum((a[:, :2] + a[:, 2:])[:, None], (b[:, :2] + b[:, 2:])[None])
  shared = np.clip(high - low, 0, None).prod(-1)
  total = np.add.outer(a[:, 2:].prod(1), b[:, 2:].prod(1)) - shared
  return shared / np.where(total > 0, total, 1)


def _side_to_scale(w, h, aspect):
  w = np.maximum(w, 1)
  sides = np.where(w < h * aspect, h * aspect, w), np.where(w > h * aspect, w / aspect, h)
  return (np.stack(sides, -1) / 200).astype(np.float32)


def affine(center, scale, rotation, size, inverse=False):
  """(2,3) map from the picture to a crop of size (width, height), or back.

  rotation: degrees. Only the width's scale is used, so the crop keeps the picture's aspect. The
  three points that fix the map are rounded to float32, as published (HRNet).
  """
  side = np.asarray(scale, np.float64)[0] * 200
  w, h = size
  angle = np.pi * rotation / 180
  up = np.array([np.sin(angle), -np.cos(angle)]) * (side * 0.5)
  source, target = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32)
  source[:2] = center, np.asarray(center, np.float64) + up
  target[:2] = (w * 0.5, h * 0.5), (w * 0.5, h * 0.5 - w * 0.5)
  for points in (source, target):
    dx, dy = points[0] - points[1]
    points[2] = points[1] + np.array([-dy, dx], np.float32)
  if inverse:
    source, target = target, source
  return cv2.getAffineTransform(source, target)


def udp_affine(center, scale, rotation, size):
  """`affine` after UDP (Huang et al., CVPR 2020, section 3): (2,3) map, picture -> crop.

  Lengths run from the first pixel's centre to the last one's: the box side becomes size - 1, for
  width and height on their own, and the box centre (size - 1) / 2.
  """
  last = np.asarray(size, np.float64) - 1
  angle = np.deg2rad(rotation)
  turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
  linear = turn * (last / (np.asarray(scale, np.float64) * 200))[:, None]
  return np.column_stack([linear, last / 2 - linear @ np.asarray(center, np.float64)])


def crop_affine(center, scale, rotation, size, unbiased):
  """(2,3) map, picture -> crop, by the rule that the codec asks for: `udp_affine` or `affine`."""
  return (udp_affine if unbiased else affine)(center, scale, rotation, size)


def transform(points, matrix):
  """(...,2) points through a (2,3) affine map."""
  return points @ matrix[:, :2].T + matrix[:, 2]


def half_body(keypoints, visibility, lower_body, aspect, prefer_upper):
  """Centre and scale of the box around the upper or lower labelled joints, None if below two.

  keypoints (K,2), visibility (K,), lower_body (K,) bool. A half needs more than two joints to be
  chosen; the centre is the mean of the joints, the box side times 1.5 (HRNet).
  """
  labelled = is_labelled(visibility)
  upper, lower = keypoints[labelled & ~lower_body], keypoints[labelled & lower_body]
  take_lower = len(lower) > 2 and not (prefer_upper and len(upper) > 2)
  chosen = lower if take_lower else upper
  if len(chosen) < 2:
    return None
  w, h = chosen.max(0) - chosen.min(0)
  return chosen.mean(0).astype(np.float32), _side_to_scale(w, h, aspect) * np.float32(1.5)


def draw_crop(rng, augmentation, center, scale, keypoints, visibility, lower_body, width, size,
              unbiased=False):
  """Random crop geometry: (2,3) map from the picture to the crop, and whether it is mirrored.

  Order of the draws as published: half body, scale, rotation, mirror. width: of the picture.
  unbiased: whether the crop is cut by `udp_affine`.
  """
  a = augmentation
  if is_labelled(visibility).sum() > a.half_body_joints and rng.random() < a.half_body_prob:
    # Published: the half is drawn by a normal, not a uniform number, so upper has p = 0.69.
    half = half_body(keypoints, visibility, lower_body, size[0] / size[1], rng.normal() < 0.5)
    center, scale = half or (center, scale)
  scale = scale * np.clip(rng.normal(1, a.scale), 1 - a.scale, 1 + a.scale)
  rotation = np.clip(rng.normal(0, a.rotation), -2 * a.rotation, 2 * a.rotation)
  rotation = rotation if rng.random() < a.rotation_prob else 0.0
  mirror = rng.random() < a.flip_prob
  return crop_matrix(center, scale, rotation, mirror, width, size, unbiased), mirror


def crop_matrix(center, scale, rotation, mirror, width, size, unbiased=False):
  """(2,3) map from the picture to the crop; a mirrored picture is mirrored before it is cropped."""
  if not mirror:
    return crop_affine(center, scale, rotation, size, unbiased)
  mirrored = width - center[0] - 1, center[1]
  matrix = crop_affine(mirrored, scale, rotation, size, unbiased)
  return matrix @ np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1]], np.float64)


def box_in_crop(box, matrix, mirrored, size):
  """(4,) float32: a box x, y, width, height of the picture in a crop, moved and scaled, not turned.

  matrix: (2,3) map from the picture to the crop of size (W, H); mirrored: whether it mirrors.
  """
  linear, middle = matrix[:, :2], np.array(size) / 2
  factor = np.linalg.norm(linear, axis=1)  # crop pixels of a picture pixel, in x and y
  center = np.linalg.solve(linear, middle - matrix[:, 2])  # of the crop, in the picture
  away = (box[:2] + box[2:] / 2 - center) * np.array([-1 if mirrored else 1, 1])
  sides = factor * box[2:]
  return np.concatenate([middle + factor * away - sides / 2, sides]).astype(np.float32)


def warp(image, matrix, size):
  """(H,W,3) uint8 crop of size (W, H); bilinear, black outside the picture."""
  return cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR)
