"""Keypoint sets: names, flip pairs, limbs, OKS sigmas, body halves.

Everything that depends on the number of keypoints K is derived from a `Skeleton`; no other file
holds a joint number. Plain Python and NumPy, so that data workers can import it cheaply.
"""
import dataclasses
import functools
import re
from typing import TypedDict

import numpy as np

from dslope_jax.errors import UserError, quoted

# Standard deviations of human annotators per keypoint, relative to the square root of the person's
# area. COCO: pycocotools. CrowdPose, AIC: the official evaluators. JHMDB: COCO's, as MMPose sets
# them. Nothing is published for faces, where every point gets 1/K.
_COCO_SIGMAS = (
  .026, .025, .025, .035, .035, .079, .079, .072, .072, .062, .062, .107, .107, .087, .087, .089,
  .089,
)
_CROWDPOSE_SIGMAS = (
  .079, .079, .072, .072, .062, .062, .107, .107, .087, .087, .089, .089, .079, .079,
)
_LOWER_BODY = ('hip', 'knee', 'ankle', 'pelvis', 'toe', 'heel', 'foot')


@dataclasses.dataclass(frozen=True)
class Skeleton:
  """A keypoint set.

  names: K unique joint names; left and right are the person's own.
  limbs: pairs of joint indices joined by a bone (drawing, and the cut-outs of the patch bank).
  sigmas: K OKS standard deviations.
  name: how the set is called in messages.
  flip_pairs: pairs of joint indices exchanged by a mirror; found from the names when not given.
    None where the names tell no side: such people are never mirrored, nor is a flip test made.

  Raises UserError where the parts contradict each other.
  """
  names: tuple[str, ...]
  limbs: tuple[tuple[int, int], ...]
  sigmas: tuple[float, ...]
  name: str = 'custom'
  flip_pairs: tuple[tuple[int, int], ...] | None = None

  def __post_init__(self):
    if len(set(self.names)) != len(self.names):
      raise UserError(f'skeleton {self.name}: keypoint names repeat: {self.names}')
    if len(self.sigmas) != self.num_keypoints or not all(s > 0 for s in self.sigmas):
      raise UserError(f'skeleton {self.name}: needs {self.num_keypoints} positive sigmas, '
                      f'has {self.sigmas}')
    if self.flip_pairs is None:
      object.__setattr__(self, 'flip_pairs', _pairs_from_names(self.names, self.name))
    paired = [j for pair in self.flip_pairs or () for j in pair]
    outside = [j for j in paired + [j for limb in self.limbs for j in limb]
               if not 0 <= j < self.num_keypoints]
    if outside:
      raise UserError(f'skeleton {self.name}: a flip pair or limb names joint {outside[0]}, '
                      f'but there are {self.num_keypoints} keypoints (0-based)')
    if len(set(paired)) != len(paired):
      raise UserError(f'skeleton {self.name}: a joint is in two flip pairs, or paired with '
                      f'itself: {self.flip_pairs}')

  @property
  def num_keypoints(self) -> int:
    return len(self.names)

  @functools.cached_property
  def flip_order(self) -> np.ndarray:
    """(K,) permutation p: joint k of the mirrored person is joint p[k] of the person."""
    order = np.arange(self.num_keypoints)
    for a, b in self.flip_pairs or ():
      order[a], order[b] = b, a
    return order

  @functools.cached_property
  def sides(self) -> np.ndarray:
    """(K,) 1 for joints of the left, -1 for those of the right, 0 for others. Of a flip pair the
    first is the left one, unless the names say otherwise."""
    sides = np.zeros(self.num_keypoints, int)
    for pair in self.flip_pairs or ():
      one, other = ([*_forms(self.names[j])] for j in pair)
      mirrored = [form for _, form, is_left in other if is_left]
      sides[list(pair)] = (-1, 1) if any(form in mirrored for form, _, _ in one) else (1, -1)
    return sides

  @property
  def graph(self) -> tuple[tuple[int, int], ...]:
    """Edges for graph networks: the published ones where there are some, else the limbs."""
    return _GRAPHS.get(self.names, self.limbs)

  @functools.cached_property
  def lower_body(self) -> np.ndarray:
    """(K,) bool: hips and below; the rest is the upper body (half-body augmentation)."""
    return np.array([any(part in name for part in _LOWER_BODY) for name in self.names])

  def index(self, name: str) -> int | None:
    """Number of the joint called `name`, None if this set lacks it."""
    return self.names.index(name) if name in self.names else None


_WORDS = re.compile(r'[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_]')
_LEFT = {'left': 'right', 'l': 'r', 'lt': 'rt', 'lft': 'rgt', '左': '右'}
_OTHER_SIDE = _LEFT | {right: left for left, right in _LEFT.items()}


def _forms(name):
  """(form, form of the mirrored joint, is it left) of every way to read a side in a name.

  As a word: left_eye, 'left eye', EyeLeft, L.Eye, LEye, x-l; then glued: lefteye, leye, Leye, eyeL.
  """
  words = tuple(word.lower() for word in _WORDS.findall(name))
  sides = [word for word in words if word in _OTHER_SIDE]
  if sides:
    mirrored = tuple(_OTHER_SIDE.get(word, word) for word in words)
    yield ('words', words), ('words', mirrored), sides[0] in _LEFT
  low = name.lower()
  found = [(side, 'before', low[len(side):]) for side in ('left', 'right', 'l', 'r')
           if low.startswith(side)]
  found += [(side, 'behind', low[:-len(side)]) for side in ('left', 'right') if low.endswith(side)]
  found += [(name[-1].lower(), 'behind', low[:-1])] if name[-1:] in ('L', 'R') else []
  for side, *rest in found:
    yield (side, *rest), (_OTHER_SIDE[side], *rest), side in _LEFT


def _pairs_from_names(names, skeleton_name):
  """Joints whose names differ only in the side, left first; None where several joints have none.

  Letters may be no sides ('lip', 'rib'), so they count only where both sides are there. Raises
  UserError where a name has the word left or right and no other name has the other one.
  """
  forms = [list(_forms(name)) for name in names]
  known, pairs, paired = [form for of in forms for form, _, _ in of], [], set()
  for i, of in enumerate(forms):
    for form, mirrored, is_left in of:
      if is_left and i not in paired and known.count(form) == known.count(mirrored) == 1:
        j = next(j for j, other in enumerate(forms) if mirrored in [form for form, _, _ in other])
        if j not in paired:
          pairs.append((i, j))
          paired |= {i, j}
  for i, of in enumerate(forms):
    words = of[0][0][1] if of and of[0][0][0] == 'words' else ()
    if i not in paired and not {'left', 'right'}.isdisjoint(words):
      partner = re.sub('left|right', lambda m: _OTHER_SIDE[m[0].lower()], names[i], flags=re.I)
      raise UserError(f'skeleton {skeleton_name}: keypoint {quoted(names[i])} has no mirror '
                      f"partner {quoted(partner)}; give the category 'flip_pairs' or mend the "
                      'names')
  return tuple(pairs) if pairs or len(names) == 1 else None


COCO = Skeleton(
  name='coco',
  names=('nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear', 'left_shoulder',
         'right_shoulder', 'left_elbow', 'right_elbow', 'left_wrist', 'right_wrist', 'left_hip',
         'right_hip', 'left_knee', 'right_knee', 'left_ankle', 'right_ankle'),
  limbs=((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7),
         (6, 8), (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
  sigmas=_COCO_SIGMAS)

# OKS is not MPII's measure (PCKh is); COCO's values stand in for suppression of double poses.
MPII = Skeleton(
  name='mpii',
  names=('right_ankle', 'right_knee', 'right_hip', 'left_hip', 'left_knee', 'left_ankle', 'pelvis',
         'thorax', 'neck', 'head_top', 'right_wrist', 'right_elbow', 'right_shoulder',
         'left_shoulder', 'left_elbow', 'left_wrist'),
  limbs=((0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (10, 11),
         (11, 12), (12, 7), (7, 13), (13, 14), (14, 15)),
  sigmas=(.089, .087, .107, .107, .087, .089, .107, .079, .079, .079, .062, .072, .079, .079, .072,
          .062))

CROWDPOSE = Skeleton(
  name='crowdpose',
  names=('left_shoulder', 'right_shoulder', 'left_elbow', 'right_elbow', 'left_wrist',
         'right_wrist', 'left_hip', 'right_hip', 'left_knee', 'right_knee', 'left_ankle',
         'right_ankle', 'head', 'neck'),
  limbs=((12, 13), (13, 0), (13, 1), (0, 2), (2, 4), (1, 3), (3, 5), (13, 6), (13, 7), (6, 8),
         (8, 10), (7, 9), (9, 11), (6, 7)),
  sigmas=_CROWDPOSE_SIGMAS)

LSP = Skeleton(
  name='lsp',
  names=('right_ankle', 'right_knee', 'right_hip', 'left_hip', 'left_knee', 'left_ankle',
         'right_wrist', 'right_elbow', 'right_shoulder', 'left_shoulder', 'left_elbow',
         'left_wrist', 'neck', 'head_top'),
  limbs=((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (9, 10), (10, 11),
         (8, 12), (9, 12), (12, 13), (2, 8), (3, 9)),
  sigmas=(.089, .087, .107, .107, .087, .089, .062, .072, .079, .079, .072, .062, .079, .079))

AIC = Skeleton(
  name='aic',
  names=('right_shoulder', 'right_elbow', 'right_wrist', 'left_shoulder', 'left_elbow',
         'left_wrist', 'right_hip', 'right_knee', 'right_ankle', 'left_hip', 'left_knee',
         'left_ankle', 'head_top', 'neck'),
  limbs=((2, 1), (1, 0), (0, 13), (13, 3), (3, 4), (4, 5), (8, 7), (7, 6), (6, 9), (9, 10),
         (10, 11), (12, 13), (0, 6), (3, 9)),
  sigmas=(.01388152, .01515228, .01057665, .01417709, .01497891, .01402144, .03909642, .03686941,
          .01981803, .03843971, .03412318, .02415081, .01291456, .01236173))

JHMDB = Skeleton(
  name='jhmdb',
  names=('neck', 'belly', 'head', 'right_shoulder', 'left_shoulder', 'right_hip', 'left_hip',
         'right_elbow', 'left_elbow', 'right_knee', 'left_knee', 'right_wrist', 'left_wrist',
         'right_ankle', 'left_ankle'),
  limbs=((13, 9), (9, 5), (5, 1), (1, 6), (6, 10), (10, 14), (1, 0), (0, 2), (0, 3), (3, 7),
         (7, 11), (0, 4), (4, 8), (8, 12)),
  sigmas=(.025, .107, .025, .079, .079, .107, .107, .072, .072, .087, .087, .062, .062, .089,
          .089))


def _face(name, *parts):
  names = sum(parts, ())
  return Skeleton(names, (), (1 / len(names),) * len(names), name)


def _arc(part, count, first='right', last='left'):
  """Names along a line from one side of the face to the other; the middle has no side."""
  half = range(count // 2)
  middle = (f'{part}_middle',) * (count % 2)
  return (*(f'{first}_{part}_{i}' for i in half), *middle,
          *(f'{last}_{part}_{i}' for i in reversed(half)))


def _eyes(lids):
  """Each eye once around from the picture's left, upper lid first; `lids` points a lid."""
  upper, lower = ([f'{lid}_{i}' for i in range(lids)] for lid in ('upper', 'lower'))
  right = ['outer', *upper, 'inner', *lower[::-1]]
  left = ['inner', *upper[::-1], 'outer', *lower]
  return (*(f'right_eye_{n}' for n in right), *(f'left_eye_{n}' for n in left))


def _middle(part, count):
  return tuple(f'{part}_{i}' for i in range(count))


_MOUTH = (*_arc('mouth_upper', 7), *_arc('mouth_lower', 5, 'left', 'right'),
          *_arc('mouth_inner_upper', 5), *_arc('mouth_inner_lower', 3, 'left', 'right'))

# Orders of points: the pages of the sets. Sides are the person's own.
FACE_300W = _face('300w', _arc('jaw', 17), _arc('brow', 10), _middle('nose', 4),
                  _arc('nostril', 5), _eyes(2), _MOUTH)
WFLW = _face(
  'wflw', _arc('jaw', 33),
  tuple(f'right_brow_{p}' for p in ('upper_0', 'upper_1', 'upper_2', 'upper_3', 'upper_4',
                                    'lower_3', 'lower_2', 'lower_1', 'lower_0')),
  tuple(f'left_brow_{p}' for p in ('upper_4', 'upper_3', 'upper_2', 'upper_1', 'upper_0',
                                   'lower_0', 'lower_1', 'lower_2', 'lower_3')),
  _middle('nose', 4), _arc('nostril', 5), _eyes(3), _MOUTH, ('right_pupil', 'left_pupil'))
COFW = _face(
  'cofw', ('right_brow_outer', 'left_brow_outer', 'right_brow_inner', 'left_brow_inner',
           'right_brow_upper', 'right_brow_lower', 'left_brow_upper', 'left_brow_lower',
           'right_eye_outer', 'left_eye_outer', 'right_eye_inner', 'left_eye_inner',
           'right_eye_upper', 'right_eye_lower', 'left_eye_upper', 'left_eye_lower',
           'right_pupil', 'left_pupil', 'right_nostril', 'left_nostril'),
  _middle('nose', 2), ('right_mouth', 'left_mouth'), _middle('mouth', 4), ('chin',))
AFLW = _face(
  'aflw', _arc('brow', 6), ('right_eye_outer', 'right_pupil', 'right_eye_inner', 'left_eye_inner',
                            'left_pupil', 'left_eye_outer'),
  _arc('nose', 3), _arc('mouth', 3), ('chin',))

# 17 joints of Human3.6M, as lifting networks order them; 'neck' is called nose by some.
H36M = Skeleton(
  name='h36m',
  names=('hip', 'right_hip', 'right_knee', 'right_ankle', 'left_hip', 'left_knee', 'left_ankle',
         'spine', 'thorax', 'neck', 'head', 'left_shoulder', 'left_elbow', 'left_wrist',
         'right_shoulder', 'right_elbow', 'right_wrist'),
  limbs=((0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (0, 7), (7, 8), (8, 9), (9, 10), (8, 11),
         (11, 12), (12, 13), (8, 14), (14, 15), (15, 16)),
  sigmas=(1 / 17,) * 17)

# 17 of the 28 joints of MPI-INF-3DHP, as lifting networks order them.
MPI_INF_3DHP = Skeleton(
  name='mpi_inf_3dhp',
  names=('head_top', 'neck', 'right_shoulder', 'right_elbow', 'right_wrist', 'left_shoulder',
         'left_elbow', 'left_wrist', 'right_hip', 'right_knee', 'right_ankle', 'left_hip',
         'left_knee', 'left_ankle', 'hip', 'spine', 'head'),
  limbs=((0, 16), (16, 1), (1, 15), (15, 14), (14, 8), (8, 9), (9, 10), (14, 11), (11, 12),
         (12, 13), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7)),
  sigmas=(1 / 17,) * 17)

# 15 joints that MuCo-3DHP and MuPoTS-3D share (SMAP's order); 'neck' lies between the shoulders.
MPI15 = Skeleton(
  name='mpi15',
  names=('neck', 'head_top', 'hip', 'left_shoulder', 'left_elbow', 'left_wrist', 'left_hip',
         'left_knee', 'left_ankle', 'right_shoulder', 'right_elbow', 'right_wrist', 'right_hip',
         'right_knee', 'right_ankle'),
  limbs=((0, 1), (0, 2), (0, 9), (9, 10), (10, 11), (0, 3), (3, 4), (4, 5), (2, 12), (12, 13),
         (13, 14), (2, 6), (6, 7), (7, 8)),
  sigmas=(1 / 15,) * 15)

KNOWN = {skeleton.name: skeleton for skeleton in (
  COCO, MPII, CROWDPOSE, LSP, AIC, JHMDB, FACE_300W, COFW, WFLW, AFLW, H36M, MPI_INF_3DHP,
  MPI15)}


# Edges of the graph network of DAG (Xu et al., 2024), from its code. Unlike the limbs, COCO's eyes
# are not joined, and CrowdPose's hips are joined to the shoulders.
_GRAPHS = {
  COCO.names: ((0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 6), (5, 7), (5, 11), (6, 8),
               (6, 12), (7, 9), (8, 10), (11, 12), (11, 13), (12, 14), (13, 15), (14, 16)),
  CROWDPOSE.names: ((0, 2), (2, 4), (1, 3), (3, 5), (0, 6), (1, 7), (6, 7), (6, 8), (8, 10),
                    (7, 9), (9, 11), (0, 13), (1, 13), (12, 13))}


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
