"""Files of the sets of others: JSON of a known form, and the pictures beside it."""
import functools
import os
import zlib

import msgspec
import numpy as np

from dslope_jax import own_files
from dslope_jax.errors import UserError
from input_pipeline.sources import checks
from input_pipeline.sources.coco import read_row
from input_pipeline.sources.pictures import read_file, shown

_MARK = b'\xef\xbb\xbf'  # of UTF-8, which some editors write


def read_json(path, form, how_to_get):
  """The content of a JSON file as a type of msgspec; fields that it does not name are passed over.

  Raises FileNotFoundError or UserError, one line that names the file and ends with how_to_get.
  """
  if not os.path.isfile(path):
    raise FileNotFoundError(f"no file '{path}'. {how_to_get}")
  data = read_file(path)
  with own_files.told(path, how_to_get):
    return msgspec.json.decode(data.removeprefix(_MARK), type=form)


def numbers(values, shape, where):
  """float64 array of lists of numbers, or of JSON text of them; UserError for another shape, and
  for texts and null."""
  try:
    if isinstance(values, msgspec.Raw):
      values = msgspec.json.decode(values)
    out = np.array(values)
    out = out.astype(np.float64) if out.dtype.kind in 'biuf' else None
  except (msgspec.DecodeError, TypeError, ValueError):
    out = None
  if out is None or out.shape != shape:
    raise UserError(f'{where} is not {" x ".join(map(str, shape))} numbers; get the file again')
  return out


def reader(folder, pictures, path, how_to_get):
  """`Pictures.read` of pictures that are files below a folder, all of which must be there."""
  names = [p.name for p in pictures]
  checks.check_pictures([{'file_name': name} for name in names], folder, path, how_to_get)
  files = np.array([os.path.join(folder, name) for name in names])
  return functools.partial(read_row, files, np.array([p.size for p in pictures]))


def side(name, share, seed=0):
  """'val' for a share of all names, which depends on nothing else, 'train' for the others."""
  return 'val' if zlib.crc32(f'{seed} {name}'.encode()) < share * 2**32 else 'train'


def chosen(split, found, side_of, path):
  """The pictures of 'train', 'val' or 'all'; UserError for another split or none."""
  if split not in ('train', 'val', 'all'):
    raise UserError(f"{shown(path)}: a split is train, val or all, not '{split}'")
  kept = [p for p in found if split == 'all' or side_of(p) == split]
  if not kept:
    raise UserError(f"{shown(path)} has no pictures of split '{split}'; take 'all'")
  return kept
