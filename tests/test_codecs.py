"""DARK and UDP against the published implementation, and what each codec promises."""
import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

import train
from dslope_jax import heatmaps, systems
from dslope_jax.tasks.people import unbiased_crops
from input_pipeline import geometry, sources
from input_pipeline.pairs import PairMaker
from tests import tiny
from tests.golden.rule import stream

GOLDEN = pathlib.Path(__file__).parent / 'golden/codecs'
NAMES = ('hrnet', 'dark', 'udp')
SEEDS = (11, 12)
both = pytest.mark.parametrize('name', ['dark', 'udp'])
seeds = pytest.mark.parametrize('seed', SEEDS)


@functools.cache
def load(file, seed):
  with np.load(GOLDEN / f'{file}_s{seed}.npz') as arrays:
    return dict(arrays), json.loads(str(arrays['meta']))


@functools.cache
def noisy_maps(seed):
  """(H,W,K) by the rule of the README there."""
  meta = load('heatmaps', seed)[1]
  (w, h), k, sigma = meta['heatmap_wh'], meta['K'], meta['sigma']
  r = stream(seed, 'heatmaps')
  cx, cy, a = r.uniform(1, w - 2, k), r.uniform(1, h - 2, k), r.uniform(0.3, 1, k)
  s, n = r.uniform(0.8 * sigma, 1.25 * sigma, (k, 2)), r.randn(k, h, w)
  x, y = np.arange(w), np.arange(h)[:, None]
  bell = [np.exp(-(x - cx[i]) ** 2 / (2 * s[i, 0] ** 2) - (y - cy[i]) ** 2 / (2 * s[i, 1] ** 2))
          for i in range(k)]
  return (a[:, None, None] * bell + 0.02 * n).astype(np.float32).transpose(1, 2, 0)


def published_pixels(keypoints, name, meta):
  """Heatmap pixels -> the input pixels that the published decoder returns."""
  return np.asarray(keypoints) * meta['input_wh'] / (np.array(meta['heatmap_wh']) - (name == 'udp'))


@both
@seeds
def test_targets_equal_the_published_ones(name, seed):
  golden, meta = load('heatmaps', seed)
  maps, weights = jax.jit(functools.partial(
    heatmaps.codec(name).encode, size=meta['input_wh'], sigma=meta['sigma']))(
      golden['keypoints_in'], golden['visible_in'])
  assert maps.dtype == jnp.float32
  np.testing.assert_allclose(maps[0].transpose(2, 0, 1), golden[f'{name}_heatmaps'], atol=5e-6)
  np.testing.assert_array_equal(weights, golden[f'{name}_weights'])


@seeds
def test_blur_and_peaks_equal_the_published_ones(seed):
  golden, meta = load('heatmaps', seed)
  x, y, height = heatmaps.peaks(noisy_maps(seed))
  np.testing.assert_array_equal(np.stack([x, y], -1), golden['argmax_locs'])
  np.testing.assert_array_equal(height, golden['argmax_vals'])
  blurred = np.asarray(heatmaps.blur(noisy_maps(seed), meta['sigma']), np.float64)
  np.testing.assert_allclose(blurred.transpose(2, 0, 1)[:3], golden['blurred_first3'], atol=1e-6)
  stats = blurred.mean(), blurred.std(), np.linalg.norm(blurred)
  np.testing.assert_allclose(stats, golden['blurred_stats_f64'], rtol=1e-6)


@both
@seeds
def test_decoded_keypoints_equal_the_published_ones(name, seed):
  golden, meta = load('heatmaps', seed)
  decode = jax.jit(heatmaps.codec(name).decode, static_argnums=1)
  channels = golden[f'{name}_roundtrip_channels']
  drawn = golden[f'{name}_heatmaps'].transpose(1, 2, 0)
  assert np.isfinite(decode(drawn, meta['sigma'])[0]).all()  # of empty maps too
  for maps, kind in ((drawn[..., channels], 'roundtrip'), (noisy_maps(seed), 'decode')):
    keypoints, scores = decode(maps, meta['sigma'])
    np.testing.assert_allclose(published_pixels(keypoints, name, meta),
                               golden[f'{name}_{kind}_kpts'][0], atol=1e-4)
    np.testing.assert_allclose(scores, golden[f'{name}_{kind}_scores'][0], rtol=1e-6)


def test_udp_reaches_the_published_place_in_the_picture():
  """Through the crop's own pixels, which the published decoder misses by size / (size - 1)."""
  golden, meta = load('heatmaps', 11)
  size, map_size = meta['input_wh'], meta['heatmap_wh']
  center, scale = np.array([[300., 200.]], np.float32), np.array([[0.9, 1.2]], np.float32)
  keypoints, _ = heatmaps.decode_udp(noisy_maps(11)[None], meta['sigma'])
  crop = heatmaps.to_crop(keypoints, map_size, size, unbiased=True)
  got = heatmaps.to_picture(np.asarray(crop), center, scale, size, unbiased=True)
  side = scale[:, None] * 200
  want = golden['udp_decode_kpts'] / size * side + center[:, None] - side / 2
  np.testing.assert_allclose(got, want, atol=1e-3)


@seeds
def test_affines_equal_the_published_ones(seed):
  golden, meta = load('affine', seed)
  size = meta['input_wh']

  def check(got, key, i):
    want = golden[key][i]
    assert np.abs(got - want).max() < 1e-6 * np.abs(want).max(), (key, i)

  for i, (x1, y1, x2, y2) in enumerate(golden['boxes_xyxy_in']):
    center, scale = geometry.box_to_center_scale((x1, y1, x2 - x1, y2 - y1), size[0] / size[1],
                                                 meta['padding'])
    check(center, 'center', i)
    check(scale * 200, 'scale_aspect', i)
    args = (center, scale, golden['rot_deg_in_f64'][i], size)
    check(geometry.affine(*args), 'warp_f64', i)
    check(geometry.affine(*args, inverse=True), 'warp_inv_f64', i)
    check(geometry.udp_affine(*args), 'warp_udp', i)


MAP = (24, 32)
CROP = (96, 128)
MARGIN = 7  # pixels of the map: the blur and the bell's square end inside it
middle = st.tuples(*(st.floats(MARGIN, n - 1 - MARGIN, width=32) for n in MAP))


@functools.cache
def there_and_back(name):
  """Jitted (keypoints (1,K,2) heatmap pixels) -> the same, encoded and decoded."""
  codec = heatmaps.codec(name)

  def through(keypoints):
    crop = heatmaps.to_crop(keypoints, MAP, CROP, codec.unbiased)
    maps, _ = codec.encode(crop, jnp.ones(crop.shape[:2]), CROP)
    return codec.decode(maps, 2.0)[0]
  return jax.jit(through)


@settings(max_examples=40, deadline=None)
@given(st.lists(middle, min_size=3, max_size=3))
def test_decode_inverts_encode(points):
  """HRNet's rule loses what rounding to a pixel does."""
  points = np.array(points, np.float32)[None]
  for name, limit in (('hrnet', 0.51), ('dark', 0.05), ('udp', 0.05)):
    assert np.abs(there_and_back(name)(points) - points).max() < limit, name


anywhere = st.tuples(*(st.floats(0, n - 1, width=32) for n in CROP))


@functools.cache
def drawer(name):
  return jax.jit(lambda keypoints: heatmaps.codec(name).encode(
    keypoints, jnp.ones(keypoints.shape[:2]), CROP)[0])


@settings(max_examples=40, deadline=None)
@given(anywhere)
def test_udp_maps_of_mirrored_joints_are_mirrored_maps(point):
  keypoints = np.array([[point]], np.float32)
  to_edge = heatmaps.to_crop(np.float32(1), CROP, MAP, unbiased=True)[0] * point[0] % 1
  assume(abs(to_edge - 0.5) > 1e-3)  # there the square's centre is rounded up on both sides
  mirrored = np.array([CROP[0] - 1, 0]) + keypoints * [-1, 1]
  own, flipped = (drawer('udp')(k.astype(np.float32)) for k in (keypoints, mirrored))
  np.testing.assert_allclose(own, flipped[:, :, ::-1], atol=1e-5)
  np.testing.assert_allclose(heatmaps.flip_merge(own, flipped, [], shift=False), own, atol=1e-5)


@pytest.mark.parametrize('name', NAMES)
@settings(max_examples=30, deadline=None)
@given(st.floats(-200, 900), st.floats(-200, 900), st.floats(0.1, 5), st.floats(0, 96),
       st.floats(0, 128))
def test_places_in_the_picture_invert_the_crop(name, cx, cy, scale, x, y):
  unbiased = heatmaps.codec(name).unbiased
  center, scale = np.array([[cx, cy]]), np.array([[scale, scale / 0.75]])
  matrix = geometry.crop_matrix(center[0], scale[0], 0, False, 640, CROP, unbiased)
  point = np.array([[[x, y]]])
  picture = heatmaps.to_picture(point, center, scale, CROP, unbiased)
  np.testing.assert_allclose(geometry.transform(picture, matrix), point, atol=0.02)
  np.testing.assert_allclose(heatmaps.from_picture(picture, center, scale, CROP, unbiased), point,
                             atol=0.02)


def test_unbiased_crops_of_mirrored_pictures_are_mirrored_crops():
  source = sources.load('synthetic', 'val', num_people=2, size=(96, 128))
  maker = PairMaker(source, (48, 64), None, 'none', 0, unbiased=True)
  upright = maker.evaluate(0)
  assert np.array_equal(maker.upright(0),
                        geometry.udp_affine(source.center[0], source.scale[0], 0, (48, 64)))
  image = source.read(0)
  matrix = geometry.crop_matrix(source.center[0], source.scale[0], 0, True, image.shape[1],
                                (48, 64), unbiased=True)
  flipped = geometry.warp(image, matrix, (48, 64))[:, ::-1]
  assert np.abs(flipped.astype(int) - upright['image']).max() <= 8  # bilinear weights are rounded
  assert np.abs(flipped.astype(int) - upright['image']).mean() < 0.5
  moved = geometry.transform(source.keypoints[0], matrix)
  np.testing.assert_allclose(47 - moved[:, 0], upright['keypoints'][:, 0], atol=1e-4)


@pytest.mark.parametrize('name', NAMES)
def test_maps_without_a_peak(name):
  for value in (0.0, -1.0):
    keypoints, scores = heatmaps.codec(name).decode(jnp.full((2, 12, 9, 3), value), 2.0)
    np.testing.assert_array_equal(keypoints, np.zeros((2, 3, 2)))
    np.testing.assert_array_equal(scores, value)


@pytest.mark.parametrize('kind', [None, 'mse'])
def test_an_unknown_codec_is_one_line(kind):
  config = tiny.config(kind)
  config.system.codec = 'simcc'
  with pytest.raises(ValueError, match=r"system.codec is one of \['dark', 'hrnet', 'udp'\], not "
                                       "'simcc'") as error:
    systems.build(tiny.facts(3), **config.system.to_dict())
  assert '\n' not in str(error.value)


@pytest.mark.parametrize('name', NAMES)
def test_crops_follow_the_codec(name):
  config = tiny.config()
  config.system.codec = name
  assert unbiased_crops(config) == heatmaps.codec(name).unbiased


@pytest.mark.slow
def test_a_run_with_udp(tmp_path):
  config = tiny.config(None, steps=2, recipe='none')
  config.system.model = ConfigDict(dict(name='vitpose', width=16, depth=1, heads=2,
                                        decoder='simple'))  # compiles in a moment
  config.system.codec, config.evals.val.recipe = 'udp', 'none'
  _, results = train.train(config, str(tmp_path))
  stamp = json.loads((tmp_path / 'eval_2/val/results.json').read_text())['stamp']
  assert stamp['decoder'] == 'udp' and stamp['flip'] and not stamp['shift']
  assert 0 <= results['val']['net/clean']['PCK@0.2'] <= 100
