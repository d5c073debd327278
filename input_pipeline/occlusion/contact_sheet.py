"""A sheet on which the patches of a bank are looked at."""
import cv2
import numpy as np


def _checkerboard(size, square=6):
  """(h,w,3) uint8 grey squares, what cut-outs are shown on."""
  y, x = np.indices(size) // square
  return np.repeat(np.where((x + y) % 2, 190, 230).astype(np.uint8)[..., None], 3, -1)


def contact_sheet(patches_by_part, side=72, columns=14):
  """(H,W,3) uint8: two rows of cut-outs of each part with their names and bones."""
  rows = []
  for part, patches in patches_by_part:
    cells = [_cell(p, side) for p in patches[:2 * columns]]
    cells += [np.full((side, side, 3), 255, np.uint8)] * (-len(cells) % columns)
    label = np.full((16, side * columns, 3), 60, np.uint8)
    cv2.putText(label, part, (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255,) * 3, 1, cv2.LINE_AA)
    rows += [label, *(np.hstack(cells[i:i + columns]) for i in range(0, len(cells), columns))]
  return np.vstack(rows)


def _cell(patch, side):
  h, w = patch.pixels.shape[:2]
  zoom = (side - 4) / max(h, w)
  size = max(1, round(w * zoom)), max(1, round(h * zoom))
  rgba = cv2.resize(patch.pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32)
  cell = _checkerboard((side, side)).astype(np.float32)
  x, y = (side - size[0]) // 2, (side - size[1]) // 2
  alpha = rgba[..., 3:] / 255
  place = cell[y:y + size[1], x:x + size[0]]
  place[:] = place * (1 - alpha) + rgba[..., :3]
  cell = cell.astype(np.uint8)
  if np.isfinite(patch.bone).all():
    a, b = (tuple(np.round(end * zoom + (x, y)).astype(int).tolist()) for end in patch.bone)
    cv2.arrowedLine(cell, a, b, (220, 30, 30), 1, cv2.LINE_AA, tipLength=0.15)
  return cell
