"""Writes the folder of `prepared`, a shard at a time, and checks one."""
import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import json
import os
import re

import numpy as np
import tqdm

from input_pipeline import stream
from input_pipeline.prepared import area as crop_area
from input_pipeline.prepared import reading as prepared
from input_pipeline.sources.source import Frames, Source

_BANK = ('index.npz', 'pixels.bin')


def write(source: Source, out, settings: crop_area.Settings, *, num_workers=0, make_bank=None,
          shard=2000, name='', loader=None, bank=None, holdout=0.0):
  """Writes the people of a source to the folder out/<split>.

  A shard is written under a temporary name, renamed, and its checksum entered into meta.json; what
  is entered is not written again. shard: records in one. make_bank: called when all shards are
  there; returns the folder of the patch bank or None. The rest goes into meta.json: see
  `prepared.check_fit`.
  Raises ValueError for a folder with other people or settings, OSError for an unreadable picture.
  """
  if source.frames is not None:
    raise ValueError(f'{source.name} {source.split}: these are prepared crops; prepare the '
                     'originals')
  if not re.fullmatch(r'[\w-]+', source.split):
    raise ValueError(f"split '{source.split}' cannot name files; it may have letters, digits, _ "
                     'and -')
  folder = os.path.join(out, source.split)
  os.makedirs(folder, exist_ok=True)
  about = _about(source, settings, shard) | {
    'name': name or source.name, 'loader': loader or {}, 'bank': bank or {}, 'holdout': holdout}
  with _alone(folder):
    meta = _begin(folder, about)
    if set(prepared.files_of(meta)) <= set(meta['sha256']):
      print(f"'{folder}' is complete")
    else:
      _write_shards(source, folder, meta, settings, num_workers)
      _finish(source, folder, meta)
    patches = make_bank and make_bank()
    for file in _BANK if patches else ():
      meta['sha256'][f'../patches/{file}'] = _checksum(os.path.join(patches, file))
    _write_json(folder, 'meta.json', meta)
    for i in range(meta['shards']):  # they are in columns.npz now
      with contextlib.suppress(FileNotFoundError):
        os.remove(_places(folder, i))


def _about(source, settings, shard):
  """What decides the content of the files, as JSON has it."""
  place = hashlib.sha256(source.center.tobytes() + source.scale.tobytes()).hexdigest()[:12]
  return {'format': prepared.FORMAT, 'source': source.name, 'split': source.split,
          'people': len(source), 'digest': source.digest, 'crops': place,
          'size': list(settings.size), 'unbiased': settings.unbiased,
          'augmentation': settings.augmentation._asdict(), 'detail': settings.detail,
          'quality': settings.quality, 'records_per_shard': shard,
          'shards': -(-len(source) // shard), 'ground_truth': source.ground_truth is not None}


@contextlib.contextmanager
def _alone(folder):
  """Two processes that write to one folder would spoil each other's files."""
  with open(os.path.join(folder, 'lock'), 'a') as lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
      raise ValueError(f"another process is writing to '{folder}'; wait for it, or choose another "
                       '--out') from None
    yield


def _begin(folder, about):
  """The folder's meta.json, written where there is none. Raises ValueError for another one."""
  path, about = os.path.join(folder, 'meta.json'), json.loads(json.dumps(about))
  if not os.path.exists(path):
    meta = about | {'sha256': {}}
    _write_json(folder, 'meta.json', meta)
    return meta
  try:
    with open(path, encoding='utf-8') as f:
      meta = json.load(f)
    before = {k: v for k, v in meta.items() if k != 'sha256'}
    there = set(os.listdir(folder))
    # A file that was lost since is written anew.
    meta['sha256'] = {k: v for k, v in meta['sha256'].items() if '/' in k or k in there}
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise ValueError(f"'{path}' is broken ({error}); remove '{folder}' or choose another "
                     '--out') from None
  changed = [f'{k}: {before.get(k, "absent")} -> {about.get(k, "absent")}'
             for k in sorted(before.keys() | about.keys()) if before.get(k) != about.get(k)]
  if changed:
    raise ValueError(f"'{folder}' was prepared otherwise ({'; '.join(changed)}); choose another "
                     '--out, or remove it')
  return meta


def _write_shards(source, folder, meta, settings, num_workers):
  """Writes the shards that are not there yet."""
  _restore_places(folder, meta)
  names, count = prepared.shard_names(meta['split'], meta['shards']), meta['records_per_shard']
  missing = [i for i, name in enumerate(names)
             if name not in meta['sha256'] or not os.path.exists(_places(folder, i))]
  rows = [r for i in missing for r in range(i * count, min((i + 1) * count, len(source)))]
  work = functools.partial(_record, source, settings, rows)
  records = stream.in_order(len(rows), work, num_workers)
  with tqdm.tqdm(desc='preparing crops', total=len(source), initial=len(source) - len(rows)) as bar:
    for i in missing:
      size = min(count, len(source) - i * count)
      meta['sha256'][names[i]] = _write_shard(folder, names[i], i, records, size, bar)
      _write_json(folder, 'meta.json', meta)


def _record(source, settings, rows, i):
  """(JPEG file, origin x, y, shrink, picture's width, what is wrong) of a row."""
  row = rows[i]
  try:
    image = source.read(row)
    height, width = image.shape[:2]
    part = crop_area.area(settings, source, row, width, height)
    data = crop_area.encode(crop_area.cut(image, part), settings.quality)
  except OSError as error:  # told as a value, since a worker's exception would be many lines
    return b'', 0, 0, 0, 0, f'annotation {int(source.annotation_id[row])}: {error}'
  return data, part.x, part.y, part.shrink, width, ''


def _write_shard(folder, name, number, records, size, bar):
  """Writes the next records; returns the checksum of the file."""
  from array_record.python import array_record_module
  path, places = os.path.join(folder, name), []
  # JPEG files do not get smaller; a group of one makes every record readable by itself.
  writer = array_record_module.ArrayRecordWriter(path + '.part', 'group_size:1,uncompressed')
  try:
    for _ in range(size):
      data, *place, problem = next(records)
      if problem:
        raise OSError(f'{problem}; mend the picture or its annotation, then prepare again, which '
                      'goes on from here')
      writer.write(_features().serialize_example({'image': data}))
      places.append(place)
      bar.update()
    writer.close()
  except RuntimeError as error:
    raise OSError(f"cannot write '{path}' ({error})") from None
  checksum = _checksum(path + '.part')
  with open(_places(folder, number) + '.part', 'wb') as f:
    np.save(f, np.array(places, np.int32))
  os.replace(_places(folder, number) + '.part', _places(folder, number))
  os.replace(path + '.part', path)
  return checksum


@functools.cache
def _features():
  import tensorflow_datasets as tfds
  return tfds.features.FeaturesDict({'image': tfds.features.Image(encoding_format='jpeg')})


def _places(folder, number):
  return os.path.join(folder, f'places-{number:05d}.npy')


def _restore_places(folder, meta):
  """Where a shard of a complete folder was lost, the places of the others are in columns.npz."""
  if 'columns.npz' not in meta['sha256']:
    return
  columns = np.load(os.path.join(folder, 'columns.npz'), allow_pickle=False)
  places = np.column_stack([columns[name] for name in Frames._fields])
  for i in range(meta['shards']):
    count = meta['records_per_shard']
    np.save(_places(folder, i), places[i * count:(i + 1) * count])


def _finish(source, folder, meta):
  """Writes what lies beside the shards, and its checksums."""
  places = np.concatenate([np.load(_places(folder, i), allow_pickle=False)
                           for i in range(meta['shards'])])
  frames = Frames(places[:, :2], places[:, 2], places[:, 3])
  names = [n for n in (*prepared.COLUMNS, 'head_size') if getattr(source, n) is not None]
  columns = {name: getattr(source, name) for name in names} | frames._asdict()
  below = [os.path.relpath(f, source.folder) if source.folder else f for f in source.file.tolist()]
  columns['file_name'] = np.array(below)
  with open(os.path.join(folder, 'columns.npz.part'), 'wb') as f:
    np.savez(f, **columns)
  os.replace(os.path.join(folder, 'columns.npz.part'), os.path.join(folder, 'columns.npz'))
  _write_json(folder, 'skeleton.json', dataclasses.asdict(source.skeleton))
  if source.ground_truth is not None:
    _write_json(folder, 'ground_truth.json', _without_outlines(source.ground_truth))
  _describe(folder, meta)
  for name in prepared.files_of(meta):
    if name not in meta['sha256']:
      meta['sha256'][name] = _checksum(os.path.join(folder, name))


def _without_outlines(truth):
  """No metric of poses reads outlines, and they are most of a file."""
  drop = lambda name: name == 'segmentation' or name.startswith('dp_')
  people = [{k: v for k, v in a.items() if not drop(k)} for a in truth['annotations']]
  return truth | {'annotations': people}


def _describe(folder, meta):
  """Writes the files by which TensorFlow Datasets knows the shards."""
  import tensorflow_datasets as tfds
  split, count = meta['split'], meta['records_per_shard']
  template = tfds.core.ShardedFileTemplate(
    data_dir=folder, dataset_name=prepared.DATASET, split=split, filetype_suffix='array_record')
  shards = prepared.shard_names(split, meta['shards'])
  info = tfds.core.SplitInfo(
    name=split, shard_lengths=[min(count, meta['people'] - i * count) for i in range(len(shards))],
    num_bytes=sum(os.path.getsize(os.path.join(folder, name)) for name in shards),
    filename_template=template)
  tfds.folder_dataset.write_metadata(
    data_dir=folder, features=_features(), split_infos=[info], filename_template=template,
    check_data=False)  # checking needs TensorFlow


def _write_json(folder, name, value):
  path = os.path.join(folder, name)
  with open(path + '.part', 'w', encoding='utf-8') as f:
    json.dump(value, f, sort_keys=True)
  os.replace(path + '.part', path)


def _checksum(path):
  with open(path, 'rb') as f:
    return hashlib.file_digest(f, 'sha256').hexdigest()


def verify(root) -> list[str]:
  """Checks every file of a prepared folder; returns a line for each split.

  Raises ValueError naming what is missing or broken.
  """
  splits = sorted(name for name in (os.listdir(root) if os.path.isdir(root) else ())
                  if os.path.isfile(os.path.join(root, name, 'meta.json')))
  if not splits:
    raise FileNotFoundError(f"'{root}' holds no prepared split (a folder with meta.json)")
  return [_verify(root, split) for split in splits]


def _verify(root, split):
  folder, problems = os.path.join(root, split), {}  # path: what is wrong
  try:
    with open(os.path.join(folder, 'meta.json'), encoding='utf-8') as f:
      meta = json.load(f)
    sums, names = meta['sha256'], prepared.files_of(meta)
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(f"'{folder}/meta.json' is broken ({error}); prepare anew") from None
  for name in tqdm.tqdm([*names, *(k for k in sums if '/' in k)], f'checking {split}'):
    path = os.path.normpath(os.path.join(folder, name))
    if not os.path.isfile(path):
      problems[path] = 'missing'
    elif name not in sums:
      problems[path] = 'not finished'
    elif _checksum(path) != sums[name]:
      problems[path] = 'broken'
  if problems:
    told = '; '.join(f"'{path}' is {what}" for path, what in problems.items())
    remove = ('remove what is broken (of the patch bank its whole folder) and '
              if 'broken' in problems.values() else '')
    raise ValueError(f'{told}: {remove}run the preparation again, which writes what '
                     'is missing')
  return f"verified: {split}, {meta['people']} people in {meta['shards']} files, as prepared"
