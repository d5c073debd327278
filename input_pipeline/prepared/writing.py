"""Writes the folder that `prepared.reading` reads.

Records are written in order by `tfds.core.SequentialWriter`: the generator-based builders of
TensorFlow Datasets shuffle, and above 1000 MiB they need TensorFlow for it.
"""
import contextlib
import dataclasses
import functools
import os
import re
import shutil
import zlib

import numpy as np
import tqdm

from dslope_jax import own_files
from dslope_jax.errors import UserError
from input_pipeline import stream
from input_pipeline.prepared import area, reading
from input_pipeline.sources.source import Source

_IN_A_FILE = 1000  # records: 50 to 100 MiB


def write(source: Source, out, settings: area.Settings, *, num_workers=0, **asked) -> str:
  """Writes the people of a source to the folder out/<split>; a complete one is left as it is.
  Returns a line that says how large it is.

  The folder appears when all is written: an interrupted preparation starts again. num_workers:
  processes. asked: the rest of what `reading.check_fit` and `check_bank` compare.
  Raises UserError for a folder with other people or settings, OSError for an unreadable picture.
  """
  if source.frames is not None:
    raise UserError(f'{source.name} {source.split}: these are prepared crops; prepare the '
                    'originals')
  if not re.fullmatch(r'[\w-]+', source.split):
    raise UserError(f"split '{source.split}' cannot name files; it may have letters, digits, _ "
                    'and -')
  if not len(source):
    raise UserError(f'{source.name} {source.split} has no people to prepare')
  folder, about = os.path.join(out, source.split), _about(source, settings, asked)
  if os.path.exists(folder):
    _check_same(reading.read_meta(out, source.split), about, folder)
  else:
    with _appearing(folder) as unfinished:
      records = _write_records(source, unfinished, settings, about, num_workers)
      _write_columns(source, records, unfinished)
  files = [os.path.join(folder, name) for name in os.listdir(folder)]
  size = sum(map(os.path.getsize, files))
  return (f"{len(source)} people in '{folder}', {size / 2**20:.0f} MiB, "
          f'{size / len(source) / 1024:.0f} KiB each')


def _about(source, settings, asked) -> dict:
  """What is stored as metadata, as JSON has it."""
  return own_files.as_json(asked | settings._asdict() | {
    'augmentation': settings.augmentation._asdict(), 'source': source.name,
    'people': len(source), 'digest': source.digest, 'skeleton': dataclasses.asdict(source.skeleton),
    'ground_truth': source.ground_truth is not None})


def _check_same(there, about, folder):
  changed = [f'{k}: {there.get(k, "absent")} -> {about.get(k, "absent")}'
             for k in sorted(there.keys() | about.keys()) if there.get(k) != about.get(k)]
  if changed:
    raise UserError(f"'{folder}' was prepared otherwise ({'; '.join(changed)}); choose another "
                    '--out, or remove it')


@contextlib.contextmanager
def _appearing(folder):
  """A folder to write to that gets its name at the end, and is removed if that is not reached."""
  unfinished = f'{folder}.unfinished'
  try:
    os.makedirs(unfinished)
  except FileExistsError:
    raise UserError(f"'{unfinished}' is there: another process is preparing, or was killed; wait "
                    'for it, or remove that folder') from None
  try:
    yield unfinished
    os.rename(unfinished, folder)
  finally:
    shutil.rmtree(unfinished, ignore_errors=True)


def _write_records(source, folder, settings, about, num_workers):
  """Writes the records and the metadata; returns the columns `frames` and `crc32`."""
  import tensorflow_datasets as tfds
  info = tfds.core.DatasetInfo(
    builder=tfds.core.DatasetIdentity(name='person_crops', version=reading.VERSION,
                                      data_dir=folder, module_name=''),
    features=tfds.features.FeaturesDict({'image': tfds.features.Image(encoding_format='jpeg')}),
    disable_shuffling=True, metadata=tfds.core.MetadataDict(about))
  writer = tfds.core.SequentialWriter(info, _IN_A_FILE, file_format='array_record')
  writer.initialize_splits([source.split])
  records = stream.in_order(len(source), functools.partial(_record, source, settings), num_workers)
  frames, sums = [], []
  try:
    writer.add_examples({source.split: _examples(records, frames, sums, len(source))})
    writer.close_all()
  except RuntimeError as error:  # of array_record: a full disk
    raise OSError(f"cannot write to '{folder}' ({error})") from None
  return {'frames': np.array(frames, np.int32), 'crc32': np.array(sums, np.uint32)}


def _examples(records, frames, sums, count):
  for data, frame, problem in tqdm.tqdm(records, 'preparing crops', count):
    if problem:
      raise OSError(f'{problem}; mend the picture or its annotation, then prepare again')
    frames.append(frame)
    sums.append(zlib.crc32(data))
    yield {'image': data}


def _record(source, settings, row):
  """(JPEG file, its row of `Source.frames`, what is wrong) of a person."""
  try:
    image = source.read(row)
    part = area.area(settings, source, row, image.shape[1], image.shape[0])
    data = area.encode(area.cut(image, part), settings.quality)
  except OSError as error:  # told as a value, since a worker's exception would be many lines
    return b'', (0, 0, 0, 0), f'annotation {int(source.annotation_id[row])}: {error}'
  return data, (part.x, part.y, part.shrink, image.shape[1]), ''


def _write_columns(source, records, folder):
  """Writes what is known of the people, for reading all of it at once."""
  names = source.file.tolist()
  if source.folder:
    names = [os.path.relpath(name, source.folder) for name in names]
  columns = source.columns() | records | {
    'names': np.array(names), 'json_crc32': np.uint32(reading.json_sum(folder))}
  del columns['file']  # which savez calls its own
  if source.ground_truth is not None:
    # No metric of poses reads outlines, and they are most of a file.
    people = [{k: v for k, v in a.items() if k != 'segmentation' and not k.startswith('dp_')}
              for a in source.ground_truth['annotations']]
    truth = os.path.join(folder, 'ground_truth.json')
    own_files.write_json(truth, source.ground_truth | {'annotations': people})
    columns['ground_truth_crc32'] = np.uint32(own_files.crc32_of(truth))
  own_files.write_npz(os.path.join(folder, 'columns.npz'), columns, reading.COLUMNS, reading.FORM)
