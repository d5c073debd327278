"""What is added to drawn maps, part by part."""
import jax
import numpy as np
import pytest

from dslope_jax import part_maps, part_noise
from dslope_jax.part_noise import Noise
from dslope_jax.systems import hupor_people
from tests import tiny_people

NONE = Noise(peak=1.0, dropped=(0.0, 0.0), jitter=0.0, false_peaks=0.0, lost_limbs=0.0, maps=0.0,
             depth=0.0)


@pytest.fixture(scope='module')
def people():
  return jax.tree.map(np.asarray, hupor_people.people_of(tiny_people.batch(8, 3)))


def draw(people, noise, seed=0, **options):
  found = part_noise.draw(jax.random.key(seed), people, tiny_people.SIZE, noise, **options)
  return jax.tree.map(np.asarray, found)


def encoded(people, scale, **options):
  drawn = part_maps.encode(people, tiny_people.SIZE, scales=(scale,), **options)
  return {name: np.asarray(drawn[name][:, 0]) for name in ('maps', 'relative_depth')}


@pytest.mark.parametrize('noise', [None, NONE])
def test_without_noise_each_picture_has_one_of_the_scales(people, noise):
  found, seen = draw(people, noise), set()
  clean = [encoded(people, scale) for scale in range(5)]
  for picture, maps in enumerate(found['maps']):
    fits = [scale for scale in range(5)
            if np.abs(maps - clean[scale]['maps'][picture]).max() < 1e-5]
    assert len(fits) == 1
    np.testing.assert_allclose(found['relative_depth'][picture],
                               clean[fits[0]]['relative_depth'][picture], atol=1e-3)
    seen.add(fits[0])
  assert len(seen) > 1


def test_published_maps_have_the_published_peaks(people):
  assert draw(people, None, reference=True)['maps'][..., :15].max() == 255


def test_people_are_moved_dropped_and_weak(people):
  noisy = part_noise.noisy(jax.random.key(1), people, Noise(dropped=(0.3, 0.3), jitter=0.5))
  before, after = people['visibility'], np.asarray(noisy['visibility'])
  assert ((before == after) | ((before == 2) & (after == 1))).all()
  share = (after != before)[before == 2].mean()
  assert 0.2 < share < 0.4
  moved = np.asarray(noisy['joints']) - people['joints']
  assert 1.5 < np.abs(moved).max() <= 2 and abs(moved.mean()) < 0.2  # half a pixel of the maps
  heights = np.asarray(noisy['heights'])
  assert 0.4 <= heights.min() < 0.45 and 0.95 < heights.max() <= 1
  assert noisy['lost'].shape == (8, 4, 14)
  for name in ('depth', 'focal'):
    assert noisy[name] is people[name]


def test_peaks_are_as_high_as_they_are_drawn(people):
  low = draw(people, NONE._replace(peak=0.5))['maps'][..., :15]
  full = draw(people, NONE)['maps'][..., :15]
  there = full > 0.99
  assert 0.4 < low[there].min() < 0.75 and (low <= full + 1e-6).all()


def test_lost_limbs_have_no_field_and_no_depth(people):
  found = draw(people, NONE._replace(lost_limbs=1.0))
  assert not found['maps'][..., 15:].any() and not found['relative_depth'].any()
  assert found['maps'][..., :15].max() > 0.9


def test_false_peaks_are_low_and_as_many_as_said():
  shape, noise = (50, 32, 48, 15), Noise(false_peaks=1.5, false_height=0.2)
  scales = np.full((50, 1), 4)
  maps = np.asarray(part_noise.false_peaks(jax.random.key(0), shape, scales, noise))
  assert 0.15 < maps.max() <= 0.2 and maps.min() == 0
  none = (maps.max((1, 2)) == 0).mean()
  assert abs(none - 0.5 ** 3) < 0.04  # each of three is there with probability one half


def test_pixels_are_noisy_by_the_deviation(people):
  nobody = people | {'visibility': 0 * people['visibility']}
  found = draw(nobody, NONE._replace(maps=0.02, depth=3.0))
  np.testing.assert_allclose(found['maps'].std(), 0.02, rtol=0.02)
  np.testing.assert_allclose(found['relative_depth'].std(), 3.0, rtol=0.02)
