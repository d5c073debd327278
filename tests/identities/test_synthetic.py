"""Drawn people: repeatable, and the splits share nobody."""
import pickle

import numpy as np

from input_pipeline import identities
from input_pipeline.world import faces, kept
from tests.refusals import fails


def drawn(split='train', **options):
  return identities.load('synthetic', split, **{'identities': 5, 'pictures': 3} | options)


def test_the_columns_of_a_set():
  people = drawn()
  assert len(people) == 15 and people.names == tuple(f'train_{n:05d}' for n in range(5))
  np.testing.assert_array_equal(people.identity, np.repeat(np.arange(5), 3))
  assert people.identity.dtype == np.int32 and (people.video == -1).all()
  assert len(set(people.key.tolist())) == 15
  assert people.landmarks.shape == (15, 68, 2) and (people.visibility > 0).sum(1).min() >= 60
  inside = people.visibility > 0
  low, side = people.box[:, :2], people.box[:, 2:]
  for row in range(15):
    points = people.landmarks[row, inside[row]]
    np.testing.assert_allclose(points.min(0), low[row], atol=1e-4)
    np.testing.assert_allclose(points.max(0), low[row] + side[row], atol=1e-4)


def test_a_picture_is_the_same_twice_and_whatever_else_is_drawn():
  people, more = drawn(), drawn(identities=7, pictures=4)
  image = people.read(4)
  kept.forget()
  np.testing.assert_array_equal(image, more.read(5))  # the second picture of the second person
  np.testing.assert_array_equal(people.landmarks[4], more.landmarks[5])
  assert people.key[4] == more.key[5] and people.digest != more.digest
  twin = pickle.loads(pickle.dumps(people))
  assert twin.digest == people.digest == drawn().digest
  kept.forget()
  np.testing.assert_array_equal(image, twin.read(4))


def test_splits_and_seeds_share_nobody():
  numbers = [faces.identity(np.random.default_rng([seed, 0x1D, *split.encode(), n])).numbers
             for seed in (0, 1) for split in ('train', 'val', 'test') for n in range(4)]
  assert len(np.unique(np.round(numbers, 9), axis=0)) == 24
  assert len({drawn(split, seed=seed).digest for split in ('train', 'val') for seed in (0, 1)}) == 4


def test_options_must_be_possible():
  fails(lambda: drawn(identities=0), 'identities is 0')
  fails(lambda: drawn(pictures=0), 'pictures is 0')
  fails(lambda: drawn(size=(96, 20)), 'size is (96, 20)')
  fails(lambda: drawn(people=3), "'synthetic' takes identities, pictures, size, seed")
