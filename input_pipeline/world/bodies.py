"""Human bodies as trees of posed segments whose surface is tapered capsules.

A ball is fixed to a segment; a capsule is the hull of two balls. Joints are balls, so that a joint
lies inside the capsules of its own limbs.
Body frame: x to the person's left, y up, z forward, millimetres.
"""
from typing import NamedTuple

import numpy as np

from dslope_jax.skeletons import COCO
from input_pipeline.world.poses import ANGLES


def _both_sides(rows, x=None):
  """Rows that begin with '?' twice: '?' read as left_ and, with column x negated, as right_."""
  out = []
  for row in rows:
    for side, sign in (('left_', 1), ('right_', -1)) if row[0][0] == '?' else (('', 1),):
      row_of_side = [v.replace('?', side) if isinstance(v, str) else v for v in row]
      if x is not None:
        row_of_side[x] *= sign
      out.append(row_of_side)
  return out


# Segment, parent, its origin in the parent's frame. Parents come first.
_SEGMENTS = _both_sides([
  ('view', '', 0, 0, 0), ('pelvis', 'view', 0, 0, 0), ('chest', 'pelvis', 0, 100, 0),
  ('head', 'chest', 0, 425, 5), ('?arm', 'chest', 165, 385, 0), ('?forearm', '?arm', 0, -285, 0),
  ('?thigh', 'pelvis', 92, 0, 0), ('?shin', '?thigh', 0, -430, 0), ('?foot', '?shin', 0, -415, 0),
], x=2)
# Ball, its segment, centre in the segment's frame, radius. COCO's joints are balls.
_BALLS = _both_sides([
  ('pelvis', 'pelvis', 0, 10, -5, 88), ('waist', 'pelvis', 0, 120, 0, 95),
  ('?waist', 'pelvis', 54, 70, 0, 84), ('?chest', 'chest', 74, 305, 0, 91),
  ('thorax', 'chest', 0, 310, 0, 99), ('collar', 'chest', 0, 388, -5, 58),
  ('nape', 'head', 0, -15, -8, 50), ('neck', 'head', 0, 80, 0, 50),
  ('skull', 'head', 0, 168, 12, 84), ('jaw', 'head', 0, 92, 40, 46),
  ('hair', 'head', 0, 182, -10, 90), ('hair_end', 'head', 0, 150, -26, 82),
  ('nose_top', 'head', 0, 166, 90, 9), ('nose', 'head', 0, 136, 104, 16),
  ('?eye', 'head', 33, 168, 80, 17), ('?ear', 'head', 88, 150, 5, 20),
  ('?mouth', 'head', 17, 96, 77, 10), ('?shoulder', '?arm', 0, 0, 0, 55),
  ('?elbow', '?forearm', 0, 0, 0, 41), ('?wrist', '?forearm', 0, -255, 0, 29),
  ('?palm', '?forearm', 0, -285, 3, 38), ('?hand', '?forearm', 0, -350, 8, 27),
  ('?thumb', '?forearm', -22, -318, 32, 15), ('?hip', '?thigh', 0, 0, 0, 84),
  ('?knee', '?shin', 0, 0, 0, 56), ('?calf', '?shin', 0, -130, -16, 54),
  ('?ankle', '?foot', 0, 0, 0, 39), ('?heel', '?foot', 0, -38, -35, 42),
  ('?toe', '?foot', 8, -48, 160, 33),
], x=2)
# Capsule, its two balls, kind of surface, the joints it belongs to, the part of the body.
_CAPSULES = _both_sides([
  ('?thigh', '?hip', '?knee', 'trousers', '?hip ?knee', '?upper_leg'),
  ('?shin', '?knee', '?ankle', 'trousers', '?knee ?ankle', '?lower_leg'),
  ('?calf', '?knee', '?calf', 'trousers', '?knee', '?lower_leg'),
  ('?foot', '?heel', '?toe', 'shoe', '?ankle', '?lower_leg'),
  ('?pelvis', 'pelvis', '?hip', 'trousers', '?hip', 'torso'),
  ('seat', 'waist', 'pelvis', 'shirt', 'left_hip right_hip', 'torso'),
  ('?flank', '?chest', '?waist', 'shirt', '?shoulder ?hip', 'torso'),
  ('trunk', 'thorax', 'waist', 'shirt', '', 'torso'),
  ('?yoke', 'collar', '?shoulder', 'shirt', '?shoulder', 'torso'),
  ('neck', 'nape', 'neck', 'skin', '', 'head'), ('face', 'skull', 'jaw', 'face', 'nose', 'head'),
  ('hair', 'hair', 'hair_end', 'hair', '', 'head'),
  ('?ear', '?ear', '?ear', 'ear', '?ear', 'head'), ('?eye', '?eye', '?eye', 'eye', '?eye', 'head'),
  ('mouth', 'left_mouth', 'right_mouth', 'lip', 'nose', 'head'),
  ('nose', 'nose_top', 'nose', 'nose', 'nose', 'head'),
  ('?arm', '?shoulder', '?elbow', 'sleeve', '?shoulder ?elbow', '?upper_arm'),
  ('?forearm', '?elbow', '?wrist', 'sleeve', '?elbow ?wrist', '?lower_arm'),
  ('?hand', '?palm', '?hand', 'skin', '?wrist', '?lower_arm'),
  ('?thumb', '?palm', '?thumb', 'skin', '', '?lower_arm'),
])

SEGMENT = {row[0]: i for i, row in enumerate(_SEGMENTS)}
BALL = {row[0]: i for i, row in enumerate(_BALLS)}
CAPSULE_NAMES = tuple(row[0] for row in _CAPSULES)
SURFACES = tuple(dict.fromkeys(row[3] for row in _CAPSULES))
PARTS = tuple(dict.fromkeys(row[5] for row in _CAPSULES))  # part ids are places in this
ENDS = np.array([[BALL[a], BALL[b]] for _, a, b, *_ in _CAPSULES])
SURFACE = np.array([SURFACES.index(row[3]) for row in _CAPSULES])
PART = np.array([PARTS.index(row[5]) for row in _CAPSULES])
OWNS = np.array([[name in row[4].split() for name in COCO.names] for row in _CAPSULES])
JOINT = np.array([BALL[name] for name in COCO.names])
BALL_SEGMENT = np.array([SEGMENT[row[1]] for row in _BALLS])
CAPSULE_SEGMENT = BALL_SEGMENT[ENDS[:, 0]]  # whose frame carries the texture

_BALL_CENTER, _BALL_RADIUS = np.split(np.array([row[2:] for row in _BALLS], np.float64), [3], 1)
_OFFSET = np.array([row[2:] for row in _SEGMENTS], np.float64)
_PARENT = np.array([SEGMENT.get(row[1], 0) for row in _SEGMENTS])
_LENGTH_OF = np.unique([row[0].split('_')[-1] for row in _SEGMENTS], return_inverse=True)[1]
_HEAD = SEGMENT['head']
_HAIR_END, _LONG_HAIR = BALL['hair_end'], (0, -110, -22)


def _levels():
  """Segments that are equally far from the root, root's children first."""
  depth = np.zeros(len(_SEGMENTS), np.int64)
  for s in range(1, len(_SEGMENTS)):
    depth[s] = depth[_PARENT[s]] + 1
  return [np.flatnonzero(depth == d) for d in range(1, depth.max() + 1)]


_LEVELS = _levels()


class Bodies(NamedTuple):
  """P bodies of B balls and S segments, each standing at the origin of its own frame.

  centers (P,B,3), radii (P,B), origins (P,S,3): mm. turns (P,S,3,3): segment to world.
  """
  centers: np.ndarray
  radii: np.ndarray
  origins: np.ndarray
  turns: np.ndarray


class Builds(NamedTuple):
  """How P bodies are built. length (P,S): of segments, 1 is normal. local (P,B,3), radii (P,B): of
  balls, in the frames of their segments; mm."""
  length: np.ndarray
  local: np.ndarray
  radii: np.ndarray


def build(rng, pose, yaw) -> Bodies:
  """Bodies of random build in the given poses (P,24) degrees, turned by yaw (P,) degrees."""
  return posed(draw_builds(rng, len(pose)), pose, yaw)


def draw_builds(rng, count) -> Builds:
  """Random builds of `count` people."""
  stature = rng.uniform(0.86, 1.07, (count, 1))
  length = stature * rng.uniform(0.94, 1.06, (count, _LENGTH_OF.max() + 1))[:, _LENGTH_OF]
  length[:, _HEAD] = 1.06 * np.sqrt(stature[:, 0])  # small people have large heads
  girth = np.repeat(stature * rng.uniform(0.88, 1.22, (count, 1)), len(_BALLS), 1)
  girth[:, BALL_SEGMENT == _HEAD] = length[:, [_HEAD]]
  local = _BALL_CENTER * length[:, BALL_SEGMENT, None]
  local[rng.random(count) < 0.4, _HAIR_END] += _LONG_HAIR
  return Builds(length, local, _BALL_RADIUS[:, 0] * girth)


def posed(builds: Builds, pose, yaw) -> Bodies:
  """Bodies in poses (P,24) degrees, turned by yaw (P,) degrees; one build may take many poses."""
  count = len(pose)
  turns = rotations(np.radians(_segment_angles(pose, yaw)))
  origins = np.zeros((count, len(_SEGMENTS), 3))
  for level in _LEVELS:
    parent = _PARENT[level]
    offset = builds.length[:, parent, None] * _OFFSET[level]
    origins[:, level] = origins[:, parent] + (turns[:, parent] @ offset[..., None])[..., 0]
    turns[:, level] = turns[:, parent] @ turns[:, level]
  local = builds.local[..., None]
  centers = origins[:, BALL_SEGMENT] + (turns[:, BALL_SEGMENT] @ local)[..., 0]
  return Bodies(centers, np.broadcast_to(builds.radii, (count, len(_BALLS))), origins, turns)


def _angle_map():
  """(24,S,3): how the angles of a pose add to those of the segments about x, y, z."""
  out = np.zeros((len(ANGLES), len(_SEGMENTS), 3))
  for i, angle in enumerate(ANGLES):
    owner, _, turn = angle.partition('_')
    if owner in ('pelvis', 'chest', 'head'):
      out[i, SEGMENT[owner], ('pitch', 'yaw', 'roll').index(turn)] = 1
    else:
      sign = 1 if owner == 'left' else -1
      segment, axis, sense = _TURNS[turn]
      out[i, SEGMENT[f'{owner}_{segment}'], axis] = sense if axis == 0 else sense * sign
  return out


# Of an angle of a limb: the segment it turns, about which axis, in what sense on the left.
_TURNS = {'hip_flexion': ('thigh', 0, -1), 'hip_abduction': ('thigh', 2, 1),
          'hip_rotation': ('thigh', 1, 1), 'knee': ('shin', 0, 1),
          'arm_flexion': ('arm', 0, -1), 'arm_abduction': ('arm', 2, 1),
          'arm_rotation': ('arm', 1, -1), 'elbow': ('forearm', 0, -1)}
_ANGLE_MAP = _angle_map().reshape(len(ANGLES), -1)
_FEET, _SHINS, _THIGHS = (np.array([SEGMENT[f'{side}_{name}'] for side in ('left', 'right')])
                          for name in ('foot', 'shin', 'thigh'))


def _segment_angles(pose, yaw):
  """(P,S,3) degrees about x, y, z of each segment."""
  out = (pose @ _ANGLE_MAP).reshape(len(pose), -1, 3)
  out[:, SEGMENT['view'], 1] = yaw
  pitch = pose[:, :1]
  sole = -out[:, _THIGHS, 0] - pitch - out[:, _SHINS, 0]  # level, for who stands
  out[:, _FEET, 0] = np.clip(np.where(np.abs(pitch) < 84, sole, 35), -30, 45)
  return out


def rotations(angles):
  """(...,3,3) matrices Rx Rz Ry of (...,3) radians about x, y, z."""
  (sx, sy, sz), (cx, cy, cz) = (np.moveaxis(f(angles), -1, 0) for f in (np.sin, np.cos))
  out = np.empty((*angles.shape, 3))
  out[..., 0, 0], out[..., 0, 1], out[..., 0, 2] = cz * cy, -sz, cz * sy
  out[..., 1, 0], out[..., 1, 1], out[..., 1, 2] = (
    cx * sz * cy + sx * sy, cx * cz, cx * sz * sy - sx * cy)
  out[..., 2, 0], out[..., 2, 1], out[..., 2, 2] = (
    sx * sz * cy - cx * sy, sx * cz, sx * sz * sy + cx * cy)
  return out
