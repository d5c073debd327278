"""Cuts body parts, whole people, things and textures out of annotated pictures.

A part is the exact mask where the set has one, else tapered capsules around the part's bones,
intersected with the person's mask, if any, and feathered.
"""
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dslope_jax.skeletons import Skeleton
from input_pipeline.source import Source

# Share of a person's stature that a bone has: Winter, Biomechanics and Motor Control of Human
# Movement, figure 4.1 (after Drillis & Contini 1966); head and neck are taken as one bone.
_OF_STATURE = {'upper_arm': 0.186, 'lower_arm': 0.146, 'upper_leg': 0.245, 'lower_leg': 0.246,
               'torso': 0.288, 'head': 0.182}
_BONES = {frozenset(ends): part for part, *pairs in (
  ('upper_arm', ('shoulder', 'elbow')), ('lower_arm', ('elbow', 'wrist')),
  ('upper_leg', ('hip', 'knee')), ('lower_leg', ('knee', 'ankle')),
  ('torso', ('shoulder', 'hip')), ('head', ('neck', 'head_top'), ('neck', 'head')))
  for ends in pairs}
# Radius of the capsule at the bone's first and second end, as a share of its length: wide enough
# for clothes; a mask, if any, trims it.
_RADII = {'upper_arm': (0.34, 0.27), 'lower_arm': (0.30, 0.30), 'upper_leg': (0.32, 0.22),
          'lower_leg': (0.24, 0.24), 'head': (0.36, 0.42), 'torso': (0.28, 0.28),
          'limb': (0.25, 0.25)}
_FACE = ('nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear')
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


class Shape(NamedTuple):
  """A part as capsules (a, b, radius at a, radius at b) and its bone, picture pixels."""
  capsules: list
  bone: np.ndarray


def stature(keypoints, visibility, skeleton: Skeleton, fallback: float) -> float:
  """Height of the person if it stood upright, in the pixels of the keypoints (K,2).

  From the labelled bones and their usual shares of it; the median of the three largest estimates,
  since perspective only shortens bones. `fallback` where no such bone is labelled.
  """
  found = sorted(np.linalg.norm(keypoints[a] - keypoints[b]) / _OF_STATURE[part]
                 for part, a, b in _bones(skeleton) if visibility[a] and visibility[b])
  found = [float(x) for x in found if x > 0]
  return float(np.median(found[-3:])) if found else float(fallback)


def box_stature(scale) -> float:
  """A guess for a person without labelled bones: the longer side of its box (HRNet's scale)."""
  return float(np.max(scale) * 200 / 1.25)


def _bones(skeleton):
  """(part, joint, joint) of the limbs that have a name, the first end nearer to the trunk."""
  for ends in skeleton.limbs:
    names = [_bare(skeleton.names[j]) for j in ends]
    part = _BONES.get(frozenset(names))
    if part:
      a, b = ends if names[0] in ('shoulder', 'hip', 'neck') or (
        names[0] in ('elbow', 'knee') and names[1] in ('wrist', 'ankle')) else ends[::-1]
      yield part, a, b


def _bare(name):
  return name.removeprefix('left_').removeprefix('right_')


def cut_person(source: Source, row: int, image, rejected: dict) -> Iterator[Patch]:
  """All good cut-outs of a row; the bad ones are counted in `rejected` by their reason.

  Bad: under 10 pixels; cut by the picture's border; mostly hidden (a limb with an end that is not
  visible, less than 40 % of a capsule on the person's mask, a whole person with less than 70 % of
  its labelled joints visible or fewer than 6 of them labelled).
  """
  mask, exact_parts = source.mask(row), source.parts(row)
  keypoints, visibility = source.keypoints[row], source.visibility[row]
  height = 0.0
  if visibility.any():
    height = stature(keypoints, visibility, source.skeleton, box_stature(source.scale[row]))
  elif 'person' in exact_parts:  # without joints it is taken to stand
    height = float(np.linalg.norm(np.diff(_axis(exact_parts['person'], 'person'), axis=0)))
  shapes = dict(_shapes(source.skeleton, keypoints, visibility == 2))
  named = {_bare(name) for name in exact_parts}
  for name, part_mask in exact_parts.items():
    bone = shapes[name].bone if name in shapes else _axis(part_mask, _bare(name))
    yield from _checked(_cut(_bare(name), image, part_mask, None, bone, height), rejected)
  for name, shape in shapes.items():
    if _bare(name) not in named:
      yield from _checked(_cut(_bare(name), image, mask, shape.capsules, shape.bone, height),
                          rejected)
  labelled, visible = (visibility > 0).sum(), (visibility == 2).sum()
  if 'person' in named or not labelled:
    return
  if labelled < _MIN_JOINTS or visible < _MIN_VISIBLE_SHARE * labelled:
    rejected['mostly hidden'] = rejected.get('mostly hidden', 0) + 1
    return
  bone = shapes['torso'].bone if 'torso' in shapes else np.full((2, 2), np.nan)
  capsules = None if mask is not None else [c for s in shapes.values() for c in s.capsules]
  if mask is not None or capsules:
    yield from _checked(_cut('person', image, mask, capsules, bone, height), rejected)
  upper = [c for name, s in shapes.items() if _bare(name) in _UPPER_BODY for c in s.capsules]
  if 'torso' in shapes and 'head' in shapes:
    yield from _checked(_cut('upper_body', image, mask, upper, bone, height), rejected)


def _checked(cut, rejected):
  patch, reason = cut
  if patch is None:
    rejected[reason] = rejected.get(reason, 0) + 1
  else:
    yield patch


def _shapes(skeleton, points, seen):
  """(name with side, Shape) of every part whose ends are seen."""
  known = False
  for part, a, b in _bones(skeleton):
    known = True
    if part != 'torso' and seen[a] and seen[b]:
      side = skeleton.names[b].partition('_')[0] + '_'
      name = (side if side in ('left_', 'right_') else '') + part
      yield name, _limb(part, points[a], points[b])
  corners = [skeleton.index(f'{side}_{joint}') for joint in ('hip', 'shoulder')
             for side in ('left', 'right')]
  trunk = None not in corners and seen[corners].all()
  if trunk:
    yield 'torso', _torso(points[corners])
  face = [j for j in map(skeleton.index, _FACE) if j is not None and seen[j]]
  if len(face) >= 3:
    yield 'head', _head(points[face], points[corners[2:]].mean(0) if trunk else None)
  if not known and not face:  # not a human skeleton: every limb is a part
    for a, b in skeleton.limbs:
      if seen[a] and seen[b]:
        yield f'limb{a}_{b}', _limb('limb', points[a], points[b])


def _limb(part, a, b):
  length = np.linalg.norm(a - b)
  return Shape([(a, b, *(r * length for r in _RADII[part]))], np.stack([a, b]))


def _torso(corners):
  """corners: left and right hip, left and right shoulder. All six lines between them, thick."""
  hips, shoulders = corners[:2].mean(0), corners[2:].mean(0)
  widest = max(np.linalg.norm(corners[0] - corners[1]), np.linalg.norm(corners[2] - corners[3]),
               0.4 * np.linalg.norm(hips - shoulders))
  radius = _RADII['torso'][0] * widest
  pairs = [(i, j) for i in range(4) for j in range(i)]
  return Shape([(corners[i], corners[j], radius, radius) for i, j in pairs],
               np.stack([hips, shoulders]))


def _head(face, shoulders):
  """A ball around the points of a face; its bone points away from the shoulders, else upwards."""
  middle = face.mean(0)
  radius = 1.3 * np.linalg.norm(face - middle, axis=1).max()
  up = np.array([0.0, -1.0]) if shoulders is None else middle - shoulders
  up = up / max(np.linalg.norm(up), 1e-6) * radius
  return Shape([(middle - 0.2 * up, middle + 0.4 * up, radius, radius)],
               np.stack([middle - up, middle + up]))


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


def _cut(part, image, mask, capsules, bone, height):
  """(Patch, '') or (None, reason)."""
  h, w = image.shape[:2]
  if capsules:
    low = np.min([np.minimum(a - ra, b - rb) for a, b, ra, rb in capsules], 0)
    high = np.max([np.maximum(a + ra, b + rb) for a, b, ra, rb in capsules], 0)
    x1, y1 = np.floor(low - 1).astype(int)
    x2, y2 = np.ceil(high + 2).astype(int)
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
    alpha = _capsules_alpha(capsules, (x1, y1, x2, y2))
  if mask is not None:
    inside = mask[y1:y2, x1:x2].astype(np.float64)
    core = alpha > 0.5
    if (inside * core).sum() < _MIN_MASK_SHARE * core.sum() and capsules:
      return None, 'mostly hidden'
    alpha = alpha * _soften(inside)
  alpha = np.round(alpha * 255).astype(np.uint16)
  weighted = (image[y1:y2, x1:x2] * alpha[..., None] + 127) // 255
  pixels = np.dstack([weighted, alpha]).astype(np.uint8)
  if min(np.ptp(np.nonzero(pixels[..., 3] > 127), axis=1), default=0) < _MIN_SIDE / 2:
    return None, 'too small'
  shrink = -(-max(pixels.shape[:2]) // _MAX_SIDE)
  return Patch(part, _reduce(pixels, shrink), (bone - (x1, y1) - (shrink - 1) / 2) / shrink,
               height / shrink, shrink, mask is not None), ''


def _capsules_alpha(capsules, box):
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
