"""Writes PyTorch's files without PyTorch, in the form of torch.save, hostile ones included."""
import collections
import io
import pickle
import zipfile
from typing import Any, NamedTuple

import numpy as np

KINDS = {'f4': 'Float', 'f8': 'Double', 'f2': 'Half', 'i8': 'Long', 'i4': 'Int', 'i2': 'Short',
         'i1': 'Char', 'u1': 'Byte', 'b1': 'Bool', 'c8': 'ComplexFloat', 'c16': 'ComplexDouble'}


class Named:
  """A class or function of a program that is not installed here."""

  def __init__(self, name):
    self.name = name

  def __call__(self):
    raise AssertionError('never called')


class Made(NamedTuple):
  """An object of another program: function(*arguments), then its state and items."""
  function: str
  arguments: tuple = ()
  state: Any = None
  items: tuple = ()
  pairs: tuple = ()


class Storage:
  """The numbers behind tensors. kind: of PyTorch's storage classes."""

  def __init__(self, array, kind=None):
    self.array = np.ascontiguousarray(array)
    self.kind = kind or KINDS[self.array.dtype.str[1:]]


def tensor(array, *, storage=None, offset=0, shape=None, stride=None, kind=None):
  """As `_rebuild_tensor_v2` gets it; by default the array's own shape in C order."""
  array = np.asarray(array)
  shape = array.shape if shape is None else shape
  if stride is None:
    stride = tuple(s // array.itemsize for s in array.copy(order='C').strides)
  return Made('torch._utils._rebuild_tensor_v2', (
    storage or Storage(array.ravel(), kind), offset, shape, stride, False,
    collections.OrderedDict()))


def parameter(array):
  return Made('torch._utils._rebuild_parameter', (tensor(array), True, collections.OrderedDict()))


class _Pickler(pickle._Pickler):
  """Names classes without looking whether they exist."""

  def __init__(self, file, legacy):
    super().__init__(file, 2)
    self.legacy, self.storages = legacy, {}

  def persistent_id(self, obj):
    if not isinstance(obj, Storage):
      return None
    key = next((k for k, s in self.storages.items() if s is obj), str(len(self.storages)))
    self.storages[key] = obj
    saved = ('storage', Named(f'torch.{obj.kind}Storage'), key, 'cpu', obj.array.size)
    return (*saved, None) if self.legacy else saved

  def reducer_override(self, obj):
    if isinstance(obj, Named):
      return obj.name
    if isinstance(obj, Made):
      return (Named(obj.function), obj.arguments, obj.state, iter(obj.items) if obj.items else None,
              iter(obj.pairs) if obj.pairs else None)
    return NotImplemented

  def save_global(self, obj, name=None):
    name = name if isinstance(obj, Named) else f'{obj.__module__}.{name or obj.__qualname__}'
    self.write(b'c' + '\n'.join(name.rsplit('.', 1)).encode() + b'\n')
    self.memoize(obj)


def _pickled(tree, legacy=False):
  file = io.BytesIO()
  pickler = _Pickler(file, legacy)
  pickler.dump(tree)
  return file.getvalue(), pickler.storages


def zipped(tree, byteorder='little', **more) -> bytes:
  """The zip format. byteorder: None for files of PyTorch before 2.1. more: entries to replace."""
  data, storages = _pickled(tree)
  swap = byteorder == 'big'
  entries = {'data.pkl': data, 'version': b'3\n', '.data/serialization_id': b'0' * 40} | {
    f'data/{k}': (s.array.byteswap() if swap else s.array).tobytes() for k, s in storages.items()}
  if byteorder:
    entries['byteorder'] = byteorder.encode()
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w') as archive:
    for name, content in (entries | more).items():
      archive.writestr(zipfile.ZipInfo(f'archive/{name}'), content)
  return file.getvalue()


def in_rows(tree) -> bytes:
  """The format before PyTorch 1.6, in which HRNet was published."""
  data, storages = _pickled(tree, legacy=True)
  system = dict(protocol_version=1001, little_endian=True,
                type_sizes=dict(short=2, int=4, long=4))
  head = [pickle.dumps(value, 2) for value in (0x1950a86a20f9469cfc6c, 1001, system)]
  return b''.join([*head, data, pickle.dumps(sorted(storages), 2)] + [
    storages[k].array.size.to_bytes(8, 'little') + storages[k].array.tobytes()
    for k in sorted(storages)])
