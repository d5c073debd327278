"""Reads the person crops that `prepared.writing` wrote.

DIR/<split>/ is a data set of TensorFlow Datasets in ArrayRecord files: record i is a JPEG file of
all that training can show of row i (`prepared.area`). Beside it lie columns.npz, skeleton.json,
ground_truth.json (without outlines) and meta.json; DIR/patches is the patch bank.

Reading takes a bucket's address for DIR where etils and array_record do, with a local patch bank
(data.bank.folder); that was not tried. Writing and checking need a file system.
"""
import io
import json
import os
import pathlib
import threading
import zipfile

import cv2
import numpy as np

from dslope_jax.skeletons import Skeleton
from input_pipeline.sources.source import Frames, Source

FORMAT = 1  # of the folder; raised when its files change
DATASET = 'prepared'  # as TensorFlow Datasets calls it
COLUMNS = ('image_id', 'annotation_id', 'box', 'center', 'scale', 'keypoints', 'visibility',
           'box_score')
# What a config must share with a preparation, and its field.
_SAME = {'name': 'data.name', 'loader': 'data.loader', 'unbiased': 'system.codec'}


def load(split, *, root, aspect=0.75, ground_truth=True) -> Source:
  """The people of a prepared split.

  root: folder, as prepared. aspect: width / height of the crops; must be what was prepared.
  ground_truth: whether to read the annotations for COCO's metric, seconds on a large set.

  `Source.file` names the original pictures. Raises OSError or ValueError, one line.
  """
  meta, folder = read_meta(root, split), _path(root) / split
  width, height = meta['size']
  if abs(width / height - aspect) > 1e-6:
    raise ValueError(f"'{folder}' was prepared for crops of {width}x{height}, width / height "
                     f'{width / height:g}, not {aspect:g}; set --config.data.size, or prepare anew')
  try:
    columns = dict(np.load(io.BytesIO((folder / 'columns.npz').read_bytes()), allow_pickle=False))
    columns['file'] = columns.pop('file_name')
    truth = folder / 'ground_truth.json'
    truth = json.loads(truth.read_text()) if ground_truth and meta['ground_truth'] else None
    skeleton = skeleton_from(json.loads((folder / 'skeleton.json').read_text()))
    frames = Frames(*(columns.pop(name) for name in Frames._fields))
    if len(columns['annotation_id']) != meta['people']:
      raise ValueError(f"columns.npz holds not {meta['people']} people")
  except (EOFError, KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
    raise ValueError(f"'{folder}' is broken ({error}); {_how_to_check(root)}") from None
  return Source(name=f"{meta['source']} (prepared)", split=split, skeleton=skeleton, frames=frames,
                ground_truth=truth, read=_Records(str(root), split).read, **columns)


def read_meta(root, split) -> dict:
  """The content of a prepared split's meta.json.

  Raises FileNotFoundError where there is none, ValueError for one that is not complete or of
  another version.
  """
  folder = _path(root) / split
  try:
    meta = json.loads((folder / 'meta.json').read_text())
    if meta['format'] != FORMAT:
      raise ValueError(f"its format is {meta['format']}, this version reads {FORMAT}")
    done, expected = set(meta['sha256']), set(files_of(meta))
  except FileNotFoundError:
    raise FileNotFoundError(f"'{folder}' holds no prepared crops (no meta.json); make them by "
                            f'python tools/prepare_crops.py --split {split} --out {root} '
                            '--config ...') from None
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(f"'{folder}/meta.json' is not one of prepared crops ({error}); prepare "
                     'them anew into another folder') from None
  if not done >= expected:
    raise ValueError(f"'{folder}' is not complete: {len(expected - done)} of {len(expected)} files "
                     'are yet to be written; run the preparation again, it goes on')
  missing = sorted(expected - {path.name for path in folder.iterdir()})
  if missing:
    raise FileNotFoundError(f"'{folder}' lacks {len(missing)} of its files, the first is "
                            f"'{missing[0]}'; prepare again to have it written anew")
  return meta


def files_of(meta) -> list[str]:
  """Names of the files of a prepared split, without meta.json."""
  truth = ['ground_truth.json'] if meta['ground_truth'] else []
  return [*shard_names(meta['split'], meta['shards']), 'columns.npz', 'skeleton.json', *truth,
          'dataset_info.json', 'features.json']


def shard_names(split, count):
  """File names as TensorFlow Datasets gives them."""
  return [f'{DATASET}-{split}.array_record-{i:05d}-of-{count:05d}' for i in range(count)]


def check_fit(meta, asked, folder):
  """Raises ValueError, naming the field, unless the crops that are asked for can be cut.

  asked: as `from_config.crops_asked` gives it.
  """
  again = (f"or prepare anew into another folder ('{folder}' is prepared for "
           f'{meta["size"][0]}x{meta["size"][1]})')
  for key, field in _SAME.items():
    if meta[key] != asked[key]:
      raise ValueError(f"{field} asks for {key} {asked[key]}, '{folder}' was prepared with "
                       f'{meta[key]}; set it so, or prepare anew into another folder')
  (width, height), (w, h) = meta['size'], asked['size']
  if width * h != height * w:
    raise ValueError(f'data.size {w}x{h} has another aspect ratio than was prepared; change it, '
                     f'{again}')
  if w > width:
    raise ValueError(f'data.size {w}x{h} is larger than was prepared; make it smaller, {again}')
  field = _too_strong(meta['augmentation'], asked['augmentation'])
  if field:
    raise ValueError(
      f"data.augmentation.{field} is {asked['augmentation'][field]}, '{folder}' was prepared for "
      f"{meta['augmentation'][field]}; weaken it, or prepare anew into another folder")


def check_bank(meta, asked, folder):
  """Raises ValueError, naming the field, unless the prepared patch bank is the one asked for."""
  for key, field in (('bank', 'data.bank'), ('holdout', 'data.holdout')):
    if meta[key] != asked[key]:
      raise ValueError(f"{field} is {asked[key]}, the bank in '{folder}' was cut with {meta[key]}; "
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


def skeleton_from(fields) -> Skeleton:
  """The skeleton of its fields as JSON has them: lists for tuples."""
  pairs = {name: tuple(map(tuple, fields[name])) for name in ('limbs', 'flip_pairs')}
  return Skeleton(tuple(fields['names']), sigmas=tuple(fields['sigmas']), name=fields['name'],
                  **pairs)


class _Records:
  """Reads the records of a split; pickles as its path, so every data worker opens its own files.

  TensorFlow Datasets takes half a second to import, so that is done at the first record.
  """

  def __init__(self, root, split):
    self._root, self._split = root, split
    self._opened, self._lock = None, threading.Lock()

  def __reduce__(self):
    return _Records, (self._root, self._split)

  def _open(self):
    with self._lock:
      if self._opened is None:
        import tensorflow_datasets as tfds
        builder = tfds.builder_from_directory(_path(self._root) / self._split)
        self._opened = builder.as_data_source(
          split=self._split, decoders={'image': tfds.decode.SkipDecoding()})
    return self._opened

  def read(self, row):
    """(H,W,3) uint8 RGB, the stored part of the picture; any number of threads may read."""
    try:
      data = (self._opened or self._open())[row]['image']
      image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except Exception as error:  # of array_record, protobuf or OpenCV; none has a kind of its own
      raise self._broken(row, str(error).split('\n')[0]) from None
    if image is None:
      raise self._broken(row, 'it is no picture')
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

  def _broken(self, row, why):
    return OSError(f"record {row} of '{os.path.join(self._root, self._split)}' cannot be read "
                   f'({why}); {_how_to_check(self._root)}')


def _how_to_check(root):
  return f'python tools/prepare_crops.py --verify {root} names what is broken'


def _path(root):
  if '://' not in str(root):
    return pathlib.Path(root)
  from etils import epath
  return epath.Path(root)
