"""Masks as annotation files hold them: polygons, run lengths, DensePose's body parts."""
import json

import msgspec
import numpy as np
from pycocotools import mask as coco_mask

from dslope_jax.errors import UserError

_BROKEN = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
_FURTHEST = 1e5  # pixels; pycocotools walks along every edge
_DENSE_SIDE = 256
_BARE_TEXT = 200  # bytes; far more than a few points take
# DensePose-COCO's part numbers 1 to 14 in the order of its data_format.md; hands and feet go to
# the limb that they end, since a cut-out hand alone is too small to hide anything.
_DENSE_PARTS = (
  'torso', 'right_lower_arm', 'left_lower_arm', 'left_lower_leg', 'right_lower_leg',
  'right_upper_leg', 'left_upper_leg', 'right_lower_leg', 'left_lower_leg', 'left_upper_arm',
  'right_upper_arm', 'left_lower_arm', 'right_lower_arm', 'head')


def decode(segmentation, width, height) -> np.ndarray:
  """A COCO segmentation as a (height,width) bool array.

  segmentation: a list of polygons [x0, y0, x1, y1, ...] in pixels, whose union it is, those of less
  than three points left out; or a dict with `size` [height, width] and run lengths `counts`, a list
  of numbers or packed as text.
  Raises UserError saying what is wrong, without the place, which the caller knows.
  """
  try:
    draw = _fill if isinstance(segmentation, list) else _expand
    return draw(segmentation, width, height)
  except _BROKEN:
    raise UserError('its segmentation is neither polygons nor run lengths of a picture of '
                    f'{width}x{height}') from None


def parsed(value):
  """What a field holds that was left as json text; any other value as it is."""
  return json.loads(bytes(value)) if isinstance(value, msgspec.Raw) else value


def is_bare(segmentation) -> bool:
  """Whether an outline, which may be left as json text, has no polygon of three points: [[]] or a
  point or two, as some programs write for people who have keypoints only."""
  if isinstance(segmentation, msgspec.Raw) and len(bytes(segmentation)) > _BARE_TEXT:
    return False
  polygons = parsed(segmentation)
  return (isinstance(polygons, list) and bool(polygons)
          and not any(_has_area(polygon) for polygon in polygons))


def _has_area(polygon):
  """Anything but a list of 0, 1 or 2 points; what is none at all is told when it is drawn."""
  return not (isinstance(polygon, list) and len(polygon) in (0, 2, 4)
              and all(isinstance(v, (int, float)) for v in polygon))


def dense_parts(dp_masks, box, width, height) -> dict[str, np.ndarray]:
  """{part: (height,width) bool} of the `dp_masks` of a DensePose-COCO annotation.

  dp_masks: 14 run-length masks of 256x256 that span the box, empty entries where a part is not
  seen. Their order is that of data_format.md in DensePose's repository: torso, right hand, left
  hand, left foot, right foot, right and left upper leg, right and left lower leg, left and right
  upper arm, left and right lower arm, head; left and right are the person's own. Hands are part
  of the lower arm, feet of the lower leg. box: x, y, width, height in pixels, with an area.
  Parts without a pixel are left out.
  Raises UserError saying what is wrong, without the place, which the caller knows.
  """
  if not isinstance(dp_masks, list) or len(dp_masks) != len(_DENSE_PARTS):
    raise UserError(f'its dp_masks are not a list of {len(_DENSE_PARTS)} masks')
  x, y, w, h = box
  columns = np.floor((np.arange(width) + 0.5 - x) * (_DENSE_SIDE / w)).astype(int)
  rows = np.floor((np.arange(height) + 0.5 - y) * (_DENSE_SIDE / h)).astype(int)
  inside = np.ix_(_in_square(rows), _in_square(columns))
  grid = np.ix_(rows[_in_square(rows)], columns[_in_square(columns)])
  parts = {}
  for number, (part, entry) in enumerate(zip(_DENSE_PARTS, dp_masks, strict=True), 1):
    if not entry:
      continue
    try:
      square = _expand(entry, _DENSE_SIDE, _DENSE_SIDE)
    except _BROKEN:
      raise UserError(f'part {number} of its dp_masks is not run lengths of '
                      f'{_DENSE_SIDE}x{_DENSE_SIDE}') from None
    mask = parts.setdefault(part, np.zeros((height, width), bool))
    mask[inside] |= square[grid]
  return {part: mask for part, mask in parts.items() if mask.any()}


def read_mask(annotations, sizes, path, row):
  """`Source.mask` of annotations in COCO's format.

  annotations: dicts with `id` and perhaps `segmentation`. sizes: (N,2) width and height of their
  pictures, 0 if unknown. Raises UserError naming the file, `path`, and the annotation.
  """
  annotation, (width, height) = annotations[row], sizes[row].tolist()
  segmentation = parsed(annotation.get('segmentation'))
  if not segmentation or not width or is_bare(segmentation):
    return None
  return _naming(path, annotation, decode, segmentation, width, height)


def read_parts(annotations, sizes, path, row):
  """`Source.parts` of annotations that may have `dp_masks`; the rest is as for `read_mask`."""
  annotation, (width, height) = annotations[row], sizes[row].tolist()
  dp_masks = parsed(annotation.get('dp_masks'))
  if not dp_masks or not width:
    return {}
  return _naming(path, annotation, dense_parts, dp_masks, annotation['bbox'], width, height)


def _naming(path, annotation, action, *arguments):
  try:
    return action(*arguments)
  except ValueError as error:
    raise UserError(f"{path}: annotation {annotation['id']}: {error}; mend or remove "
                    'it') from None


def _in_square(steps):
  return (steps >= 0) & (steps < _DENSE_SIDE)


def _fill(polygons, width, height):
  """By pycocotools: the masks of COCO's own tools, whatever the version of OpenCV."""
  polygons = list(filter(_has_area, polygons))
  for polygon in polygons:
    points = np.asarray(polygon, np.float64).reshape(-1, 2)
    if len(points) < 3 or not (np.abs(points) < _FURTHEST).all():
      raise ValueError
  packed = coco_mask.frPyObjects([list(map(float, p)) for p in polygons], height, width)
  return np.logical_or.reduce([_expand({'counts': p['counts'].decode(), 'size': p['size']},
                                       width, height) for p in packed])


def _expand(segmentation, width, height):
  counts = segmentation['counts']
  runs = counts if isinstance(counts, list) else _unpack(counts.encode('ascii'))
  if list(segmentation['size']) != [height, width] or min(runs) < 0 or sum(runs) != width * height:
    raise ValueError
  filled = np.repeat(np.arange(len(runs)) % 2 == 1, runs)  # column by column, empty ones first
  return filled.reshape(width, height).T


def _unpack(text):
  """COCO's packed run lengths: 5 bits a character, lowest first, then a sign bit and a bit that
  says that more follow; from the fourth on they are differences to the one before the last."""
  counts, value, shift = [], 0, 0
  for code in text:
    bits = code - 48
    value |= (bits & 31) << shift
    shift += 5
    if not bits & 32:
      value -= (bits & 16) and 1 << shift
      counts.append(value + (counts[-2] if len(counts) > 2 else 0))
      value = shift = 0
  return counts
