"""Prepared crops: what was drawn from the originals, to the bit, on pictures that are nearly so."""
import dataclasses
import functools
import pathlib
import shutil
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslope_jax import skeletons
from dslope_jax.tasks.people import load_bank, load_source, load_train, prepare
from dslope_jax.training.workdir import check_config
from input_pipeline import geometry, sources, stream
from input_pipeline.occlusion import bank as patches
from input_pipeline.occlusion import benchmark
from input_pipeline.pairs import FIELDS, PairMaker
from input_pipeline.prepared import area, reading, writing
from input_pipeline.sources import detections
from input_pipeline.sources.source import Source
from tests import data_sets, runs, tiny
from tests.refusals import fails
from tests.test_stream import check_equal
from tests.test_stream import take as take_batches

SIZE = (48, 64)
# Every kind of draw is common, so that a few epochs have them all.
STRONG = geometry.Augmentation(rotation_prob=0.7, half_body_prob=0.6)
SETTINGS = area.Settings(SIZE, STRONG)


@functools.cache
def world():
  return sources.load('synthetic', 'train', num_people=24, size=(160, 200))


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  """The world prepared, with ten people in a file."""
  folder = tmp_path_factory.mktemp('prepared')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(writing, '_IN_A_FILE', 10)
    writing.write(world(), folder, SETTINGS)
  return folder


@pytest.fixture(scope='module')
def bank(tmp_path_factory):
  folder = tmp_path_factory.mktemp('bank') / 'b'
  return patches.load_or_build(folder, world(), num_people=24, seed=0)


@pytest.fixture(scope='module')
def coco(tmp_path_factory):
  """(originals, prepared crops) of a data set of files with large pictures."""
  folder = tmp_path_factory.mktemp('coco')
  config = _config(data_sets.write_coco(folder / 'set', num_images=6, size=(360, 480)))
  prepare(config, folder / 'out')
  return config, folder / 'out'


def _config(data_root, **changes):
  """A tiny config of a COCO folder."""
  config = tiny.config(name='coco', root=str(data_root), size=SIZE)
  config.evals.val.data.loader = {}
  config.data.update(changes)
  return config


def psnr(one, other):
  return 10 * np.log10(255 ** 2 / max(np.mean((one.astype(float) - other) ** 2), 1e-3))


def same_but_pictures(a, b, floor):
  """Asserts equal fields, and pictures of at least so many dB."""
  assert a.keys() == b.keys()
  for name in a:
    if name in ('image', 'occluded_image'):
      assert psnr(a[name], b[name]) > floor, name
    else:
      np.testing.assert_array_equal(a[name], b[name], err_msg=name)
      assert np.asarray(a[name]).dtype == np.asarray(b[name]).dtype


@pytest.mark.parametrize('recipe', ['published', 'severity4'])
@pytest.mark.parametrize('unbiased', [False, True])
def test_pairs_are_those_of_the_originals(root, bank, recipe, unbiased):
  stored = reading.load('train', root=root)
  makers = [PairMaker(s, SIZE, bank, recipe, 5, STRONG, unbiased, (*FIELDS, 'others', 'box'))
            for s in (world(), stored)]
  assert any(makers[1].evaluate(row)['others'].any() for row in range(len(stored)))
  for row in range(len(stored)):
    for epoch in range(5):
      one, other = (m.train(epoch * len(stored) + row, row) for m in makers)
      same_but_pictures(one, other, floor=33)
    same_but_pictures(*(m.evaluate(row) for m in makers), floor=33)


def test_columns_are_those_of_the_originals(root):
  source, stored = world(), reading.load('train', root=root)
  for field in dataclasses.fields(Source):
    if field.name not in ('name', 'read', 'mask', 'parts', 'frames', 'folder'):
      one, other = getattr(source, field.name), getattr(stored, field.name)
      if isinstance(one, np.ndarray):
        assert one.dtype.kind == 'U' or one.dtype == other.dtype, field.name
      np.testing.assert_array_equal(one, other, err_msg=field.name)
  assert stored.digest == source.digest and stored.name == f'{source.name} (prepared)'
  width = [stored.picture_width(r, stored.read(r)) for r in range(len(stored))]
  assert set(width) == {160} and {type(w) for w in width} == {int}


def test_files_and_frames_of_a_data_set(coco):
  config, out = coco
  originals, stored = load_train(config)[0], reading.load('train', root=out)
  assert stored.file.tolist() == [pathlib.Path(f).name for f in originals.file]
  assert {'segmentation'} == set(originals.ground_truth['annotations'][0]) - set(
    stored.ground_truth['annotations'][0])
  part = stored.subset([4, 1])
  np.testing.assert_array_equal(part.frames, stored.frames[[4, 1]])
  np.testing.assert_array_equal(part.read(1), stored.read(1))


def test_the_stream_is_equal_with_workers(root, bank):
  maker = PairMaker(reading.load('train', root=root), SIZE, bank, 'published', 1,
                                   STRONG)
  take = lambda workers: take_batches(
    stream.train_stream(maker, batch_size=6, num_workers=workers), 5)
  for a, b in zip(take(0), take(2), strict=True):
    check_equal([a], [b])


def test_tensorflow_datasets_reads_it(root):
  import tensorflow_datasets as tfds
  builder = tfds.builder_from_directory(root / 'train')
  records = builder.as_data_source(split='train', decoders={'image': tfds.decode.SkipDecoding()})
  stored = reading.load('train', root=root)
  assert len(records) == 24 and builder.info.splits['train'].shard_lengths == [10, 10, 4]
  for row in (0, 9, 10, 23):
    image = cv2.imdecode(np.frombuffer(records[row]['image'], np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(image[..., ::-1], stored.read(row))
  assert 'tensorflow' not in sys.modules


def test_importing_and_opening_leaves_the_library_alone(root):
  code = ("import sys; from input_pipeline.prepared import reading; "
          f"reading.load('train', root={str(root)!r}); "
          "print('tensorflow_datasets' in sys.modules)")
  out = subprocess.run([sys.executable, '-c', code], cwd=runs.ROOT, capture_output=True, text=True)
  assert out.stdout.strip() == 'False', out.stdout + out.stderr


people = st.fixed_dictionaries({
  'width': st.integers(20, 160), 'height': st.integers(20, 160),
  'x': st.floats(-0.2, 1.2), 'y': st.floats(-0.2, 1.2), 'side': st.floats(4, 200),
  'seed': st.integers(0, 10**6), 'unbiased': st.booleans(),
  'augmentation': st.builds(
    geometry.Augmentation, st.floats(0, 0.9), st.floats(0, 100), st.sampled_from([0., 0.7]),
    st.just(0.5), st.sampled_from([0., 0.7]), st.integers(3, 12))})


@settings(max_examples=150, deadline=None)
@given(people)
def test_no_crop_needs_more_than_its_area(p):
  """What lies outside the area of a person changes no pixel of any crop."""
  rng = np.random.default_rng(p['seed'])
  a, width, height = p['augmentation'], p['width'], p['height']
  place = np.array([p['x'] * width, p['y'] * height])
  joints = (place + rng.normal(0, 0.3 * p['side'], (17, 2))).astype(np.float32)
  visibility = rng.integers(0, 3, 17).astype(np.uint8)
  scale = np.array([0.75 * p['side'] / 200, p['side'] / 200], np.float32)
  source = _one_person(place.astype(np.float32), scale, joints, visibility)
  wanted = area.Settings(SIZE, a, p['unbiased'])
  part = area.area(wanted, source, 0, width, height)
  assert 0 <= part.x < width and 0 <= part.y < height and part.width > 0 and part.height > 0
  assert part.x + part.width < width + part.shrink and part.y + part.height < height + part.shrink
  image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
  other = 255 - image
  inside = np.s_[part.y:part.y + part.height, part.x:part.x + part.width]
  other[inside] = image[inside]
  for _ in range(40):
    matrix, _ = geometry.draw_crop(rng, a, source.center[0], scale, joints, visibility,
                                   skeletons.COCO.lower_body, width, SIZE, p['unbiased'])
    np.testing.assert_array_equal(geometry.warp(image, matrix, SIZE),
                                  geometry.warp(other, matrix, SIZE))


def _one_person(center, scale, joints, visibility):
  return dataclasses.replace(
    world().subset([0]), center=center[None], scale=scale[None], keypoints=joints[None],
    visibility=visibility[None])


def test_the_area_is_not_much_more_than_needed():
  still = geometry.Augmentation(0, 0, 0, 0.5, 0)
  joints, visibility = np.zeros((17, 2), np.float32), np.full(17, 2, np.uint8)
  source = _one_person(np.float32([500, 400]), np.float32([0.75, 1]), joints, visibility)
  part = area.area(area.Settings(SIZE, still), source, 0, 1000, 1000)
  assert part.width <= 150 + 2 * 2 + 1 + 15 and part.height <= 200 + 2 * 2 + 1 + 15


@pytest.mark.parametrize('shrink', [2, 4])
def test_a_large_person_is_stored_smaller_in_its_place(shrink):
  """Waves of 40 pixels: half a pixel beside its place would change a crop by 5 levels."""
  y, x = np.mgrid[:701, :603]
  image = (128 + 60 * np.sin(x / 6.4) + 60 * np.sin(y / 6.4)).astype(np.uint8)[..., None]
  image = np.repeat(image, 3, 2)
  still = geometry.Augmentation(0, 20, 0.5, 0.5, 0)
  side = 2.2 * shrink * 48
  source = _one_person(np.float32([310, 340]), np.float32([side / 200, side / 150]),
                       np.zeros((17, 2), np.float32), np.full(17, 2, np.uint8))
  part = area.area(area.Settings(SIZE, still), source, 0, 603, 701)
  assert part.shrink == shrink and part.width % shrink == part.height % shrink == 0
  stored = area.cut(image, part)
  assert stored.shape == (part.height // shrink, part.width // shrink, 3)
  crops = dataclasses.replace(source, frames=np.int32([[part.x, part.y, shrink, 603]]))
  for seed in range(10):
    matrix, mirror = geometry.draw_crop(
      np.random.default_rng(seed), still, source.center[0], source.scale[0], source.keypoints[0],
      source.visibility[0], skeletons.COCO.lower_body, 603, SIZE)
    a = geometry.warp(image, matrix, SIZE).astype(float)
    b = geometry.warp(stored, crops.crop_map(0, matrix), SIZE)
    assert np.abs(a - b)[4:-4, 4:-4].mean() < 2.5
    moved = crops.crop_map(0, matrix + [[0, 0, 0.25], [0, 0, 0.25]])
    assert np.abs(a - b).mean() < np.abs(a - geometry.warp(stored, moved, SIZE)).mean()


def test_a_close_crop_forbids_shrinking():
  boxes = [((0, 0), (4.8, 6.4))]  # 20 pixels of the picture a crop pixel
  shrink = lambda scale, detail=2, more=(): area.shrink_factor(
    [*boxes, *more], geometry.Augmentation(scale), SIZE, detail)
  assert [shrink(0), shrink(0, 6), shrink(0.85), shrink(1.0)] == [8, 2, 2, 1]
  assert shrink(0, 2, [((0, 0), (0.5, 0.66))]) == 2


def test_shrunk_people_of_a_set(tmp_path):
  """A whole set of large people: fields equal, pictures alike. With ten pixels of the picture a
  crop pixel, a crop of the original is mostly noise, which the mean of many pixels is free of."""
  config = _config(data_sets.write_coco(tmp_path / 'set', num_images=3, size=(641, 803)),
                   size=(24, 32))
  config.data.augmentation.half_body_prob = 0.0
  prepare(config, tmp_path / 'out')
  originals = load_train(config)[0]
  config.data.prepared = str(tmp_path / 'out')
  stored = load_train(config)[0]
  assert (stored.frames[:, 2] >= 4).all()
  makers = [PairMaker(s, (24, 32), load_bank(config, tmp_path), 'published', 0,
                                     geometry.Augmentation(half_body_prob=0.0))
            for s in (originals, stored)]
  for index in range(9):
    same_but_pictures(*(m.train(index, index % 3) for m in makers), floor=16)


def _prepare(data, out, *more):
  """A process of the command."""
  return subprocess.Popen(
    [sys.executable, 'tools/prepare_crops.py', '--config', 'tests/tiny.py:coco',
     f'--config.data.root={data}', '--out', str(out), *more],
    cwd=runs.ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.slow
def test_a_killed_preparation_leaves_no_split_and_says_so(tmp_path):
  data = data_sets.write_coco(tmp_path / 'set', num_images=40, size=(900, 1200))
  out, end = tmp_path / 'out', time.time() + 60
  process = _prepare(data, out)
  while not list(out.glob('*/*array_record*')):
    assert process.poll() is None and time.time() < end, process.communicate()
    time.sleep(0.002)
  process.kill()
  process.communicate()
  fails(lambda: reading.load('train', root=out), out, '--split train', kind=FileNotFoundError)
  output, _ = _prepare(data, out).communicate()
  assert "train.unfinished' is there" in output and 'Traceback' not in output
  shutil.rmtree(out / 'train.unfinished')
  output, _ = _prepare(data, out, '--num_workers=2').communicate()
  assert f"40 people in '{out}/train'" in output, output
  assert sorted(p.name for p in out.iterdir()) == ['patches', 'train']
  output, _ = _prepare(data, out, '--verify', str(out)).communicate()
  assert 'train: all records of 40 people can be read' in output, output


def unreadable(maker, row):
  try:
    maker.train(row, row)
    return False
  except OSError:
    return True


def test_broken_and_missing_records_are_named(root, tmp_path):
  folder = tmp_path / 'copy'
  shutil.copytree(root, folder)
  first, second, _ = sorted((folder / 'train').glob('*.array_record*'))
  content = bytearray(first.read_bytes())
  content[70_000] ^= 1
  first.write_bytes(content)
  stored = reading.load('train', root=folder)
  maker = PairMaker(stored, SIZE, None, 'none', 0, STRONG)
  row, = (row for row in range(24) if unreadable(maker, row))
  assert row < 10
  fails(lambda: stored.read(row), f'record {row} of', 'prepare it again', kind=OSError)
  fails(lambda: reading.verify(folder), f"1 of 24 records of '{folder}/train' are broken: {row};")
  stored = reading.load('train', root=folder)
  second.unlink()
  fails(lambda: stored.read(10), 'record 10 of', kind=OSError)
  fails(lambda: reading.verify(folder), 'lacks 1 of 3 files', kind=FileNotFoundError)
  fails(lambda: reading.verify(tmp_path), 'holds no prepared split', kind=OSError)


@pytest.mark.parametrize('name', ['columns.npz', 'ground_truth.json', 'metadata.json',
                                  'dataset_info.json'])
@pytest.mark.parametrize('size', [-300, 0])
def test_a_broken_file_is_told(root, tmp_path, name, size):
  shutil.copytree(root, tmp_path / 'copy')
  path = tmp_path / 'copy/train' / name
  path.write_bytes(path.read_bytes()[:size])
  fails(lambda: reading.load('train', root=tmp_path / 'copy'), tmp_path / 'copy/train')


def test_an_unreadable_picture_is_named(tmp_path):
  data = pathlib.Path(data_sets.write_coco(tmp_path / 'set'))
  (data / 'train/000003.jpg').write_bytes(b'no picture')
  for workers in (0, 1):
    fails(lambda w=workers: prepare(_config(data), tmp_path / 'out', num_workers=w), '000003.jpg',
          'annotation 30', 'prepare again', kind=OSError)
  assert not list((tmp_path / 'out').iterdir())


def test_another_source_or_other_settings_are_refused(root, tmp_path):
  write = functools.partial(writing.write, out=root)
  before = {p: p.stat().st_mtime_ns for p in root.rglob('*')}
  write(world(), settings=SETTINGS)
  assert before == {p: p.stat().st_mtime_ns for p in root.rglob('*')}
  fails(lambda: write(world().subset(range(20)), settings=SETTINGS), root, 'people: 24 -> 20',
        'choose another --out')
  fails(lambda: write(world(), settings=SETTINGS._replace(quality=90)), 'quality: 95 -> 90')
  fails(lambda: write(world().subset([]), settings=SETTINGS), 'no people')
  crops = reading.load('train', root=root)
  fails(lambda: write(crops, settings=SETTINGS), 'prepare the originals')
  (tmp_path / 'train').mkdir()
  for action in (lambda: writing.write(world(), tmp_path, SETTINGS),
                 lambda: reading.load('train', root=tmp_path)):
    fails(action, 'train', 'into another folder', kind=FileNotFoundError)
  fails(lambda: reading.load('val', root=tmp_path), '--split val', kind=FileNotFoundError)
  fails(lambda: reading.load('train', root=root, aspect=1.0), '48x64', 'prepare anew')


@pytest.mark.parametrize('field, value, words', [
  ('size', (64,), 'must be'), ('size', (64, 64), 'aspect ratio'), ('size', (96, 128), 'larger'),
  ('augmentation.scale', 0.4, 'data.augmentation.scale is 0.4'),
  ('augmentation.rotation', 50.0, 'data.augmentation.rotation is 50.0'),
  ('augmentation.half_body_joints', 4, 'data.augmentation.half_body_joints is 4'),
  ('loader.padding', 1.5, 'data.loader'), ('name', 'crowdpose', 'data.name'),
  ('train_split', 'val', '--split val'), ('name', 'prepared', 'data.prepared=DIR')])
def test_a_config_that_needs_more_is_refused(coco, field, value, words):
  config, out = coco
  config = _config(config.data.root, prepared=str(out)).unlock()
  section, _, name = field.rpartition('.')
  (config.data[section] if section else config.data)[name] = value
  fails(lambda: load_train(config), words, kind=(ValueError, OSError))


def test_a_config_that_needs_less_is_served(coco):
  config, out = coco
  weaker = _config(config.data.root, prepared=str(out), size=(24, 32))
  weaker.data.augmentation.update(dict(scale=0.1, rotation=10.0, half_body_prob=0.0))
  assert len(load_train(weaker)[0]) == 6
  weaker.system.codec = 'udp'
  fails(lambda: load_train(weaker), 'system.codec', 'unbiased')


def test_the_bank_is_that_of_the_originals(coco, tmp_path):
  config, out = coco
  stored = _config(config.data.root, prepared=str(out))
  assert load_bank(stored, tmp_path).folder == str(out / 'patches')
  assert load_bank(stored, tmp_path).digest == load_bank(config, tmp_path).digest
  (tmp_path / 'run').mkdir()
  (tmp_path / 'run/config.json').write_text(stored.to_json())
  assert load_bank(config, tmp_path / 'run').folder == str(out / 'patches')
  fails(lambda: load_bank(_config(config.data.root, prepared=str(out), holdout=0.3), tmp_path),
        'data.holdout', 'data.bank.folder')
  shutil.copytree(out, tmp_path / 'bare', ignore=shutil.ignore_patterns('patches'))
  bare = _config(config.data.root, prepared=str(tmp_path / 'bare'))
  fails(lambda: load_bank(bare, tmp_path), 'has no patch bank', 'prepare again')
  prepare(config, tmp_path / 'bare')
  assert load_bank(bare, tmp_path).digest == load_bank(config, tmp_path).digest


def test_whole_pictures_are_asked_for_where_they_are_needed(root, tmp_path):
  stored = reading.load('train', root=root)
  words = ('needs whole pictures', 'prepared from')
  fails(lambda: patches.build(tmp_path / 'b', [stored], num_people=3, seed=0), *words)
  fails(lambda: benchmark.export(stored, None, 'none', SIZE, tmp_path / 'c'), *words)
  fails(lambda: detections.with_detections(
    stored, tmp_path / 'd.json', aspect=0.75, padding=1.25), *words)


def test_a_prepared_split_is_a_data_set_like_others(coco, tmp_path):
  config, out = coco
  prepare(config, out, 'val')
  originals = load_source(config, 'val')
  stored = load_source(_config(out, name='prepared'), 'val')
  assert stored.as_coco()['categories'] == originals.as_coco()['categories']
  makers = [PairMaker(s, SIZE, load_bank(config, tmp_path), 'published', 0)
            for s in (originals, stored)]
  for row in range(len(originals)):
    same_but_pictures(*(m.evaluate(row) for m in makers), floor=33)


def test_a_run_keeps_to_its_pictures(tmp_path):
  """Prepared crops are other pictures: a run does not change to them half-way."""
  check_config(_config('a'), tmp_path, False)
  (tmp_path / 'checkpoints/1').mkdir(parents=True)
  fails(lambda: check_config(_config('a', prepared='out'), tmp_path, False),
        'data.prepared:  -> out')


@pytest.mark.slow
def test_training_on_prepared_crops(tmp_path):
  data = data_sets.write_coco(tmp_path / 'set', num_images=12)
  output, _ = _prepare(data, tmp_path / 'out').communicate()
  assert (tmp_path / 'out/patches/pixels.bin').exists(), output
  shutil.rmtree(f'{data}/train')  # its pictures are not needed any more
  shutil.rmtree(f'{data}/annotations')
  code, output = runs.finish(runs.start(
    tmp_path / 'run', f'--config.data.root={data}', f"--config.data.prepared={tmp_path / 'out'}",
    '--config.duration=2 steps', config='tests/tiny.py:plain_coco'))
  assert code == 0, output
  assert not (tmp_path / 'run/patches').exists()
  assert (tmp_path / 'run/checkpoints/2').is_dir()
