"""The one reader of picture files: the header is looked at before any pixel is decoded."""
import os
import stat

import cv2
import numpy as np

from dslope_jax.errors import UserError, quoted
from input_pipeline.sources import picture_headers

# Exceptions say what is wrong with a file. OpenCV 4 and 5 have the function at different places.
(getattr(cv2, 'setLogLevel', None) or cv2.utils.logging.setLogLevel)(0)
MAX_PIXELS = 2 ** 27  # 134 megapixels: 0.4 GB when decoded
_MAX_BYTES = 2 ** 30  # of a file
_FEW_BITS = 2 ** 12  # what 16-bit pixels reach at least, unless a 12-bit sensor's were stored
# By EXIF orientation, the turn that shows a picture upright; from 5 on it swaps width and height.
_TURNS = {2: lambda image: image[:, ::-1], 3: lambda image: image[::-1, ::-1],
          4: lambda image: image[::-1], 5: lambda image: image.transpose(1, 0, 2),
          6: lambda image: np.rot90(image, -1),
          7: lambda image: np.rot90(image, 2).transpose(1, 0, 2), 8: np.rot90}


def read_picture(path, size=(0, 0), upright=False):
  """(H,W,3) uint8 RGB of a picture file, whatever its pixels are: grey, palette, CMYK, 16 bit.

  size: the (width, height) that its annotation states, (0, 0) if it states none. Pixels are as
  stored, as in COCO, whatever the EXIF orientation says; but where this swaps the sides and the
  annotation states the swapped size, the picture is turned upright. upright: turn it in any case,
  as viewers show it. Transparency is dropped.
  Raises OSError naming the file if it is missing, broken, too large, or of another size; the last
  two are known before it is decoded.
  """
  return decoded(read_file(path), path, size, upright)


def decoded(data, path, size=(0, 0), upright=False):
  """The same of the content of a picture file; path: what messages call it."""
  header = checked_header(path, data, size)
  flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
  if header.bits == 16:
    flags |= cv2.IMREAD_ANYDEPTH
  try:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
  except (cv2.error, MemoryError):
    image = None
  if image is None or image.shape[:2] != (header.height, header.width):
    raise OSError(f'picture {shown(path)} is broken or of an unknown format; save it as JPEG or '
                  'PNG')
  if image.dtype != np.uint8:
    image = _high_bytes(image, path)
  image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
  if upright and header.orientation > 1 or is_turned(header, size):
    image = np.ascontiguousarray(_TURNS[header.orientation](image))
  return image


def shown(path) -> str:
  """A path as messages have it: see `quoted`."""
  return quoted(str(path), 400)


def read_file(path):
  """The bytes of a picture file; OSError if it is none, as a pipe or a device."""
  try:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
      what = 'it is a directory' if stat.S_ISDIR(status.st_mode) else 'it is no regular file'
      raise OSError(0, what)
    if status.st_size > _MAX_BYTES:
      raise OSError(0, f'it holds {status.st_size} bytes, more than {_MAX_BYTES}')
    with open(path, 'rb') as f:
      return f.read()
  except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
    reason = getattr(error, 'strerror', None) or error
    raise OSError(f'picture {shown(path)} cannot be opened ({reason})') from None


def checked_header(path, data, size=(0, 0)) -> picture_headers.Header:
  """The header of a picture that may be decoded; else OSError as for `read_picture`."""
  try:
    header = picture_headers.read(data)
  except UserError as error:
    raise OSError(f'picture {shown(path)} is broken: {error}') from None
  w, h, orientation = header.width, header.height, header.orientation
  if w * h > MAX_PIXELS:
    raise OSError(f'picture {shown(path)} has {w}x{h} pixels, more than {MAX_PIXELS}; store a '
                  'smaller one and scale its annotations')
  if header.bits > 16:
    raise OSError(f'picture {shown(path)} has {header.bits} bits a channel; save it with 8')
  if size[0] and (w, h) != tuple(size) and not is_turned(header, size):
    exif = '' if orientation == 1 else (
      f' (it carries EXIF orientation {orientation}, which is applied where the annotation states '
      'the turned size)')
    raise OSError(f'picture {shown(path)} is {w}x{h}, its annotation says {size[0]}x{size[1]}'
                  f'{exif}; get the picture that was annotated, or mend width and height')
  return header


def is_turned(header, size) -> bool:
  """Whether the annotations of a picture were made on it as its EXIF orientation turns it.

  Known only where the turn swaps width and height and the annotation states them, as `size`.
  """
  w, h = header.width, header.height
  return header.orientation > 4 and w != h and tuple(size) == (h, w)


def _high_bytes(image, path):
  """uint8 of 16-bit pixels."""
  highest = int(image.max())
  if 0 < highest < _FEW_BITS:
    raise OSError(f'picture {shown(path)} has 16 bits a channel, but no value above {highest}, so '
                  'that it would be black; scale its values and save it with 8 bits')
  return (image >> 8).astype(np.uint8)
