"""Training sets as insightface packs them: NAME.rec and NAME.idx in a folder.

A .rec is MXNet's RecordIO, plain bytes: records of a mark, a length and the content, which begins
with a header (flag, label, id, id2) and `flag` more labels; the rest is a picture file. The record
of key 0 has two labels: first and last (not counted) key of the identities, each a record whose two
labels are first and last key of its pictures.
"""
import functools
import os
import struct

import numpy as np

from dslope_jax.errors import UserError
from input_pipeline.identities import identity_set
from input_pipeline.identities.identity_set import NO_VIDEO, Identities
from input_pipeline.sources import pictures

_MARK = struct.pack('<I', 0xced7230a)
_HEADER = struct.Struct('<IfQQ')  # flag, label, id, id2
_LENGTH = 2 ** 29 - 1  # bits of the length; above them is which part of a record it is
_WHOLE, _FIRST, _LAST = 0, 1, 3
_MOST = 2 ** 28  # bytes of a record
_LABELS = 64  # of a record, at most


def load(split, *, root, records='{split}', held_out=0, seed=0) -> Identities:
  """The pictures of a packed set; an identity's name is its label, a whole number.

  records: name of the .rec and .idx below root, '{split}' in it is replaced. held_out: so many
  identities, drawn by seed, are 'val', the others 'train', of one file (records='train'); 0: all.
  A face fills its picture: those of 112x112 are crops on the template already. Nothing is executed
  that is in the files; the .bin files of pairs beside them are pickles and are refused.

  Raises UserError, one line naming the file, the record and the mend.
  """
  path = os.path.join(root, records.replace('{split}', split))
  if not os.path.isfile(f'{path}.rec') and os.path.isfile(f'{path}.bin'):
    identity_set.refuse_pickle(f'{path}.bin')
  keys, places = read_index(f'{path}.idx')
  try:
    with open(f'{path}.rec', 'rb') as file:
      chosen, labels = _labels(file, keys, places)
  except OSError as error:
    raise UserError(f"cannot read '{path}.rec' ({error.strerror or error}); get the file again, "
                    'or name another one by data.loader.records') from None
  # Names in the order of the labels, which are numbers.
  found, identity = np.unique(labels, return_inverse=True)
  return identity_set.divided(Identities(
    os.path.basename(os.path.normpath(root)), split, tuple(map(str, found.tolist())),
    identity.astype(np.int32), _Named(os.path.basename(path), keys[chosen]), keys[chosen],
    functools.partial(_read, f'{path}.rec', places[chosen]), np.full(len(chosen), NO_VIDEO),
    folder=root), held_out, seed)


class _Named:
  """What messages call the pictures of these keys: millions of texts would fill the memory."""

  def __init__(self, name, keys):
    self.name, self.keys = name, keys

  def __len__(self):
    return len(self.keys)

  def __getitem__(self, row):
    keys = self.keys[row]
    if np.ndim(keys):
      return _Named(self.name, keys)
    return f'{self.name}.rec, record {keys}'


def read_index(path):
  """((R,) keys, (R,) places in bytes) of an .idx file, by key. Raises UserError."""
  try:
    with open(path, 'rb') as file:
      numbers = np.array(file.read().split()).astype(np.int64).reshape(-1, 2)
  except OSError as error:
    raise UserError(f"cannot read '{path}' ({error.strerror}); a packed set is NAME.rec and "
                    'NAME.idx; name it by data.loader.records') from None
  except (ValueError, OverflowError):
    raise UserError(f"'{path}' is not a list of keys and places, two whole numbers a line; get the "
                    'file again') from None
  order = np.argsort(numbers[:, 0], kind='stable')
  keys, places = numbers[order].T
  if not len(keys) or (np.diff(keys) == 0).any() or places.min() < 0:
    raise UserError(f"'{path}' has no keys, a key twice or a place below 0; get the file again")
  return keys, places


def _labels(file, keys, places):
  """((N,) numbers of the records that are pictures, (N,) int64 labels)."""
  header = lambda number: _header(file, int(places[number]), int(keys[number]))
  first = header(0)
  if keys[0] or not len(first[1]):  # without records of identities every record is a picture
    return np.arange(len(keys)), np.array([_label(header(i), keys[i]) for i in range(len(keys))])
  chosen, labels, of = [], [], {}
  for person in range(*_numbers(keys, *_span(first, keys[0]))):
    rows = np.arange(*_numbers(keys, *_span(header(person), keys[person])))
    if len(rows):
      first, last = (_label(header(row), keys[row]) for row in rows[[0, -1]].tolist())
      if first != last:
        raise OSError(0, f'records {keys[rows[0]]} to {keys[rows[-1]]} should be of one identity, '
                      f'and have the labels {first} and {last}')
      if of.setdefault(first, person) != person:
        raise OSError(0, f'records {keys[of[first]]} and {keys[person]} are two identities of one '
                      f'label, {first}')
      chosen.append(rows)
      labels.append(np.full(len(rows), first))
  if not chosen:
    raise OSError(0, 'it has no pictures by its record 0')
  return np.concatenate(chosen), np.concatenate(labels)


def _numbers(keys, first, last):
  """Numbers of the first record with these keys, and behind the last one."""
  numbers = np.searchsorted(keys, (first, last)).tolist()
  if numbers[1] - numbers[0] != last - first:
    raise OSError(0, f'the index lacks some of the records {first} to {last - 1}')
  return numbers


def _span(header, key):
  if len(header[1]) < 2 or not 0 <= header[1][0] <= header[1][1] < 2 ** 53:
    raise OSError(0, f'record {key} does not say which keys are its own')
  return [int(label) for label in header[1][:2]]


def _label(header, key):
  """The identity of the header of a picture, a whole number."""
  label = header[1][0] if len(header[1]) else header[0]
  if not 0 <= label < 2 ** 31 or label != int(label):
    raise OSError(0, f'record {key} has the label {label}, not the number of an identity')
  return int(label)


def _header(file, place, key):
  """(label, further labels) at the beginning of a record."""
  file.seek(place)
  content = file.read(8 + _HEADER.size + 4 * _LABELS)
  if len(content) < 8 + _HEADER.size or content[:4] != _MARK:
    raise OSError(0, f'record {key} is damaged: there is no mark of a record at byte {place}')
  return _parsed(content[8:], key)[:2]


def _parsed(content, key):
  """(label, further labels, what follows) of a record."""
  if len(content) < _HEADER.size:
    raise OSError(0, f'record {key} is damaged: it is too short')
  flag, label = _HEADER.unpack_from(content)[:2]
  end = _HEADER.size + 4 * flag
  if flag > _LABELS or end > len(content):
    raise OSError(0, f'record {key} is damaged: it states {flag} labels')
  return label, np.frombuffer(content, '<f4', flag, _HEADER.size), content[end:]


def read_record(path, place, key=0) -> bytes:
  """The content of the record at this place of a .rec file; OSError naming it if it is damaged.

  A record whose content has the mark in it was written in parts, between which the mark belongs.
  """
  parts = []
  with open(path, 'rb') as file:
    file.seek(place)
    while True:
      head = file.read(8)
      mark, length = head[:4], int.from_bytes(head[4:], 'little')
      part, length = length >> 29, length & _LENGTH
      content = file.read(length) if length <= _MOST else b''
      if mark != _MARK or len(head) < 8 or len(content) < length or (part in (_WHOLE, _FIRST)) == (
          len(parts) > 0):
        raise OSError(f"'{path}': record {key} is damaged; get the file again")
      parts.append(content)
      if part in (_WHOLE, _LAST):
        return _MARK.join(parts)
      file.seek(-length % 4, os.SEEK_CUR)


def _read(path, places, row):
  place = int(places[row])
  name = f'{path} at byte {place}'
  try:
    content = _parsed(read_record(path, place, f'at byte {place}'), f'at byte {place}')[2]
  except OSError as error:
    raise OSError(f'{path}: {error.strerror or error}') from None
  return pictures.decoded(content, name)
