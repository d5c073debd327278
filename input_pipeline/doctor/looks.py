"""What every picture of a set looks like, in columns, and what is wrong with pictures."""
import functools
import os
import zlib
from typing import NamedTuple

import cv2
import numpy as np

from dslope_jax.errors import one_line
from input_pipeline import stream
from input_pipeline.doctor.suspects import suspects
from input_pipeline.sources import pictures

_REASON = 600  # bytes
_FLAT = 2.0  # standard deviation of grey values, of 255: below, a picture shows nothing
_DARK = 32  # of 255: a picture of which 99 % is darker shows next to nothing
_COLOURLESS = 4  # largest difference of channels that JPEG makes of a grey picture
_ALIKE = 6  # of the 128 signs of two pictures that may differ
_SIDE = 256  # pixels; statistics are taken on pictures of about this size


class Looks(NamedTuple):
  """P pictures. row: (P,) first row of each in its Source. reason: (P,) bytes why it cannot be
  read, b'' if it can. content: (P,) checksum of its pixels. signs: (P,2) uint64, which of
  neighbouring areas is brighter. spread, bright: (P,) standard deviation and 99th percentile of
  grey values. grey: (P,) bool. orientation: (P,) EXIF's. turned: (P,) bool, read turned by it.
  """
  row: np.ndarray
  reason: np.ndarray
  content: np.ndarray
  signs: np.ndarray
  spread: np.ndarray
  bright: np.ndarray
  grey: np.ndarray
  orientation: np.ndarray
  turned: np.ndarray


def look(source, num_workers=0) -> Looks:
  """Decodes every picture of a set once, in data processes."""
  rows = np.sort(np.unique(source.file, return_index=True)[1])
  each = stream.in_order(len(rows), functools.partial(_look, source, rows), num_workers)
  # Copies, since what comes from another process keeps a file open.
  table = [[np.array(entry[name]) for name in Looks._fields[1:]] for entry in each]
  return Looks(rows, *map(np.array, zip(*table, strict=True)))


def _look(source, rows, place):
  blank = {'reason': np.bytes_(b''), 'content': np.uint64(0), 'signs': np.zeros(2, np.uint64),
           'spread': np.float32(0), 'bright': np.float32(0), 'grey': np.bool_(False),
           'orientation': np.int32(1), 'turned': np.bool_(False)}
  row = int(rows[place])
  try:
    image = source.read(row)
  except OSError as error:
    return blank | {'reason': np.array(one_line(error).encode()[:_REASON], f'S{_REASON}')}
  return blank | _of_file(str(source.file[row]), image) | {
    'reason': np.array(b'', f'S{_REASON}'), **_of_pixels(image)}


def _of_file(path, image):
  """EXIF's orientation, and whether the picture was turned by it."""
  if not os.path.isfile(path):  # rendered
    return {}
  header = pictures.checked_header(path, pictures.read_file(path))
  return {'orientation': np.int32(header.orientation),
          'turned': np.bool_(image.shape[:2] != (header.height, header.width))}


def _of_pixels(image):
  h, w = image.shape[:2]
  zoom = min(1, _SIDE / max(h, w))
  small = cv2.resize(image, (max(9, round(w * zoom)), max(9, round(h * zoom))),
                     interpolation=cv2.INTER_AREA)
  grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
  return {'content': np.uint64(zlib.crc32(image) << 32 | zlib.adler32(image)),
          'signs': _signs(grey), 'spread': np.float32(grey.std()),
          'bright': np.float32(np.percentile(grey, 99)),
          'grey': np.bool_(np.ptp(small, axis=2).max() <= _COLOURLESS)}


def _signs(grey):
  """(2,) uint64 of a (H,W) picture: the signs of its differences from left to right and from top
  to bottom, of a mesh of 8x8 (dHash)."""
  across = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(int)
  down = cv2.resize(grey, (8, 9), interpolation=cv2.INTER_AREA).astype(int)
  bits = np.concatenate([np.diff(across, axis=1) > 0, np.diff(down, axis=0) > 0], None)
  return np.packbits(bits).view(np.uint64)


def check(source, looks: Looks):
  """What looks wrong with the pictures of one set."""
  of = functools.partial(_of_pictures, source, looks)
  can, orientation = looks.reason == b'', looks.orientation
  first = next((r.decode('utf-8', 'replace') for r in looks.reason.tolist() if r), '')
  told = np.isin(orientation, (5, 6, 7, 8)) & _stated(source, looks)
  flat = can & (looks.spread < _FLAT)
  shows = can & ~flat
  seen = np.unique(looks.content[can], return_index=True)[1]
  again = np.setdiff1d(np.flatnonzero(shows), np.flatnonzero(can)[seen])
  near = np.setdiff1d(_alike(looks, shows), again)
  return [
    *of('pictures-unreadable', '{} pictures cannot be read; the first: '
        + first.replace('{', '{{').replace('}', '}}'), ~can,
        'mend or remove them; an evaluation stops at such a picture', severity='error'),
    *of('pictures-turned', '{} pictures carry an EXIF orientation and were annotated upright; such '
        'are turned when read', looks.turned, 'nothing has to be done; other programs may want '
        'them stored upright'),
    *of('pictures-maybe-turned', '{} pictures carry an EXIF orientation, and whether they were '
        'annotated as stored (as COCO is, and as they are read) or turned cannot be told',
        can & (orientation > 1) & ~looks.turned & ~told, 'look at the sheet; where poses do not '
        'fit, store the pictures upright, without the tag'),
    *of('pictures-constant', '{} pictures are of one colour', flat,
        'get them again, or remove them'),
    *of('pictures-dark', '{} pictures are nearly black', shows & (looks.bright < _DARK),
        'if they were stored with more than 8 bits, scale their values; else remove them'),
    *of('pictures-grey', f'{{}} of {can.sum()} pictures are grey, the others have colours',
        shows & looks.grey & ~looks.grey[shows].all(), 'nothing has to be done if they are meant '
        'to be'),
    *of('pictures-same', '{} pictures have the very pixels of another of the set', again,
        'keep one of each, with all its people'),
    *of('pictures-alike', '{} pictures are nearly those of another of the set', near,
        'if they are copies or frames of one film, keep a few; never spread them over splits')]


def check_pair(train, train_looks, val, val_looks):
  """What pictures of a validation set are also in a training set, by their content."""
  of = functools.partial(_of_pictures, val, val_looks)
  shows = (val_looks.reason == b'') & (val_looks.spread >= _FLAT)
  same = shows & np.isin(val_looks.content, train_looks.content)
  known = (train_looks.reason == b'') & (train_looks.spread >= _FLAT)
  alike = np.zeros_like(shows)
  for place in np.flatnonzero(shows & ~same).tolist():
    alike[place] = (_distance(train_looks.signs[known], val_looks.signs[place]) <= _ALIKE).any()
  name = f'{train.name} {train.split}'
  return [
    *of('pictures-in-both', f'{{}} of {len(shows)} pictures are also in the training set {name}, '
        'so scores are too high', same, 'remove them from one of the sets'),
    *of('pictures-alike-in-both', f'{{}} of {len(shows)} pictures are nearly those of the training '
        f'set {name}, as copies or frames of one film are', alike,
        'look at the sheet; split by film or by person, not by picture')]


def _of_pictures(source, looks, kind, text, places, mend, severity='warning'):
  return suspects(kind, text, looks.row[places], source, mend, severity=severity,
                  ids=source.image_id)


def _stated(source, looks):
  """(P,) bool: the annotations state the size of the picture, and they differ in their sides."""
  sizes = {p['id']: (p.get('width') or 0, p.get('height') or 0)
           for p in (source.ground_truth or {}).get('images', ())}
  stated = np.array([sizes.get(i, (0, 0)) for i in source.image_id[looks.row].tolist()])
  return (stated[:, 0] > 0) & (stated[:, 0] != stated[:, 1])


def _alike(looks, shows):
  """Places of pictures that are nearly one before them."""
  places, found = np.flatnonzero(shows), []
  for i, place in enumerate(places.tolist()):
    if (_distance(looks.signs[places[:i]], looks.signs[place]) <= _ALIKE).any():
      found.append(place)
  return np.array(found, np.int64)


def _distance(signs, one):
  """(P,) how many signs differ."""
  return np.bitwise_count(signs ^ one).sum(1, dtype=np.int32)
