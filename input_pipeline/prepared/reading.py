"""Reads the person crops that `prepared.writing` wrote.

DIR/<split>/ is a data set of TensorFlow Datasets in ArrayRecord files, with the settings of the
preparation and the skeleton as its metadata: record i is a JPEG file of all that training can show
of row i (`prepared.area`). Beside the records lie columns.npz, with the checksum of each record,
and, where the set has annotations in COCO's form, ground_truth.json without outlines; DIR/patches
is the patch bank.
"""
import functools
import os
import pathlib
import zlib
from typing import Annotated, Literal, NotRequired, TypedDict

import cv2
import msgspec
import numpy as np
import tqdm
from etils import epath

from dslope_jax import own_files, skeletons
from dslope_jax.errors import UserError
from dslope_jax.files import first_line
from dslope_jax.own_files import Column
from input_pipeline.sources.pictures import checked_header
from input_pipeline.sources.source import Source

FORM = 3  # of the folder; raised when its files change
VERSION = f'{FORM}.0.0'
COLUMNS = {
  'names': Column('U'), 'image_id': Column('iu'), 'annotation_id': Column('iu'),
  'box': Column('f', ('N', 4)), 'center': Column('f', ('N', 2)),
  'scale': Column('f', ('N', 2), values=lambda scale: scale > 0),
  'keypoints': Column('f', ('N', 'K', 2)),
  'visibility': Column('u', ('N', 'K'), values=lambda v: v <= 3), 'box_score': Column('f'),
  'frames': Column('iu', ('N', 4), values=lambda frames: frames >= [0, 0, 1, 1]),
  'area': Column('f', needed=False), 'head_size': Column('f', needed=False),
  'reference': Column('f', needed=False), 'keypoints_3d': Column('f', ('N', 'K', 3), needed=False),
  'camera': Column('f', ('N', 4), needed=False), 'identity': Column('iu', needed=False),
  'crc32': Column('u'), 'json_crc32': Column('u', ()),
  'ground_truth_crc32': Column('u', (), needed=False)}
# What a config must share with a preparation, and its field.
_SAME = {'name': 'data.name', 'loader': 'data.loader', 'unbiased': 'system.codec'}
_AGAIN = ('remove the folder and prepare it again (tools/prepare_crops.py), or copy it again')
_Size = Annotated[int, msgspec.Meta(gt=0)]


class _Split(TypedDict):
  name: str
  filepathTemplate: str
  shardLengths: list[Annotated[str, msgspec.Meta(pattern=r'^\d{1,9}$')]]


class _Info(TypedDict):
  name: Literal['person_crops']
  fileFormat: Literal['array_record']
  splits: Annotated[list[_Split], msgspec.Meta(min_length=1, max_length=1)]


class _Meta(TypedDict):
  source: str
  people: int
  digest: str
  skeleton: skeletons.Fields
  ground_truth: bool
  size: tuple[_Size, _Size]
  augmentation: dict[str, float]
  unbiased: bool
  name: NotRequired[str]
  loader: NotRequired[dict]
  bank: NotRequired[dict]
  holdout: NotRequired[float]


class _Truth(TypedDict):
  images: list[dict]
  annotations: list[dict]
  categories: list[dict]


# Whatever else it named, TensorFlow Datasets would import.
_FEATURES = {'tensorflow_datasets.core.features.features_dict.FeaturesDict',
             'tensorflow_datasets.core.features.image_feature.Image'}


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
  with own_files.told(folder / 'metadata.json', _AGAIN):
    skeleton = skeletons.from_fields(meta['skeleton'])
  columns = own_files.read_npz(folder / 'columns.npz', COLUMNS, _AGAIN, FORM)
  sums, described = columns.pop('crc32'), columns.pop('json_crc32')
  truth, truth_sum = None, columns.pop('ground_truth_crc32', None)
  if ground_truth and meta['ground_truth']:
    truth = own_files.read_json(folder / 'ground_truth.json', _Truth, _AGAIN)
    if truth_sum != own_files.crc32_of(folder / 'ground_truth.json'):
      raise UserError(f"'{folder / 'ground_truth.json'}' is not as it was written; {_AGAIN}")
  source = Source(name=f"{meta['source']} (prepared)", split=split, ground_truth=truth,
                  skeleton=skeleton, read=_Records(folder, sums).read, file=columns.pop('names'),
                  **columns)
  if json_sum(folder) != described or source.keypoints.shape[1] != skeleton.num_keypoints:
    raise UserError(f"'{folder}': columns.npz and the json files are of different sets; {_AGAIN}")
  return source


def read_meta(root, split) -> dict:
  """The metadata of a prepared split.

  Raises FileNotFoundError where there is none, or not all of it; UserError for what is broken, of
  another version, or leads out of the folder.
  """
  folder = epath.Path(own_files.inside(root, split))
  if not folder.exists():
    raise FileNotFoundError(f"'{root}' has no prepared crops of '{split}'; make them by python "
                            f'tools/prepare_crops.py --split {split} --out {root} --config ...')
  mend = (f"'{folder}' does not hold prepared crops that can be read: remove it, or prepare into "
          'another folder')
  info, meta, features = (
    own_files.read_json(folder / f'{name}.json', form, mend, version) for name, form, version in (
      ('dataset_info', _Info, VERSION), ('metadata', _Meta, 1), ('features', dict, 1)))
  found, = info['splits']
  own_files.inside(folder, found['filepathTemplate'])
  count = len(found['shardLengths'])
  if (found['name'] != split or sum(map(int, found['shardLengths'])) != meta['people']
      or _classes(features) != _FEATURES):
    raise UserError(f"'{folder}': its json files are not those of '{split}', or of other data than "
                    f'crops; {_AGAIN}')
  missing = count - len(list(folder.glob('*.array_record-*')))
  if missing:
    raise FileNotFoundError(f"'{folder}' lacks {missing} of {count} files of records; {_AGAIN}")
  return meta


def json_sum(folder) -> int:
  """Checksum of the small files of a split."""
  return zlib.crc32(b''.join(pathlib.Path(folder, f'{name}.json').read_bytes()
                             for name in ('dataset_info', 'metadata', 'features')))


def _classes(features):
  """All names of classes in a tree of features."""
  found = set()
  for key, value in features.items():
    if key == 'pythonClassName':
      found.add(str(value))
    elif isinstance(value, dict):
      found |= _classes(value)
  return found


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

  def __init__(self, folder, sums):
    self.folder, self.sums = folder, sums

  def __reduce__(self):
    return _Records, (self.folder, self.sums)

  @functools.cached_property
  def _opened(self):
    import tensorflow_datasets as tfds  # takes a third of a second, so at the first record
    return tfds.builder_from_directory(self.folder).as_data_source(
      split=self.folder.name, decoders={'image': tfds.decode.SkipDecoding()})

  def read(self, row):
    """(H,W,3) uint8 RGB, the stored part of the picture; any number of threads may read."""
    try:
      data = self._opened[row]['image']
      if zlib.crc32(data) != self.sums[row]:
        raise ValueError('it is not as it was written')
      checked_header(f'{row}', data)
      image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
      return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    except Exception as error:  # of array_record, protobuf or OpenCV; none has a kind of its own
      raise OSError(f"record {row} of '{self.folder}' cannot be read ({first_line(error)}); "
                    f'{_AGAIN}') from None
