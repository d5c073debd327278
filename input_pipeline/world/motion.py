"""People who move: gaits, and moves between drawn poses, with feet that carry the body.

A motion is angles over time, within the limits of `poses`, of one body of random build, whose bones
keep their lengths. The body stands on its lowest points: they touch the floor, and what touches the
floor does not slide while its weight lies there; so the path of the body follows from its steps.
World frame: y up, floor at y = 0, mm.
"""
from typing import NamedTuple

import numpy as np

from dslope_jax.skeletons import H36M
from input_pipeline.world import bodies, poses

# Human3.6M's joints: the segment that carries a joint, and its place in the segment's frame, mm.
# 'neck' is as Human3.6M has it, near the chin and the nose.
_JOINTS = {'hip': ('pelvis', 0, 0, 0), 'spine': ('chest', 0, 130, 0),
           'thorax': ('chest', 0, 385, 0), 'neck': ('head', 0, 105, 55),
           'head': ('head', 0, 240, 5),
           **{f'{side}_{joint}': (f'{side}_{segment}', 0, drop, 0) for side in ('left', 'right')
              for joint, segment, drop in (
                ('hip', 'thigh', 0), ('knee', 'shin', 0), ('ankle', 'foot', 0),
                ('shoulder', 'arm', 0), ('elbow', 'forearm', 0), ('wrist', 'forearm', -255))}}
_SEGMENT = np.array([bodies.SEGMENT[_JOINTS[name][0]] for name in H36M.names])
_PLACE = np.array([_JOINTS[name][1:] for name in H36M.names], np.float64)
_ANGLE = {name: i for i, name in enumerate(poses.ANGLES)}

# Kinds of motion with their odds: gaits, and activities of `poses`, which are moves between poses
# of this activity and those of standing people.
_KINDS = {'walking': 4, 'running': 1, 'standing': 3, 'dancing': 3, 'reaching': 3, 'playing': 2,
          'climbing': 1, 'sitting': 2, 'crouching': 1, 'bending': 1, 'kicking': 1, 'lunging': 1,
          'lying': 1, 'interacting': 1}
_ALONE = ('lying', 'sitting')  # never mixed with standing, as nobody gets up at once
_FOR_TWO = 'interacting', 'walking', 'dancing'
# Of a gait: period in s, thigh's mean and swing, knee in stance and in swing, elbow, lean.
_GAITS = {'walking': ((0.95, 1.3), (8, 13), (18, 28), (10, 18), (50, 64), (10, 35), (0, 7)),
          'running': ((0.62, 0.8), (12, 22), (28, 42), (28, 40), (80, 105), (70, 100), (6, 16))}
_MOVE = 0.35, 1.3  # s from one pose to the next
_FASTEST = 220.0  # degrees a second, mean over a move
_STANDING = 0.3  # odds that the next pose is one of standing people
_REST = 0.3  # of that time is spent in the pose, at most
_SAME = 0.35  # odds that a part of the body keeps its pose over a move
_PARTS = [[i for name, i in _ANGLE.items() if name.startswith(starts)] for starts in (
  ('pelvis', 'left_hip', 'right_hip', 'left_knee', 'right_knee'), ('chest', 'head'),
  ('left_arm', 'left_elbow'), ('right_arm', 'right_elbow'))]
_SWAY = 2.0  # degrees, of every angle, slow
_SWAY_S = 0.8, 4.0  # its periods
_TURN = {'walking': 35, 'running': 25, 'lying': 0, 'sitting': 0}  # degrees a second
_TURN_OF_OTHERS = 25
_CONTACT = 12.0  # mm above the lowest point at which a point carries 1/e as much
_INERTIA = 0.2  # s, the body's path is smoothed over
_BUSY = 0.4  # of those who walk move arms, chest and head like standing people
_BESIDE = 550, 850  # mm between two who walk
_TO_EACH_OTHER = 450, 1000  # mm between two who do something together
_APART = 350  # mm at least between the hips of two


class Motion(NamedTuple):
  """joints: (P,F,17,3) float32 mm of P people, Human3.6M's order. kind: what they do. slip: (P,F-1)
  mm that the lowest point of the body moves along the floor from each frame to the next."""
  joints: np.ndarray
  kind: str
  slip: np.ndarray


def draw(rng, frames, fps, people=1) -> Motion:
  """One person, or two who do something together, moving for `frames` frames at `fps` a second."""
  kinds = _KINDS if people == 1 else {k: _KINDS[k] for k in _FOR_TWO}
  odds = np.cumsum(list(kinds.values()))
  kind = list(kinds)[int(np.searchsorted(odds, rng.random() * odds[-1], 'right'))]
  seconds = np.arange(frames) / fps
  yaw = _turning(rng, seconds, _TURN.get(kind, _TURN_OF_OTHERS))
  gait = [rng.uniform(*limits) for limits in _GAITS.get(kind, ())]  # two walk in one rhythm
  # Where the second one stands, seen from the first, degrees to the left, and how it is turned.
  beside = bool(gait)
  bearing = rng.choice((-90, 90)) if beside else rng.uniform(-30, 30)
  turn = rng.normal(0, 4) if beside else 180 + rng.normal(0, 20)
  distance = rng.uniform(*(_BESIDE if beside else _TO_EACH_OTHER))
  joints, slips = [], []
  for person in range(people):
    pose = _walk(rng, seconds, gait) if gait else _moves(rng, seconds, kind)
    if kind == 'walking' and rng.random() < _BUSY:
      upper = sum(_PARTS[1:], [])
      pose[:, upper] = _moves(rng, seconds, 'standing')[:, upper]
    pose = np.clip(pose + _sway(rng, seconds), *poses.LIMITS.T)
    body, slip = _carried(bodies.draw_builds(rng, 1), pose, yaw + person * turn,
                          1 / fps)
    joints.append(body)
    slips.append(slip)
  angle = np.radians(yaw[0] + bearing)
  toward = np.array([np.sin(angle), 0, np.cos(angle)])
  for body in joints[1:]:
    nearest = ((body - joints[0])[:, 0] @ toward).min()
    body += max(distance, _APART - nearest) * toward
  return Motion(np.stack(joints).astype(np.float32), kind, np.stack(slips))


def _turning(rng, seconds, rate):
  """(F,) degrees: a slow turn to and fro of at most `rate` degrees a second."""
  period, phase = rng.uniform(4, 15), rng.uniform(0, 2 * np.pi)
  along = 2 * np.pi * seconds / period + phase
  size = rng.uniform(0, rate) * period / (2 * np.pi)
  return rng.uniform(0, 360) + size * np.sin(along)


def _sway(rng, seconds):
  """(F,24) degrees: two slow waves in every angle."""
  period = rng.uniform(*_SWAY_S, (2, 1, len(poses.ANGLES)))
  phase = rng.uniform(0, 2 * np.pi, period.shape)
  size = rng.uniform(0, _SWAY, period.shape) / 2
  return (size * np.sin(2 * np.pi * seconds[:, None] / period + phase)).sum(0)


def _walk(rng, seconds, gait):
  """(F,24) degrees of a gait: one leg half a period after the other, arms against the legs.

  The curves of hip and knee follow those of textbooks of gait analysis: the thigh is foremost just
  before the heel strikes; the knee gives way a little in stance and bends much in swing.
  """
  period, mean, swing, give, bend, elbow, lean = gait
  pose = np.zeros((len(seconds), len(poses.ANGLES)))
  start = rng.random()
  arms, out = rng.uniform(0.5, 1.1), rng.uniform(4, 14)
  for side, offset in (('left', 0.0), ('right', 0.5)):
    phase = (seconds / period + start + offset) % 1  # 0: the heel strikes
    thigh = mean + swing * np.cos(2 * np.pi * (phase + 0.05))
    pose[:, _ANGLE[f'{side}_hip_flexion']] = thigh + lean
    pose[:, _ANGLE[f'{side}_hip_abduction']] = out / 3
    pose[:, _ANGLE[f'{side}_knee']] = 5 + give * _bump(phase, 0.15, 0.07) + bend * _bump(
      phase, 0.73, 0.11)
    forward = -arms * swing * np.cos(2 * np.pi * (phase + 0.05))
    pose[:, _ANGLE[f'{side}_arm_flexion']] = forward
    pose[:, _ANGLE[f'{side}_arm_abduction']] = out
    pose[:, _ANGLE[f'{side}_elbow']] = elbow + 0.5 * forward
  twist = np.cos(2 * np.pi * (seconds / period + start))
  pose[:, _ANGLE['pelvis_pitch']] = lean
  pose[:, _ANGLE['pelvis_roll']] = 3 * twist
  pose[:, _ANGLE['chest_yaw']] = 6 * twist
  pose[:, _ANGLE['head_yaw']] = -6 * twist + 8 * np.sin(seconds / rng.uniform(0.5, 2))
  return pose


def _bump(phase, middle, width):
  """A wave of height 1 about a phase of a period of 1."""
  away = (phase - middle + 0.5) % 1 - 0.5
  return np.exp(-away ** 2 / (2 * width ** 2))


def _moves(rng, seconds, kind):
  """(F,24) degrees: moves between drawn poses, with rests; parts of the body move on their own."""
  count = int(np.ceil(seconds[-1] / _MOVE[0])) + 2
  style, standing = (poses.draw_styles(rng, count, (name,))[0] for name in (kind, 'standing'))
  if kind not in _ALONE:
    style = np.where(rng.random(count) < _STANDING, standing, style)
  if kind == 'lying':
    style[:] = style[0]  # nobody turns over
  keys = poses.draw(rng, style, rng.random(count) < 0.5)
  for part in _PARTS:
    stays = rng.random(count) < _SAME
    keys[:, part] = keys[np.maximum.accumulate(np.where(stays, 0, np.arange(count)))][:, part]
  needed = np.abs(np.diff(keys, axis=0)).max(1) / _FASTEST
  at = np.append(0, np.cumsum(np.maximum(rng.uniform(*_MOVE, count - 1), needed)))
  pose = np.empty((len(seconds), len(poses.ANGLES)))
  for part in _PARTS:
    begin = at - rng.uniform(0, at[1])  # in the first move, each part somewhere else
    i = np.searchsorted(begin[1:-1], seconds, 'right')
    share = (seconds - begin[i]) / (begin[i + 1] - begin[i]) / (1 - rng.uniform(0, _REST))
    share = share.clip(0, 1)[:, None]
    share = share ** 3 * (10 - 15 * share + 6 * share ** 2)  # the least jerk
    a, b = keys[i][:, part], keys[i + 1][:, part]
    pose[:, part] = a + share * (b - a)
  return pose


def _carried(build, pose, yaw, frame):
  """Joints (F,17,3) of a body on the floor, and how much its lowest point slips, (F-1,) mm.

  frame: its time in s.
  """
  body = bodies.posed(build, pose, yaw)
  low = body.centers[..., 1] - body.radii
  weight = np.exp((low.min(1, keepdims=True) - low) / _CONTACT)
  weight /= weight.sum(1, keepdims=True)
  step = np.diff(body.centers[..., [0, 2]], axis=0)
  both = weight[:-1] * weight[1:]  # carries before and after
  both /= both.sum(1, keepdims=True)
  path = np.zeros((len(pose), 3))
  path[1:, [0, 2]] = np.cumsum(_smooth(-(both[..., None] * step).sum(1), frame), 0)
  path[:, 1:2] = _smooth(-(low * weight).sum(1, keepdims=True), frame)
  lowest = low[1:].argmin(1)
  slip = step[np.arange(len(step)), lowest] + np.diff(path[:, [0, 2]], axis=0)
  local = _PLACE * build.length[0, _SEGMENT, None]
  joints = body.origins[:, _SEGMENT] + (body.turns[:, _SEGMENT] @ local[..., None])[..., 0]
  return joints + path[:, None], np.linalg.norm(slip, axis=-1)


def _smooth(values, frame):
  """Values (F,D) averaged over time, those near more."""
  half = int(round(_INERTIA / frame / 2))
  kernel = np.hanning(2 * half + 3)[1:-1]
  padded = np.pad(values, ((half, half), (0, 0)), 'edge')
  return np.stack([np.convolve(x, kernel / kernel.sum(), 'valid') for x in padded.T], -1)
