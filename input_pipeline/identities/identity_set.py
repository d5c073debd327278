"""The one form in which faces of known people enter: a picture a row, in columns."""
import dataclasses
import functools
import hashlib
import os
import unicodedata
import weakref
import zlib
from collections.abc import Callable

import numpy as np

from dslope_jax.errors import UserError, quoted
from dslope_jax.skeletons import Skeleton
from input_pipeline import workers

NO_VIDEO = -1
_PICKLES = '.bin', '.pkl', '.pickle'


@dataclasses.dataclass(frozen=True)
class Identities:
  """N pictures of faces, one row each, of I identities. Pixels are those of the picture.

  A set is a function `load(split, **options) -> Identities` of a file
  `input_pipeline/identities/<name>.py`.

  name, split: for messages and stamps. names: (I,) of the identities.
  identity: (N,) int32, number among the names.
  file: (N,) str, of a picture, below the folder.
  key: (N,) int64, of a picture, whatever else is in the set: what hides it in an evaluation depends
    on it.
  read: row -> (H,W,3) uint8 RGB; raises OSError if it cannot be read.
  video: (N,) int64, equal for frames of one video; -1 where a picture is of none.
  Columns that are None where a set has no such thing:
  box: (N,4) float32 x, y, width, height of the face; without it the face fills its picture.
  landmarks: (N,K,2) float32 and visibility: (N,K) uint8 of them, see docs/visibility.md.
  skeleton: what the landmarks are; None of five in the order of `face_alignment.TEMPLATE`.
  pairs: (M,3) int64 rows a, b and whether they are one person, as the set's own protocol has them;
    folds: (M,) int64 of these pairs.
  folder: of the pictures, where they are files. notes: lines to be told once.
  """
  name: str
  split: str
  names: tuple[str, ...]
  identity: np.ndarray
  file: np.ndarray
  key: np.ndarray
  read: Callable[[int], np.ndarray]
  video: np.ndarray
  box: np.ndarray | None = None
  landmarks: np.ndarray | None = None
  visibility: np.ndarray | None = None
  skeleton: Skeleton | None = None
  pairs: np.ndarray | None = None
  folds: np.ndarray | None = None
  folder: str = ''
  notes: tuple[str, ...] = ()

  def __len__(self):
    return len(self.identity)

  def __reduce__(self):
    return self._packed

  @functools.cached_property
  def _packed(self):
    values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
    function, arguments, close = workers.pack(values)
    weakref.finalize(self, close)
    return _from_fields, (function, arguments)

  @functools.cached_property
  def digest(self) -> str:
    """Short hash of who is in the set, and where the faces are: equal on every machine."""
    found = hashlib.sha256('\n'.join(self.names).encode('utf-8', 'surrogateescape'))
    for column in (self.identity, self.key, self.video, self.box, self.landmarks, self.visibility,
                   self.pairs, self.folds):
      found.update(b'' if column is None else np.ascontiguousarray(column).tobytes())
    return found.hexdigest()[:12]

  def path(self, row: int) -> str:
    """What messages call the picture of a row."""
    return os.path.join(self.folder, str(self.file[row]))

  def subset(self, rows) -> 'Identities':
    """The pictures of these rows, in this order; identities are numbered anew, pairs are left
    out."""
    rows = np.asarray(rows, np.int64)
    kept, numbers = np.unique(self.identity[rows], return_inverse=True)
    of = lambda column: None if column is None else column[rows]
    return dataclasses.replace(
      self, names=tuple(self.names[i] for i in kept.tolist()), identity=numbers.astype(np.int32),
      file=self.file[rows], key=self.key[rows], read=functools.partial(_of_row, self.read, rows),
      video=self.video[rows], box=of(self.box), landmarks=of(self.landmarks),
      visibility=of(self.visibility), pairs=None, folds=None)


def _from_fields(function, arguments):
  return Identities(**function(*arguments))


def _of_row(read, rows, row):
  return read(int(rows[row]))


def key(text: str) -> int:
  """The key of a picture that is known by a text, such as its path below the root."""
  return zlib.crc32(text.encode('utf-8', 'surrogateescape'))


def numbered(named) -> tuple[tuple, np.ndarray]:
  """(names in order, (N,) int32 numbers among them) of N names."""
  names, numbers = np.unique(np.asarray(named), return_inverse=True)
  return tuple(names.tolist()), numbers.astype(np.int32)


def divided(people: Identities, held_out: int, seed: int) -> Identities:
  """The identities of the split among those of 'train' and 'val', which share none.

  held_out: how many identities, drawn by seed, are 'val'; the others are 'train'; 0: all are of the
  split, whatever its name is. Raises UserError for another split, or too many identities.
  """
  if not held_out:
    return people
  count = len(people.names)
  if people.split not in ('train', 'val'):
    raise UserError(f'{people.name} is divided into the splits train and val, and there is no '
                    f"'{people.split}'; take one of these")
  if count < 2:
    raise UserError(f'{people.name} has 1 identity, and cannot be divided into train and val; get '
                    'pictures of others')
  if not 0 < held_out < count:
    raise UserError(f'data.loader: held_out is {held_out}, but {people.name} has {count} '
                    f'identities; hold out 1 to {count - 1} of them')
  # By name, so that a picture more or less changes nothing.
  order = np.random.default_rng([seed, 0x1DE]).permutation(count)
  chosen = np.isin(people.identity, order[:held_out]) == (people.split == 'val')
  found = people.subset(np.flatnonzero(chosen))
  note = f'{len(found.names)} of {count} identities, which are divided into train and val'
  return dataclasses.replace(found, notes=(*found.notes, note))


def refuse_pickle(path: str):
  """Raises UserError for a file that only a pickle reader could open."""
  if str(path).lower().endswith(_PICKLES):
    raise UserError(
      f"'{path}' is a pickle, which can run code when it is opened, and is not read; convert it: "
      'where you trust it, write its pictures to FOLDER/PERSON/PERSON_0001.jpg and its pairs to '
      'FOLDER/pairs.txt as LFW has them, and pass --config.data.name=lfw --config.data.root=FOLDER')


def checked(people: Identities) -> Identities:
  """The same, with notes of what is odd; UserError for what nothing can be made of."""
  where, count = f'{people.name} {people.split}', len(people)
  if not count:
    raise UserError(f'{where} has no pictures')
  repeated = _first_repeated(people.names)
  if repeated is not None:
    raise UserError(f'{where} has two identities of the name {quoted(repeated)}; name them apart')
  _check_columns(people, where)
  notes = [*_alike(people.names), *_alone(people)]
  return dataclasses.replace(people, notes=(*people.notes, *notes))


def _first_repeated(names):
  seen = set()
  return next((name for name in names if name in seen or seen.add(name)), None)


def _check_columns(people, where):
  """Raises UserError for a column of another length or with numbers that are not finite."""
  count = len(people)
  for field in ('file', 'key', 'video', 'box', 'landmarks', 'visibility'):
    column = getattr(people, field)
    if column is not None and len(column) != count:
      raise UserError(f'{where} has {count} pictures, but {len(column)} entries of {field}')
  for field in ('box', 'landmarks'):
    column = getattr(people, field)
    if column is not None and not np.isfinite(column).all():
      row = int(np.argwhere(~np.isfinite(column))[0, 0])
      raise UserError(f"{where}: {field} of '{people.file[row]}' is not finite; mend it, or leave "
                      'the picture out')
  if people.pairs is not None:
    a, b, same = people.pairs.T
    wrong = np.flatnonzero((people.identity[a] == people.identity[b]) != same)
    if len(wrong):
      first = wrong[0]
      raise UserError(f"{where}: pair {first + 1} of '{people.file[a[first]]}' and "
                      f"'{people.file[b[first]]}' is {'' if same[first] else 'not '}of one person "
                      'by its list, and the names of the pictures say otherwise; mend the list')


def _alike(names):
  """A note of identities whose names differ in case or in the form of their letters alone."""
  plain = [unicodedata.normalize('NFKC', name).casefold() for name in names]
  first = _first_repeated(plain)
  if first is None:
    return []
  pair = [name for name, other in zip(names, plain, strict=True) if other == first][:2]
  return [f'{quoted(pair[0])} and {quoted(pair[1])} count as two identities; are they one?']


def _alone(people):
  counts = np.bincount(people.identity, minlength=len(people.names))
  alone = np.flatnonzero(counts == 1)
  if not len(alone):
    return []
  one = len(alone) == 1
  return [f"{len(alone)} identit{'y has' if one else 'ies have'} a single picture, such as "
          f'{quoted(people.names[alone[0]])}: kept in training, and never a genuine pair']
