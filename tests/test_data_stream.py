"""The training stream is a pure function of seed and step, whatever the workers and hosts."""
import functools

import numpy as np
import pytest

import input_pipeline
from input_pipeline import patches, top_down


@functools.cache
def source():
  return input_pipeline.load('synthetic', 'train', num_people=21, size=(96, 128))


@pytest.fixture(scope='module')
def maker(tmp_path_factory):
  folder = tmp_path_factory.mktemp('bank') / 'b'
  bank = patches.load_or_build(folder, source(), num_people=21, seed=0)
  return input_pipeline.PairMaker(source(), (64, 96), bank, 'published', 3,
                                  top_down.Augmentation())


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
  batch, = take(input_pipeline.train_dataset(maker, batch_size=4), 1)
  shapes = {k: (v.shape, str(v.dtype)) for k, v in batch.items()}
  assert shapes == {
    'image': ((4, 96, 64, 3), 'uint8'), 'occluded_image': ((4, 96, 64, 3), 'uint8'),
    'keypoints': ((4, 17, 2), 'float32'), 'visibility': ((4, 17), 'uint8'),
    'covered': ((4, 17), 'bool'), 'row': ((4,), 'int32'), 'unreadable': ((4,), 'bool')}
  assert set(np.unique(batch['visibility'])) <= {0, 1, 2}


def test_same_batches_with_workers_and_from_any_start(maker):
  plain = take(input_pipeline.train_dataset(maker, batch_size=4), 8)
  check_equal(plain, take(input_pipeline.train_dataset(maker, batch_size=4, num_workers=2), 8))
  check_equal(plain[5:], take(input_pipeline.train_dataset(maker, batch_size=4, start_step=5), 3))
  check_equal(plain[5:], take(
    input_pipeline.train_dataset(maker, batch_size=4, start_step=5, num_workers=2), 3))


def test_same_global_batches_on_two_hosts(maker):
  plain = take(input_pipeline.train_dataset(maker, batch_size=6), 3)
  hosts = [take(input_pipeline.train_dataset(maker, batch_size=3, process=p, processes=2), 3)
           for p in (0, 1)]
  for whole, *parts in zip(plain, *hosts, strict=True):
    for k in whole:
      np.testing.assert_array_equal(whole[k][0::2], parts[0][k], err_msg=k)
      np.testing.assert_array_equal(whole[k][1::2], parts[1][k], err_msg=k)


def test_epochs_are_permutations_with_new_augmentations(maker):
  samples = take(input_pipeline.train_dataset(maker, batch_size=21), 2)
  first, second = (b['row'] for b in samples)
  assert sorted(first) == sorted(second) == list(range(21))
  assert first.tolist() != second.tolist()
  same = samples[0]['image'][first.argsort()] == samples[1]['image'][second.argsort()]
  assert not same.all((1, 2, 3)).any()


def test_evaluation_pads_and_is_fixed(maker):
  batches = list(input_pipeline.eval_dataset(maker, batch_size=8))
  assert [len(b['row']) for b in batches] == [8, 8, 8]
  rows = np.concatenate([b['row'][b['mask']] for b in batches])
  assert rows.tolist() == list(range(21))
  parts = [list(input_pipeline.eval_dataset(maker, batch_size=4, process=p, processes=2))
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
    matrix, mirror = top_down.draw_crop(
      rng, top_down.Augmentation(), source().center[row], source().scale[row],
      source().keypoints[row], source().visibility[row], source().skeleton.lower_body, 96, (64, 96))
    sample = maker._pair(image, row, matrix, mirror, rng)
    place = sample['keypoints'][order[joint] if mirror else joint]
    if (place > 4).all() and (place < np.array([60, 92])).all():
      lit = np.argwhere(sample['image'][..., 0] > 40)[:, ::-1]
      assert np.linalg.norm(lit.mean(0) - place) < 2
      seen += 1
  assert seen > 10
