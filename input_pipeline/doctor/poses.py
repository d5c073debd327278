"""What is wrong with the poses of a set, by statistics over all people; no picture is needed.

People bend and turn: a single pose proves little. So a person is named only where no body could be
so, and a whole set where most of its people are odd in the same way.
"""
import numpy as np

from dslope_jax.errors import quoted
from dslope_jax.plausibility import Finding
from input_pipeline.doctor.suspects import Suspects, suspects

_FEW = 20  # people: statistics of fewer say nothing
_TINY = 16  # pixels, the longer side of the extent of the joints
_LONG = 3.5  # times the length that a person's other limbs let expect
_SPREADS = 6  # robust standard deviations of that ratio
_WIDE = 0.35  # of the torso's length: shoulders or hips that wide show their sides


def check(source):
  """All findings of poses of a set of people."""
  if not len(source):
    return []
  labelled = source.labelled
  points = np.where(labelled[..., None], source.keypoints, np.nan).astype(np.float64)
  found = _sizes(source, points) + _copies(source, points) + _places(source, points)
  if len(source) >= _FEW:
    for find in (_never, _limbs, _order, _upright, _sides, _shift):
      found += find(source, points)
  return found


def _sizes(source, points):
  low, high = _ends(points)
  told = np.isfinite(points[..., 0]).sum(1) >= 3
  return suspects(
    'people-tiny', f'the joints of {{}} of {told.sum()} people span less than {_TINY} pixels',
    told & ((high - low).max(1) < _TINY), source, 'leave such people out: their joints cannot be '
    'told apart')


def _never(source, points):
  never = ~np.isfinite(points[..., 0]).any(0)
  if not never.any() or never.all():
    return []
  names, count = [quoted(source.skeleton.names[k]) for k in np.flatnonzero(never)], int(never.sum())
  return [Suspects(Finding(
    'joints-never-labelled', 'warning', f'joints without a label on anybody: {count} of '
    f'{len(never)} ({", ".join(names[:5])}{" ..." * (count > 5)}), so nothing is learnt of them',
    count, (), 'check the order of the keypoints, or remove these from the category'),
    np.zeros(0, np.int64))]


def _copies(source, points):
  """Poses that are on more than one picture, and joints that lie on each other."""
  flat = np.nan_to_num(points, nan=-1e6).round(2)
  told = np.isfinite(points[..., 0]).sum(1) >= 4
  first, seen, again = {}, source.image_id.tolist(), np.zeros(len(points), bool)
  for row in np.flatnonzero(told).tolist():
    of = first.setdefault(flat[row].tobytes(), row)
    again[row] = seen[of] != seen[row]
  equal = np.zeros(len(points), bool)
  pairs = np.array(source.skeleton.flip_pairs or (), int).reshape(-1, 2)
  both = np.isfinite(points[:, pairs, 0]).all(2)
  if len(pairs):
    equal = (points[:, pairs[:, 0]] == points[:, pairs[:, 1]]).all(2) & both
  share = equal.sum() / max(1, both.sum())
  return suspects(
    'poses-twice', '{} people have the very joints of a person of another picture', again, source,
    'a tool that copies labels to the next picture leaves such; annotate them'
  ) + suspects(
    'sides-at-one-point', f'in {{}} people left and right joints are at one point ({share:.0%} of '
    'all pairs)', equal.any(1) if share > 0.05 and equal.sum() > 4 else np.zeros(0, np.int64),
    source, 'label each side, or mark the one that is not known by v = 0')


def _places(source, points):
  """Joints that are always at one place of their picture."""
  found = []
  for k, name in enumerate(source.skeleton.names):
    rows = np.flatnonzero(np.isfinite(points[:, k, 0]))
    if len(rows) < _FEW / 2:
      continue
    places, which, counts = np.unique(points[rows, k].round(1), axis=0, return_inverse=True,
                                      return_counts=True)
    most = counts.argmax()
    if 5 * counts[most] > len(rows):
      x, y = places[most].tolist()
      found += suspects(
        'joint-at-one-place', f'{name} of {{}} of {len(rows)} people is at ({x:g}, {y:g})',
        rows[which.ravel() == most], source, 'a tool writes this where nothing is known; mark it '
        'by v = 0')
  return found


def _limbs(source, points):
  """Limbs that are far too long for the person's other limbs: a joint was misplaced."""
  lengths, _ = _lengths(source, points)
  if lengths is None:
    return []
  with np.errstate(divide='ignore', invalid='ignore'):
    ratio = np.log(lengths / _median(lengths, 0))
  ratio[~np.isfinite(ratio)] = np.nan
  told = np.isfinite(ratio).sum(1) >= 6
  ratio -= _median(ratio, 1)[:, None]
  spread = 1.4826 * _median(np.abs(ratio - _median(ratio, 0)), 0)
  long = (ratio > np.maximum(np.log(_LONG), _SPREADS * spread)) & told[:, None]
  return suspects(
    'limbs-too-long', f'{{}} of {told.sum()} people have a limb that is more than {_LONG} times '
    'as long as their others let expect', long.any(1), source,
    'look at the sheet and place the joint again, or mark it by v = 0')


def _order(source, points):
  """Limbs of a body are short beside the distances of any two of its joints."""
  lengths, told = _lengths(source, points)
  if lengths is None:
    return []
  differences = points[:, :, None] - points[:, None]
  distances = np.hypot(differences[..., 0], differences[..., 1])
  off = ~np.eye(points.shape[1], dtype=bool)
  share = _median(lengths, 1) / _median(distances[:, off], 1)
  odd = told & (share > 0.9)
  return suspects(
    'joints-in-other-order', f'the limbs of {{}} of {told.sum()} people are as long as the '
    'distances of any joints', odd if 2 * odd.sum() > told.sum() else odd & False, source,
    'the joints may not be in the order of the names, or the skeleton may be of another set: look '
    'at the contact sheet; sets whose limbs are as long as any distances also get this')


def _upright(source, points):
  """x and y exchanged, y counted from below: most people would lie, or stand on their heads."""
  top, bottom = (_middle(source, points, names) for names in (
    ('left_shoulder', 'right_shoulder', 'neck', 'thorax'), ('left_hip', 'right_hip', 'pelvis')))
  torso = bottom - top
  told = np.isfinite(torso[:, 0]) & (np.hypot(*torso.T) > 4)
  lies, stands_on_head = (told & test for test in (
    np.abs(torso[:, 0]) > 1.5 * np.abs(torso[:, 1]), -torso[:, 1] > 1.5 * np.abs(torso[:, 0])))
  enough = told.sum() >= _FEW
  return suspects(
    'people-lie', f'{{}} of {told.sum()} people lie on their side',
    lies & (enough and 2 * lies.sum() > told.sum()), source, 'check that x comes before y, and '
    'that pictures are not turned'
  ) + suspects(
    'people-upside-down', f'{{}} of {told.sum()} people have their hips above their shoulders',
    stands_on_head & (enough and 2 * stands_on_head.sum() > told.sum()), source,
    'y counts from the top of the picture; check the order of the joints, too')


def _sides(source, points):
  """Left and right exchanged."""
  sure = np.where((source.visibility == 2)[..., None], points, np.nan)
  eyes, nose = _pair(source, sure, 'eye'), _middle(source, sure, ('nose',))
  top, bottom = (_middle(source, points, (f'left_{part}', f'right_{part}'), every=True)
                 for part in ('shoulder', 'hip'))
  torso = bottom - top
  length = np.hypot(*torso.T)[:, None]
  face = nose - _middle(source, sure, ('left_eye', 'right_eye'), every=True)
  # Seen from the front, left is on the picture's right of what points down.
  frontal_face = _cross(face, eyes)
  pairs = [_pair(source, points, part) for part in ('shoulder', 'hip')]
  shoulders, hips = (_cross(torso / length, pair / length) for pair in pairs)
  told = np.isfinite(frontal_face) & (np.abs(frontal_face) > 0.25 * np.hypot(*eyes.T) ** 2)
  wrong = told & (frontal_face > 0)
  twisted = (np.minimum(np.abs(shoulders), np.abs(hips)) > _WIDE) & (shoulders * hips < 0)
  # A body that is bent, to the side or towards the camera, may look so.
  twisted &= (pairs[0] * pairs[1]).sum(1) < 0
  for pair in pairs:
    twisted &= np.hypot(*pair.T) < length[:, 0]
  opposed = told & (np.abs(shoulders) > _WIDE) & (frontal_face * shoulders < 0) & ~twisted
  most = told.sum() >= _FEW / 2 and 2 * wrong.sum() > told.sum()
  of_face = 'the eyes of {} of ' + f'{told.sum()} faces are on the wrong side of the nose'
  mend = "exchange left and right: they are the person's own, not as seen in the picture"
  return suspects(
    'sides-swapped' if most else 'sides-of-face', of_face, wrong, source, mend,
    severity='error' if most else 'warning'
  ) + suspects(
    'sides-of-body', '{} people show their face but have the left shoulder where the right one is',
    opposed & ~wrong, source, mend
  ) + suspects(
    'sides-cross', '{} people have their shoulders and hips on opposite sides', twisted, source,
    'look at the sheet; exchange left and right of one of them, unless the person is twisted')


def _shift(source, points):
  """Joints that are beside their boxes all in one direction, or fit the box of a neighbour."""
  low, high = _ends(points)
  corner, side = source.box[:, :2].astype(float), source.box[:, 2:].astype(float)
  told = (np.isfinite(points[..., 0]).sum(1) >= 4) & (side.min(1) > 8)
  offset = np.where(told[:, None], ((low + high) / 2 - corner - side / 2) / side, np.nan)
  middle = _median(offset, 0)
  fits = _overlap(low, high, corner, side)
  shifted = told & (np.abs(middle) > 0.2).any() & (told.sum() >= _FEW)
  better = [told & (_overlap(low, high, np.roll(corner, step, 0), np.roll(side, step, 0))
                    > 1.5 * fits + 0.1) for step in (1, -1)]
  other = max(better, key=np.sum)
  return suspects(
    'joints-shifted', '{} people have joints beside the middle of their boxes, by '
    f'{middle[0]:+.0%} of the width and {middle[1]:+.0%} of the height in the median', shifted,
    source, 'check where the coordinates of joints and of boxes begin'
  ) + suspects(
    'joints-of-neighbour', f'the joints of {{}} of {told.sum()} people fit the box of the person '
    'listed before or after them', other & (2 * other.sum() > told.sum()), source,
    'the lists of joints and boxes are off by one')


# ---- geometry; NaN stands for what is not labelled

def _lengths(source, points):
  """(N,M) lengths of limbs and (N,) bool, who has four; None if the skeleton has few."""
  limbs = np.array(source.skeleton.limbs, int).reshape(-1, 2)
  if len(limbs) < 5:
    return None, None
  steps = points[:, limbs[:, 0]] - points[:, limbs[:, 1]]
  lengths = np.hypot(steps[..., 0], steps[..., 1])
  return lengths, np.isfinite(lengths).sum(1) >= 4


def _median(values, axis):
  """nanmedian; NaN without a warning where there is nothing."""
  has = np.isfinite(values).any(axis, keepdims=True)
  return np.where(has.squeeze(axis), np.nanmedian(np.where(has, values, 0), axis), np.nan)


def _ends(points):
  """Two (N,2), lowest and highest x, y, NaN for people without joints."""
  known = np.isfinite(points)
  low, high = np.where(known, points, np.inf).min(1), np.where(known, points, -np.inf).max(1)
  return tuple(np.where(np.isfinite(ends), ends, np.nan) for ends in (low, high))


def _middle(source, points, names, every=False):
  """(N,2) mean of the joints of these names that are labelled; every: NaN if one is not."""
  joints = [k for k in map(source.skeleton.index, names) if k is not None]
  if not joints or (every and len(joints) < len(names)):
    return np.full((len(points), 2), np.nan)
  known = np.isfinite(points[:, joints, 0]).sum(1)
  enough = known == len(joints) if every else known > 0
  total = np.nansum(points[:, joints], 1)
  return np.where(enough[:, None], total / np.maximum(known, 1)[:, None], np.nan)


def _pair(source, points, part):
  """(N,2) from the right to the left joint of a part."""
  left, right = (source.skeleton.index(f'{side}_{part}') for side in ('left', 'right'))
  if left is None or right is None:
    return np.full((len(points), 2), np.nan)
  return points[:, left] - points[:, right]


def _cross(a, b):
  return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _overlap(low, high, corner, side):
  """(N,) intersection over union of extents with boxes."""
  both = np.clip(np.minimum(high, corner + side) - np.maximum(low, corner), 0, None).prod(1)
  return both / ((high - low).prod(1) + side.prod(1) - both)
