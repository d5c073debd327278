"""Reads the person crops that `prepared.writing` wrote.

DIR/<split>/ is a data set of TensorFlow Datasets in ArrayRecord files, with the settings of the
preparation and the skeleton as its metadata: record i is a JPEG file of all that training can show
of row i (`prepared.area`). Beside the records lie columns.npz and, where the set has annotations in
COCO's form, ground_truth.json without outlines; DIR/patches is the patch bank.
"""
import functools
import io
import json
import os
import zipfile

import cv2
import numpy as np
import tqdm
from etils import epath

from dslope_jax import skeletons
from dslope_jax.errors import UserError
from input_pipeline.sources.source import Source

VERSION = '2.0.0'  # of the folder; the first number is raised when its files change
# What a config must share with a preparation, and its field.
_SAME = {'name': 'data.name', 'loader': 'data.loader', 'unbiased': 'system.codec'}
_AGAIN = 'remove the folder and prepare it again, or copy it again'


def load(split, *, root, aspect=0.75, ground_truth=True) -> Source:
  """The people of a prepared split.

  root: folder, as prepared. aspect: width / height of the crops; must be what was prepared.
  ground_truth: whether to read the annotations for COCO's metric, seconds on a large set.

  `Source.file` names the original pictures. Raises OSError or UserError, one line.
  """
  meta, folder = read_meta(root, split), epath.Path(root) / split
  width, height = meta['size']
  if abs(width / height - aspect) > 1e-6:
    raise UserError(f"'{folder}' was prepared for crops of {width}x{height}, width / height "
                    f'{width / height:g}, not {aspect:g}; set --config.data.size, or prepare anew')
  try:
    columns = dict(np.load(io.BytesIO((folder / 'columns.npz').read_bytes()), allow_pickle=False))
    truth = folder / 'ground_truth.json'
    truth = json.loads(truth.read_text()) if ground_truth and meta['ground_truth'] else None
    return Source(name=f"{meta['source']} (prepared)", split=split, ground_truth=truth,
                  skeleton=skeletons.from_fields(meta['skeleton']), read=_Records(folder).read,
                  file=columns.pop('names'), **columns)
  except (EOFError, KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
    raise UserError(f"'{folder}' is broken ({error}); {_AGAIN}") from None


def read_meta(root, split) -> dict:
  """The metadata of a prepared split.

  Raises FileNotFoundError where there is none, or not all of it; UserError for another version.
  """
  folder = epath.Path(root) / split
  if not folder.exists():
    raise FileNotFoundError(f"'{root}' has no prepared crops of '{split}'; make them by python "
                            f'tools/prepare_crops.py --split {split} --out {root} --config ...')
  try:
    info, meta = (json.loads((folder / f'{name}.json').read_text())
                  for name in ('dataset_info', 'metadata'))
    if info['version'] != VERSION:
      raise UserError(f"its version is {info['version']}, this code reads {VERSION}")
    count = len(info['splits'][0]['shardLengths'])
  except (KeyError, IndexError, OSError, TypeError, ValueError) as error:
    raise UserError(f"'{folder}' does not hold prepared crops ({error}); remove it, or prepare "
                    'into another folder') from None
  missing = count - len(list(folder.glob('*.array_record-*')))
  if missing:
    raise FileNotFoundError(f"'{folder}' lacks {missing} of {count} files of records; {_AGAIN}")
  return meta


def verify(root) -> list[str]:
  """Reads every record of a folder; returns a line for each split. Raises UserError, naming the
  broken ones."""
  splits = sorted(path.parent.name for path in epath.Path(root).glob('*/metadata.json'))
  if not splits:
    raise FileNotFoundError(f"'{root}' holds no prepared split")
  return [_verify(root, split) for split in splits]


def _verify(root, split):
  width, height = read_meta(root, split)['size']
  source, broken = load(split, root=root, aspect=width / height), []
  for row in tqdm.trange(len(source), desc=f'reading {split}'):
    try:
      source.read(row)
    except OSError:
      broken.append(row)
  if broken:
    raise UserError(f"{len(broken)} of {len(source)} records of '{os.path.join(root, split)}' "
                    f'are broken: {str(broken[:20])[1:-1]}{" ..." * (len(broken) > 20)}; {_AGAIN}')
  return f'{split}: all records of {len(source)} people can be read'


def check_fit(meta, asked, folder):
  """Raises UserError, naming the field, unless the crops that are asked for can be cut.

  asked: the same fields of a config, as JSON has them.
  """
  again = (f"or prepare anew into another folder ('{folder}' is prepared for "
           f'{meta["size"][0]}x{meta["size"][1]})')
  for key, field in _SAME.items():
    if meta[key] != asked[key]:
      raise UserError(f"{field} asks for {key} {asked[key]}, '{folder}' was prepared with "
                      f'{meta[key]}; set it so, or prepare anew into another folder')
  (width, height), (w, h) = meta['size'], asked['size']
  if width * h != height * w:
    raise UserError(f'data.size {w}x{h} has another aspect ratio than was prepared; change it, '
                    f'{again}')
  if w > width:
    raise UserError(f'data.size {w}x{h} is larger than was prepared; make it smaller, {again}')
  field = _too_strong(meta['augmentation'], asked['augmentation'])
  if field:
    raise UserError(
      f"data.augmentation.{field} is {asked['augmentation'][field]}, '{folder}' was prepared for "
      f"{meta['augmentation'][field]}; weaken it, or prepare anew into another folder")


def check_bank(meta, asked, folder):
  """Raises UserError, naming the field, unless the prepared patch bank is the one asked for."""
  for key, field in (('bank', 'data.bank'), ('holdout', 'data.holdout')):
    if meta[key] != asked[key]:
      raise UserError(f"{field} is {asked[key]}, the bank in '{folder}' was cut with {meta[key]}; "
                      'set it so, or name another bank by --config.data.bank.folder=BANK')


def _too_strong(limit, asked):
  """The field of an augmentation that reaches further than was prepared; '' if none does."""
  turns = lambda a: a['rotation'] if a['rotation_prob'] > 0 else 0
  if asked['scale'] > limit['scale']:
    return 'scale'
  if turns(asked) > turns(limit):
    return 'rotation' if limit['rotation_prob'] > 0 else 'rotation_prob'
  if asked['half_body_prob'] > 0:
    if limit['half_body_prob'] <= 0:
      return 'half_body_prob'
    if asked['half_body_joints'] < limit['half_body_joints']:
      return 'half_body_joints'
  return ''


class _Records:
  """Reads the records of a split; pickles as its path, so every data worker opens its own files."""

  def __init__(self, folder):
    self.folder = folder

  def __reduce__(self):
    return _Records, (self.folder,)

  @functools.cached_property
  def _opened(self):
    import tensorflow_datasets as tfds  # takes a third of a second, so at the first record
    return tfds.builder_from_directory(self.folder).as_data_source(
      split=self.folder.name, decoders={'image': tfds.decode.SkipDecoding()})

  def read(self, row):
    """(H,W,3) uint8 RGB, the stored part of the picture; any number of threads may read."""
    try:
      data = np.frombuffer(self._opened[row]['image'], np.uint8)
      return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    except Exception as error:  # of array_record, protobuf or OpenCV; none has a kind of its own
      why = str(error).strip().split('\n')[0]
      raise OSError(f"record {row} of '{self.folder}' cannot be read ({why}); {_AGAIN}") from None
