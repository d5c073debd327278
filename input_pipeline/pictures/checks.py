"""What cannot be true of a set of pictures with people in space, named by picture and person."""
import numpy as np

from dslope_jax.errors import UserError, counted, quoted
from dslope_jax.visibility import HIDDEN, VISIBLE

_CODES = 0, HIDDEN, VISIBLE
_NO_CODE = 255
_WIDEST = 2**24  # pixels
# cm: how large people look, by pixels, focal length and depth. A child seen in part is larger than
# the first, half of the people than the second, nobody larger than the third.
_SMALLEST, _SMALL, _LARGEST = 5, 25, 500
_MISSES = 0.05  # of the picture's width: joints in space further than this from those in 2D


def named(where, pictures, visibility, visibilities):
  """UserError unless there are pictures, each once and of some size, all with depth or none, and a
  known kind of labels."""
  if not pictures:
    raise UserError(f'{where} has no pictures')
  names = set()
  for p in pictures:
    if not all(0 < side < _WIDEST for side in p.size):
      raise UserError(f'{where}: {quoted(p.name, 400)} is {p.size[0]} x {p.size[1]} pixels, by its '
                      'annotation; mend width and height')
    if p.name in names:
      raise UserError(f'{where}: {quoted(p.name, 400)} is there twice, and would count twice; take '
                      'one of them out')
    names.add(p.name)
  flat = [p.joints_3d is None for p in pictures]
  if any(flat) and not all(flat):
    raise UserError(f"{where}: '{pictures[flat.index(True)].name}' has no joints in space, and "
                    'other pictures have; make two sets of them')
  if visibility not in visibilities:
    raise UserError(f"{where}: visibility is one of {', '.join(visibilities)}, not "
                    f"{quoted(visibility)}")
  if visibility != 'set' and flat[0]:
    raise UserError(f"{where}: visibility '{visibility}' needs joints in space; take 'set'")


def codes(visibility):
  """(N,15) uint8 of codes of visibility, another number for what is none."""
  return np.where(np.isin(visibility, _CODES), visibility, _NO_CODE).astype(np.uint8)


def at_least(where, least, **options):
  """UserError for an option of a loader below a number."""
  for name, value in options.items():
    if value < least:
      raise UserError(f'{where}: {name} is {value}, must be {least} or more')


def values(where, found, unknown) -> list[str]:
  """Lines about people whose depths are odd. unknown: (R,) bool, pictures whose camera is a guess.

  Raises UserError with the first entry that is no number, behind the camera, or of no code, and
  where most people's depths are in another unit.
  """
  owner = np.repeat(np.arange(len(found)), np.diff(found.people))

  def refuse(wrong, text):
    """wrong: (M,) or (M,15) bool."""
    if not wrong.any():
      return
    person, *joint = np.argwhere(wrong)[0].tolist()
    row = owner[person]
    joint = f', {found.skeleton.names[joint[0]]}' if joint else ''
    raise UserError(f"{where}: {quoted(str(found.file[row]), 400)}, person "
                    f'{person - found.people[row]}{joint}: {text}')

  wrong = ~(np.isfinite(found.camera).all(1) & (found.camera[:, :2] > 0).all(1))
  if wrong.any():
    row = int(wrong.argmax())
    raise UserError(f"{where}: {quoted(str(found.file[row]), 400)}: its camera is "
                    f'{found.camera[row].tolist()}, not fx, fy above 0, cx, cy; leave out what is '
                    'unknown')
  refuse(~np.isin(found.visibility, _CODES), 'its visibility is not 0, 1 or 2; mend the file')
  labelled = found.visibility > 0
  refuse(~np.isfinite(found.joints_2d).all(-1) & labelled,
         'its place is no finite number; mend it, or say v = 0')
  if found.joints_3d is None:
    return []
  refuse(~np.isfinite(found.joints_3d).all(-1), 'its place in space is no finite number; mend the '
         'file, or leave the person out')
  refuse((found.joints_3d[..., 2] <= 0) & labelled, 'it is behind the camera (Z <= 0); Z is '
         'forward in the frame of the camera')
  known = labelled & ~unknown[owner, None]
  return _sizes(where, found, owner, labelled) + _misses(found, owner, known)


def _sizes(where, found, owner, labelled):
  """Lines about people who are too large or too small; UserError if most are."""
  told = np.flatnonzero(labelled.sum(1) >= 3)
  if not len(told):
    return []
  seen, points = labelled[told, :, None], found.joints_2d[told]
  side = np.linalg.norm(np.where(seen, points, -np.inf).max(1) - np.where(seen, points, np.inf)
                        .min(1), axis=-1)
  depth = np.nanmedian(np.where(seen[..., 0], found.joints_3d[told, :, 2], np.nan), 1)
  size = side * depth / found.camera[owner[told], :2].mean(1)
  odd = np.flatnonzero((size < _SMALLEST) | (size > _LARGEST))
  if not len(odd) and np.median(size) < _SMALL:
    return [f'half of the people would be {np.median(size):.3g} cm large or less, by pixels, focal '
            'length and depth; check that their depths are cm']
  if not len(odd):
    return []
  first = owner[told[odd[0]]]
  text = (f'{counted(len(odd), "person")} of {len(told)} would be {size[odd[0]]:.3g} cm large, by '
          f"pixels, focal length and depth (first in {quoted(str(found.file[first]), 400)})")
  if 2 * len(odd) <= len(told):
    return [f'{text}; check their depths']
  unit = 'mm' if np.median(size) > _LARGEST else 'm'
  raise UserError(f'{where}: {text}; depths look like {unit}, and must be cm')


def _misses(found, owner, labelled):
  """A line about cameras that do not see joints in space where those of the picture are."""
  person, joint = np.nonzero(labelled)
  places, camera = found.joints_3d[person, joint], found.camera[owner[person]]
  seen = places[:, :2] / places[:, 2:] * camera[:, :2] + camera[:, 2:]
  away = np.linalg.norm(seen - found.joints_2d[person, joint], axis=-1)
  far = away > _MISSES * found.size[owner[person], 0]
  if not 2 * far.sum() > len(far):
    return []
  return [f'the camera sees most joints in space elsewhere than in the picture (median '
          f'{np.median(away):.0f} pixels); check camera, order of joints and unit']
