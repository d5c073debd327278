"""The one reader and writer of our own JSON and npz files: what they hold is checked, not believed.

Forms of JSON are types as msgspec takes them, such as a TypedDict; those of npz files are tables of
`Column`. A dict, or an npz file, of which the form may change carries a `version`.
"""
import contextlib
import io
import os
import stat
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np

from dslope_jax.errors import UserError, quoted
from dslope_jax.files import first_line, leads_out

_MAX_BYTES = 2**32  # of a file, unpacked
_READ_BY_PEOPLE = 2**14  # bytes of JSON; longer files are for programs, and stay in one line
_READABLE = {'f': 'decimal numbers', 'i': 'whole numbers', 'iu': 'whole numbers',
             'u': 'whole numbers from 0', 'b': 'yes or no', 'U': 'texts', 'biuf': 'numbers'}


class Column(NamedTuple):
  """What an array of an npz file must be.

  kinds: kinds of its dtype, letters of `_READABLE`. shape: numbers, and letters that stand for the
  same number in all columns of the file. finite: whether NaN is refused. needed: whether it must be
  there. values: (array) -> (...) bool, which of them can be; for ranges.
  """
  kinds: str
  shape: tuple = ('N',)
  finite: bool = True
  needed: bool = True
  values: Callable | None = None


def read_json(path, form: Any, mend: str, version: int | str = 1):
  """The content of a JSON file. mend: what the user can do if it is not there, or broken.

  Raises FileNotFoundError, OSError or UserError: one line with the file, the field and the mend.
  """
  value = _read(path, mend, msgspec.json.decode)
  check(value, form, path, mend, version)
  return value


def check(value, form: Any, path, mend: str, version: int | str = 1):
  """Raises as `read_json` unless a value that was read from a file has this form."""
  with told(path, mend):
    if isinstance(value, dict):
      _check_version(value.get('version', 1), version)
    msgspec.convert(value, form)


def write_json(path, value):
  """Whole or not at all: a reader never sees half a file. NaN and infinities become null."""
  content = _encoded(value)
  if len(content) < _READ_BY_PEOPLE:
    content = msgspec.json.format(content, indent=1)
  _write(path, content)


def as_json(value):
  """A value as it comes back from JSON: lists for tuples, texts for keys."""
  return msgspec.json.decode(_encoded(value))


def checksum(value) -> int:
  """Of a value as JSON; the order of keys does not matter."""
  return zlib.crc32(msgspec.json.encode(as_json(value), order='sorted'))


def read_lines(path, form: Any) -> list:
  """The lines of a file of JSON lines; those that a kill cut off, or that have another form, are
  left out. [] without the file."""
  if not os.path.exists(path):
    return []
  found = []
  for line in _read(path, 'remove it', bytes.splitlines):
    with contextlib.suppress(ValueError, RecursionError):
      value = msgspec.json.decode(line)
      msgspec.convert(value, form)
      found.append(value)
  return found


def write_lines(path, values):
  """Whole or not at all."""
  _write(path, b''.join(_encoded(value) + b'\n' for value in values))


def append_line(path, value):
  """Adds a line to a file of JSON lines."""
  with open(path, 'ab') as f:
    f.write(_encoded(value) + b'\n')


def read_npz(path, form, mend: str, version: int = 0) -> dict[str, np.ndarray]:
  """The arrays of an npz file. form: {name: Column}, or a function of the arrays that gives it.

  version: that must stand in the file; 0 for a file without. Errors as `read_json`.
  """
  arrays = _read(path, mend, _arrays)
  with told(path, mend):
    if version:
      found = arrays.pop('version', np.zeros(0))
      _check_version(found.item() if found.shape == () else None, version)
    check_columns(arrays, form(arrays) if callable(form) else form)
  return arrays


def write_npz(path, arrays: dict, form: dict | None = None, version: int = 0, compressed=False):
  """Whole or not at all. form: what `read_npz` will ask for; else UserError."""
  with told(path, 'its data cannot be stored so'):
    check_columns(arrays, form or {})
  content = io.BytesIO()
  save = np.savez_compressed if compressed else np.savez
  save(content, **arrays, **({'version': version} if version else {}))
  _write(path, content.getvalue())


def check_columns(arrays: dict, form: dict[str, Column]):
  """Raises ValueError that names the array which is not as its `Column` says."""
  sizes = {}
  for name, column in form.items():
    array = arrays.get(name)
    if array is None:
      if column.needed:
        raise ValueError(f"it lacks '{name}'")
      continue
    if array.dtype.kind not in column.kinds:
      raise ValueError(f"'{name}' holds {array.dtype}, not {_READABLE[column.kinds]}")
    wanted = tuple(sizes.get(size, size) for size in column.shape)
    if array.ndim != len(wanted) or any(
        size != found for size, found in zip(wanted, array.shape, strict=True)
        if not isinstance(size, str)):
      raise ValueError(f"'{name}' has shape {array.shape}, not {wanted}".replace("'N'", 'N'))
    sizes |= {size: found for size, found in zip(wanted, array.shape, strict=True)
              if isinstance(size, str)}
    _check_values(name, array, column)


def _check_values(name, array, column):
  if column.finite and array.dtype.kind == 'f' and not np.isfinite(array).all():
    row = np.argwhere(~np.isfinite(array))[0].tolist()
    raise ValueError(f"'{name}' is not finite at {row}")
  if column.values and not (right := column.values(array)).all():
    place = np.argwhere(~right)[0].tolist()
    value = array[tuple(place)].item() if right.shape == array.shape else array[place[0]].tolist()
    raise ValueError(f"'{name}' is {quoted(value, 60)} at {place}")


def inside(folder, name) -> str:
  """The path of a file that is named in another file of the folder; UserError if it leads out."""
  if not isinstance(name, str) or leads_out(name):
    raise UserError(f"'{folder}': the file name {quoted(name)} leads out of the folder; it is not "
                    'read. Get the folder again from where you trust')
  return os.path.join(folder, name)


def crc32_of(path) -> int:
  """Checksum of a file."""
  with open(path, 'rb') as f:
    return zlib.crc32(f.read())


@contextlib.contextmanager
def told(path, mend):
  """Within it, what is wrong with the content of a file becomes one line."""
  try:
    yield
  except Exception as error:  # of msgspec, zipfile, zlib or NumPy, by where the file is broken
    raise UserError(f"'{path}' is broken ({first_line(error)}); {mend}") from None


def _read(path, mend, parse):
  """What `parse` makes of the bytes of an ordinary file."""
  try:
    status = os.stat(path)
    if stat.S_ISREG(status.st_mode) and status.st_size <= _MAX_BYTES:
      with open(path, 'rb') as f:
        content = f.read()  # a bound in place of it would be reserved, however short the file is
  except FileNotFoundError:
    raise FileNotFoundError(f"no file '{path}'; {mend}") from None
  except OSError as error:
    raise OSError(f"cannot read '{path}' ({error.strerror}); {mend}") from None
  except ValueError:
    raise UserError(f'{quoted(path)} is no path; {mend}') from None
  with told(path, mend):
    if not stat.S_ISREG(status.st_mode):
      raise ValueError('it is no ordinary file')
    if status.st_size > _MAX_BYTES:
      raise ValueError(f'it has {status.st_size} bytes, which is too large')
    return parse(content)


def _arrays(content):
  with zipfile.ZipFile(io.BytesIO(content)) as file:
    if sum(member.file_size for member in file.infolist()) > _MAX_BYTES:
      raise ValueError(f'it unpacks to more than {_MAX_BYTES} bytes')
    # Whole members, so that zipfile looks at their checksums.
    return {name.removesuffix('.npy'): np.lib.format.read_array(
      io.BytesIO(file.read(name)), allow_pickle=False) for name in file.namelist()}


def _check_version(found, known):
  if type(found) is not type(known):
    raise ValueError('it has no version')
  if found != known:
    raise ValueError(f'it was written by {"a newer" if found > known else "an older"} version of '
                     f'this program, as version {found}; this one reads {known}')


def _encoded(value) -> bytes:
  return msgspec.json.encode(value, enc_hook=_plain)


def _plain(value):
  if isinstance(value, (np.generic, np.ndarray)):
    return value.tolist()
  raise TypeError(f'{type(value).__name__} is not for JSON')


def _write(path, content):
  part = f'{path}.{os.getpid()}.part'  # another process may write the same file
  with open(part, 'wb') as f:
    f.write(content)
  os.replace(part, path)
