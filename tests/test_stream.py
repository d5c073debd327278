"""The training stream is a pure function of seed and step, whatever the workers and hosts."""
import dataclasses
import functools
import os
import signal
import subprocess
import sys
import tempfile

import cloudpickle
import numpy as np
import pytest

from input_pipeline import geometry, sources, stream
from input_pipeline.occlusion import bank as patches
from input_pipeline.pairs import PairMaker
from tests import data_sets, runs


@functools.cache
def source():
  return sources.load('synthetic', 'train', num_people=21, size=(96, 128))


@pytest.fixture(scope='module')
def maker(tmp_path_factory):
  folder = tmp_path_factory.mktemp('bank') / 'b'
  bank = patches.load_or_build(folder, source(), num_people=21, seed=0)
  return PairMaker(source(), (64, 96), bank, 'published', 3, geometry.Augmentation())


class Numbered(PairMaker):
  """Samples that say which row they are of."""

  def train(self, index, row):
    return super().train(index, row) | {'number': np.int32(row)}


def take(iterator, count):
  """Copies: a worker's batch lives in shared memory only until the iterator moves on."""
  batches = [{k: np.array(v) for k, v in next(iterator).items()} for _ in range(count)]
  iterator.close()
  return batches


def check_equal(one, other):
  assert len(one) == len(other)
  for a, b in zip(one, other, strict=True):
    assert a.keys() == b.keys()
    for k in a:
      np.testing.assert_array_equal(a[k], b[k], err_msg=k)


def test_contract(maker):
  batch, = take(stream.train_stream(maker, batch_size=4), 1)
  shapes = {k: (v.shape, str(v.dtype)) for k, v in batch.items()}
  assert shapes == {
    'image': ((4, 96, 64, 3), 'uint8'), 'occluded_image': ((4, 96, 64, 3), 'uint8'),
    'keypoints': ((4, 17, 2), 'float32'), 'visibility': ((4, 17), 'uint8'),
    'covered': ((4, 17), 'bool'), 'outside': ((4, 17), 'bool')}
  assert set(np.unique(batch['visibility'])) <= {0, 1, 2}


def test_same_batches_with_workers_and_from_any_start(maker):
  plain = take(stream.train_stream(maker, batch_size=4), 8)
  check_equal(plain, take(stream.train_stream(maker, batch_size=4, num_workers=2), 8))
  check_equal(plain[5:], take(stream.train_stream(maker, batch_size=4, start_step=5), 3))
  check_equal(plain[5:], take(
    stream.train_stream(maker, batch_size=4, start_step=5, num_workers=2), 3))


def test_same_global_batches_on_two_hosts(maker):
  plain = take(stream.train_stream(maker, batch_size=6), 3)
  hosts = [take(stream.train_stream(maker, batch_size=3, process=p, processes=2), 3)
           for p in (0, 1)]
  for whole, *parts in zip(plain, *hosts, strict=True):
    for k in whole:
      np.testing.assert_array_equal(whole[k][0::2], parts[0][k], err_msg=k)
      np.testing.assert_array_equal(whole[k][1::2], parts[1][k], err_msg=k)


def test_epochs_are_permutations_with_new_augmentations(maker):
  numbered = Numbered(**{f.name: getattr(maker, f.name) for f in dataclasses.fields(maker)})
  samples = take(stream.train_stream(numbered, batch_size=21), 2)
  first, second = (b['number'] for b in samples)
  assert sorted(first) == sorted(second) == list(range(21))
  assert first.tolist() != second.tolist()
  same = samples[0]['image'][first.argsort()] == samples[1]['image'][second.argsort()]
  assert not same.all((1, 2, 3)).any()


def test_evaluation_pads_and_is_fixed(maker):
  batches = list(stream.eval_stream(maker, batch_size=8))
  assert [len(b['row']) for b in batches] == [8, 8, 8]
  rows = np.concatenate([b['row'][b['mask']] for b in batches])
  assert rows.tolist() == list(range(21))
  parts = [list(stream.eval_stream(maker, batch_size=4, process=p, processes=2))
           for p in (0, 1)]
  assert len(parts[0]) == len(parts[1])
  both = np.concatenate([b['row'][b['mask']] for part in parts for b in part])
  assert sorted(both) == list(range(21))
  again = {int(r): img for part in parts for b in part
           for r, img in zip(b['row'], b['occluded_image'], strict=True)}
  for b in batches:
    for r, image in zip(b['row'], b['occluded_image'], strict=True):
      np.testing.assert_array_equal(again[int(r)], image)


def test_keypoints_follow_the_picture(maker):
  """A dot painted on a joint is found at the joint's place in the crop, mirrored or not."""
  row = int(np.argmax((source().visibility == 2).sum(1)))
  joint = int(np.flatnonzero(source().visibility[row] == 2)[0])
  order = source().skeleton.flip_order
  seen = 0
  for epoch in range(30):
    rng = np.random.default_rng(epoch)
    image = np.zeros((128, 96, 3), np.uint8)
    x, y = np.round(source().keypoints[row, joint]).astype(int)
    image[max(y - 1, 0):y + 2, max(x - 1, 0):x + 2] = 255
    matrix, mirror = geometry.draw_crop(
      rng, geometry.Augmentation(), source().center[row], source().scale[row],
      source().keypoints[row], source().visibility[row], source().skeleton.lower_body, 96, (64, 96))
    sample = maker._pair(image, row, matrix, mirror, rng)
    place = sample['keypoints'][order[joint] if mirror else joint]
    if (place > 4).all() and (place < np.array([60, 92])).all():
      lit = np.argwhere(sample['image'][..., 0] > 40)[:, ::-1]
      assert np.linalg.norm(lit.mean(0) - place) < 2
      seen += 1
  assert seen > 10


# ---- what data workers get of a source

_COLUMNS = ('image_id', 'annotation_id', 'box', 'center', 'scale', 'keypoints', 'visibility',
            'box_score')


@functools.cache
def _files(folder):
  return sources.load('coco', 'train', root=data_sets.write_coco(folder / 'coco'))


def _seen(source, row):
  names = np.array([list(file.encode()) for file in source.file])  # a worker sends numbers
  return {name: getattr(source, name) for name in _COLUMNS} | {
    'names': names, 'picture': source.read(row)}


def test_a_worker_sees_the_same_columns(tmp_path):
  files = _files(tmp_path).subset(np.tile(np.arange(4), 3))
  work = functools.partial(_seen, files)
  here, there = (list(stream.in_order(12, work, workers)) for workers in (0, 1))
  check_equal(here, there)


def test_what_a_worker_is_sent_does_not_grow_with_the_people(tmp_path):
  files = _files(tmp_path)
  many = files.subset(np.tile(np.arange(4), 5000))
  few, more = (len(cloudpickle.dumps(s)) for s in (files.subset(np.arange(4)), many))
  assert more < few + 100
  copy = cloudpickle.loads(cloudpickle.dumps(many))
  assert copy.digest == many.digest and copy.ground_truth is None
  np.testing.assert_array_equal(copy.file, many.file)
  np.testing.assert_array_equal(copy.read(4001), many.read(1))
  assert copy.subset([5, 3]).digest == many.subset([5, 3]).digest
  moved = dataclasses.replace(copy, box=copy.box + 1)
  assert cloudpickle.loads(cloudpickle.dumps(moved)).digest == moved.digest != copy.digest
  with pytest.raises(RuntimeError, match='in the process that read'):
    copy.mask(0)


def test_workers_need_no_disk(tmp_path, monkeypatch):
  files = _files(tmp_path).subset([2, 1])
  monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'missing'))
  assert cloudpickle.loads(cloudpickle.dumps(files)).digest == files.digest


@pytest.mark.parametrize(('end', 'code'), [
  ('', 0), ('1 / 0', 1), ('os.kill(os.getpid(), 9)', -signal.SIGKILL)])
def test_no_file_is_left_behind(tmp_path, end, code):
  script = ('import os, tempfile, cloudpickle\nfrom input_pipeline import sources\n'
            "source = sources.load('synthetic', 'train', num_people=2, size=(48, 64))\n"
            'content = cloudpickle.dumps(source)\n'
            'assert len(cloudpickle.loads(content)) == 2\n'
            f'assert os.listdir(tempfile.gettempdir()) == []\n{end}')
  done = subprocess.run([sys.executable, '-c', script], cwd=runs.ROOT, capture_output=True,
                        text=True, env=os.environ | {'TMPDIR': str(tmp_path)})
  assert done.returncode == code, done.stderr
  assert os.listdir(tmp_path) == []


def test_workers_end_with_a_process_that_is_killed(tmp_path):
  script = ('import multiprocessing, os\nfrom input_pipeline import stream\n'
            'work = stream.in_order(9, str, 2)\n'
            'next(work)\n'
            'print(*(p.pid for p in multiprocessing.active_children()), flush=True)\n'
            'os.kill(os.getpid(), 9)')
  # Its output ends when the last of the processes that write to it does.
  done = subprocess.run([sys.executable, '-c', script], cwd=runs.ROOT, capture_output=True,
                        text=True, timeout=60)
  assert done.returncode == -signal.SIGKILL and len(done.stdout.split()) == 2, done.stderr
