"""Do boxes and joints look like pixels of their pictures? The same for truth, detections, results.

Everything is counted over a whole set, in arrays; one `Finding` a kind of fault.
"""
from typing import NamedTuple

import numpy as np

from dslope_jax.errors import UserError

_CLOSE = 0.05  # of the picture's side: further than a box or joint reaches over the border
_FAR = 0.25  # of the box's or the picture's side: a joint further out is no joint of it
_MIN_SIDE = 8  # pixels: a smaller box says little of where joints are
_MIN_JOINTS = 3  # that say where a person is
_UNITS = (('shares', 1.5, 2, 'shares of the picture (0 to 1)'),
          ('percent', 100, 200, 'percent of the picture'))
_SCALE = 'multiply {} by the width and height of the picture'  # kind, largest, least picture, words

_ONE = {'people': 'person', 'pictures': 'picture', 'outlines': 'outline', 'have': 'has',
        'are': 'is', 'show': 'shows', 'share': 'shares', 'carry': 'carries'}


class Finding(NamedTuple):
  """One kind of fault of a set.

  kind: a short name, as in docs/data.md. severity: 'error' stops, 'warning' is printed once.
  text: what is seen, one line. count: how many entries are affected; ids: of the first three.
  mend: what the user can do about it.
  """
  kind: str
  severity: str
  text: str
  count: int
  ids: tuple
  mend: str


class ImplausibleError(UserError):
  """A set with errors; `findings` has all of them."""

  def __init__(self, text, findings):
    super().__init__(text)
    self.findings = tuple(findings)


class Table(NamedTuple):
  """N boxes, each with a pose; in pixels of their pictures, if they are what they should be.

  ids: (N,) of the entries. size: (N,2) width, height of the picture, 0 where unknown. box: (N,4) x,
  y, width, height, NaN where there is none. joints: (N,K,2). labelled: (N,K) bool; the numbers of
  other joints mean nothing.
  """
  ids: np.ndarray
  size: np.ndarray
  box: np.ndarray
  joints: np.ndarray
  labelled: np.ndarray


def findings(kind, severity, text, rows, ids, mend) -> list[Finding]:
  """A `Finding` of the entries at `rows`, (M,) numbers or (N,) bool, of ids (N,); [] without any.

  '{}' in the text becomes their number; at its beginning, one of them is written so.
  """
  rows = np.flatnonzero(rows) if rows.dtype == bool else rows
  some = tuple(ids[rows[:3]].tolist())
  if len(rows) == 1 and text.startswith('{} '):
    number, noun, verb, rest = text.split(' ', 3)
    text = f'{number} {_ONE.get(noun, noun)} {_ONE.get(verb, verb)} {rest}'
  return [Finding(kind, severity, text.format(len(rows)), len(rows), some, mend)] * bool(len(rows))


def line(found: Finding, what='annotation') -> str:
  """What is printed of a finding."""
  some = f' ({what} {", ".join(map(str, found.ids))}{" ..." * (found.count > len(found.ids))})'
  return f'{found.text}{some * bool(found.ids)}; {found.mend}'


def refuse(found, where, what='annotation'):
  """Raises ImplausibleError with the first error, if any, and the kinds of the rest."""
  errors = [f for f in found if f.severity == 'error']
  if errors:
    more = f' (and {len(errors) - 1} more: {", ".join(f.kind for f in errors[1:])})'
    raise ImplausibleError(f'{where}: {line(errors[0], what)}{more * (len(errors) > 1)}', errors)


def first_of_equals(images, poses):
  """(M,) rows of the first of every set of equal poses (N,K,2) on one picture, images (N,)."""
  seen = {}
  for row, pose in enumerate(zip(images.tolist(), map(bytes, np.ascontiguousarray(poses)),
                                 strict=True)):
    seen.setdefault(pose, row)
  return np.array(list(seen.values()), np.int64)


def check(table: Table, placed=True) -> list[Finding]:
  """What looks wrong; where the unit or the form of boxes is, the rest is not looked at.

  placed: joints should be where pictures and boxes are; those of a poor network need not.
  """
  with np.errstate(invalid='ignore', over='ignore'):
    places = _places(table)
    found = _units(table, places) + _corners(table, places) + _centres(table, places)
    if not placed or any(f.severity == 'error' for f in found):
      return found
    return found + _outside_pictures(table, places) + _outside_boxes(table, places) + _points(
      table, places)


class _Places(NamedTuple):
  """has_box, has_pose (N,) bool: whether there is enough to tell. low, high: (N,2) extent of the
  labelled joints, inf and -inf where there are none."""
  has_box: np.ndarray
  has_pose: np.ndarray
  low: np.ndarray
  high: np.ndarray


def _places(table):
  labelled = table.labelled[..., None]
  return _Places(
    np.isfinite(table.box).all(1),
    table.labelled.sum(1) >= min(_MIN_JOINTS, max(1, table.labelled.shape[1])),
    np.where(labelled, table.joints, np.inf).min(1, initial=np.inf),
    np.where(labelled, table.joints, -np.inf).max(1, initial=-np.inf))


def _severity(rows, among, least=1):
  return 'error' if rows.sum() >= least and 2 * rows.sum() > among.sum() else 'warning'


def _units(t, at):
  """Boxes and joints that are no pixels."""
  found, room = [], t.size.min(1)
  for kind, largest, least, words in _UNITS:
    large = (room >= least) | ((room == 0) & (kind == 'shares'))
    told, poses = at.has_box & large, at.has_pose & large
    rows = told & (np.abs(t.box) <= largest).all(1)
    low = poses & (at.high <= largest).all(1) & (at.low >= -largest).all(1)
    if kind == 'percent':  # numbers below 100 are common; only all of them are telling
      rows &= rows.sum() == max(8, told.sum())
      low &= low.sum() == max(8, poses.sum())
    found += findings(
      f'boxes-are-{kind}', _severity(rows, told), f'{{}} of {told.sum()} boxes look like {words}, '
      'not pixels', rows, t.ids, 'multiply them by the width and height of the picture')
    low &= ~at.has_box | (t.box[:, 2:].max(1) > 2 * largest)
    found += findings(
      f'joints-are-{kind}', _severity(low, poses), f'the joints of {{}} of {poses.sum()} people '
      f'look like {words}, not pixels', low, t.ids,
      'multiply x and y by the width and height of the picture')
    if found:
      break  # shares are also below 100
  return found


def _corners(t, at):
  """Boxes that fit better as x1, y1, x2, y2."""
  x, y, a, b = t.box.T
  low, side, beyond = t.box[:, :2], t.box[:, 2:], (1 + _CLOSE) * t.size
  known, opposite = (t.size > 0).all(1), (side > low).all(1)
  # Near the origin both readings are nearly one, and it matters little which is right.
  told = at.has_box & (at.has_pose | known) & ~(opposite & (a * b < 1.25 * (a - x) * (b - y)))
  out = known & (low + side > beyond).any(1) & (side <= beyond).all(1)
  fits = _holds(at, low, side) & (_overlap(at, low, side) > 1.15 * _overlap(at, low, low + side))
  votes = told & opposite & (out | fits)
  most = votes.sum() > 1 and 2 * votes.sum() > told.sum()
  return findings(
    'boxes-are-corners', 'error' if most else 'warning', f'{{}} of {told.sum()} boxes leave their '
    'picture or joints as x, y, width, height and fit them as corners x1, y1, x2, y2',
    votes if most else votes & out & fits, t.ids, 'write width and height as bbox[2:]')


def _centres(t, at):
  """Boxes that fit better as centre x, y, width, height."""
  low, side = t.box[:, :2], t.box[:, 2:]
  told = at.has_box & at.has_pose
  votes = told & _holds(at, low - side / 2, low + side / 2) & (
    _overlap(at, low - side / 2, low + side / 2) > 1.5 * _overlap(at, low, low + side))
  most = votes.sum() > 2 and 2 * votes.sum() > told.sum()
  return findings(
    'boxes-are-centres', 'error', f'{{}} of {told.sum()} boxes fit their joints as centre x, y, '
    'width, height, not as corner x, y, width, height', votes & most, t.ids,
    'subtract half of the width from x and half of the height from y')


def _holds(at, low, high):
  """(N,) whether boxes hold all labelled joints."""
  slack = _CLOSE * (high - low)
  return (at.low >= low - slack).all(1) & (at.high <= high + slack).all(1)


def _overlap(at, low, high):
  """(N,) intersection over union of boxes with the extents of joints; 0 without."""
  one, other = (np.clip(sides, 0, None).prod(1) for sides in (high - low, at.high - at.low))
  both = np.clip(np.minimum(high, at.high) - np.maximum(low, at.low), 0, None).prod(1)
  return np.where(both > 0, both / (one + other - both), 0)


def _outside_pictures(t, at):
  known = (t.size > 0).all(1)
  low, high = t.box[:, :2], t.box[:, :2] + t.box[:, 2:]
  leaves = (low < -_FAR * t.size) | (high > (1 + _FAR) * t.size)
  leaves = known & at.has_box & (leaves | (t.box[:, 2:] > (1 + _CLOSE) * t.size)).any(1)
  turned = leaves & (high <= (1 + _CLOSE) * t.size[:, ::-1]).all(1)
  hint = (' (with width and height of the picture exchanged they fit)'
          if 2 * turned.sum() > leaves.sum() else '')
  reach = t.size[:, None]
  far, out = (t.labelled & ((t.joints < -share * reach) | (t.joints > (1 + share) * reach)).any(2)
              for share in (_FAR, _CLOSE))
  told = known & t.labelled.any(1)
  most = told & (2 * out.sum(1) > t.labelled.sum(1))
  return findings(
    'boxes-leave-pictures', 'warning', f'{{}} of {(known & at.has_box).sum()} boxes reach far out '
    f'of their picture or are larger{hint}', leaves, t.ids,
    'check the boxes, and the width and height of the pictures') + findings(
    'joints-outside-pictures', _severity(most, told, 3), f'{{}} of {told.sum()} people have '
    'labelled joints far outside of their picture', told & far.any(1) | most, t.ids,
    'check the joints, and the width and height of the pictures; what is not in the picture has '
    'v = 0, or v = 3 if its place is known')


def _outside_boxes(t, at):
  told = at.has_box & at.has_pose & (t.box[:, 2:].min(1) >= _MIN_SIDE)
  corner, side = t.box[:, None, :2], t.box[:, None, 2:]
  inside = ((t.joints >= corner - _FAR * side) & (t.joints <= corner + (1 + _FAR) * side)).all(2)
  rows = told & (2 * (inside & t.labelled).sum(1) < t.labelled.sum(1))
  return findings(
    'joints-outside-boxes', _severity(rows, told, 3), f'{{}} of {told.sum()} people have most of '
    'their joints outside of their box', rows, t.ids,
    'check that joints and boxes are in pixels of one picture, x before y, and of one person')


def _points(t, at):
  rows = at.has_pose & (at.high == at.low).all(1) & (t.labelled.sum(1) > 1)
  return findings('joints-at-one-point', 'warning', '{} people have all their joints at one point',
                  rows, t.ids, 'mark them as not labelled (v = 0)')
