"""Bodies whose limbs run between given joints: recorded people in the embedded world."""
import numpy as np

from dslope_jax.skeletons import H36M
from input_pipeline.world import bodies

_JOINT = {name: i for i, name in enumerate(H36M.names)}
_SPINE = 485.0  # mm from the hips to the line of the shoulders, of a body of normal length
_LENGTHS = {'arm': 285.0, 'forearm': 255.0, 'thigh': 430.0, 'shin': 415.0}  # likewise, of limbs
_HEAD = 40.0, 5.0  # mm above and in front of this line, where the head turns
_EYES = 168.0, 80.0  # mm above and in front of where the head turns
_STRAIGHT = 0.15  # of a limb: what its front, if it hung straight, counts against a bend
_GROUND = 90.0, 290.0  # mm, heights of an ankle below which the foot is level, above which it hangs


def on_joints(builds: bodies.Builds, joints) -> bodies.Bodies:
  """Bodies with the girths of `builds` whose shoulders, elbows, wrists, hips, knees and ankles are
  exactly the given ones.

  joints: (P,17,3) mm, Human3.6M's order, y up, `head` between the eyes. The trunk follows hips and
  shoulders, the head looks where `head` is; `spine`, `thorax`, `neck` and `hip` are not looked at.
  """
  at = {name: np.asarray(joints, np.float64)[:, i] for name, i in _JOINT.items()}
  hips, shoulders = ((at[f'left_{part}'] + at[f'right_{part}']) / 2 for part in ('hip', 'shoulder'))
  spine = shoulders - hips
  pelvis = _frame(x=at['left_hip'] - at['right_hip'], y=spine)
  chest = _frame(x=at['left_shoulder'] - at['right_shoulder'], y=spine)
  trunk = _norm(spine) / _SPINE
  of = dict.fromkeys(('view', 'pelvis'), (hips, pelvis, trunk))
  of['chest'] = shoulders - 385 * trunk * chest[..., 1], chest, trunk
  base = shoulders + _HEAD[0] * chest[..., 1] + _HEAD[1] * chest[..., 2]
  of['head'] = base, _head(at['head'] - base, chest[..., 0]), builds.length[:, [_SEGMENT['head']]]
  for side in ('left', 'right'):
    for upper, lower, ends, bends in (('arm', 'forearm', ('shoulder', 'elbow', 'wrist'), 1),
                                      ('thigh', 'shin', ('hip', 'knee', 'ankle'), -1)):
      a, b, c = (at[f'{side}_{end}'] for end in ends)
      front = _carried(chest if bends > 0 else pelvis, (b - a) / _norm(b - a))
      first = _frame(y=a - b, z=bends * (c - b) + _STRAIGHT * _norm(c - b) * front)
      second = _frame(y=b - c, z=np.cross(first[..., 0], b - c))  # they turn about one axis
      of[f'{side}_{upper}'] = a, first, _norm(b - a) / _LENGTHS[upper]
      of[f'{side}_{lower}'] = b, second, _norm(c - b) / _LENGTHS[lower]
    of[f'{side}_foot'] = _foot(at[f'{side}_ankle'], of[f'{side}_shin'][1], trunk)
  origins, turns, length = (np.stack([of[name][i] for name in bodies.SEGMENT], 1)
                            for i in range(3))
  segment = bodies.BALL_SEGMENT
  local = builds.local / builds.length[:, segment, None] * length[:, segment]
  centers = origins[:, segment] + (turns[:, segment] @ local[..., None])[..., 0]
  return bodies.Bodies(centers, builds.radii, origins, turns)


_SEGMENT = bodies.SEGMENT


def _frame(x=None, y=None, z=None):
  """(P,3,3) turns whose columns are x, y, z of a segment. The first of two given axes is kept but
  for its length, the other one is made square to it."""
  if x is not None:
    x = x / _norm(x)
    y = y - (y * x).sum(-1, keepdims=True) * x
    y /= _norm(y)
  else:
    y = y / _norm(y)
    z = z - (z * y).sum(-1, keepdims=True) * y
    x = np.cross(y, z / _norm(z))
  return np.stack([x, y, np.cross(x, y)], -1)


def _carried(trunk, limb):
  """(P,3): the front of a trunk (P,3,3), turned as its downward axis must be to point along a limb
  (P,3) of length 1: so the front of a hanging arm is in front, of one that reaches forward, above.
  """
  front, down = trunk[..., 2], -trunk[..., 1]
  both, along = down + limb, (down * limb).sum(-1, keepdims=True)
  return front - (limb * front).sum(-1, keepdims=True) / np.maximum(1 + along, 1e-9) * both


def _head(eyes, side):
  """(P,3,3): the head turned so that its eyes lie this way and its left is as near to `side` as can
  be."""
  up = eyes / _norm(eyes)
  side = side - (side * up).sum(-1, keepdims=True) * up
  side /= _norm(side)
  front = np.cross(side, up)
  c, s = _EYES / np.hypot(*_EYES)
  return np.stack([side, c * up - s * front, s * up + c * front], -1)


def _foot(ankle, shin, length):
  """A foot that is level near the floor and hangs from the shin above it."""
  high = ((ankle[:, 1:2] - _GROUND[0]) / (_GROUND[1] - _GROUND[0])).clip(0, 1)
  up = high * shin[..., 1] + (1 - high) * (0, 1, 0)
  return ankle, _frame(y=up, z=shin[..., 2]), length


def _norm(v):
  """(...,1) lengths, above 0."""
  return np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)
