"""Which part of a picture the crops of a person can need, and that part as a JPEG file."""
from typing import NamedTuple

import cv2
import numpy as np

from dslope_jax.visibility import is_labelled
from input_pipeline import geometry

_MARGIN = 2  # pixels: bilinear sampling reaches one further, and float32 points round
# Left and top ends fall on the blocks of a JPEG picture with halved colours: where the blocks of
# the original and of the part coincide, encoding again costs much less (4 dB on COCO's pictures).
_BLOCK = 16


class Area(NamedTuple):
  """A rectangle of a picture, as stored: its first pixel, its width and height in pixels of the
  picture, both multiples of `shrink`, and how many pixels a side become one when stored."""
  x: int
  y: int
  width: int
  height: int
  shrink: int


class Settings(NamedTuple):
  """What crops an area must serve, and how it is stored.

  size: (W, H) of the crops. augmentation: the strongest. unbiased: see `top_down.draw_crop`.
  detail: stored pixels per crop pixel that must be left; see `shrink_factor`. quality: of JPEG.
  """
  size: tuple[int, int]
  augmentation: geometry.Augmentation
  unbiased: bool = False
  detail: float = 2.0
  quality: int = 95


def possible_boxes(augmentation, center, scale, keypoints, visibility, lower_body, size):
  """(center, scale) of every box that `top_down.draw_crop` can start from: the person's, and
  those of the halves of the body."""
  a, boxes = augmentation, [(center, scale)]
  if a.half_body_prob > 0 and is_labelled(visibility).sum() > a.half_body_joints:
    halves = [geometry.half_body(keypoints, visibility, lower_body, size[0] / size[1], upper)
              for upper in (True, False)]
    boxes += [half for half in halves if half]
  return boxes


def reach(boxes, augmentation, size):
  """Ends (x0, y0, x1, y1) of all that crops out of these boxes show, in pixels of the picture.

  A crop is a rectangle of half sides (w, h) turned by an angle t: it reaches w |cos t| + h |sin t|
  to the sides, most where tan t = h / w or at the largest angle. The factor of the size is at most
  1 + augmentation.scale, the angle twice augmentation.rotation. A mirrored crop shows the same part
  but for one pixel of the crop, and the half sides here are those of the longer side.
  """
  a, ends = augmentation, []
  most = np.deg2rad(2 * a.rotation) if a.rotation_prob > 0 else 0.0
  for center, scale in boxes:
    # HRNet's map takes the width's scale for both sides, UDP's each side's own.
    w = 100 * (1 + a.scale) * float(scale[0])
    h = max(100 * (1 + a.scale) * float(scale[1]), w * size[1] / size[0])
    x, y = (first * np.cos(t) + second * np.sin(t) for first, second in ((w, h), (h, w))
            for t in [min(most, np.arctan2(second, first))])
    ends.append((center[0] - x, center[1] - y, center[0] + x, center[1] + y))
  ends = np.array(ends, np.float64)
  return (*ends[:, :2].min(0), *ends[:, 2:].max(0))


def shrink_factor(boxes, augmentation, size, detail):
  """By how much a person may be stored smaller: 1, 2, 4 ...

  The largest that leaves `detail` stored pixels a crop pixel at evaluation scale, and one in the
  closest crop that training can draw (half body, smallest factor): such a crop is never enlarged
  from what was stored, unless it would be from the original too.
  """
  density = [200 * min(float(scale[0]) / size[0], float(scale[1]) / size[1]) for _, scale in boxes]
  closest, shrink = min(density) * (1 - augmentation.scale), 1
  while density[0] >= 2 * shrink * detail and closest >= 2 * shrink:
    shrink *= 2
  return shrink


def area(settings: Settings, source, row, width, height) -> Area:
  """The part of a picture of this size that holds every crop of a row, clipped to the picture.

  The last column and row may lie beyond the picture where it is to be shrunk; they are black, as
  all that a crop shows outside a picture is.
  """
  boxes = possible_boxes(settings.augmentation, source.center[row], source.scale[row],
                         source.keypoints[row], source.visibility[row],
                         source.skeleton.lower_body, settings.size)
  shrink = shrink_factor(boxes, settings.augmentation, settings.size, settings.detail)
  x0, y0, x1, y1 = reach(boxes, settings.augmentation, settings.size)
  x, across = _clipped(x0, x1, width, shrink)
  y, down = _clipped(y0, y1, height, shrink)
  return Area(x, y, across, down, shrink)


def _clipped(low, high, length, shrink):
  """(first pixel, number of pixels) along one side of a picture; at least one."""
  low, high = np.clip([low - _MARGIN, high + _MARGIN], 0, length - 1)
  first = int(np.floor(low)) // _BLOCK * _BLOCK
  count = int(np.ceil(high)) + 1 - first
  return first, -(-count // shrink) * shrink


def cut(image, part: Area):
  """(H,W,3) uint8: the area of a picture as stored, shrunk by the mean of each square of pixels."""
  found = image[part.y:part.y + part.height, part.x:part.x + part.width]
  below, beside = part.height - found.shape[0], part.width - found.shape[1]
  if below or beside:
    found = cv2.copyMakeBorder(found, 0, below, 0, beside, cv2.BORDER_CONSTANT)
  if part.shrink == 1:
    return found
  return cv2.resize(found, (part.width // part.shrink, part.height // part.shrink),
                    interpolation=cv2.INTER_AREA)


def encode(image, quality) -> bytes:
  """A JPEG file of an RGB picture.

  Colours are not halved (4:4:4): on COCO's people that is 10 dB, for a third more bytes.
  """
  ok, data = cv2.imencode('.jpg', cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [
    cv2.IMWRITE_JPEG_QUALITY, quality,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444])
  if not ok:
    raise OSError(f'a part of {image.shape[1]}x{image.shape[0]} pixels cannot be encoded')
  return data.tobytes()
