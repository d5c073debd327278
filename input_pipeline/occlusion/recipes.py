"""Recipes that make the occluded partner of a crop.

A recipe draws placements: which patch goes where on the full picture. They are drawn straight onto
the crop through the crop's own affine map, so both pictures of a pair share one geometry. For
`published` and the severities they depend on the person, the bank and the generator alone, not on
the size of the crop.
"""
import difflib
import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.skeletons import Skeleton
from input_pipeline.occlusion import drawing, mixtures
from input_pipeline.occlusion.faces import face_severity, wear
from input_pipeline.occlusion.pasting import (
  BLACK,
  BORDER,
  Placement,
  beyond,
  hidden_points,
  invert,
  paste,
  window,
)
from input_pipeline.occlusion.severity import hide_joint, severity


class Person(NamedTuple):
  """Who is to be hidden, in picture pixels, and the crop.

  keypoints (K,2); visibility (K,) uint8, 0 for joints that are not labelled or not in the crop;
  box (4,) x, y, width, height; scale (2,) of the crop's box, pixels / 200; to_crop (2,3) map from
  the picture to the crop of size (W, H).
  """
  keypoints: np.ndarray
  visibility: np.ndarray
  box: np.ndarray
  scale: np.ndarray
  skeleton: Skeleton
  to_crop: np.ndarray
  size: tuple[int, int]


class Occluded(NamedTuple):
  """image (H,W,3) uint8; mask (H,W) bool, pixels under at least half opacity; covered, outside
  (K,) bool, labelled joints under patches, and beyond a new border of the picture; window (4,)
  x1, y1, x2, y2, what borders leave of the picture; placements: what was drawn."""
  image: np.ndarray
  mask: np.ndarray
  covered: np.ndarray
  outside: np.ndarray
  window: np.ndarray
  placements: list


def occlude(crop, person: Person, bank, rng, recipe_name: str) -> Occluded:
  """The occluded partner of a crop (H,W,3) uint8, by a recipe or a mixture of them."""
  placements = draw(person, bank, rng, recipe_name)
  image, mask = paste(crop, person.to_crop, placements, bank)
  return Occluded(image, mask, *hidden_joints(person, placements, bank), window(placements),
                  placements)


def draw(person: Person, bank, rng, recipe_name: str) -> list[Placement]:
  """What a recipe, or one of a mixture, puts on a person."""
  odds, chains = recipe(recipe_name)
  chain = chains[0 if len(chains) == 1 else int(np.searchsorted(odds, rng.random(), 'right'))]
  placements = []
  for function in chain:
    placements += function(person, bank, rng)
  return sorted(placements, key=lambda p: p.patch == BORDER)  # nothing is drawn beyond a border


def hidden_joints(person: Person, placements, bank):
  """Two (K,) bool without overlap: labelled joints that lie under at least half opacity of patches,
  and those beyond a border."""
  if not placements:
    return np.zeros((2, len(person.keypoints)), bool)
  labelled = person.visibility > 0
  outside = labelled & beyond(window(placements), person.keypoints)
  patches = [p for p in placements if p.patch != BORDER]
  return labelled & ~outside & hidden_points(patches, person.keypoints, bank), outside


@functools.cache
def recipe(name: str):
  """Reads a recipe: 'published', 'joint=left_knee' (hides that joint alone), a mixture with odds
  'published:2,severity3:1', or recipes one after the other 'mask_joints+instance_paste'; all may be
  combined.

  Returns cumulative odds and, for each, the functions to apply. Raises UserError.
  """
  odds, alternatives = mixtures.mixture(name)
  return odds, [[_function(one) for one in names.split('+')] for names in alternatives]


def _function(name):
  if name.startswith('joint='):
    return functools.partial(hide_joint, name.removeprefix('joint='))
  if name not in RECIPES:
    near = difflib.get_close_matches(name, RECIPES, 1)
    hint = f"; did you mean '{near[0]}'?" if near else ''
    raise UserError(f"a recipe is one of {', '.join(RECIPES)}, joint=NAME, or such as "
                    f"'published:2,mask_joints+instance_paste:1', not '{name}'{hint}")
  return RECIPES[name]


def needs_bank(name: str) -> bool:
  """Whether a recipe draws patches of a bank. Raises UserError for an unknown recipe."""
  functions = {f for chain in recipe(name)[1] for f in chain}
  return not functions <= _WITHOUT_BANK


def check_bank(name: str, bank):
  """Raises UserError where a recipe draws parts that a patch bank does not have. Limbs that are no
  human's stand for parts of a body."""
  drawn = ('person', *drawing.COUNTS)
  has = lambda part: part in bank.parts or (part not in drawn and 'limb' in bank.parts)
  lacking = lambda functions: sorted({
    part for f in functions for part in _NEEDS.get(f, ()) if not has(part)})
  missing = lacking(f for chain in recipe(name)[1] for f in chain)
  if missing:
    working = [name for name, function in RECIPES.items() if not lacking([function])]
    raise UserError(f"recipe '{name}' needs patches of {', '.join(missing)}, but the bank in "
                    f"'{bank.folder}' has only {', '.join(sorted(bank.parts))}; with it work "
                    f'{", ".join(working)} and joint=NAME. Name one of these, or another bank by '
                    '--config.data.bank.folder=BANK (parts are cut along the limbs of the '
                    "category, its 'skeleton')")


def none(person: Person, bank, rng) -> Iterator[Placement]:
  """Leaves every picture clean."""
  return iter(())


def published(person: Person, bank, rng) -> Iterator[Placement]:
  """The recipe of the published D-Slope code, by joint names.

  Draws x, y in {0, 1} and z in {1, 2, 3}. z = 2 leaves the person clean (1/3). Otherwise a lower
  leg goes on the right or left elbow (x), a lower arm or a head on the left or right knee (y), and
  then: z = 1 a head on the other elbow; z = 3, with p = 1/7, an upper leg between the hips.
  Only on labelled joints. A skeleton without elbows or knees gets the first two patches on random
  labelled joints instead.
  """
  x, y, z = rng.integers(2), rng.integers(2), rng.integers(1, 4)
  if z == 2:
    return
  elbows = _joints(person, rng, ('right_elbow', 'left_elbow'))
  knees = _joints(person, rng, ('left_knee', 'right_knee'))
  yield from _at_joint(person, elbows[x], 'lower_leg', (0.4, 0.6), bank, rng)
  part = 'head' if rng.random() < 0.5 else 'lower_arm'
  yield from _at_joint(person, knees[y], part, (0.5, 0.8), bank, rng)
  if z == 1:
    yield from _at_joint(person, elbows[1 - x], 'head', (0.5, 1.0), bank, rng)
  elif rng.random() < 1 / 7:
    hips = [person.skeleton.index(side + '_hip') for side in ('left', 'right')]
    if None not in hips and (person.visibility[hips] > 0).all():
      middle = person.keypoints[hips].mean(0)
      # Lowered by half the patch: its top is a quarter below the middle of the hips.
      yield _place(person, middle, 'upper_leg', (0.5, 1.0), bank, rng, lowered=0.5)


def _joints(person, rng, names):
  """Joint numbers of two names; random labelled joints where the skeleton lacks the names."""
  joints = [person.skeleton.index(name) for name in names]
  if None not in joints:
    return joints
  labelled = np.flatnonzero(person.visibility > 0)
  return list(rng.choice(labelled, 2)) if len(labelled) else [0, 0]


def _at_joint(person, joint, part, fractions, bank, rng):
  if person.visibility[joint] > 0:
    yield _place(person, person.keypoints[joint], part, fractions, bank, rng)


def _place(person, point, part, fractions, bank, rng, lowered=0.0):
  """A random patch of a part, centred on the point in x, a quarter of its height above it in y.

  fractions: of the body scale that the patch's longer side gets, small or large; large if it was
  cut out at 0.3 of the body scale or more, both in pixels of their pictures.
  """
  body = _body_scale(person)
  i = int(rng.choice(bank.of_part(part)))
  h, w = int(bank.height[i]), int(bank.width[i])
  longer = max(h, w)
  size = body * fractions[1 if longer * bank.shrink[i] >= 0.3 * body else 0]
  factor = size / longer
  left = point[0] - w * factor / 2
  top = point[1] + (lowered - 0.25) * h * factor
  return Placement(i, np.array([[factor, 0, left], [0, factor, top]]))


def _body_scale(person):
  """Height that the published sizes refer to: the nose-to-eye height if large, else 0.4 box.

  The published code takes joint 2 - joint 0 of COCO where joints 11 and 15 are labelled and both
  components exceed 40 * scale; between two points of a face that hardly ever happens.
  """
  nose, eye, hip, ankle = (person.skeleton.index(n) for n in
                           ('nose', 'right_eye', 'left_hip', 'left_ankle'))
  if None not in (nose, eye, hip, ankle) and person.visibility[hip] and person.visibility[ankle]:
    span = np.abs(person.keypoints[eye] - person.keypoints[nose])
    if (span > person.scale * 40).all():
      return float(span[1])
  return float(0.5 * 0.8 * person.scale[1] * 200)


def mask_joints(person: Person, bank, rng, scaled=False) -> Iterator[Placement]:
  """DAG's black boxes: with p = 1/2 on two labelled joints in the crop, drawn with replacement.

  Half width and half height are 10 to 19 pixels of the crop; scaled: of a crop 256 pixels high.
  DAG's code also draws joints that are not labelled and loses boxes over the upper and left border.
  """
  labelled = np.flatnonzero(person.visibility > 0)
  if rng.random() >= 0.5 or not len(labelled):
    return
  places = person.keypoints @ person.to_crop[:, :2].T + person.to_crop[:, 2]
  unit = person.size[1] / 256 if scaled else 1.0
  for joint in rng.choice(labelled, 2):
    half = rng.integers(10, 20, 2) * unit
    box = np.column_stack([np.diag(2 * half), places[joint] - half])
    yield Placement(BLACK, invert(person.to_crop) @ np.vstack([box, [0, 0, 1]]))


_PASTE_SCALE = {'person': 0.9, 'upper_body': 0.5}  # share of the box's diagonal (ASDA)
_PASTE_LIMIT = 0.7  # of the visible joints; a cut-out that would hide more is not pasted


def instance_paste(person: Person, bank, rng) -> Iterator[Placement]:
  """DAG's instance paste: with p = 1/2 a whole person or an upper body somewhere on the box.

  Its diagonal is 0.9 or 0.5 times U(0.7, 1.3) times that of the box; its centre is uniform over
  the box. The published code pastes at its own size in the middle, against the rule it cites.
  """
  part = ('person', 'upper_body')[rng.integers(2)]
  part = part if part in bank.parts else 'person'
  i = int(rng.choice(bank.of_part(part)))
  share = _PASTE_SCALE[part] * rng.uniform(0.7, 1.3)
  center = person.box[:2] + rng.random(2) * person.box[2:]
  if rng.random() >= 0.5:
    return
  size = np.array([bank.width[i], bank.height[i]], np.float64)
  factor = share * np.hypot(*np.maximum(person.box[2:], 1)) / np.hypot(*size)
  placement = Placement(i, np.column_stack([np.eye(2) * factor, center - (size - 1) / 2 * factor]))
  visible = person.keypoints[person.visibility == 2]
  if len(visible) and hidden_points([placement], visible, bank).mean() <= _PASTE_LIMIT:
    yield placement


_SIDES = 0.45, 0.2, 0.2, 0.15  # odds of a border below, left, right and above
_LEFT_INSIDE = 0.4  # share of the labelled joints that a border leaves in the picture, at least


def crop_out(person: Person, bank, rng) -> Iterator[Placement]:
  """Ends the picture at a straight line through the person, as where somebody stands at its border:
  black beyond, and the joints there are outside of the picture, not covered.

  The line is upright or level in the picture and cuts off between one joint and 0.6 of the labelled
  ones, any number alike; people of one joint stay whole. With CropCOCO (Purkrabek and Matas,
  ProbPose, CVPR 2025) as a model.
  """
  side = int(np.searchsorted(np.cumsum(_SIDES), rng.random() * sum(_SIDES), 'right'))
  axis, sign = ((1, 1), (0, -1), (0, 1), (1, -1))[side]
  places = np.sort(sign * person.keypoints[person.visibility > 0, axis])
  most = int((1 - _LEFT_INSIDE) * len(places))
  if not most:
    return
  first = len(places) - int(rng.integers(1, most + 1))  # of the joints that are cut off
  line = sign * (places[first - 1] + rng.uniform(0.1, 0.9) * (places[first] - places[first - 1]))
  far = 1e5  # pixels
  square = np.zeros((2, 3))  # columns: along the line, away from the picture, its first corner
  square[1 - axis, 0], square[axis, 1] = 2 * far, sign * 2 * far
  square[axis, 2], square[1 - axis, 2] = line, -far
  yield Placement(BORDER, square)


RECIPES = {'none': none, 'published': published,
           **{f'severity{level}': functools.partial(severity, level) for level in range(1, 6)},
           **{f'face_severity{level}': functools.partial(face_severity, level)
              for level in range(1, 6)},
           **{part: functools.partial(wear, part) for part in ('glasses', 'mask')},
           'mask_joints': mask_joints,
           'mask_joints_scaled': functools.partial(mask_joints, scaled=True),
           'instance_paste': instance_paste, 'crop_out': crop_out}
_WITHOUT_BANK = {none, mask_joints, RECIPES['mask_joints_scaled'], crop_out}
# The parts that a recipe cannot do without; the severities take what there is.
_NEEDS = {published: ('head', 'lower_arm', 'lower_leg', 'upper_leg'), instance_paste: ('person',),
          **{RECIPES[part]: (part,) for part in ('glasses', 'mask')}}
