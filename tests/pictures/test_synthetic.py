"""The embedded world as whole pictures: exact in space, repeatable, and its options."""
import numpy as np
import pytest

from input_pipeline import pictures
from tests.refusals import fails


@pytest.fixture(scope='module')
def world():
  return pictures.load('synthetic', 'train', count=40, size=(96, 64))


def test_joints_in_2d_are_those_in_space(world):
  assert len(world) == 40 and not world.notes and world.channels.all()
  for row in range(40):
    one = world[row]
    seen = one.joints_3d[..., :2] / one.joints_3d[..., 2:] * one.camera[:2] + one.camera[2:]
    np.testing.assert_allclose(seen, one.joints_2d, atol=2e-3)
    inside = ((one.joints_2d >= 0) & (one.joints_2d <= (95, 63))).all(-1)
    np.testing.assert_array_equal(one.visibility > 0, inside)
    assert 1 <= len(one.visibility) <= 4 and one.visibility.any(1).all()
  assert world.read(3).shape == (64, 96, 3) and world.read(3) is world.read(3)
  assert 0.1 < (world.visibility == 1).mean() < 0.4


def test_bodies_have_the_proportions_of_people(world):
  bone = lambda a, b: np.linalg.norm(world.joints_3d[:, world.skeleton.index(a)]
                                     - world.joints_3d[:, world.skeleton.index(b)], axis=-1)
  for a, b, low, high in (('neck', 'head_top', 22, 34), ('neck', 'hip', 38, 60),
                          ('left_hip', 'left_knee', 32, 53), ('hip', 'left_hip', 7, 12)):
    assert low < bone(a, b).min() and bone(a, b).max() < high, (a, b)


def test_seeds_and_splits_are_other_pictures(world):
  same = pictures.load('synthetic', 'train', count=5, size=(96, 64))
  np.testing.assert_array_equal(same.joints_2d, world.joints_2d[:len(same.joints_2d)])
  digests = {pictures.load('synthetic', split, count=5, size=(96, 64), seed=seed).digest
             for split in ('train', 'val') for seed in (0, 1)}
  assert len(digests) == 4 and same.digest in digests


@pytest.mark.parametrize('people, low, high', [('1', 1, 1), ('3', 3, 3), ('2-3', 2, 3)])
def test_how_many_people_there_are(people, low, high):
  found = pictures.load('synthetic', 'train', count=20, size=(96, 64), people=people)
  count = np.diff(found.people)
  assert count.max() == high and low - 1 <= count.min() <= high  # one may be outside


@pytest.mark.parametrize('options, words', [
  ({'people': '4-1'}, ('people', "'4-1'")), ({'people': 'many'}, ('people', "'many'")),
  ({'people': '0-2'}, ('people',)), ({'count': 0}, ('count', '0')), ({'size': (96, 8)}, ('size',)),
  ({'activities': 'flying'}, ('activities', 'dancing')), ({'count': 'x'}, ('count', "'x'")),
  ({'size': 5}, ('size', '2 whole numbers')), ({'size': (96, 64.5)}, ('size', '2 whole numbers')),
  ({'size': (10**6, 64)}, ('size', 'of 8192 pixels at most')),
  ({'activities': 5}, ('activities', 'a list of texts'))])
def test_wrong_options_are_named(options, words):
  fails(lambda: pictures.load('synthetic', 'train', **options), *words)
