"""Hands arrays to the data workers without a copy in each."""
import os
import tempfile

import cloudpickle
import numpy as np

_ALIGNED = 64  # bytes


def pack(value):
  """(function, arguments) that make a copy of `value` in another process, for `__reduce__`.

  All its arrays, wherever they are in it, go to one file without a name, which every worker maps:
  the arguments stay small. Copies can be made until the third of what is returned is called. The
  file is gone with the last process that uses it, however that ends.
  """
  arrays = []
  content = cloudpickle.dumps(value, protocol=5, buffer_callback=arrays.append)
  file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller keeps it
  places = []
  for array in arrays:
    file.seek(-file.tell() % _ALIGNED, os.SEEK_CUR)
    places.append((file.tell(), array.raw().nbytes))
    file.write(array.raw())
  file.flush()
  # Other processes of the same user can open it by the number that it has in this one.
  path = f'/proc/{os.getpid()}/fd/{file.fileno()}'
  if not places or not os.path.exists(path):  # not on Linux: every worker gets a copy
    file.close()
    return cloudpickle.loads, (cloudpickle.dumps(value),), file.close
  return _unpack, (content, path, places), file.close


def _unpack(content, path, places):
  whole = np.asarray(np.memmap(path, np.uint8, 'r'))
  return cloudpickle.loads(content, buffers=[whole[start:start + size] for start, size in places])
