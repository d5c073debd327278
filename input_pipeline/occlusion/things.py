"""Things pasted over the people of a whole picture. No parts of bodies: nobody would have labels
for them."""
import difflib

import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.visibility import HIDDEN, VISIBLE
from input_pipeline.occlusion import mixtures, pasting, recipes
from input_pipeline.occlusion.severity import things

NONE = 'none'
SEVERITIES = tuple(f'severity{level}' for level in range(1, 6))
RECIPES = NONE, *SEVERITIES
_SMALLEST = 16  # network pixels that somebody is large, of whom nearly nothing is labelled


def draw(rng, joints, visibility, skeleton, matrix, size, bank, recipe: str) -> list:
  """`pasting.Placement`s over N people of a picture; what hides one may hide others.

  joints: (N,K,2) pixels of the picture. visibility: (N,K); visible joints are hidden until the
  share of the severity is, person by person, each by a generator of its own, so that what a lower
  severity hides, a higher one hides too. matrix: (2,3) map to the network's picture of size (W, H).
  bank: a PatchBank, whose objects and textures are taken; None: black boxes.
  """
  name, placements = mixtures.one_of(recipe, rng), []
  least = _SMALLEST / abs(np.linalg.det(matrix[:, :2])) ** 0.5
  if name == NONE:
    return placements
  for points, codes, own in zip(joints.astype(np.float64), visibility, rng.spawn(len(joints)),
                                strict=True):
    seen = np.where(codes == VISIBLE, codes, 0)
    if seen.any():
      known = points[codes > 0]
      low, sides = known.min(0), np.maximum(np.ptp(known, axis=0), least)
      box, scale = np.concatenate([low, sides]), sides / 160
      person = recipes.Person(points, seen, box, scale, skeleton, matrix, size)
      placements += things(1 + SEVERITIES.index(name), person, bank, own)
  return placements


def lowered(joints, visibility, placements, bank):
  """(N,K) visibility: visible joints (N,K,2) under at least half opacity are hidden."""
  if not placements:
    return visibility
  covered = pasting.hidden_points(placements, joints.reshape(-1, 2).astype(np.float64), bank)
  covered = covered.reshape(visibility.shape) & (visibility == VISIBLE)
  return np.where(covered, HIDDEN, visibility).astype(visibility.dtype)


def check(name: str, where: str, training=False):
  """Raises UserError for a recipe that does not act on whole pictures. training: whether it may be
  a curriculum."""
  for stage in mixtures.stages(name) if training else [name]:
    for one in mixtures.mixture(stage)[1]:
      if one not in RECIPES:
        near = difflib.get_close_matches(one, RECIPES, 1)
        raise UserError(f"{where}: on whole pictures a recipe is one of {', '.join(RECIPES)}, or a "
                        f"mixture 'none:1,severity3:1', in training also a curriculum "
                        f"'severity1>severity5', not '{one}'"
                        + (f"; did you mean '{near[0]}'?" if near else ''))
