"""Pictures for people: skeletons on crops, heatmaps, sheets of pairs."""
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


def _colour(skeleton, *joints):
  names = [skeleton.names[j].lower() for j in joints]
  if all('left' in n for n in names):
    return _LEFT
  return _RIGHT if all('right' in n for n in names) else _MIDDLE


def draw_heatmaps(image, heatmaps):
  """The largest of K maps (h,w,K) at each pixel, as a colour over a darkened (H,W,3) picture."""
  strongest = np.clip(np.asarray(heatmaps, np.float32).max(-1), 0, 1)
  strongest = cv2.resize(strongest, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
  colour = cv2.applyColorMap((strongest * 255).astype(np.uint8), cv2.COLORMAP_JET)
  return cv2.addWeighted(image, 0.5, cv2.cvtColor(colour, cv2.COLOR_BGR2RGB), 0.5, 0)


def sheet(rows, titles=()):
  """Rows of equal-sized (H,W,3) pictures as one picture, with a line of column titles."""
  height, width = max(rows[0][0].shape[0], 192), rows[0][0].shape[1]
  factor = height / rows[0][0].shape[0]
  width = round(width * factor)
  body = np.vstack([np.hstack([cv2.resize(p, (width, height)) for p in row]) for row in rows])
  head = np.zeros((18 if titles else 0, body.shape[1], 3), np.uint8)
  for i, title in enumerate(titles):
    cv2.putText(head, title, (i * width + 2, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (255,) * 3, 1,
                cv2.LINE_AA)
  return np.vstack([head, body])


_INKS = ((31, 119, 180), (214, 39, 40), (44, 160, 44), (148, 103, 189), (255, 127, 14),
         (23, 150, 160), (120, 120, 120), (140, 86, 75), (227, 119, 194), (188, 189, 34),
         (10, 10, 10), (160, 210, 120))


def curves(panels, size=(460, 300)):
  """Line charts side by side, (H,W,3) uint8.

  panels: list of (title, {name: [(x, y), ...]}, logarithmic); names go into the legend.
  """
  return np.hstack([_chart(*panel, size) for panel in panels])


def _chart(title, series, logarithmic, size):
  (width, height), left, top, bottom = size, 62, 40, 30
  out = np.full((height, width, 3), 255, np.uint8)
  _write(out, title, (left, 16), 0.45)
  lines = {}
  for name, values in series.items():
    points = np.array(values, np.float64).reshape(-1, 2)
    points = points[np.isfinite(points).all(1) & ((points[:, 1] > 0) | (not logarithmic))]
    lines[name] = np.column_stack([points[:, 0], np.log10(points[:, 1])]) if logarithmic else points
  everything = np.concatenate([*lines.values(), np.zeros((0, 2))])
  if not len(everything):
    return out
  low, high = everything.min(0), everything.max(0)
  margin = np.array([0, 0.05]) * np.maximum(high - low, 1e-9)
  low, high = low - margin, np.maximum(high + margin, low + 1e-6)
  corner = np.array([left, height - bottom])
  span = np.array([width - left - 12, top + bottom - height])
  place = lambda p: np.round(corner + (p - low) / (high - low) * span).astype(np.int32)
  for share in (0, 0.25, 0.5, 0.75, 1) if high[0] - low[0] > 1e-5 else (0,):
    x, y = place(low + share * (high - low)).tolist()
    cv2.line(out, (left, y), (width - 12, y), (225,) * 3, 1)
    value = low[1] + share * (high[1] - low[1])
    _write(out, f'{10 ** value:.2g}' if logarithmic else f'{value:.3g}', (6, y + 4), 0.36)
    _write(out, f'{low[0] + share * (high[0] - low[0]):.0f}', (x - 12, height - 12), 0.36)
  for i, (name, points) in enumerate(lines.items()):
    ink = _INKS[i % len(_INKS)]
    cv2.polylines(out, [place(points)], False, ink, 2, cv2.LINE_AA)
    for p in place(points) if len(points) < 20 else ():
      cv2.circle(out, p.tolist(), 3, ink, -1, cv2.LINE_AA)
    _write(out, name, (left + 6 + i % 2 * 190, top - 8 + 13 * (i // 2)), 0.38, ink)
  return out


def _write(image, text, place, scale, colour=(40, 40, 40)):
  cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)


def save(path, image):
  """Writes a (H,W,3) uint8 RGB picture; raises OSError if it cannot."""
  if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR)):
    raise OSError(f"cannot write picture '{path}'")
