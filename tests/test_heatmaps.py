"""Encoding, decoding and flips against the published implementation, and their properties."""
import json

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslope_jax import heatmaps, skeletons
from tests.golden_data import GOLDEN

ARRAYS = np.load(GOLDEN / 'top_down/arrays.npz')
CASES = json.loads((GOLDEN / 'top_down/cases.json').read_text())


@pytest.mark.parametrize('case,size,sigma', [
  ('s2_64x48', (192, 256), 2), ('s3_96x72', (288, 384), 3), ('s2_64x64', (256, 256), 2)])
def test_targets_equal_the_published_ones(case, size, sigma):
  joints, visible, want, weight = (ARRAYS[f'target/{case}/{k}'] for k in
                                   ('joints', 'vis', 'heatmaps', 'weight'))
  maps, got_weight = heatmaps.encode(jnp.asarray(joints[:, :2]), visible[:, 0], size, 4, sigma)
  np.testing.assert_allclose(maps.transpose(2, 0, 1), want, atol=1e-6)
  np.testing.assert_array_equal(got_weight, weight[:, 0])


@pytest.mark.parametrize('case', ['64x48', '24x18'])
def test_decoded_keypoints_equal_the_published_ones(case):
  maps, center, scale, argmax, maxval, preds = (
    ARRAYS[f'decode/{case}/{k}'] for k in ('heatmaps', 'center', 'scale', 'argmax', 'maxval',
                                           'preds'))
  keypoints, scores = heatmaps.decode(maps.transpose(0, 2, 3, 1))
  np.testing.assert_allclose(scores, maxval[..., 0], rtol=1e-6)
  assert np.abs(keypoints - argmax).max() <= 0.25
  picture = heatmaps.to_picture(np.asarray(keypoints), center, scale, maps.shape[:1:-1])
  np.testing.assert_allclose(picture, preds, atol=1e-3)


@pytest.mark.parametrize('joints,skeleton', [(17, skeletons.COCO), (16, skeletons.MPII)])
@pytest.mark.parametrize('shift', [True, False])
def test_flip_merge_equals_the_published_one(joints, skeleton, shift):
  own, flipped = (ARRAYS[f'flip/{joints}/{k}'].transpose(0, 2, 3, 1)
                  for k in ('output', 'output_of_flipped'))
  want = ARRAYS[f'flip/{joints}/average_{"shifted" if shift else "unshifted"}']
  got = heatmaps.flip_merge(own, flipped, skeleton.flip_pairs, shift)
  np.testing.assert_allclose(got.transpose(0, 3, 1, 2), want, rtol=1e-6)


inside = st.integers(2, 21)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(inside, inside), min_size=3, max_size=3), st.sampled_from([1.0, 2.0]))
def test_decode_inverts_encode(points, sigma):
  """A joint in the middle of a heatmap pixel comes back to it: symmetric peaks are not moved."""
  keypoints = jnp.array(points, jnp.float32)[None] * 4
  maps, weights = heatmaps.encode(keypoints, jnp.ones((1, len(points))), (96, 96), 4, sigma)
  got, scores = heatmaps.decode(maps)
  np.testing.assert_allclose(got * 4, keypoints, atol=1.01)  # the window's edge may pull by 1/4 px
  np.testing.assert_array_equal(scores, 1)
  np.testing.assert_array_equal(weights, 1)


def test_unlabelled_joint_draws_nothing():
  maps, weights = heatmaps.encode(jnp.full((1, 2, 2), 40.), jnp.array([[1., 0.]]), (96, 96))
  assert maps[..., 0].max() == 1 and maps[..., 1].max() == 0
  np.testing.assert_array_equal(weights, [[1, 0]])
