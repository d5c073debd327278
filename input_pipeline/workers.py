"""Hands arrays to the data workers without a copy in each."""
import dataclasses
import functools
import io
import os
import tempfile
import weakref

import cloudpickle
import numpy as np

_ALIGNED = 64  # bytes


class Local(list):
  """A large list of which `pack` sends nothing: data workers do not need its items."""


class Shared:
  """A data class whose copy in a data worker shares the memory of its arrays. Fields that
  `stays_behind` names are None there."""
  stays_behind = ()

  def __reduce__(self):
    return self._packed

  @functools.cached_property
  def _packed(self):
    values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
    function, arguments, close = pack(values | dict.fromkeys(self.stays_behind))
    weakref.finalize(self, close)
    return _from_fields, (type(self), function, arguments)


def _from_fields(kind, function, arguments):
  return kind(**function(*arguments))


class _Absent:

  def __getitem__(self, row):
    raise RuntimeError('annotations stay in the process that read them')


class _Pickler(cloudpickle.Pickler):

  def reducer_override(self, value):
    return (_Absent, ()) if isinstance(value, Local) else super().reducer_override(value)


def pack(value):
  """(function, arguments) that make a copy of `value` in another process, for `__reduce__`.

  All its arrays, wherever they are in it, go to one file in memory, which every worker maps: the
  arguments stay small. Copies can be made until the third of what is returned is called. The file
  is gone with the last process that uses it, however that ends.
  """
  arrays, content = [], io.BytesIO()
  _Pickler(content, protocol=5, buffer_callback=arrays.append).dump(value)
  file, places = _file(), []
  for array in arrays:
    file.seek(-file.tell() % _ALIGNED, os.SEEK_CUR)
    places.append((file.tell(), array.raw().nbytes))
    file.write(array.raw())
  file.flush()
  # Other processes of the same user can open it by the number that it has in this one.
  path = f'/proc/{os.getpid()}/fd/{file.fileno()}'
  if places and os.path.exists(path):
    return _unpack, (content.getvalue(), path, places), file.close
  # Not on Linux: every worker gets a copy.
  buffers = [bytearray(array.raw()) for array in arrays]
  return _load, (content.getvalue(), buffers), file.close


def _file():
  if hasattr(os, 'memfd_create'):
    return open(os.memfd_create('columns'), 'wb')
  return tempfile.TemporaryFile()


def _unpack(content, path, places):
  whole = np.asarray(np.memmap(path, np.uint8, 'r'))
  return _load(content, [whole[start:start + size] for start, size in places])


def _load(content, buffers):
  return cloudpickle.loads(content, buffers=buffers)
