"""What the header of a picture file states, read without decoding it."""
import io
import re
import struct
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image

from dslope_jax.errors import UserError

_MAX_SCANS = 200  # of a progressive JPEG; encoders write about 10, and each costs a pass
_ORIENTATION, _WIDTH, _HEIGHT, _BITS = 0x112, 256, 257, 258  # TIFF and EXIF tags


class Header(NamedTuple):
  """Width and height as stored; bits of a channel; EXIF orientation, 1 (upright) to 8."""
  width: int
  height: int
  bits: int = 8
  orientation: int = 1


def read(data: bytes) -> Header:
  """The header of the content of a picture file.

  Raises UserError with the reason if it is cut, broken or of another format than JPEG, PNG, WebP,
  GIF, BMP, TIFF, PNM, JPEG 2000 and AVIF.
  """
  reader = next((reader for sign, reader in _READERS if sign(data)), _others)
  try:
    header = reader(data)
  except UserError:
    raise
  except (LookupError, ValueError, struct.error):
    raise UserError('its header is cut or damaged') from None
  if header.width < 1 or header.height < 1:
    raise UserError('it states no size')
  return header if 1 <= header.orientation <= 8 else header._replace(orientation=1)


def _jpeg(data):
  """Walks from marker to marker up to the end of the picture.

  What is before the first scan may hold a thumbnail, what is behind the end a film or another
  picture. OpenCV would fill what a cut file lacks with grey.
  """
  place, frame, orientation = 2, None, 1
  while True:
    marker, length, place = _jpeg_segment(data, place)
    body, place = place + 4, place + 2 + length
    if marker == 0xE1 and data.startswith(b'Exif\0\0', body):
      orientation = _orientation(data[body + 6:place])
    elif marker == 0xDA and frame:
      break
    elif 0xD8 <= marker <= 0xDA:
      raise UserError('the JPEG file holds no picture')
    elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
      frame = marker, *struct.unpack_from('>BHHB', data, body)
  kind, bits, height, width, channels = frame
  # With one scan, as usual, an end marker among the last bytes is that of the picture.
  tail = max(place, len(data) - 1024)
  if (kind > 0xC1 or data[body] < channels or data.find(b'\xff\xd9', tail) < 0
      or data.find(b'\xff\xda', tail) > 0):
    _check_scans(data, place)
  return Header(width, height, bits, orientation)


def _jpeg_segment(data, place):
  """(marker, length, where its last 0xff is) of the segment that begins there."""
  first, marker, length = struct.unpack_from('>BBH', data, place)
  if first != 0xFF:
    raise UserError('the JPEG file has no marker where one must be')
  if marker == 0xFF:  # bytes that fill
    place = re.compile(rb'\xff+').match(data, place).end() - 1
    _, marker, length = struct.unpack_from('>BBH', data, place)
  return marker, length, place


def _check_scans(data, place):
  """UserError unless scans and tables from `place` on lead to an end marker."""
  values = np.frombuffer(data, np.uint8)
  places = place + np.flatnonzero(values[place:-1] == 0xFF)
  codes = values[places + 1]
  is_marker = (codes != 0) & (codes != 0xFF) & ((codes < 0xD0) | (codes > 0xD7))
  places, codes, i, scans = places[is_marker], codes[is_marker], 0, 1
  while i < len(places):
    if codes[i] == 0xD9:
      return
    scans += int(codes[i] == 0xDA)
    if scans > _MAX_SCANS:
      raise UserError(f'the JPEG file has more than {_MAX_SCANS} scans')
    _, length, at = _jpeg_segment(data, int(places[i]))
    i = int(np.searchsorted(places, at + 2 + length))
  raise UserError('the JPEG file ends too early')


def _png(data):
  width, height, bits = struct.unpack_from('>IIB', data, 16)
  place, orientation = 33, 1
  while place + 8 <= len(data):
    length, kind = struct.unpack_from('>I4s', data, place)
    if kind == b'eXIf':
      orientation = _orientation(data[place + 8:place + 8 + length])
    if kind in (b'eXIf', b'IDAT', b'IEND'):
      break
    place += 12 + length
  return Header(width, height, max(bits, 8), orientation)


def _webp(data):
  kind, b = data[12:16], data[20:30]
  if kind == b'VP8X':
    return Header(1 + int.from_bytes(b[4:7], 'little'), 1 + int.from_bytes(b[7:10], 'little'),
                  orientation=_webp_orientation(data) if b[0] & 8 else 1)
  if kind == b'VP8L':
    sides = int.from_bytes(b[1:5], 'little')
    return Header(1 + (sides & 0x3FFF), 1 + (sides >> 14 & 0x3FFF))
  width, height = struct.unpack('<HH', b[6:10])
  return Header(width & 0x3FFF, height & 0x3FFF)


def _webp_orientation(data):
  place = 12
  while place + 8 <= len(data):
    kind, length = struct.unpack_from('<4sI', data, place)
    if kind == b'EXIF':
      return _orientation(data[place + 8:place + 8 + length])
    place += 8 + length + length % 2
  return 1


def _gif(data):
  return Header(*struct.unpack_from('<HH', data, 6))


def _bmp(data):
  old = int.from_bytes(data[14:18], 'little') == 12
  width, height = struct.unpack_from('<HH' if old else '<ii', data, 18)
  return Header(abs(width), abs(height))


def _pnm(data):
  kind, *numbers = re.sub(rb'#[^\n]*\n', b' ', data[:4096]).split(maxsplit=4)
  deep = kind not in (b'P1', b'P4') and int(numbers[2]) > 255
  return Header(int(numbers[0]), int(numbers[1]), 16 if deep else 8)


def _tiff(data):
  """As it is decoded: OpenCV always turns TIFF pictures upright."""
  tags = _tags(data)
  size = (_HEIGHT, _WIDTH) if 5 <= tags.get(_ORIENTATION, 1) <= 8 else (_WIDTH, _HEIGHT)
  return Header(tags[size[0]], tags[size[1]], max(tags.get(_BITS, 1), 8))


def _orientation(exif):
  """1 where there is none, or the block is damaged."""
  try:
    return _tags(exif[6:] if exif[:6] == b'Exif\0\0' else exif).get(_ORIENTATION, 1)
  except (LookupError, ValueError, struct.error):
    return 1


def _tags(data):
  """{tag: its first number} of the first directory of a TIFF or EXIF block."""
  order = {b'II': '<', b'MM': '>'}[data[:2]]

  def number(form, place):
    return struct.unpack_from(order + form, data, place)[0]

  is_big = number('H', 2) == 43  # BigTIFF
  count_form, offset_form, entry = ('Q', 'Q', 20) if is_big else ('H', 'I', 12)
  place = number(offset_form, 8 if is_big else 4)
  count, place, tags = number(count_form, place), place + (8 if is_big else 2), {}
  for at in range(place, place + entry * min(count, 1000), entry):
    tag, kind = number('H', at), number('H', at + 2)
    if tag in (_ORIENTATION, _WIDTH, _HEIGHT, _BITS):
      form = {1: 'B', 3: 'H', 4: 'I', 16: 'Q'}[kind]
      values, where = number('Q' if is_big else 'I', at + 4), at + (12 if is_big else 8)
      if values * struct.calcsize(form) > (8 if is_big else 4):  # the value is elsewhere
        where = number(offset_form, where)
      tags[tag] = number(form, where)
  return tags


def _others(data):
  """JPEG 2000 and AVIF, whose headers Pillow reads."""
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore', Image.DecompressionBombWarning)
      with Image.open(io.BytesIO(data), formats=('JPEG2000', 'AVIF')) as picture:
        return Header(*picture.size)
  except Exception:  # Pillow raises all kinds
    raise UserError('its format is not known; save it as JPEG or PNG') from None


_READERS = [(re.compile(sign, re.DOTALL).match, reader) for sign, reader in (
  (rb'\xff\xd8\xff', _jpeg), (rb'\x89PNG\r\n\x1a\n', _png), (rb'RIFF....WEBPVP8', _webp),
  (rb'GIF8[79]a', _gif), (rb'BM', _bmp), (rb'II[*+]\0|MM\0[*+]', _tiff), (rb'P[1-6]\s', _pnm))]
