"""Plausible body poses: joint angles by activity, within the limits of a healthy body.

Postures are ranges of angles; movements are Gaussians (a mean and three principal directions)
measured on recorded people. The data used for these numbers was obtained from mocap.cs.cmu.edu,
the database was created with funding from NSF EIA-0196217.

A pose is 24 angles in degrees, named by ANGLES. Flexion is forward, abduction away from the body's
middle, rotation outward (hip) or inward (arm) about the limb's own axis.
"""
import numpy as np

_LIMB = ('hip_flexion', 'hip_abduction', 'hip_rotation', 'knee',
         'arm_flexion', 'arm_abduction', 'arm_rotation', 'elbow')
_MIDDLE = ('pelvis_pitch', 'pelvis_roll', 'chest_pitch', 'chest_yaw', 'chest_roll', 'head_pitch',
           'head_yaw', 'head_roll')
ANGLES = _MIDDLE + tuple(f'{side}_{name}' for side in ('left', 'right') for name in _LIMB)
# The pelvis turns freely: what lies is a body turned as a whole.
LIMITS = np.array(
  [(-100, 110), (-100, 100), (-20, 35), (-35, 35), (-20, 20), (-40, 40), (-60, 60), (-25, 25)]
  + 2 * [(-30, 125), (-15, 45), (-30, 40), (0, 140), (-55, 178), (-12, 108), (-90, 95), (0, 145)],
  np.float64)

# Shoulder flexion, abduction, rotation; elbow.
_ARMS = {
  'hang': [(-12, 15), (4, 14), (-5, 40), (4, 30)],
  'bent': [(-20, 25), (4, 18), (0, 40), (30, 100)],
  'reach': [(50, 105), (-8, 30), (-20, 30), (0, 45)],
  'raise': [(140, 175), (0, 25), (-20, 30), (0, 60)],
  'spread': [(-10, 12), (50, 100), (-30, 30), (0, 50)],
  'hip': [(-28, -10), (36, 52), (65, 90), (80, 105)],
  'face': [(35, 60), (5, 22), (15, 45), (120, 142)],
  'belly': [(12, 32), (4, 14), (50, 75), (70, 105)],
  'wave': [(-5, 12), (70, 98), (-88, -68), (60, 110)],
  'knee': [(30, 55), (2, 14), (-5, 15), (15, 50)],
  'rest': [(15, 40), (2, 15), (0, 30), (50, 95)],
  'hug': [(58, 80), (12, 24), (70, 92), (50, 85)],
  'over': [(-16, 0), (70, 86), (-10, 15), (5, 40)],
  'to': [(55, 85), (-5, 10), (-5, 20), (5, 35)],
  'ground': [(-10, 3), (45, 100), (-90, -76), (15, 110)],
}
_ANY = 'hang hang hang bent bent reach raise spread hip face belly wave'
_HANGING = ('hang', 'bent')  # these swing against the legs
# Activity, odds; lean, thighs apart; of the leading and of the trailing leg the thigh's angle to
# the vertical and the bend of the knee; arm styles to draw from, '/' before the leading arm's.
_POSTURES = [
  ('standing', 4, (-4, 6), (0, 7), (-4, 6), (0, 8), (-4, 6), (0, 8), _ANY),
  ('standing', 3, (-4, 6), (0, 10), (8, 26), (12, 42), (-5, 2), (0, 5), _ANY),
  ('standing', 2, (-5, 5), (10, 24), (-4, 8), (0, 12), (-4, 8), (0, 12), _ANY),
  ('walking', 2, (0, 7), (0, 4), (16, 30), (3, 14), (-24, -10), (8, 40), 'hang hang bent'),
  ('running', 3, (6, 18), (0, 4), (42, 72), (65, 105), (-30, -10), (25, 90), 'bent'),
  ('sitting', 3, (-8, 12), (2, 16), (78, 94), (68, 100), (78, 94), (68, 100),
   'knee knee rest belly face reach'),
  ('sitting', 1, (-15, 5), (0, 10), (82, 105), (15, 70), (82, 105), (10, 60), 'knee rest hang'),
  ('reaching', 2, (0, 35), (0, 12), (5, 30), (5, 35), (-15, 2), (0, 20), 'reach reach raise'),
  ('reaching', 1, (-4, 8), (0, 8), (-4, 8), (0, 8), (-4, 8), (0, 8), 'raise reach/raise'),
  ('crouching', 2, (12, 35), (8, 26), (82, 105), (112, 138), (80, 105), (112, 138),
   'knee rest reach belly'),
  ('crouching', 1, (0, 20), (0, 8), (80, 95), (85, 105), (-8, 12), (80, 110), 'knee rest reach'),
  ('bending', 1, (40, 80), (0, 12), (-8, 8), (0, 20), (-8, 8), (0, 20), 'reach hang hip'),
  ('kicking', 1, (-10, 6), (0, 8), (45, 90), (0, 60), (-6, 6), (0, 18), 'bent spread hang'),
  ('lunging', 1, (0, 15), (0, 8), (55, 82), (60, 90), (-35, -15), (15, 55), _ANY),
  ('jumping', 1, (0, 15), (2, 18), (10, 55), (20, 90), (0, 50), (20, 90), 'raise spread reach'),
  ('jumping', 1, (-10, 6), (4, 26), (-12, 10), (5, 30), (-12, 10), (5, 60), 'raise raise spread'),
  ('lying', 1, (-94, -86), (0, 14), (-5, 50), (0, 80), (-5, 10), (0, 20), 'hang belly ground'),
  ('lying', 1, (86, 94), (2, 18), (-8, 5), (0, 40), (-8, 5), (0, 20), 'ground ground hang'),
  ('lying', 1, (-8, 8), (0, 8), (10, 60), (20, 90), (0, 45), (10, 80), 'reach rest hang'),
  # Pairs; see PAIRS.
  ('interacting', 1, (0, 8), (0, 6), (-4, 8), (0, 8), (-4, 6), (0, 8), 'hug'),
  ('interacting', 1, (-3, 5), (0, 8), (-4, 8), (0, 8), (-4, 6), (0, 8), 'hang bent/over'),
  ('interacting', 1, (0, 10), (0, 8), (0, 22), (4, 25), (-10, 4), (0, 10), 'hang bent to/to'),
  ('interacting', 1, (-3, 6), (0, 8), (-4, 12), (0, 20), (-4, 6), (0, 8), 'bent hip belly face'),
]
# Of the four kinds of pairs above: distance in mm, where the second stands seen from the first
# (degrees from straight ahead to the left), how much the second is turned, limits of a shift.
PAIRS = np.array([(270, 0, 180, 8), (430, 90, 0, 12), (850, 0, 180, 15), (620, 60, 200, 30)],
                 np.float64)
# Middle angles that a posture leaves free.
_FREE = {'pelvis_roll': (-4, 4), 'chest_pitch': (-5, 14), 'chest_yaw': (-14, 14),
         'chest_roll': (-7, 7), 'head_pitch': (-16, 18), 'head_yaw': (-45, 45),
         'head_roll': (-9, 9), 'hip_rotation': (-4, 16)}
# Movement: activity, odds, its mean, and three directions of one standard deviation.
_MOVING = ('pelvis_pitch', 'pelvis_roll', 'chest_yaw') + ANGLES[len(_MIDDLE):]
_MOVEMENTS = [
  ('walking', 3, [
    [-2, -1, 0, 9, -1, 0, 31, -11, 5, -2, 32, 9, -4, -2, 33, -12, 6, -2, 33],
    [0, -3, 3, 16, 4, -1, 7, -7, -2, -5, -6, -16, -4, 1, -7, 6, 3, 5, 6],
    [-1, 0, -1, -7, -1, -2, -11, 0, 1, 2, 1, -5, -2, -2, -14, -1, 2, 3, 0],
    [1, -1, -1, 0, 3, 0, 11, 1, 2, 5, 7, 3, -2, 0, -9, -4, 0, -2, -2]]),
  ('dancing', 2, [
    [2, 0, 5, 25, 3, 2, 48, 16, 10, 9, 101, 23, 2, 4, 47, 16, 10, 5, 94],
    [0, 0, 0, 0, 0, 0, 0, -15, 0, -19, -4, -2, -1, 0, -2, -31, -6, -22, -4],
    [0, 1, -5, -2, -1, 1, -3, 28, 1, 19, -5, 2, 2, -2, 1, -18, -2, -8, 3],
    [0, 0, 0, -3, -1, 0, -5, 4, -3, -2, -21, -1, 0, 0, -3, 9, -1, -5, -19]]),
  ('dancing', 1, [
    [5, 1, -5, 14, 4, 4, 44, 32, 29, 13, 38, 30, 4, -1, 47, 21, 34, -2, 34],
    [-2, -3, 4, 2, -2, 3, 3, -58, -5, -42, -3, -8, -7, 2, 0, -50, -5, -25, -5],
    [2, 0, 3, 5, 0, -2, 2, -21, 0, -28, -2, -5, 0, 4, 2, 39, -7, 21, 3],
    [1, -2, 3, 6, -4, 0, 4, -18, -10, 23, 14, 6, -4, 5, 4, -10, -11, 24, 18]]),
  ('climbing', 2, [
    [12, -3, 3, 42, 9, 0, 51, 8, 12, -2, 66, 39, 0, 0, 45, 16, 17, -8, 68],
    [5, 0, 3, 26, 3, -1, 15, 26, 10, 9, 22, 23, 2, 0, 13, 31, 13, 4, 25],
    [6, -3, 4, 13, 2, -2, 12, -21, 4, -2, -2, 9, -1, 1, 9, -14, 5, -13, 4],
    [4, 1, -6, -9, -3, 3, -9, -2, -5, -4, 15, 8, 1, 1, 11, -7, -6, 2, 6]]),
  ('reaching', 2, [
    [15, 2, 3, 37, 2, 5, 39, 15, 2, 5, 64, 32, 3, 2, 38, 44, 11, 33, 65],
    [-23, -6, -3, -40, 1, -4, -21, 4, 0, -2, -6, -43, -5, -1, -23, -9, -5, -2, 14],
    [-2, -1, 4, 0, -1, -5, -1, 20, 1, 3, -9, -4, -1, 3, -3, 33, -10, 17, -14],
    [0, -1, 3, -3, -1, -3, 0, -23, 3, -10, 0, 0, 0, 2, -2, 18, 14, 8, 12]]),
  ('playing', 2, [
    [10, -2, 3, 47, 16, -3, 63, 13, 11, 8, 78, 43, 13, -1, 63, 10, 23, 6, 86],
    [0, -6, 3, 32, 10, -4, 17, 24, 3, -2, -9, -20, -2, 3, -4, -23, 0, 4, 24],
    [-1, -1, -2, -9, -7, 0, -13, -7, -4, -12, -29, -19, -9, 1, -17, -18, -6, -21, -14],
    [-1, 1, 6, 6, 1, -2, 3, -7, 0, -4, 1, -16, -4, 4, -10, 16, -2, 14, -7]]),
]
ACTIVITIES = tuple(dict.fromkeys(row[0] for row in _POSTURES + _MOVEMENTS))


def _ranges(lean, apart, *legs):
  """(24,2) lowest and highest angle of a posture; its arms come from a style."""
  row = {name: _FREE.get(name.split('_', 1)[-1], _FREE.get(name, (0, 0))) for name in ANGLES}
  row['pelvis_pitch'] = lean
  for side, thigh, knee in (('left', *legs[:2]), ('right', *legs[2:])):
    row |= {f'{side}_hip_abduction': apart, f'{side}_hip_flexion': thigh, f'{side}_knee': knee}
  return [row[name] for name in ANGLES]


def _arm_tables():
  """(S,2,M) numbers of the arm styles to draw from, of each posture's leading and other arm."""
  names = list(_ARMS)
  out = np.zeros((len(STYLES), 2, 12), np.int64)
  for i, (*_, styles) in enumerate(_POSTURES):
    other, _, leading = styles.partition('/')
    for side, of_side in ((0, leading or other), (1, other)):
      out[i, side] = np.resize([names.index(style) for style in of_side.split()], 12)
  return out


STYLES = tuple(row[0] for row in _POSTURES + _MOVEMENTS)  # the activity of each style
_ODDS = np.array([row[1] for row in _POSTURES + _MOVEMENTS], np.float64)
FIRST_PAIR, _FIRST_MOVEMENT = STYLES.index('interacting'), len(_POSTURES)
IS_LYING, IS_JUMPING = (np.array(STYLES) == name for name in ('lying', 'jumping'))
_RANGES = np.array([_ranges(*row[2:8]) for row in _POSTURES]
                   + [_ranges(*6 * [(0, 0)])] * len(_MOVEMENTS), np.float64)
_ON_SIDE = np.flatnonzero(IS_LYING)[-1]
_RANGES[_ON_SIDE, ANGLES.index('pelvis_roll')] = (84, 96)
_ARM_RANGES = np.array(list(_ARMS.values()), np.float64)
_ARM_STYLES = _arm_tables()
_IS_HANGING = np.array([name in _HANGING for name in _ARMS])
_GAUSSIANS = np.array([row[2] for row in _MOVEMENTS], np.float64)
_MOVES = np.array([ANGLES.index(name) for name in _MOVING])
_MIRROR = np.array([ANGLES.index(name.replace('left', '?').replace('right', 'left')
                                 .replace('?', 'right')) for name in ANGLES])
_MIRROR_SIGN = np.array([-1 if i < 8 and name.endswith(('yaw', 'roll')) else 1
                         for i, name in enumerate(ANGLES)])
_LEFT = len(_MIDDLE) + np.arange(len(_LIMB))
_HIPS, _SHOULDERS = (np.array([_LEFT[i], _LEFT[i] + len(_LIMB)]) for i in (0, 4))


def draw_styles(rng, count, activities=()):
  """Numbers of styles (P,), of the activities named or of all, and each person's partner (P,).

  Two who do something together are neighbours; the second names the first, all others name -1.
  """
  odds = _ODDS * np.isin(STYLES, activities) if activities else _ODDS
  style = np.searchsorted(np.cumsum(odds), rng.random(count) * odds.sum(), 'right')
  partner = np.full(count, -1)
  for i in range(1, count):
    if pair_of(style[i - 1]) >= 0 and partner[i - 1] < 0:
      style[i], partner[i] = style[i - 1], i - 1
  return style, partner


def pair_of(style):
  """Row of PAIRS of a style, -1 of one that is not for two."""
  pair = style - FIRST_PAIR
  return pair if 0 <= pair < len(PAIRS) else -1


def draw(rng, style, mirror):
  """(P,24) degrees of P people with the given styles; mirror (P,) bool: the right side leads."""
  count = len(style)
  pose = _between(rng, _RANGES[style])
  pick = rng.integers(12, size=(count, 2))
  pick[:, 1] = np.where(rng.random(count) < 0.5, pick[:, 0], pick[:, 1])
  arm = _ARM_STYLES[style[:, None], [0, 1], pick]
  pose[:, _SHOULDERS[:, None] + np.arange(4)] = _between(rng, _ARM_RANGES[arm])
  swing = 0.5 * (pose[:, _HIPS[:1]] - pose[:, _HIPS[1:]]) * (1, -1)
  pose[:, _SHOULDERS] -= np.where(_IS_HANGING[arm], swing, 0)
  upright = np.where(IS_LYING[style], 0, pose[:, 0])
  pose[:, _HIPS] += upright[:, None]  # was the thigh's angle to the vertical
  pose[:, ANGLES.index('head_pitch')] -= 0.4 * upright  # one looks ahead
  moving = np.flatnonzero(style >= _FIRST_MOVEMENT)
  if len(moving):
    mean, *directions = np.moveaxis(_GAUSSIANS[style[moving] - _FIRST_MOVEMENT], 1, 0)
    noise = rng.standard_normal((len(moving), 3, 1)) * 0.9
    pose[moving[:, None], _MOVES] = (mean + (noise * np.stack(directions, 1)).sum(1)
                                     + rng.normal(0, 4, mean.shape))
  pose = np.where(mirror[:, None], pose[:, _MIRROR] * _MIRROR_SIGN, pose)
  return np.clip(pose, *LIMITS.T)


def _between(rng, limits):
  """(...) numbers drawn evenly within (...,2) limits."""
  return limits[..., 0] + rng.random(limits.shape[:-1]) * (limits[..., 1] - limits[..., 0])
