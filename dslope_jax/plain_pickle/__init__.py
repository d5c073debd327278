"""Reads pickled data that somebody else wrote, without running anything that is in them.

A pickle is a program for a small stack machine, and some of its instructions call whatever function
they name. `loads` is such a machine that calls nothing: it makes containers, numbers, texts and
NumPy arrays itself, and knows any other class by its name only.
"""
import io
import warnings
import zipfile
import zlib
from collections.abc import Callable

import numpy as np

from dslope_jax.errors import UserError, quoted
from dslope_jax.files import check_file, first_line, mapped
from dslope_jax.plain_pickle.machine import CALLS, Machine, Placeholder, Refused

__all__ = ['BROKEN', 'BROKEN_ZIP', 'Placeholder', 'load', 'load_npz', 'loads']

MAX_UNPACKED = 16 * 2**30
# What a file that is cut or forged makes its reader stumble over.
BROKEN = (ArithmeticError, EOFError, LookupError, TypeError, ValueError)
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError, OSError, RuntimeError)


def load(path):
  """The content of a pickle file, protocols 0 to 5: containers, numbers, texts, NumPy arrays.

  Texts of Python 2 are read as Latin-1. Raises OSError, or UserError where the file is broken or
  holds anything else.
  """
  with mapped(path) as file:
    return loads(file, f"'{path}'")


def loads(data, where: str, *, strict=True, calls: dict[str, Callable] | None = None,
          persistent: Callable | None = None):
  """The content of one pickle: bytes, or a map of memory, which is left behind the pickle.

  where: the file, for messages. strict: refuse what is no plain data; else it becomes a
  `Placeholder`. calls: {'module.name': function}, which build objects beside the plain ones.
  persistent: function of a persistent id. Raises UserError.
  """
  file = io.BytesIO(data) if isinstance(data, bytes) else data
  size = len(data)
  machine = Machine(file, size, strict, CALLS | (calls or {}), persistent)
  try:
    with warnings.catch_warnings():  # of odd escapes
      warnings.simplefilter('ignore')
      return machine.run()
  except UserError:
    raise
  except Refused as refused:
    raise UserError(f'{where} holds {quoted(str(refused))}, which is no plain data; making it '
                    'could run code, so it is refused') from None
  except BROKEN as error:
    raise UserError(f'{where} is not a readable pickle ({first_line(error)}); get it '
                    'again') from None


def load_npz(path) -> dict:
  """{name: array} of a .npz file; arrays of objects may hold what `load` reads.

  Raises OSError or UserError.
  """
  check_file(path)
  try:
    with zipfile.ZipFile(path) as archive:
      entries = archive.infolist()
      if sum(entry.file_size for entry in entries) > MAX_UNPACKED:
        raise UserError(f"'{path}' unpacks to more than {MAX_UNPACKED >> 30} GiB; it is refused")
      return {entry.filename.removesuffix('.npy'):
              _read_npy(archive.read(entry), f"'{path}': {quoted(entry.filename)}")
              for entry in entries}
  except UserError:
    raise
  except (*BROKEN, *BROKEN_ZIP) as error:
    raise UserError(f"'{path}' is not a readable .npz file ({first_line(error)}); get it "
                    'again') from None


def _read_npy(data, where):
  file, read = io.BytesIO(data), np.lib.format
  version = read.read_magic(file)
  header = (read.read_array_header_1_0 if version == (1, 0) else read.read_array_header_2_0)(file)
  shape, fortran, dtype = header
  content = data[file.tell():]
  if dtype.hasobject:
    value = loads(content, where)
    if not isinstance(value, np.ndarray):
      raise ValueError('no array in it')
    return value
  return np.frombuffer(content, dtype).reshape(shape, order='F' if fortran else 'C')
