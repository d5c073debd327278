"""Files that commands write for a user: nothing that is there is lost, and every error tells the
mend."""
import contextlib
import errno
import fcntl
import glob
import json
import os
import shutil
import stat

import cv2

from dslope_jax.errors import UserError
from input_pipeline.sources.pictures import shown

UNFINISHED = '.unfinished-'  # begins the name of the folder of what is not whole yet


def check_outputs(paths, inputs):
  """UserError if a file to be written is one of the inputs, paths too, or a folder."""
  known = set()
  for path in inputs:
    with contextlib.suppress(OSError):  # a camera, or a file that will be named as missing
      status = os.stat(path)
      known.add((status.st_dev, status.st_ino))
  for path in paths:
    try:
      status = os.stat(path)
    except OSError:  # there is nothing to lose
      continue
    if stat.S_ISDIR(status.st_mode):
      raise UserError(f'{shown(path)} is a folder, but a file of that name is to be written; move '
                      'it, or choose another --out')
    if (status.st_dev, status.st_ino) in known:
      raise UserError(f'{shown(path)} is one of the inputs, and would be replaced by what is '
                      'written about it; choose another --out, or leave it out of the inputs')


def lock(folder):
  """Locks the folder against a second run until what is returned is closed, and removes what a run
  that was killed left there."""
  held = os.open(folder, os.O_RDONLY)
  try:
    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    os.close(held)
    raise UserError(f'another run is writing to {shown(folder)}; stop it, or choose another '
                    '--out') from None
  except OSError:  # a file system without locks; every run has its own folder of parts
    return held
  for left in glob.glob(os.path.join(glob.escape(folder), UNFINISHED + '*')):
    shutil.rmtree(left, ignore_errors=True)
  return held


@contextlib.contextmanager
def told(path):
  """Within it, errors of the disk name the file and the mend."""
  try:
    yield
  except OSError as error:
    mend = '; make room there, get the right to write there, or choose another --out'
    if error.errno == errno.ENAMETOOLONG:
      mend = '; give the input a shorter name'
    raise OSError(f'cannot write {shown(path)} ({error.strerror or error})'
                  + mend * bool(error.errno)) from None


class JsonList:
  """A list that is written to an open file entry by entry, one a line; `end` closes it."""

  def __init__(self, file):
    self._file, self._before = file, '[\n'

  def add(self, entry):
    self._file.write(self._before + json.dumps(entry, allow_nan=False))
    self._before = ',\n'

  def end(self):
    self._file.write('[]\n' if self._before == '[\n' else '\n]\n')


def jpeg(picture):
  """The bytes of an RGB picture as JPEG; OSError if that cannot be."""
  try:
    ok, content = cv2.imencode('.jpg', picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
  except cv2.error:
    ok = False
  if not ok:
    raise OSError(0, f'JPEG cannot hold {picture.shape[1]}x{picture.shape[0]} pixels')
  return content
