"""PyTorch's files without PyTorch: a reader of pickles that calls nothing finds the tensors.

Two formats: a zip archive with `data.pkl` and a file for each storage (since PyTorch 1.6), and
pickles in a row with the storages behind them (before).
"""
import contextlib
import math
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dslope_jax import plain_pickle
from dslope_jax.errors import UserError, quoted
from dslope_jax.files import first_line, mapped
from dslope_jax.plain_pickle import BROKEN, BROKEN_ZIP, Placeholder

_MAGIC = 0x1950a86a20f9469cfc6c  # the first pickle of the older format
_MAX_PICKLE = 2**29  # bytes of all but the storages
_DTYPES = {
  'Float': 'f4', 'Double': 'f8', 'Half': 'f2', 'BFloat16': 'u2', 'Long': 'i8', 'Int': 'i4',
  'Short': 'i2', 'Char': 'i1', 'Byte': 'u1', 'Bool': '?', 'ComplexFloat': 'c8',
  'ComplexDouble': 'c16'}


class Storage(NamedTuple):
  """Numbers in a row. kind: of _DTYPES, or another name. start: of a view of it."""
  key: str
  kind: str
  start: int
  read: Callable  # function of the storage: its bytes, and '<' or '>'


class Tensor(NamedTuple):
  """A tensor that is not read yet; lengths and strides in numbers, not bytes."""
  storage: Storage
  offset: int
  shape: tuple
  stride: tuple

  @property
  def nbytes(self) -> int:
    return math.prod(self.shape) * np.dtype(_DTYPES.get(self.storage.kind, 'f8')).itemsize

  def array(self) -> np.ndarray:
    """Its numbers; bfloat16 becomes float32. Raises ValueError where they are not all there."""
    kind = self.storage.kind
    if kind not in _DTYPES:
      raise ValueError(f'numbers of the kind {quoted(kind)} are not read')
    data, order = self.storage.read(self.storage)
    if self.nbytes > max(len(data), 2**20):
      raise ValueError(f'{len(data)} bytes stand for {self.nbytes}')
    dtype = np.dtype(order + _DTYPES[kind])
    array = np.ndarray(self.shape, dtype, data, (self.storage.start + self.offset) * dtype.itemsize,
                       [s * dtype.itemsize for s in self.stride])
    if kind == 'BFloat16':  # the upper half of a float32
      return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(dtype.newbyteorder('='), copy=False)


@contextlib.contextmanager
def opened(path, is_zip: bool):
  """What torch.save wrote, with a `Tensor` in place of each tensor, to be read while it is open.

  Objects of other classes are `Placeholder`s. Raises OSError or UserError.
  """
  try:
    with (_opened_zip if is_zip else _opened_rows)(path) as tree:
      yield tree
  except UserError:
    raise
  except (*BROKEN, *BROKEN_ZIP) as error:
    raise UserError(f"'{path}' is not a readable PyTorch file ({first_line(error)}); get it "
                    'again') from None


@contextlib.contextmanager
def _opened_zip(path):
  with zipfile.ZipFile(path) as archive:
    entries = {entry.filename: entry for entry in archive.infolist()}
    pickled = next((n for n in entries if n == 'data.pkl' or n.endswith('/data.pkl')), None)
    folder = pickled.removesuffix('data.pkl') if pickled else ''
    if pickled is None or folder + 'constants.pkl' in entries:
      first = min(entries, default='nothing')
      what = 'a TorchScript program' if pickled else f'an archive of {quoted(first)}'
      raise UserError(f"'{path}' is {what}, not a file of torch.save; unpack it, or save the "
                      'state_dict')
    if any(entry.compress_type for entry in entries.values()):
      raise ValueError('its entries are compressed')
    if entries[pickled].file_size > _MAX_PICKLE:
      raise ValueError('most of it are no tensors')
    order = folder + 'byteorder'
    order = '>' if order in entries and archive.read(order) == b'big' else '<'
    last = {}

    def read(storage):
      if storage.key not in last:  # those that share one come in a row
        last.clear()
        last[storage.key] = archive.read(f'{folder}data/{storage.key}')
      return last[storage.key], order

    yield _load(archive.read(pickled), path, read)


@contextlib.contextmanager
def _opened_rows(path):
  with mapped(path) as file:
    if _load(file, path) != _MAGIC:
      raise UserError(f"'{path}' is a pickle, but not one of torch.save; weight files are those of "
                      'PyTorch and of safetensors')
    _load(file, path)  # the version
    system, kinds, places = _load(file, path), {}, {}
    order = '<' if isinstance(system, dict) and system.get('little_endian', True) else '>'

    def read(storage):
      begin, end = places[storage.key]
      return file[begin:end], order

    tree = _load(file, path, read, kinds)
    for key in _load(file, path):
      count = int.from_bytes(file.read(8), 'little' if order == '<' else 'big')
      begin = file.tell()
      end = begin + count * np.dtype(_DTYPES.get(kinds[str(key)], 'u1')).itemsize
      if end > len(file):
        raise ValueError('it is cut short')
      places[str(key)] = begin, end
      file.seek(end)
    yield tree


def _load(data, path, read=None, kinds=None):
  """The next pickle; kinds: filled with {key: kind} of its storages."""
  def persistent(saved):
    what, *rest = saved
    if what == 'module':  # a class, with its source
      return rest[0]
    kind, key, _, _, *view = rest
    if not isinstance(key, (str, int)):
      raise TypeError('a storage without a name')
    kind = _name(kind).rpartition('.')[2].removesuffix('Storage')
    if kinds is not None:
      kinds[str(key)] = kind
    start = view[0][1] if view and view[0] else 0
    return Storage(str(key), kind, start, read)

  return plain_pickle.loads(data, f"'{path}'", strict=False, calls=_CALLS, persistent=persistent)


def _name(value):
  if not isinstance(value, Placeholder):
    raise TypeError('a class that is none')
  return value.name


def _tensor(storage, offset, shape, stride, *_):
  if not isinstance(storage, Storage) or not isinstance(shape, tuple) or len(shape) > 32:
    raise TypeError('a tensor without a storage or shape')
  numbers = (storage.start, offset, *shape, *stride)
  if any(type(n) is not int or not 0 <= n < 2**48 for n in numbers):
    raise ValueError('a tensor of a broken shape')
  return Tensor(storage, offset, shape, tuple(stride))


def _tensor_of_dtype(storage, offset, shape, stride, grad, hooks, dtype, *_):
  """Of a dtype that has no storage class."""
  return _tensor(storage._replace(kind=_name(dtype)), offset, shape, stride)


def _tensor_of_class(function, kind, arguments, state):
  return _CALLS.get(_name(function), lambda *_: function)(*arguments)


_CALLS = {
  'torch._utils._rebuild_tensor': _tensor, 'torch._utils._rebuild_tensor_v2': _tensor,
  'torch._utils._rebuild_tensor_v3': _tensor_of_dtype,
  'torch._utils._rebuild_parameter': lambda data, *_: data,
  'torch._utils._rebuild_parameter_with_state': lambda data, *_: data,
  'torch._tensor._rebuild_from_type_v2': _tensor_of_class}
