"""Cuts body parts, whole people, things and textures out of annotated pictures.

A part is the exact mask where the set has one, else tapered capsules around the part's bones,
intersected with the person's mask, if any, and feathered.
"""
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from input_pipeline.occlusion import body_parts
from input_pipeline.occlusion.body_parts import bare
from input_pipeline.sources.source import Source

_UPPER_BODY = ('head', 'torso', 'upper_arm', 'lower_arm')
_MIN_SIDE = 10  # pixels of the picture; smaller cut-outs show nothing
_MAX_SIDE = 192  # pixels of the patch; larger cut-outs are reduced by a whole number
_MIN_MASK_SHARE = 0.4  # of a capsule that is on the person; below it the part is mostly hidden
_MIN_VISIBLE_SHARE = 0.7  # of the labelled joints of a whole person that must be visible
_MIN_JOINTS = 6  # labelled, for a whole person


class Patch(NamedTuple):
  """A cut-out with soft edges.

  pixels: (h,w,4) uint8 RGBA, colours weighted by opacity. bone: (2,2) its two ends x, y in patch
  pixels (for a person or a torso hips and shoulders, for a head neck and top), NaN where there is
  none. stature: height of the standing person it is from, in patch pixels; 0 where it is not known.
  shrink: picture pixels per patch pixel. exact: cut along a mask, not only along a capsule.
  """
  part: str
  pixels: np.ndarray
  bone: np.ndarray
  stature: float
  shrink: int
  exact: bool


def cut_person(source: Source, row: int, image, rejected: dict) -> Iterator[Patch]:
  """All good cut-outs of a row; the bad ones are counted in `rejected` by their reason.

  Bad: under 10 pixels; cut by the picture's border; mostly hidden (a limb with an end that is not
  visible, less than 40 % of a capsule's core on the person's mask, a whole person with less than
  70 % of its labelled joints visible or fewer than 6 of them labelled).
  """
  mask, exact_parts = source.mask(row), source.parts(row)
  keypoints = source.keypoints[row]
  visibility = np.where(source.labelled[row], source.visibility[row], 0)
  height = 0.0
  if visibility.any():
    height = body_parts.stature(keypoints, visibility, source.skeleton,
                                body_parts.box_stature(source.scale[row]))
  elif 'person' in exact_parts:  # without joints it is taken to stand
    height = float(np.linalg.norm(np.diff(_axis(exact_parts['person'], 'person'), axis=0)))
  shapes = dict(body_parts.shapes(source.skeleton, keypoints, visibility == 2))
  named = {bare(name) for name in exact_parts}
  for name, part_mask in exact_parts.items():
    if name in shapes:
      bone = shapes[name].bone
      hidden = _share_inside(shapes[name].capsules, part_mask) < _MIN_MASK_SHARE
    else:
      bone = _axis(part_mask, bare(name))
      # Of a person with joints only parts whose bone is seen at both ends have a shape.
      hidden = visibility.any() and bare(name) in body_parts.RADII
    cut = (None, 'mostly hidden') if hidden else _cut(bare(name), image, part_mask, None, bone,
                                                      height)
    yield from _checked(cut, rejected)
  for name, shape in shapes.items():
    if name != 'person' and bare(name) not in named:
      yield from _checked(_cut(bare(name), image, mask, shape.capsules, shape.bone, height),
                          rejected)
  labelled, visible = (visibility > 0).sum(), (visibility == 2).sum()
  if 'person' in named or not labelled:
    return
  if labelled < _MIN_JOINTS or visible < _MIN_VISIBLE_SHARE * labelled:
    rejected['mostly hidden'] = rejected.get('mostly hidden', 0) + 1
    return
  bone = shapes['torso'].bone if 'torso' in shapes else np.full((2, 2), np.nan)
  capsules = None if mask is not None else [c for name, s in shapes.items() for c in s.capsules
                                            if bare(name) != 'face_part']
  if mask is not None or capsules:
    yield from _checked(_cut('person', image, mask, capsules, bone, height), rejected)
  upper = [c for name, s in shapes.items() if bare(name) in _UPPER_BODY for c in s.capsules]
  if 'torso' in shapes and 'head' in shapes:
    yield from _checked(_cut('upper_body', image, mask, upper, bone, height), rejected)


def _checked(cut, rejected):
  patch, reason = cut
  if patch is None:
    rejected[reason] = rejected.get(reason, 0) + 1
  else:
    yield patch


def _axis(mask, part):
  """Bone of an exact part without keypoints: the longest axis of its mask, downwards for limbs."""
  y, x = np.nonzero(mask)
  if part in ('object', 'texture') or len(x) < 2:
    return np.full((2, 2), np.nan)
  points = np.stack([x, y], -1).astype(np.float64)
  middle = points.mean(0)
  values, vectors = np.linalg.eigh(np.cov((points - middle).T))
  reach = 1.7 * np.sqrt(max(values[1], 0)) * vectors[:, 1]  # of an even bar: half its length
  limb = part.endswith(('arm', 'leg'))
  down = reach if (reach[1] > 0) == limb else -reach  # a person, torso or head goes upwards
  return np.stack([middle - down, middle + down])


def _share_inside(capsules, mask):
  """Share of the capsules, thinned by a third, that lies on the mask."""
  thin = [(a, b, ra * 0.67, rb * 0.67) for a, b, ra, rb in capsules]
  x1, y1, x2, y2 = box = _box(thin)
  core = capsules_alpha(thin, box) > 0.5
  padded = np.zeros_like(core)  # what lies outside the picture is not on the mask
  h, w = mask.shape
  left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2, w), min(y2, h)
  if left < right and top < bottom:
    padded[top - y1:bottom - y1, left - x1:right - x1] = mask[top:bottom, left:right]
  return (padded & core).sum() / max(core.sum(), 1)


def _box(capsules):
  """Whole pixels x1, y1, x2, y2 that the capsules reach, and one more."""
  low = np.min([np.minimum(a - ra, b - rb) for a, b, ra, rb in capsules], 0)
  high = np.max([np.maximum(a + ra, b + rb) for a, b, ra, rb in capsules], 0)
  return *np.floor(low - 1).astype(int).tolist(), *np.ceil(high + 2).astype(int).tolist()


def _cut(part, image, mask, capsules, bone, height):
  """(Patch, '') or (None, reason)."""
  h, w = image.shape[:2]
  if capsules:
    x1, y1, x2, y2 = _box(capsules)
  else:
    ys, xs = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(xs):
      return None, 'mostly hidden'
    x1, y1, x2, y2 = xs[0] - 1, ys[0] - 1, xs[-1] + 2, ys[-1] + 2
  if min(x2 - x1, y2 - y1) < _MIN_SIDE:
    return None, 'too small'
  if x1 < 0 or y1 < 0 or x2 > w or y2 > h:
    return None, 'cut by the border'
  alpha = np.ones((y2 - y1, x2 - x1))
  if capsules:
    alpha = capsules_alpha(capsules, (x1, y1, x2, y2))
  if mask is not None:
    if capsules and _share_inside(capsules, mask) < _MIN_MASK_SHARE:
      return None, 'mostly hidden'
    alpha = alpha * _soften(mask[y1:y2, x1:x2].astype(np.float64))
  alpha = np.round(alpha * 255).astype(np.uint16)
  weighted = (image[y1:y2, x1:x2] * alpha[..., None] + 127) // 255
  pixels = np.dstack([weighted, alpha]).astype(np.uint8)
  if (alpha > 127).sum() < _MIN_SIDE ** 2 / 2:
    return None, 'too small'
  shrink = -(-max(pixels.shape[:2]) // _MAX_SIDE)
  return Patch(part, _reduce(pixels, shrink), (bone - (x1, y1) - (shrink - 1) / 2) / shrink,
               height / shrink, shrink, mask is not None), ''


def capsules_alpha(capsules, box):
  """(h,w) opacity of the union of tapered capsules, feathered by 15 % of the radius."""
  x1, y1, x2, y2 = box
  x, y = np.arange(x1, x2), np.arange(y1, y2)[:, None]
  alpha = np.zeros((y2 - y1, x2 - x1))
  for a, b, ra, rb in capsules:
    dx, dy = b - a
    t = np.clip(((x - a[0]) * dx + (y - a[1]) * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
    distance = np.sqrt((x - a[0] - t * dx) ** 2 + (y - a[1] - t * dy) ** 2)
    radius = ra + (rb - ra) * t
    edge = np.maximum(1.0, 0.15 * radius)
    alpha = np.maximum(alpha, np.clip((radius - distance) / edge + 0.5, 0, 1))
  return alpha


def _soften(inside):
  """Mean over 3x3 pixels, in plain sums: the same numbers with every version of every library."""
  padded = np.pad(inside, 1)
  rows = padded[:-2] + padded[1:-1] + padded[2:]
  return (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9


def _reduce(pixels, factor):
  """Means over factor x factor pixels, rounded to the nearest; whole-number sums, as above."""
  if factor == 1:
    return pixels
  h, w = (-(-n // factor) for n in pixels.shape[:2])
  padded = np.zeros((h * factor, w * factor, 4), np.int64)
  padded[:pixels.shape[0], :pixels.shape[1]] = pixels
  n = factor * factor
  return ((padded.reshape(h, factor, w, factor, 4).sum((1, 3)) + n // 2) // n).astype(np.uint8)


def cut_texture(image, people_boxes, rng) -> Patch | None:
  """A blob of background: none of it in a box (N,4: x, y, w, h) of people; None if no place is."""
  h, w = image.shape[:2]
  radius = rng.uniform(0.08, 0.2) * min(h, w)
  centers = np.stack([rng.uniform(radius, w - 1 - radius, 12),
                      rng.uniform(radius, h - 1 - radius, 12)], -1)
  wave = rng.uniform(0, 2 * np.pi, 3)
  low, high = people_boxes[:, :2] - radius, people_boxes[:, :2] + people_boxes[:, 2:] + radius
  free = ~((centers[:, None] > low) & (centers[:, None] < high)).all(-1).any(1)
  if not free.any() or radius * 2 < _MIN_SIDE:
    return None
  cx, cy = centers[free.argmax()]
  x, y = np.arange(w) - cx, (np.arange(h) - cy)[:, None]
  angle = np.arctan2(y, x)
  outline = radius * (0.78 + 0.12 * np.sin(2 * angle + wave[0]) + 0.06 * np.sin(3 * angle + wave[1])
                      + 0.04 * np.sin(5 * angle + wave[2]))
  patch, _ = _cut('texture', image, np.hypot(x, y) < outline, None, np.full((2, 2), np.nan), 0.0)
  return patch and patch._replace(exact=True)
