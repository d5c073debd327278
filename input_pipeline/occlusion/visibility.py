"""Which joints of moving people are hidden: rays to the joints against spheres that fill bodies.

A body is 115 spheres about its joints, as large as its bones are long. To a joint lead seven rays,
one to the joint and six to a hexagon around it, across the line of sight. A sphere stops a ray
where its surface lies in front of the joint by more than a tolerance; the tolerance takes the place
of lists of neighbouring limbs: an elbow lies inside its own arm, yet a forearm that points at the
camera hides it. A joint with more than half of its rays stopped is hidden.

The skeleton-only stand-in for a fitted body mesh (HUPOR: Liu et al., ECCV 2022). The head's spheres
lie on the line from the point between the shoulders (`neck` of MPI, `thorax` of Human3.6M) to the
top of the head, so Human3.6M's `neck`, which is near the nose, moves no sphere. What lies inside
the head and trunk (`neck`, `head`, `spine`, `thorax`, `hip`) has a tolerance above the thickness of
the part it lies in, so these joints do not hide each other.

All lengths are mm in the camera's frame. The seven rays of a joint are the low bits of a uint8.
"""
import functools
from typing import NamedTuple

import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.skeletons import H36M, MPI15, MPI_INF_3DHP

RAYS = 7
NONE, SELF, PERSON, OBJECT = range(4)  # causes
_PAIRS_AT_ONCE = 2 ** 17  # of rays and spheres: arrays stay in a core's own cache
# Per skeleton: between the shoulders, top of the head, pelvis.
_MIDDLE = {H36M.names: ('thorax', 'head', 'hip'), MPI15.names: ('neck', 'head_top', 'hip'),
           MPI_INF_3DHP.names: ('neck', 'head_top', 'hip')}
# mm at the reference size: how thick the body is about a joint, and how far in front of a joint a
# surface of its own body must lie to hide it. For 'top' to 'pelvis' see _MIDDLE; 'inner_head' and
# 'spine', which 15 joints lack, are set by analogy: the head is 190 thick, the trunk 195.
_SIZES = {'base': (60, 250), 'top': (50, 140), 'pelvis': (100, 280), 'inner_head': (50, 200),
          'spine': (100, 270), 'shoulder': (70, 160), 'elbow': (42, 100), 'wrist': (30, 130),
          'hip': (90, 210), 'knee': (60, 130), 'ankle': (40, 100)}
# Lengths of bones at the reference size, mm: means of MuCo-3DHP.
_BONES = {('base', 'top'): 264.22, ('base', 'pelvis'): 483.70, ('base', '?_shoulder'): 149.3,
          ('?_shoulder', '?_elbow'): 312.80, ('?_elbow', '?_wrist'): 239.16,
          ('pelvis', '?_hip'): 124.64, ('?_hip', '?_knee'): 482.3, ('?_knee', '?_ankle'): 390.36}
# Rows of spheres along a bone: its ends, shares of its length, first and last radius in mm.
_ROWS = [('base', 'top', (.05, .30), 60, 60), ('base', 'top', (.42, .53, .64), 80, 95),
         ('?_shoulder', '?_elbow', np.linspace(0, 1, 7), 52, 42),
         ('?_elbow', '?_wrist', np.linspace(0, 1, 7), 42, 30),
         ('?_elbow', '?_wrist', (1.05, 1.20, 1.35), 30, 40),
         ('?_hip', '?_knee', np.linspace(0, 1, 9), 90, 60),
         ('?_knee', '?_ankle', np.linspace(0, 1, 9), 60, 40)]
_DOWN, _ACROSS = np.linspace(.04, 1, 8), (-.8, -.4, 0, .4, .8)  # of the trunk


class Occlusion(NamedTuple):
  """occluded: (...,J) bool. cause: (...,J) uint8, of SELF, PERSON, OBJECT what stops most of the
  rays to a hidden joint, in doubt the first, NONE where the joint is not hidden. blocked: (...,J,3)
  float32, the share of the seven rays that the own body, other people and objects stop."""
  occluded: np.ndarray
  cause: np.ndarray
  blocked: np.ndarray


class _Proxy(NamedTuple):
  """Of a skeleton: weights (S,J) and radii (S,) of the spheres; bones (L,J) that joints are
  multiplied with, and their lengths (L,); thickness, tolerance (J,); all mm at reference size."""
  weights: np.ndarray
  radii: np.ndarray
  bones: np.ndarray
  lengths: np.ndarray
  thickness: np.ndarray
  tolerance: np.ndarray


def of_people(people, skeleton, objects=None) -> Occlusion:
  """Who and what hides the joints of everyone, (P,T,J,...).

  people: (P,T,J,3) mm in the camera's frame. skeleton: H36M, MPI_INF_3DHP or MPI15, else UserError.
  objects: (T,M,4) spheres, x y z and radius in mm.
  """
  people = np.asarray(people, np.float32)
  bits = np.zeros((*people.shape[:-1], 3), np.uint8)
  filled = [spheres(person, skeleton) for person in people]
  for p, person in enumerate(people):
    bits[p, ..., 0] = own_body(person, skeleton)
    for other in filled[:p] + filled[p + 1:]:
      bits[p, ..., 1] |= by_spheres(person, skeleton, other)
    if objects is not None:
      bits[p, ..., 2] = by_spheres(person, skeleton, objects)
  return from_bits(bits)


def from_bits(bits) -> Occlusion:
  """What rays (...,J,3) uint8, stopped by own body, other people and objects, amount to."""
  count = np.bitwise_count(bits)
  occluded = 2 * np.bitwise_count(np.bitwise_or.reduce(bits, -1)) > RAYS
  cause = np.where(occluded, 1 + count.argmax(-1), NONE).astype(np.uint8)
  return Occlusion(occluded, cause, count.astype(np.float32) / RAYS)


def own_body(joints, skeleton) -> np.ndarray:
  """The rays (T,J) uint8 to the joints (T,J,3) mm that the own body stops."""
  joints, proxy = np.asarray(joints, np.float32), _proxy(skeleton)
  grown = size(joints, skeleton)[:, None]
  return _stopped(joints, grown * proxy.thickness, grown * proxy.tolerance,
                  spheres(joints, skeleton))


def by_spheres(joints, skeleton, others) -> np.ndarray:
  """The rays (T,J) uint8 to the joints (T,J,3) mm that foreign spheres (T,M,4) stop: those whose
  surface lies further in front of the joint than the body is thick there."""
  joints, others = (np.asarray(x, np.float32) for x in (joints, others))
  thickness = size(joints, skeleton)[:, None] * _proxy(skeleton).thickness
  bits = np.zeros(joints.shape[:2], np.uint8)
  near = _may_stop(joints, thickness, others)
  if near.any():
    frames, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    some = frames[:, None], columns
    bits[some] = _stopped(joints[some], thickness[some], thickness[some], others[frames])
  return bits


def spheres(joints, skeleton) -> np.ndarray:
  """(T,115,4) float32 x y z and radius in mm of the spheres that fill a body (T,J,3)."""
  proxy = _proxy(skeleton)
  radii = size(joints, skeleton)[:, None] * proxy.radii
  return np.concatenate([proxy.weights @ joints, radii[..., None]], -1)


def size(joints, skeleton) -> np.ndarray:
  """(T,) float32: the median of the bones' lengths over those of the reference size."""
  proxy = _proxy(skeleton)
  bones = proxy.bones @ np.asarray(joints, np.float32)
  return np.median(np.sqrt((bones * bones).sum(-1)) / proxy.lengths, -1)


def _stopped(joints, thickness, tolerance, others):
  """(T,J) uint8: which rays end more than `tolerance` (T,J) mm behind the surface of a sphere.

  That is where a sphere touches the ray before its end less the tolerance: its centre c is nearer
  to the point t = clip(b, 0, end) of the ray than its radius, b = ray . c; the distance's square is
  |c|^2 - t (2 b - t). Spheres around the camera hide nothing.
  """
  rays, ends = _rays(joints, thickness / 2)
  ends = (ends - np.repeat(tolerance, RAYS, -1))[:, None]
  centers, radii = others[..., :3], others[..., 3]
  reach = (centers * centers).sum(-1) - radii * radii
  reach = np.where(reach > 0, reach, np.inf).astype(np.float32)[..., None]
  hit = np.empty((len(joints), rays.shape[-1]), bool)
  step = max(1, _PAIRS_AT_ONCE // (centers.shape[1] * rays.shape[-1]))
  for first in range(0, len(joints), step):
    some = slice(first, first + step)
    along = centers[some] @ rays[some]
    nearest = np.clip(along, 0, ends[some])
    along *= 2
    along -= nearest
    along *= nearest
    hit[some] = (along > reach[some]).any(1)
  bits = np.packbits(hit.reshape(*joints.shape[:2], RAYS), -1, bitorder='little')
  return bits[..., 0]


# Across the ray: the joint itself, then a hexagon that is its own mirror image.
_TARGETS = np.array([(0, 0), (1, 0), (.5, .75 ** .5), (-.5, .75 ** .5), (-1, 0), (-.5, -.75 ** .5),
                     (.5, -.75 ** .5)], np.float32)


def _rays(joints, radius):
  """Unit rays (T,3,7J) to the joints (T,J,3) and hexagons of radius (T,J) about them, and their
  lengths (T,7J)."""
  x, z = joints[..., 0], joints[..., 2]
  right = np.stack([z, np.zeros_like(x), -x], -1)
  right /= np.sqrt(x * x + z * z)[..., None]
  down = np.cross(joints, right)
  down /= np.sqrt((down * down).sum(-1, keepdims=True))
  shift = (radius[..., None] * _TARGETS[:, 0])[..., None] * right[:, :, None]
  shift += (radius[..., None] * _TARGETS[:, 1])[..., None] * down[:, :, None]
  ends = (joints[:, :, None] + shift).reshape(len(joints), RAYS * joints.shape[1], 3)
  lengths = np.sqrt((ends * ends).sum(-1))
  return np.ascontiguousarray((ends / lengths[..., None]).swapaxes(1, 2)), lengths


def _may_stop(joints, thickness, others):
  """(T,J) bool: whether a ball around all spheres reaches the rays to a joint; few do."""
  if not others.shape[1]:
    return np.zeros(joints.shape[:2], bool)
  centers, radii = others[..., :3], others[..., 3]
  middle = centers.mean(1, keepdims=True)
  wide = (np.sqrt(((centers - middle) ** 2).sum(-1)) + radii).max(1)[:, None] + thickness / 2
  along = (joints * middle).sum(-1) / (joints * joints).sum(-1)
  nearest = joints * along.clip(0, 1)[..., None]
  return ((nearest - middle) ** 2).sum(-1) < wide ** 2


@functools.cache
def _proxy_of(names):
  middle = dict(zip(('base', 'top', 'pelvis'), _MIDDLE[names], strict=True))
  eye = dict(zip(names, np.eye(len(names)), strict=True))
  at = lambda name, side: eye[middle.get(name, name.replace('?', side))]
  sides = lambda *ends: ('left', 'right') if '?' in ''.join(ends) else ('',)
  weights, radii = [], []
  for a, b, shares, first, last in _ROWS:
    for side in sides(a, b):
      weights += [(1 - t) * at(a, side) + t * at(b, side) for t in shares]
      radii += list(np.linspace(first, last, len(shares)))
  lateral = [(at(f'?_{part}', 'left') - at(f'?_{part}', 'right')) / 2
             for part in ('shoulder', 'hip')]
  for u in _DOWN:
    for w in _ACROSS:
      weights.append((1 - u) * at('base', '') + u * at('pelvis', '')
                     + w * ((1 - u) * lateral[0] + u * lateral[1]))
      radii.append(85 + 25 * u)
  bones = [(at(b, side) - at(a, side), length)
           for (a, b), length in _BONES.items() for side in sides(a, b)]
  part_of = {joint: part for part, joint in middle.items()}
  inner = {'neck': 'inner_head', 'head': 'inner_head'}
  parts = [part_of.get(name) or inner.get(name) or name.split('_')[-1] for name in names]
  arrays = (weights, radii, *zip(*bones, strict=True),
            *zip(*(_SIZES[part] for part in parts), strict=True))
  return _Proxy(*(np.array(x, np.float32) for x in arrays))


def _proxy(skeleton):
  if skeleton.names not in _MIDDLE:
    known = ', '.join(s.name for s in (H36M, MPI_INF_3DHP, MPI15))
    raise UserError(f'hidden joints are known for the skeletons {known}, not {skeleton.name}')
  return _proxy_of(skeleton.names)
