"""Five severities of occlusion: who hides what grows with the share of joints that is hidden.

One endless draw of occluders is made for a person, small ones first. A severity takes them in
turn until its share of joints is hidden, so what a lower one hides, a higher one hides too.
"""
import numpy as np

from dslope_jax.errors import UserError
from input_pipeline.occlusion.body_parts import box_stature, stature
from input_pipeline.occlusion.pasting import BLACK, Placement, opacity

# Share of the labelled joints at which a severity stops adding, and above which an occluder of its
# stage is refused: never more than 0.75 of the joints are hidden.
_TARGET = 0.02, 0.17, 0.28, 0.40, 0.52
_LIMIT = 0.08, 0.30, 0.45, 0.60, 0.75
_ATTEMPTS = 60  # occluders drawn for one person at most
_LIMBS = ('upper_arm', 'lower_arm', 'upper_leg', 'lower_leg', 'arm', 'leg', 'hand', 'foot', 'limb')
# Kinds of occluders by stage, with their odds.
_KINDS = ({'limb': 6, 'head': 2, 'object': 1, 'texture': 1},
          {'limb': 6, 'head': 2, 'object': 2, 'texture': 1, 'box': 1},
          {'limb': 4, 'head': 1, 'torso': 2, 'upper_body': 2, 'object': 2, 'texture': 1, 'box': 1},
          {'limb': 2, 'torso': 1, 'upper_body': 2, 'person': 4, 'object': 2, 'box': 1, 'border': 1},
          {'limb': 1, 'upper_body': 2, 'person': 6, 'object': 2, 'border': 2})
_PARTS = {'limb': _LIMBS, 'head': ('head',), 'torso': ('torso',), 'upper_body': ('upper_body',),
          'person': ('person',), 'object': ('object',), 'texture': ('texture',)}
_THINGS = {'object': 3, 'texture': 1, 'box': 1}  # of all stages, where bodies are not wanted
SIZE = (0.6, 0.85), (0.8, 1.1), (0.9, 1.25), (0.9, 1.3), (1.0, 1.5)  # of the natural one
_THING = 0.12, 0.3  # longer side of an object or a texture, box sides too: share of the stature
_MATCHED = 0.5  # of the patches have their colours pulled to those they cover


def severity(level: int, person, bank, rng) -> list[Placement]:
  """Hides labelled joints of a person until the share of severity 1 to 5 is reached.

  Any joint can be the next one. Occluders: limbs and heads turned along a limb of the joint, and
  torsos, whole people, things, textures, black boxes, a border of the picture that cuts the person.
  Patches of people are as large as the person is, by the stature of both. An occluder that would
  hide more joints than its stage allows is refused; a person of few joints can stay clean.
  """
  return _severity(level, person, bank, rng, _KINDS)


def things(level: int, person, bank, rng) -> list[Placement]:
  """As `severity`, with objects, textures and black boxes alone; boxes where there is no bank."""
  return _severity(level, person, bank, rng, 5 * ({'box': 1} if bank is None else _THINGS,))


def _severity(level, person, bank, rng, kinds):
  """kinds: of each stage, with their odds."""
  height = stature(person.keypoints, person.visibility, person.skeleton, box_stature(person.scale))
  return hide_share(level, person, bank, rng, lambda stage, joint: _occluder(
    draw_kind(kinds[stage], _PARTS, bank, rng), stage, joint, person, height, bank, rng))


def hide_share(level, person, bank, rng, occluder) -> list[Placement]:
  """Takes occluders in turn until the share of severity 1 to 5 is hidden.

  occluder: (stage, joint) -> a placement that is meant to hide this joint, or None.
  """
  labelled = np.flatnonzero(person.visibility > 0)
  light = np.ones(len(labelled))
  placements = []
  for _ in range(_ATTEMPTS if len(labelled) else 0):
    share = (light <= 0.5).mean()
    stage = int(np.searchsorted(_TARGET, share, 'right'))
    if stage >= level:
      break
    joint = int(rng.choice(labelled[light > 0.5]))
    placement = occluder(stage, joint)
    if placement is None:
      continue
    dimmed = light * (1 - opacity(placement, person.keypoints[labelled], bank))
    hidden = (dimmed <= 0.5).sum()
    # One joint more is always allowed, where there are enough that it is no large share.
    limit = max(_LIMIT[stage] * len(labelled), min((light <= 0.5).sum() + 1, _LIMIT[4] *
                                                   len(labelled)))
    if (light <= 0.5).sum() < hidden <= limit:
      light = dimmed
      placements.append(placement)
  return placements


def hide_joint(name: str, person, bank, rng) -> list[Placement]:
  """Hides one joint, if it is labelled, and where it can be done no other.

  Of thirty occluders the first that hides this joint alone; else a small black box on it.
  Raises UserError for a joint that the skeleton does not have.
  """
  joint = person.skeleton.index(name)
  if joint is None:
    raise UserError(f"recipe 'joint={name}': the skeleton has no such joint, but "
                    f'{", ".join(person.skeleton.names)}')
  if not person.visibility[joint]:
    return []
  labelled = np.flatnonzero(person.visibility > 0)
  height = stature(person.keypoints, person.visibility, person.skeleton, box_stature(person.scale))
  for _ in range(30):
    placement = _occluder(draw_kind(_KINDS[0], _PARTS, bank, rng), 0, joint, person, height, bank,
                          rng)
    hidden = opacity(placement, person.keypoints[labelled], bank) >= 0.5
    if hidden.sum() == 1 and hidden[labelled == joint].all():
      return [placement]
  side = 0.04 * height
  return [Placement(BLACK, np.column_stack([np.eye(2) * side, person.keypoints[joint] - side / 2]))]


def draw_kind(kinds, parts, bank, rng):
  """One of the kinds {kind: odds} that the bank has patches for, by {kind: parts}; those that need
  no patch are not in `parts`."""
  kinds = {k: odds for k, odds in kinds.items()
           if k not in parts or not bank.parts.isdisjoint(parts[k])}
  odds = np.cumsum(list(kinds.values()) or [1])
  return (list(kinds) or ['box'])[int(np.searchsorted(odds, rng.random() * odds[-1], 'right'))]


def _occluder(kind, stage, joint, person, height, bank, rng):
  """A placement of this kind over a joint; height: of the person standing, picture pixels."""
  point = person.keypoints[joint]
  grow = rng.uniform(*SIZE[stage])
  if kind == 'border':
    return _border(point, height, rng)
  if kind == 'box':
    return black_box(point, height, grow, rng)
  i = int(rng.choice(bank.of_part(*_PARTS[kind])))
  match = colour_match(rng)
  if bank.stature[i] and kind not in ('object', 'texture'):
    factor = height / bank.stature[i] * grow
  else:
    factor = thing_factor(i, height, grow, bank, rng)
  bone = bank.bone[i]
  if kind == 'limb' and np.isfinite(bone).all():
    anchor = bone[0] + rng.uniform(0.2, 0.8) * (bone[1] - bone[0])
    turn = _direction(joint, person, rng) - angle(bone[1] - bone[0])
    turn += rng.normal(0, np.pi / 9) + np.pi * rng.integers(2)
  else:
    anchor = opaque_pixel(bank.patch(i)[..., 3], rng)
    turn = rng.uniform(-np.pi, np.pi) if kind == 'texture' else rng.normal(0, np.pi / 15)
  return Placement(i, about(anchor, point, turn, factor), match)


def black_box(point, height, grow, rng):
  """A black box over a point, its sides a small share of the height, times grow."""
  sides = rng.uniform(*_THING, 2) * height * grow
  return Placement(BLACK, np.column_stack([np.diag(sides), point - sides * rng.random(2)]))


def thing_factor(i, height, grow, bank, rng):
  """Factor on patch i of a thing, whose natural size nobody knows; arguments as of `black_box`."""
  return rng.uniform(*_THING) * height * grow * 1.4 / max(bank.height[i], bank.width[i])


def colour_match(rng):
  """How far the colours of a patch are pulled to those it covers."""
  return rng.random() if rng.random() < _MATCHED else 0.0


def about(anchor, point, turn, factor):
  """(2,3) map that turns and scales about an anchor in the patch, which falls on the point."""
  c, s = factor * np.cos(turn), factor * np.sin(turn)
  linear = np.array([[c, -s], [s, c]])
  return np.column_stack([linear, point - linear @ anchor])


def _direction(joint, person, rng):
  """Angle of a random labelled limb at the joint; any angle if it has none."""
  others = [b if a == joint else a for a, b in person.skeleton.limbs
            if joint in (a, b) and person.visibility[a] and person.visibility[b]]
  wild = rng.uniform(-np.pi, np.pi)
  if not others:
    return wild
  return angle(person.keypoints[others[rng.integers(len(others))]] - person.keypoints[joint])


def angle(vector):
  return float(np.arctan2(vector[1], vector[0]))


def opaque_pixel(alpha, rng):
  """(2,) x, y of a random opaque pixel; of ten tries the most opaque."""
  h, w = alpha.shape
  x, y = rng.integers(w, size=10), rng.integers(h, size=10)
  best = int((alpha[y, x] > 200).argmax())
  return np.array([x[best], y[best]], np.float64)


def _border(point, height, rng):
  """Everything beyond a line through the neighbourhood of the point is black, as where a picture
  ends; more often below or beside than above."""
  side = int(rng.choice(4, p=(0.45, 0.2, 0.2, 0.15)))  # below, left, right, above
  margin = rng.uniform(0.01, 0.06) * height
  far = 8 * height
  x, y = point
  left, top = {0: (x - far, y - margin), 1: (x + margin - 2 * far, y - far),
               2: (x - margin, y - far), 3: (x - far, y + margin - 2 * far)}[side]
  return Placement(BLACK, np.array([[2 * far, 0, left], [0, 2 * far, top]]))
