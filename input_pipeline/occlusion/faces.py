"""Five severities of occlusion for faces, of which `severity` can hide less naturally.

Glasses and masks are worn: they are placed by both eyes and the chin. Hands are held to the face
from below, hair falls into it, cloth and other people's faces are before it.
"""
import numpy as np

from input_pipeline.occlusion import drawing, severity
from input_pipeline.occlusion.body_parts import box_stature, face_marks
from input_pipeline.occlusion.pasting import Placement

# Kinds of occluders by stage, with their odds; the stages are those of `severity.severity`.
_KINDS = ({'glasses': 2, 'hair': 1, 'object': 2, 'texture': 2, 'box': 2},
          {'glasses': 3, 'hair': 3, 'part': 2, 'hand': 1, 'object': 1, 'texture': 1, 'box': 1},
          {'glasses': 1, 'hair': 2, 'part': 2, 'hand': 3, 'cloth': 2, 'object': 1, 'texture': 1,
           'box': 1},
          {'mask': 6, 'hand': 3, 'cloth': 2, 'face': 1, 'object': 1, 'box': 1},
          {'mask': 8, 'hand': 3, 'cloth': 3, 'face': 3, 'object': 1, 'box': 1})
_OF_BODIES = ('hand', 'lower_arm', 'head')
_PARTS = {'glasses': ('glasses',), 'mask': ('mask',), 'hair': ('hair',), 'cloth': ('cloth',),
          'hand': ('drawn_hand', 'hand', 'lower_arm'), 'part': ('face_part',),
          'face': ('person', 'head'), 'object': ('object',), 'texture': ('texture',)}
_WORN = 'glasses', 'mask'
_STATURE = 12  # of a person, in sides of the box around the landmarks of the face
_PROFILE = 0.4  # of the distance of the eyes in a frontal face; below it nothing is worn


def face_severity(level: int, person, bank, rng) -> list[Placement]:
  """Hides labelled points of a face until the share of severity 1 to 5 is reached.

  Occluders: glasses, masks, hands, hair, cloth, parts of other faces and whole ones, things,
  textures, black boxes; those that the bank has. What a lower severity hides, a higher one hides
  too, and never more than 0.75 of the points are hidden.
  """
  marks = face_marks(person.skeleton, person.keypoints, person.visibility > 0)
  parts = _PARTS if 'face_part' in bank.parts else _PARTS | {'face': ('head',)}
  side = box_stature(person.scale) if marks is None else _side(marks)

  def occluder(stage, joint):
    kind = severity.draw_kind(_KINDS[stage], parts, bank, rng)
    point, grow = person.keypoints[joint], rng.uniform(*severity.SIZE[stage])
    if kind == 'box':
      return severity.black_box(point, side, grow, rng)
    i = int(rng.choice(bank.of_part(*parts[kind])))
    if kind in _WORN:
      return worn(i, marks, bank)
    return _held(i, point, side, grow, person, bank, rng)

  return severity.hide_share(level, person, bank, rng, occluder)


def wear(part, person, bank, rng) -> list[Placement]:
  """'glasses' or a 'mask' on every face that is not seen from the side."""
  marks = face_marks(person.skeleton, person.keypoints, person.visibility > 0)
  placement = worn(int(rng.choice(bank.of_part(part))), marks, bank)
  return [placement] if placement else []


def _side(marks):
  """Side of the box around a face, in picture pixels, whichever way it is turned."""
  right, left, chin = marks
  down = np.linalg.norm(chin - (right + left) / 2)
  return drawing.FACE * max(np.linalg.norm(left - right), down / drawing.CHIN)


def worn(i, marks, bank):
  """Drawing i on the face with these marks (3,2), see `body_parts.face_marks`; None on a profile
  and where a mark is not known."""
  if marks is None:
    return None
  right, left, chin = marks
  axes = np.stack([left - right, (chin - (right + left) / 2) / drawing.CHIN], 1)
  if abs(np.linalg.det(axes)) < _PROFILE * (axes[:, 1] ** 2).sum():
    return None
  first, second = bank.bone[i]
  linear = axes / np.linalg.norm(second - first)
  return Placement(i, np.column_stack([linear, right - linear @ first]))


def _held(i, point, side, grow, person, bank, rng):
  """Patch i over a point; side: of the face, picture pixels."""
  part, bone = bank.part[i], bank.bone[i]
  match = 0.0 if part in drawing.COUNTS else severity.colour_match(rng)
  if part in _OF_BODIES and bank.stature[i]:
    factor = _STATURE * side / bank.stature[i] * grow
  elif part in drawing.COUNTS:
    factor = side / bank.stature[i] * grow
  elif part in ('person', 'face_part'):
    factor = box_stature(person.scale) / bank.stature[i] * grow
  else:
    factor = severity.thing_factor(i, side, grow, bank, rng)
  turn, anchor = rng.normal(0, np.pi / 9), severity.opaque_pixel(bank.patch(i)[..., 3], rng)
  if part == 'hair':
    anchor = bone[0] + rng.uniform(0.3, 0.9) * (bone[1] - bone[0])
  elif part in ('texture', 'cloth'):
    turn = rng.uniform(-np.pi, np.pi)
  elif part != 'head' and np.isfinite(bone).all():
    turn += rng.normal(0, np.pi / 6) - np.pi / 2 - severity.angle(bone[1] - bone[0])
  return Placement(i, severity.about(anchor, point, turn, factor), match)
