"""Where the parts of a body lie, by its keypoints: bones, stature, tapered capsules."""
from typing import NamedTuple

import numpy as np

from dslope_jax.skeletons import Skeleton

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
RADII = {'upper_arm': (0.34, 0.27), 'lower_arm': (0.30, 0.30), 'upper_leg': (0.32, 0.22),
          'lower_leg': (0.24, 0.24), 'head': (0.36, 0.42), 'torso': (0.28, 0.28),
          'limb': (0.25, 0.25)}
_FACE = ('nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear')


class Shape(NamedTuple):
  """A part as capsules (a, b, radius at a, radius at b) and its bone, picture pixels."""
  capsules: list
  bone: np.ndarray


def stature(keypoints, visibility, skeleton: Skeleton, fallback: float) -> float:
  """Height of the person if it stood upright, in the pixels of the keypoints (K,2).

  From the labelled bones and their usual shares of it; the median of the three largest estimates,
  since perspective only shortens bones. `fallback` where no such bone is labelled.
  """
  estimates = sorted(np.linalg.norm(keypoints[a] - keypoints[b]) / _OF_STATURE[part]
                     for part, a, b in bones(skeleton) if visibility[a] and visibility[b])
  estimates = [float(x) for x in estimates if x > 0]
  return float(np.median(estimates[-3:])) if estimates else float(fallback)


def box_stature(scale) -> float:
  """A guess for a person without labelled bones: the longer side of its box (HRNet's scale)."""
  return float(np.max(scale) * 200 / 1.25)


def bones(skeleton):
  """(part, joint, joint) of the limbs that have a name, the first end nearer to the trunk."""
  for ends in skeleton.limbs:
    names = [bare(skeleton.names[j]) for j in ends]
    part = _BONES.get(frozenset(names))
    if part:
      a, b = ends if names[0] in ('shoulder', 'hip', 'neck') or (
        names[0] in ('elbow', 'knee') and names[1] in ('wrist', 'ankle')) else ends[::-1]
      yield part, a, b


def bare(name):
  """A joint or part without its side; the limbs of no human body are all 'limb', and the parts of
  faces 'face_part'."""
  name = name.removeprefix('left_').removeprefix('right_')
  return next((part for part in ('limb', 'face_part') if name.startswith(part)), name)


def shapes(skeleton, points, seen):
  """(name with side, Shape) of every part whose ends are seen; of a skeleton without limbs, such as
  the points of a face, the whole as 'person', and what is around its eyes and its mouth."""
  if not skeleton.limbs and seen.sum() > 2:
    yield 'person', _whole(points[seen])
    yield from _face_parts(skeleton, points, seen)
  known = False
  for part, a, b in bones(skeleton):
    known = True
    if part != 'torso' and seen[a] and seen[b]:
      side = skeleton.names[b].partition('_')[0] + '_'
      name = (side if side in ('left_', 'right_') else '') + part
      yield name, limb(part, points[a], points[b])
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
        yield f'limb{a}_{b}', limb('limb', points[a], points[b])


def face_marks(skeleton, points, seen):
  """(3,2) middle of the right eye, of the left eye, and chin; None where one is not seen.

  An eye is the mean of the points of it that are seen (K,).
  """
  groups = [[k for k, name in enumerate(skeleton.names) if seen[k] and found(name)]
            for found in _FACE_MARKS]
  return np.array([points[group].mean(0) for group in groups]) if all(groups) else None


_FACE_MARKS = (lambda name: name.startswith('right_eye_') or name == 'right_pupil',
               lambda name: name.startswith('left_eye_') or name == 'left_pupil',
               lambda name: name in ('chin', 'jaw_middle'))


def is_face(skeleton):
  """Whether the keypoints mark both eyes and the chin of a face."""
  points = np.zeros((skeleton.num_keypoints, 2))
  return face_marks(skeleton, points, np.ones(len(points), bool)) is not None


def _face_parts(skeleton, points, seen):
  marks = face_marks(skeleton, points, seen)
  if marks is None:
    return
  right, left, chin = marks
  apart, middle = np.linalg.norm(left - right), (right + left) / 2
  radius, mouth = 0.45 * apart, middle + 0.62 * (chin - middle)
  for number, (a, b) in enumerate((
      (right, right), (left, left), (right, left),
      (mouth - 0.3 * (left - right), mouth + 0.3 * (left - right)))):
    yield f'face_part{number}', Shape([(a, b, radius, radius)], np.full((2, 2), np.nan))


def limb(part, a, b):
  length = np.linalg.norm(a - b)
  return Shape([(a, b, *(r * length for r in RADII[part]))], np.stack([a, b]))


def _whole(points):
  """A capsule as long and as wide as the points reach, along the direction in which they reach the
  furthest."""
  middle = points.mean(0)
  axes = np.linalg.svd(points - middle, full_matrices=False)[2]
  places = (points - middle) @ axes.T
  low, high = places.min(0), places.max(0)
  half = (high - low) / 2
  middle, radius = middle + (low + high) / 2 @ axes, half.min()
  along = axes[half.argmax()] * (half.max() - radius)
  return Shape([(middle - along, middle + along, radius, radius)], np.full((2, 2), np.nan))


def _torso(corners):
  """corners: left and right hip, left and right shoulder. All six lines between them, thick."""
  hips, shoulders = corners[:2].mean(0), corners[2:].mean(0)
  widest = max(np.linalg.norm(corners[0] - corners[1]), np.linalg.norm(corners[2] - corners[3]),
               0.4 * np.linalg.norm(hips - shoulders))
  radius = RADII['torso'][0] * widest
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
