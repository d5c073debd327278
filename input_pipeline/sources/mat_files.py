"""Variables of MATLAB files, whose unpacked size is known before memory is given to it."""
import io
import struct
import zlib

import numpy as np
import scipy.io

from dslope_jax.errors import UserError
from input_pipeline.sources.pictures import read_file

_MAX_BYTES = 2 ** 28  # unpacked; MPII's head boxes and LSP's joints take less than a megabyte
_COMPRESSED = 15  # type of an element, in files of version 5


def read_variable(path, name) -> np.ndarray:
  """The variable of that name; raises UserError naming the file where there is none."""
  try:
    data = read_file(path)
    _check_size(data)
    return np.asarray(scipy.io.loadmat(io.BytesIO(data), variable_names=[name])[name])
  except Exception as error:  # scipy raises all kinds for a broken file
    raise UserError(f'{path}: not a mat file with {name!r} ({type(error).__name__}: {error}); get '
                    'the file again') from None


def _check_size(data):
  """ValueError for compressed elements that unpack to more than the limit; keeps none of them."""
  order = '>' if data[126:128] == b'MI' else '<'
  place, total = 128, 0
  while place + 8 <= len(data):
    kind, length = struct.unpack_from(order + 'II', data, place)
    if kind == _COMPRESSED:
      total += _unpacked_size(data[place + 8:place + 8 + length], _MAX_BYTES - total)
    if total > _MAX_BYTES:
      raise ValueError(f'it unpacks to more than {_MAX_BYTES} bytes')
    place += 8 + length


def _unpacked_size(packed, limit):
  stream, size = zlib.decompressobj(), 0
  while packed and size <= limit:
    part = stream.decompress(packed, 2 ** 20)
    size, packed = size + len(part), stream.unconsumed_tail
  return size
