"""Maps that are drawn from joints, against the published targets and by hand."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslope_jax import part_maps
from dslope_jax.skeletons import MPI15
from tests.part_golden import golden, split

SIZE = 320, 192
FOCAL = 650.0


def scene(count=1, places=20, visibility=0):
  """People without joints, and a focal length."""
  return dict(joints=np.zeros((count, places, 15, 2), np.float32),
              depth=np.zeros((count, places, 15), np.float32),
              visibility=np.full((count, places, 15), visibility), focal=np.full(count, FOCAL))


def put(people, person, joint, xy, depth=300.0, visibility=2, picture=0):
  at = picture, person, joint
  people['joints'][at], people['depth'][at], people['visibility'][at] = xy, depth, visibility


draw = jax.jit(part_maps.encode, static_argnums=1, static_argnames=('visible_only', 'reference'))


def encode(people, **options):
  return jax.tree.map(np.asarray, draw(people, SIZE, **options))


@pytest.mark.parametrize('published,visible_only', [('visible_maps', True), ('full_maps', False)])
def test_published_targets(published, visible_only):
  arrays, meta = golden('targets_s35')
  bodies, people = arrays['bodies_in'], scene()
  for name, columns in (('joints', slice(2)), ('depth', 2), ('visibility', 3)):
    people[name][0, :len(bodies)] = bodies[..., columns]
  people['focal'][:] = bodies[0, 0, 7] * meta['scale']
  out = encode(people, visible_only=visible_only, reference=True)
  want = split(arrays[published].transpose(0, 2, 3, 1))
  for name, maps in want.items():
    assert out[name].shape == (1, *maps.shape)
    np.testing.assert_allclose(out[name][0], maps, atol=1e-5 * abs(maps).max())
  if visible_only:
    np.testing.assert_allclose(out['anchors'][0], arrays['root_depth'], atol=1e-5)


def test_published_kernels():
  profiles = golden('targets_s35')[0]['blur_profile']
  for profile, kernel in zip(profiles, part_maps.KERNELS, strict=True):
    np.testing.assert_allclose(part_maps._blur(41, kernel)[20, 13:28], profile, atol=1e-6)


def test_a_heatmap_is_the_highest_bell_of_all_people():
  people = scene()
  put(people, 0, 4, (160.8, 100.4))
  put(people, 1, 4, (172.4, 100.4))
  put(people, 2, 4, (160.8, 100.4))
  put(people, 3, 4, (8, 8), visibility=1)
  heatmaps = encode(people)['maps'][0, ..., :15]
  y, x = np.mgrid[:48, :80]
  for scale, (reach, sigma) in enumerate(((7, 2.6), (5, 2.0), (4, 1.7), (3, 1.4), (2, 1.1))):
    bells = [np.exp(-((x - cx) ** 2 + (y - 25.1) ** 2) / (2 * sigma ** 2))
             * (abs(x - cx) <= reach) * (abs(y - 25.1) <= reach) for cx in (40.2, 43.1)]
    np.testing.assert_allclose(heatmaps[scale, ..., 4], np.maximum(*bells), atol=1e-5)
  assert not np.delete(heatmaps, 4, -1).any()
  full = encode(people, visible_only=False)['maps'][0, ..., 4]
  np.testing.assert_allclose(full[:, 2, 2], 1)
  np.testing.assert_array_equal(full[:, 12:], heatmaps[:, 12:, :, 4])


def test_published_heatmaps_of_people_far_apart_are_ours():
  """Of joints on pixels, where the kernels follow the formula and no joint is near the border."""
  people = scene()
  for person, xy in enumerate(((80, 80), (200, 100))):
    put(people, person, 7, xy)
  ours, published = (encode(people, reference=flag)['maps'][0, :2, ..., 7]
                     for flag in (False, True))
  np.testing.assert_allclose(255 * ours, published, atol=1e-3)
  assert (published[:, 20, 20] == 255).all()
  put(people, 1, 7, (80, 80))  # on top of the other
  published = encode(people, reference=True)['maps'][0, ..., 7]
  np.testing.assert_allclose(published[:, 20, 20], 255, rtol=1e-6)


def limb(people, person, start, end, depths=(300.0, 300.0), joints=(0, 1), **options):
  for joint, xy, depth in zip(joints, (start, end), depths, strict=True):
    put(people, person, joint, xy, depth, **options)


def test_a_horizontal_limb():
  people = scene()
  limb(people, 0, (40, 40), (80, 40), (300.25, 310.75))
  for reference, length, dz in ((False, 1, 10.5), (True, 127, 10)):
    out = encode(people, reference=reference)
    field = out['maps'][0, 3, ..., 15:17]
    want = np.zeros((48, 80, 2))
    want[10, 9:21, 0] = length
    np.testing.assert_allclose(field, want, rtol=1e-6)
    np.testing.assert_allclose(out['relative_depth'][0, 3, ..., 0], want[..., 0] / length * dz)
    assert not out['maps'][0, ..., 17:].any() and not out['relative_depth'][..., 1:].any()
    for scale, w in enumerate((3, 2, 1, 1, 1)):  # |dy| < w, and the box from -w to +w
      rows, columns = np.nonzero(out['maps'][0, scale, ..., 15])
      assert (rows.min(), rows.max() + 1) == (11 - w, 10 + w)
      assert (columns.min(), columns.max() + 1) == (10 - w, 20 + w)


def test_limbs_between_the_pixels():
  people = scene()
  limb(people, 0, (41, 42), (83.4, 120.6), (300, 290), joints=(9, 10))
  start, end = np.array([10.25, 10.5]), np.array([20.85, 30.15])
  unit = (end - start) / np.linalg.norm(end - start)
  y, x = np.mgrid[:48, :80]
  out = encode(people)
  for scale, w in enumerate((3, 2, 1)):
    inside = abs((x - start[0]) * unit[1] - (y - start[1]) * unit[0]) < w
    low, high = np.round(start - w), np.round(end + w)
    inside &= (x >= low[0]) & (x < high[0]) & (y >= low[1]) & (y < high[1])
    assert inside.sum() > 20
    np.testing.assert_allclose(out['maps'][0, scale, ..., 15 + 6:15 + 8], inside[..., None] * unit,
                               atol=1e-6)
    np.testing.assert_allclose(out['relative_depth'][0, scale, ..., 3], -10 * inside, rtol=1e-6)


def test_crossing_limbs_are_averaged():
  people = scene()
  limb(people, 0, (40, 80), (120, 80), (300, 320))
  limb(people, 1, (80, 40), (80, 120), (300, 290))
  limb(people, 2, (200, 80), (202, 80))  # shorter than a pixel
  limb(people, 3, (240, 80), (280, 80))
  people['visibility'][0, 3, 1] = 1
  out = encode(people)
  field, dz = out['maps'][0, 2, ..., 15:17], out['relative_depth'][0, 2, ..., 0]
  np.testing.assert_allclose(field[20, 20], (0.5, 0.5))
  np.testing.assert_allclose((dz[20, 20], dz[20, 15], dz[15, 20]), (5, 20, -10))
  assert not field[:, 45:].any()
  full = encode(people, visible_only=False)['maps'][0, 2, ..., 15:17]
  np.testing.assert_allclose(full[20, 65], (1, 0))


def test_anchors():
  people = scene()
  put(people, 3, 2, (101, 50), 350)
  put(people, 5, 2, (70, 60), 450)
  put(people, 6, 2, (330, 60), 450)  # beside the picture
  put(people, 7, 2, (70, 60), 0)  # of no known depth
  put(people, 3, 12, (10, 20), 340, visibility=1)
  rows = encode(people)['anchors'][0]
  assert rows.shape == (7, 20, 3)
  want = np.zeros((7, 20, 3))
  want[2, 3], want[2, 5] = (12.5, 25.25, 350 / FOCAL), (15, 17.5, 450 / FOCAL)
  np.testing.assert_allclose(rows, want, rtol=1e-6)
  published = encode(people, reference=True)['anchors'][0]
  np.testing.assert_allclose(published[2, :3], [want[2, 5], want[2, 3], (0, 0, 0)], rtol=1e-6)
  assert encode(people, visible_only=False)['anchors'][0, 6, 3, 2] > 0
  # Z = 350 cm, f = 1500 pixels, a picture of 1920 columns shown in 832: the depth comes back.
  people['focal'][:] = 1500 * 832 / 1920
  value = encode(people)['anchors'][0, 2, 3, 2]
  np.testing.assert_allclose((value, value * people['focal'][0]), (0.53846, 350), rtol=1e-5)


def random_people(seed, count=2, places=4):
  rng = np.random.default_rng(seed)
  people = scene(count, places)
  people['joints'][:] = rng.uniform(0, SIZE, people['joints'].shape)
  people['depth'][:] = rng.uniform(200, 500, people['depth'].shape)
  people['visibility'][:] = rng.integers(0, 4, people['visibility'].shape)
  return people


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2 ** 31))
def test_the_order_of_people_does_not_count(seed):
  people = random_people(seed)
  out, other = (encode({k: v[:, ::step] if k != 'focal' else v for k, v in people.items()})
                for step in (1, -1))
  for name in ('maps', 'relative_depth'):
    np.testing.assert_allclose(out[name], other[name], atol=1e-4)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2 ** 31))
def test_the_maps_of_mirrored_people_are_mirrored(seed):
  people = random_people(seed, places=1)
  out = encode(people)
  order, limbs = np.arange(15), np.arange(14)
  for a, b in MPI15.flip_pairs:
    order[[a, b]] = b, a
  flipped = [(order[a], order[b]) for a, b in MPI15.limbs]
  limbs = np.array([MPI15.limbs.index(limb) for limb in flipped])
  mirror = {k: v[:, :, order].copy() if k != 'focal' else v for k, v in people.items()}
  mirror['joints'][..., 0] = 4 * (SIZE[0] / 4 - 1) - mirror['joints'][..., 0]  # about the pixels
  back = encode(mirror)['maps'][:, :, :, ::-1]
  heatmaps, fields = back[..., order], back[..., 15:].reshape(*back.shape[:-1], 14, 2)
  np.testing.assert_allclose(heatmaps, out['maps'][..., :15], atol=1e-3)
  fields = (fields[..., limbs, :] * [-1, 1]).reshape(*back.shape[:-1], 28)
  # The box of a limb is half open, so that a mirror moves it by a pixel: only what is in both.
  want = out['maps'][..., 15:]
  both = (fields != 0) & (want != 0)
  assert both.sum() >= 0.5 * (want != 0).sum()
  np.testing.assert_allclose(fields[both], want[both], atol=1e-3)


def test_other_scales_for_each_picture():
  people = random_people(1)
  every = encode(people)
  some = encode(people, scales=jnp.array([[4], [1]]))
  for name in ('maps', 'relative_depth'):
    assert some[name].shape[:2] == (2, 1)
    for picture, scale in enumerate((4, 1)):
      np.testing.assert_allclose(some[name][picture, 0], every[name][picture, scale], atol=1e-6)


def test_maps_of_the_mirrored_picture_are_the_mirrored_maps():
  rng = np.random.default_rng(0)
  people = scene(2, 3)
  people['joints'][:] = rng.uniform(20, (SIZE[0] - 20, SIZE[1] - 20), people['joints'].shape)
  people['depth'][:] = rng.uniform(200, 500, people['depth'].shape)
  people['visibility'][:] = rng.integers(0, 3, people['visibility'].shape)
  other = {name: value.copy() for name, value in people.items()}
  other['joints'][..., 0] = SIZE[0] - 4 - people['joints'][..., 0]
  for name in ('joints', 'depth', 'visibility'):
    other[name] = other[name][:, :, MPI15.flip_order]
  first, second = encode(people), part_maps.mirrored(encode(other))
  np.testing.assert_allclose(second['maps'][..., :15], first['maps'][..., :15], atol=2e-4)
  for name in ('maps', 'relative_depth'):  # the box of a limb is open at one side
    assert (np.abs(second[name] - first[name]) > 2e-4).mean() < 1e-3
  anchors = rng.random((1, 2, 4, 7)).astype(np.float32)
  back = part_maps.mirrored({'maps': first['maps'], 'anchor_depth': anchors})['anchor_depth']
  np.testing.assert_array_equal(back, anchors[:, :, ::-1][..., [0, 1, 2, 4, 3, 6, 5]])


def test_mirrored_pictures_meet_at_the_pixels_of_maps():
  image = np.arange(16, dtype=np.uint8).reshape(1, 1, 16, 1)
  found = np.asarray(part_maps.mirror_picture(image))
  assert found[0, 0, :, 0].tolist() == [*range(12, -1, -1), 128, 128, 128]
  np.testing.assert_array_equal(found[0, 0, ::4, 0][::-1], [128, *range(0, 12, 4)][1:] + [12])
