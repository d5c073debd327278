"""Recipes that make the occluded partner of a crop.

A recipe draws placements: which patch goes where on the full picture. `paste` draws them straight
onto the crop through the crop's own affine map, so both pictures of a pair share one geometry.
"""
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from dslope_jax.skeletons import Skeleton
from input_pipeline.patches import PatchBank


class Person(NamedTuple):
  """keypoints (K,2) and box scale (2,) in picture pixels / 200; visibility (K,) uint8."""
  keypoints: np.ndarray
  visibility: np.ndarray
  scale: np.ndarray
  skeleton: Skeleton


class Placement(NamedTuple):
  """A patch of the bank and the (2,3) map from its pixels to the picture's."""
  patch: int
  matrix: np.ndarray


def published(person: Person, bank: PatchBank, rng) -> Iterator[Placement]:
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


def none(person: Person, bank: PatchBank, rng) -> Iterator[Placement]:
  """Leaves every picture clean."""
  return iter(())


RECIPES = {'published': published, 'none': none}


def recipe(name: str):
  """The recipe of this name; raises ValueError if there is none."""
  if name not in RECIPES:
    raise ValueError(f"data.recipe is one of {sorted(RECIPES)}, not '{name}'")
  return RECIPES[name]


def _joints(person, rng, names):
  """Joint numbers of two names; random labelled joints where the skeleton lacks the names."""
  found = [person.skeleton.index(name) for name in names]
  if None not in found:
    return found
  labelled = np.flatnonzero(person.visibility > 0)
  return list(rng.choice(labelled, 2)) if len(labelled) else [0, 0]


def _at_joint(person, joint, part, fractions, bank, rng):
  if person.visibility[joint] > 0:
    yield _place(person, person.keypoints[joint], part, fractions, bank, rng)


def _place(person, point, part, fractions, bank, rng, lowered=0.0):
  """A random patch of a part, centred on the point in x, a quarter of its height above it in y.

  fractions: of the body scale that the patch's longer side gets, small or large; large if the
  patch was cut out at 0.3 of the body scale or more.
  """
  body = _body_scale(person)
  i = int(rng.choice(bank.of_part(part)))
  h, w = int(bank.height[i]), int(bank.width[i])
  longer = max(h, w)
  size = body * fractions[1 if longer >= 0.3 * body else 0]
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


def paste(crop, matrix, placements, bank: PatchBank):
  """Draws placements, in their order, onto a copy of a crop.

  crop: (H,W,3) uint8. matrix: (2,3) map from the picture to the crop, mirror included.
  Returns the occluded crop and a (H,W) bool mask of the pixels that a patch hides (opacity of at
  least one half).
  """
  out = crop.copy()
  hidden = np.zeros(crop.shape[:2], bool)
  for placement in placements:
    patch = bank.patch(placement.patch)
    to_crop = matrix @ np.vstack([placement.matrix, [0, 0, 1]])
    h, w = patch.shape[:2]
    # Only the rectangle that the patch can reach is warped and blended.
    corners = np.array([[0, 0], [w, 0], [0, h], [w, h]]) @ to_crop[:, :2].T + to_crop[:, 2]
    x1, y1 = np.maximum(np.floor(corners.min(0)).astype(int) - 1, 0)
    x2, y2 = np.minimum(np.ceil(corners.max(0)).astype(int) + 2, crop.shape[1::-1])
    if x1 >= x2 or y1 >= y2:
      continue
    local = to_crop - [[0, 0, x1], [0, 0, y1]]
    # Colour is weighted by opacity before the warp, so the edge takes no colour from outside.
    weighted = patch.astype(np.float32)
    weighted[..., :3] *= weighted[..., 3:] / 255
    weighted = cv2.warpAffine(weighted, local, (int(x2 - x1), int(y2 - y1)),
                              flags=cv2.INTER_LINEAR)
    opacity = weighted[..., 3:] / 255
    region = out[y1:y2, x1:x2]
    region[:] = np.round(weighted[..., :3] + region * (1 - opacity)).astype(np.uint8)
    hidden[y1:y2, x1:x2] |= opacity[..., 0] >= 0.5
  return out, hidden


def covered_joints(hidden, keypoints, visibility):
  """(K,) bool: labelled joints (crop pixels) whose pixel is hidden; joints outside are not."""
  xy = np.round(keypoints).astype(int)
  inside = ((xy >= 0) & (xy < hidden.shape[::-1])).all(1) & (visibility > 0)
  out = np.zeros(len(xy), bool)
  out[inside] = hidden[xy[inside, 1], xy[inside, 0]]
  return out
