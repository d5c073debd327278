"""Skeletons by name, of COCO categories, and of the fields that our own files hold."""
from typing import TypedDict

from dslope_jax.errors import UserError, quoted
from dslope_jax.skeletons.bodies import (
  AIC,
  COCO,
  CROWDPOSE,
  H36M,
  JHMDB,
  LSP,
  MPI15,
  MPI_INF_3DHP,
  MPII,
)
from dslope_jax.skeletons.faces import AFLW, COFW, FACE_300W, WFLW
from dslope_jax.skeletons.skeleton import Skeleton

KNOWN = {skeleton.name: skeleton for skeleton in (
  COCO, MPII, CROWDPOSE, LSP, AIC, JHMDB, FACE_300W, COFW, WFLW, AFLW, H36M, MPI_INF_3DHP,
  MPI15)}


def by_name(name: str) -> Skeleton:
  """The known skeleton of this name; UserError without."""
  if name not in KNOWN:
    raise UserError(f'a skeleton is one of {", ".join(KNOWN)}, not {quoted(name)}')
  return KNOWN[name]


def from_category(category: dict) -> Skeleton:
  """Skeleton of a COCO `categories` entry: a known set by its names, else the entry's own.

  `keypoints` lists the names, `skeleton` the limbs (1-based, as in COCO; if joint 0 is among them,
  0-based). Two fields that COCO does not have are read where present: `sigmas` (K numbers) and
  `flip_pairs` (0-based index pairs; an empty list: a mirror exchanges nothing). Without `sigmas`
  every joint gets 1/K, the convention of users of custom sets.

  Raises UserError naming what the entry lacks.
  """
  names = tuple(category.get('keypoints') or ())
  label = str(category.get('name', 'without a name'))
  if not names or not all(isinstance(n, str) for n in names):
    raise UserError(f"category '{label}' has no list of keypoint names under 'keypoints'")
  for known in KNOWN.values():
    if names == known.names:
      return known
  first = 0 if limbs_from_zero(category) else 1
  limbs = tuple((a - first, b - first) for a, b in _joint_pairs(category, 'skeleton') or ())
  sigmas = category.get('sigmas')
  if sigmas is None or sigmas == []:
    sigmas = [1 / len(names)] * len(names)
  if not isinstance(sigmas, list) or not all(isinstance(s, (int, float)) and 0 < s < 10
                                             for s in sigmas):
    raise UserError(f"'sigmas' are {quoted(sigmas)}, not {len(names)} numbers above 0")
  return Skeleton(names, limbs, tuple(sigmas), name=label,
                  flip_pairs=_joint_pairs(category, 'flip_pairs'))


def limbs_from_zero(category: dict) -> bool:
  """Whether the `skeleton` of a category counts its joints from 0, not from 1 as COCO does."""
  return any(0 in limb for limb in _joint_pairs(category, 'skeleton') or ())


def _joint_pairs(category, field):
  """Pairs of whole numbers; None where the field is not there."""
  pairs = category.get(field)
  if pairs is None:
    return None
  if not isinstance(pairs, list) or not all(
      isinstance(pair, list) and [type(j) for j in pair] == [int, int] for pair in pairs):
    raise UserError(f"'{field}' is {quoted(pairs)}, not a list of pairs of joint numbers")
  return tuple(map(tuple, pairs))


class Fields(TypedDict):
  """The fields of a skeleton as JSON has them, with lists for tuples."""
  names: list[str]
  limbs: list[tuple[int, int]]
  sigmas: list[float]
  name: str
  flip_pairs: list[tuple[int, int]] | None


def from_fields(fields: Fields) -> Skeleton:
  """The skeleton of these fields. Raises UserError where they contradict each other."""
  pairs = fields['flip_pairs']
  return Skeleton(tuple(fields['names']), tuple(map(tuple, fields['limbs'])),
                  tuple(fields['sigmas']), fields['name'],
                  pairs if pairs is None else tuple(map(tuple, pairs)))
