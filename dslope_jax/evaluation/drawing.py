"""Pictures to look at: skeletons on crops, heatmaps, sheets of pairs."""
import itertools

import cv2
import numpy as np

from dslope_jax.skeletons import Skeleton

_LEFT, _RIGHT, _MIDDLE = (255, 160, 40), (60, 200, 255), (120, 255, 120)  # RGB


def draw_pose(image, keypoints, shown, skeleton: Skeleton):
  """Copy of a (H,W,3) uint8 RGB picture with limbs and joints; the person's left is orange.

  keypoints: (K,2) pixels. shown: (K,) bool, which joints to draw.
  """
  out = np.ascontiguousarray(image).copy()
  thickness = max(1, round(max(image.shape[:2]) / 128))
  points = [tuple(int(round(float(v))) for v in p) for p in np.clip(keypoints, -1e4, 1e4)]
  for a, b in skeleton.limbs:
    if shown[a] and shown[b]:
      cv2.line(out, points[a], points[b], _colour(skeleton, a, b), thickness, cv2.LINE_AA)
  for k in np.flatnonzero(shown):
    cv2.circle(out, points[k], thickness + 1, _colour(skeleton, k), -1, cv2.LINE_AA)
  return out


def mark(image, points, shown, marker):
  """Copy of a (H,W,3) picture with a mark of OpenCV, white with a dark rim, on points (K,2) that
  are shown (K,)."""
  out = image.copy()
  size = max(7, image.shape[0] // 24)
  for x, y in np.clip(points, -1e4, 1e4)[shown].round().astype(int).tolist():
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
      cv2.drawMarker(out, (x, y), colour, marker, size, width, cv2.LINE_AA)
  return out


def draw_people(image, boxes, keypoints, scores, visible, skeleton: Skeleton, ids=None):
  """Copy of a (H,W,3) uint8 RGB picture with the boxes and poses of P people.

  The paler a joint, the lower its score (0 to 1). Hidden joints, of probability `visible` below one
  half, are hollow. boxes: (P,4) x, y, width, height. keypoints: (P,K,2) pixels, NaN for joints
  that are not drawn. scores, visible: (P,K), or visible None. ids: (P,) numbers to write at the
  boxes, or None.
  """
  out = np.ascontiguousarray(image).copy()
  seen = np.ones(np.shape(scores), bool) if visible is None else np.asarray(visible) >= 0.5
  for p, (x, y, w, h) in enumerate(np.clip(boxes, -1e4, 1e4)):
    thick, radius = (int(np.clip(round(max(w, h) / part), 1, 12)) for part in (150, 80))
    there = np.isfinite(keypoints[p]).all(-1)
    points = np.clip(np.where(there[:, None], keypoints[p], 0), -1e4, 1e4)
    points = points.round().astype(int).tolist()
    shade = lambda colour, *joints, p=p: tuple(
      255 + float(np.clip(min(scores[p][j] for j in joints), 0.1, 1)) * (c - 255) for c in colour)
    cv2.rectangle(out, (round(x), round(y)), (round(x + w), round(y + h)), (200,) * 3, 1)
    for a, b in skeleton.limbs:
      if there[a] and there[b]:
        cv2.line(out, points[a], points[b], shade(_colour(skeleton, a, b), a, b), thick,
                 cv2.LINE_AA)
    for k in np.flatnonzero(there):
      point = points[k]
      colour = shade(_colour(skeleton, k), k)
      if seen[p][k]:
        cv2.circle(out, point, radius, colour, -1, cv2.LINE_AA)
      else:  # the limbs end at the ring
        cv2.circle(out, point, radius, image[_inside(point, image)].tolist(), -1)
        cv2.circle(out, point, radius, colour, max(1, radius // 2), cv2.LINE_AA)
    if ids is not None:
      cv2.putText(out, str(ids[p]), (round(x) + 2, round(y) + 8 + 8 * thick),
                  cv2.FONT_HERSHEY_SIMPLEX, 0.3 + 0.2 * thick, (255, 255, 0), thick, cv2.LINE_AA)
  return out


def _inside(point, image):
  return tuple(np.clip(point[::-1], 0, np.subtract(image.shape[:2], 1)))


def _colour(skeleton, *joints):
  sides = {int(skeleton.sides[j]) for j in joints}
  return {1: _LEFT, -1: _RIGHT}.get(sides.pop(), _MIDDLE) if len(sides) == 1 else _MIDDLE


def draw_heatmaps(image, heatmaps):
  """The largest of K maps (h,w,K) at each pixel, as a colour over a darkened (H,W,3) picture."""
  strongest = np.clip(np.asarray(heatmaps, np.float32).max(-1), 0, 1)
  strongest = cv2.resize(strongest, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
  colour = cv2.applyColorMap((strongest * 255).astype(np.uint8), cv2.COLORMAP_JET)
  return cv2.addWeighted(image, 0.5, cv2.cvtColor(colour, cv2.COLOR_BGR2RGB), 0.5, 0)


def framed(picture, right):
  """A copy of a picture (H,W,3) uint8 RGB in a frame, green or, where it is not right, red."""
  out, (height, width) = picture.copy(), picture.shape[:2]
  cv2.rectangle(out, (0, 0), (width - 1, height - 1), (0, 200, 0) if right else (220, 0, 0), 2)
  return out


def sheet(rows, titles=(), captions=()):
  """Rows of equal-sized (H,W,3) pictures as one picture, with a line of column titles, and above
  each row its caption."""
  height, width = max(rows[0][0].shape[0], 192), rows[0][0].shape[1]
  width = round(width * height / rows[0][0].shape[0])
  lines = [_line(titles, width, len(rows[0]))] if titles else []
  for row, caption in itertools.zip_longest(rows, captions):
    if caption is not None:
      lines.append(_line([caption], width * len(row), 1))
    lines.append(np.hstack([cv2.resize(p, (width, height)) for p in row]))
  return np.vstack(lines)


def _line(texts, width, columns):
  """A black line with a text at the beginning of each column of this width."""
  out = np.zeros((18, columns * width, 3), np.uint8)
  for i, text in enumerate(texts):
    cv2.putText(out, text, (i * width + 2, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (255,) * 3, 1,
                cv2.LINE_AA)
  return out


def save(path, image):
  """Writes a (H,W,3) uint8 RGB picture; raises OSError if it cannot."""
  if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR)):
    raise OSError(f"cannot write picture '{path}'")


_CANVAS = 192  # pixels of height of what has no picture behind it


def draw_points(points, shown, skeleton: Skeleton):
  """2D keypoints (J,2) in any unit, fitted into a dark picture (192, 384, 3) uint8 RGB.

  shown: (J,) bool, joints to draw.
  """
  canvas = np.full((_CANVAS, 2 * _CANVAS, 3), 24, np.uint8)
  points = np.asarray(points, np.float64)
  if shown.any():
    low, high = points[shown].min(0), points[shown].max(0)
    scale = 0.8 * _CANVAS / max((high - low).max(), 1e-6)
    points = (points - (low + high) / 2) * scale + (_CANVAS, _CANVAS / 2)
  return draw_pose(canvas, points, shown, skeleton)


def draw_sides(pose, skeleton: Skeleton, reach=1100.0):
  """A pose (J,3) in mm, relative to its root, from the camera and from the side: (192, 384, 3)
  uint8 RGB. X right, Y down, Z away from the camera. reach: mm from the middle to the border."""
  sides = []
  for axis in (0, 2):
    points = _CANVAS / 2 * (1 + np.asarray(pose)[:, [axis, 1]] / reach)
    sides.append(draw_pose(np.full((_CANVAS, _CANVAS, 3), 24, np.uint8), points,
                           np.ones(len(points), bool), skeleton))
  return np.hstack(sides)


def draw_above(poses, shown, skeleton: Skeleton, size, reach):
  """People from above, on a dark picture of size (W, H): the camera looks up from the middle of its
  lower edge.

  poses: (P,J,3) in the camera's frame. shown: (P,J) bool. reach: of the upper edge from the camera,
  in the unit of the poses.
  """
  out, scale = np.full((size[1], size[0], 3), 24, np.uint8), size[1] / reach
  for pose, there in zip(poses, shown, strict=True):
    points = pose[:, [0, 2]] * (scale, -scale) + (size[0] / 2, size[1])
    out = draw_pose(out, np.where(there[:, None], points, 0), there, skeleton)
  return out
