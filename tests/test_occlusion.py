"""The occluded partner: patches, the published recipe, and what `covered` means."""
import functools
import pickle

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import input_pipeline
from dslope_jax import skeletons
from dslope_jax.skeletons import COCO
from input_pipeline import occlusion, patches, top_down
from input_pipeline.occlusion import Person, Placement


@functools.cache
def world():
  return input_pipeline.load('synthetic', 'train', num_people=24, size=(96, 128))


@pytest.fixture(scope='module')
def bank(tmp_path_factory):
  folder = tmp_path_factory.mktemp('bank') / 'b'
  return patches.load_or_build(folder, world(), num_people=24, seed=0)


def person(visibility=2):
  keypoints = np.random.default_rng(3).uniform(20, 180, (17, 2))
  return Person(keypoints, np.full(17, visibility, np.uint8), np.array([0.75, 1.0]), COCO)


def test_bank_reads_back_and_travels_as_its_path(bank, tmp_path):
  again = pickle.loads(pickle.dumps(bank))  # as data workers get it
  assert again.digest == bank.digest and len(again) == len(bank) > 50
  assert {'head', 'upper_arm', 'lower_arm', 'upper_leg', 'lower_leg'} == set(bank.part.tolist())
  for i in range(len(bank)):
    patch = bank.patch(i)
    assert patch.dtype == np.uint8 and patch.shape[2] == 4 and max(patch.shape[:2]) <= 160
    assert min(patch.shape[:2]) >= 2 and patch[..., 3].max() > 200
    assert (patch[0, :, 3] < 128).mean() > 0.5  # the cut-out has an edge, it is no rectangle
  same = patches.load_or_build(tmp_path / 'again', world(), num_people=24, seed=0)
  other = patches.load_or_build(tmp_path / 'other', world(), num_people=24, seed=1)
  assert same.digest == bank.digest != other.digest


def test_cut_follows_bone_and_mask():
  image = np.full((60, 60, 3), 200, np.uint8)
  a, b = np.array([20., 30.]), np.array([40., 30.])
  patch = patches.cut(image, a, b, 6)
  alpha = patch[..., 3]
  h, w = alpha.shape
  assert alpha[h // 2, w // 2] == 255 and alpha[0, 0] == 0
  # A capsule of radius 6 and length 20: area 20 * 12 + pi * 36.
  assert abs((alpha >= 128).sum() - (240 + np.pi * 36)) < 30
  mask = np.zeros((60, 60), bool)
  mask[:30] = True
  half = patches.cut(image, a, b, 6, mask)[..., 3]
  assert 0.35 < (half >= 128).sum() / (alpha >= 128).sum() < 0.6
  assert patches.cut(image, a, b, 6, ~mask & False) is None  # nothing of it is the person
  assert patches.cut(image, a - 18, b, 6) is None  # reaches over the border
  assert patches.cut(image, a, a + 1, 2) is None  # too small


def test_published_draws_have_the_probabilities_of_the_table(bank):
  """Shares computed by hand from the table of draws; 4 standard deviations are allowed."""
  n = 3000
  who, counts = person(), {'clean': 0, 'two': 0, 'three': 0}
  at = np.zeros(17)
  parts, hips = {}, 0
  for i in range(n):
    placed = list(occlusion.published(who, bank, np.random.default_rng([5, i])))
    counts[{0: 'clean', 2: 'two', 3: 'three'}[len(placed)]] += 1
    for slot, p in enumerate(placed):
      h, w = bank.height[p.patch], bank.width[p.patch]
      factor = p.matrix[0, 0]
      quarter = p.matrix[:, 2] + factor * np.array([w / 2, h / 4])
      distance = np.linalg.norm(who.keypoints - quarter, axis=1)
      if distance.min() < 1e-6:
        at[distance.argmin()] += 1
      else:
        hips += 1
        middle = who.keypoints[[11, 12]].mean(0)
        np.testing.assert_allclose(p.matrix[1, 2], middle[1] + h * factor / 4)  # a quarter below
      parts[slot, str(bank.part[p.patch])] = parts.get((slot, str(bank.part[p.patch])), 0) + 1
  share = lambda c: c / n
  sd = lambda p: 4 * np.sqrt(p * (1 - p) / n)
  # z = 2 is clean; z = 1 has three; z = 3 has three with 1/7.
  assert abs(share(counts['clean']) - 1 / 3) < sd(1 / 3)
  assert abs(share(counts['three']) - (1 / 3 + 1 / 21)) < sd(8 / 21)
  assert abs(share(hips) - 1 / 21) < sd(1 / 21)
  for joint, p in {7: 1 / 3 + 1 / 6, 8: 1 / 3 + 1 / 6, 13: 1 / 3, 14: 1 / 3}.items():
    assert abs(share(at[joint]) - p) < sd(p), joint
  assert at.sum() == at[[7, 8, 13, 14]].sum()
  assert parts[0, 'lower_leg'] == n - counts['clean']
  assert abs(parts[1, 'head'] / (n - counts['clean']) - 0.5) < 4 * np.sqrt(0.25 / (n * 2 / 3))


def test_sizes_follow_the_box(bank):
  """Longer side = a fraction of 0.4 * box side: 0.4 or 0.6 for the leg patch."""
  who = person()
  for i in range(60):
    placed = list(occlusion.published(who, bank, np.random.default_rng([6, i])))
    for slot, p in enumerate(placed[:2]):
      longer = max(bank.height[p.patch], bank.width[p.patch])
      small, large = ((0.4, 0.6), (0.5, 0.8))[slot]
      want = 80 * (large if longer >= 0.3 * 80 else small)
      np.testing.assert_allclose(longer * p.matrix[0, 0], want)


def test_only_labelled_joints_get_a_patch(bank):
  assert not list(occlusion.published(person(visibility=0), bank, np.random.default_rng(0)))


def test_a_set_without_elbows_gets_patches_on_its_own_joints(bank):
  animal = skeletons.Skeleton(('nose', 'tail', 'paw'), ((0, 1), (1, 2)), (.1,) * 3)
  points = np.array([[10., 10], [50, 50], [90, 90]])
  who = Person(points, np.array([2, 0, 2], np.uint8), np.array([0.75, 1.0]), animal)
  placed = [p for i in range(40) for p in occlusion.published(who, bank, np.random.default_rng(i))]
  assert len(placed) > 20
  for p in placed:
    h, w = bank.height[p.patch], bank.width[p.patch]
    quarter = p.matrix[:, 2] + p.matrix[0, 0] * np.array([w / 2, h / 4])
    assert np.linalg.norm(points[[0, 2]] - quarter, axis=1).min() < 1e-6


class OnePatch:
  """A bank of a single patch."""

  def __init__(self, patch):
    self._patch = patch

  def patch(self, i):
    return self._patch


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_paste_equals_a_slow_oracle(seed):
  """Against the whole picture warped and blended at once, and pixel-by-pixel `covered`."""
  rng = np.random.default_rng(seed)
  crop = rng.integers(0, 256, (48, 36, 3), np.uint8)
  patch = rng.integers(0, 256, (int(rng.integers(5, 20)), int(rng.integers(5, 20)), 4), np.uint8)
  patch = cv2.GaussianBlur(patch, (5, 5), 0)
  matrix = top_down.crop_matrix(np.array([20., 20.]), np.array([0.2, 0.27]), rng.uniform(-60, 60),
                                bool(rng.integers(2)), 60, (36, 48))
  place = Placement(0, np.array([[1.5, 0, rng.uniform(-5, 40)], [0, 1.5, rng.uniform(-5, 40)]]))
  out, hidden = occlusion.paste(crop, matrix, [place], OnePatch(patch))
  whole = matrix @ np.vstack([place.matrix, [0, 0, 1]])
  weighted = patch.astype(np.float32)
  weighted[..., :3] *= weighted[..., 3:] / 255
  full = cv2.warpAffine(weighted, whole, (36, 48))
  alpha = full[..., 3:] / 255
  want = full[..., :3] + crop * (1 - alpha)
  assert np.abs(out - want).max() < 3  # OpenCV rounds positions to 1/32 pixel
  differs = hidden != (alpha[..., 0] >= 0.5)
  assert not (differs & (np.abs(alpha[..., 0] - 0.5) > 0.05)).any()
  np.testing.assert_array_equal(out[full[..., 3] == 0][..., :], crop[full[..., 3] == 0])
  keypoints, visibility = rng.uniform(-10, 60, (9, 2)), rng.integers(0, 3, 9)
  flags = occlusion.covered_joints(hidden, keypoints, visibility)
  for (x, y), v, flag in zip(np.round(keypoints).astype(int), visibility, flags, strict=True):
    assert flag == bool(v > 0 and 0 <= x < 36 and 0 <= y < 48 and hidden[y, x])


def test_pairs_share_their_geometry(bank):
  """Outside the patches both pictures of a pair are the same bit for bit."""
  maker = input_pipeline.PairMaker(world(), (64, 96), bank, 'published', 0,
                                   top_down.Augmentation())
  covered = 0
  for i in range(40):
    sample = maker.train(i, i % 24)
    changed = (sample['image'] != sample['occluded_image']).any(-1)
    assert changed.mean() < 0.7
    covered += sample['covered'].sum()
    assert not (sample['covered'] & (sample['visibility'] == 0)).any()
  assert covered > 20
