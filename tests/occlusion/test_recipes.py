"""The occluded partner: recipes, what is drawn where, and what `covered` means."""
import dataclasses
import functools
import math
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslope_jax import skeletons, tasks
from dslope_jax.skeletons import COCO
from input_pipeline import geometry, sources
from input_pipeline.occlusion import bank as patches
from input_pipeline.occlusion import body_parts, mixtures, pasting, recipes
from input_pipeline.occlusion.pasting import BLACK, Placement, paste
from input_pipeline.occlusion.recipes import Person
from input_pipeline.pairs import PairMaker
from tests import tiny

SIZE = (192, 256)
PICTURE = np.array([[1.0, 0, 0], [0, 1, 0]])


@functools.cache
def world():
  return sources.load('synthetic', 'train', num_people=60, size=(96, 128))


@pytest.fixture(scope='module')
def bank(tmp_path_factory):
  folder = tmp_path_factory.mktemp('bank') / 'b'
  return patches.load_or_build(folder, world(), num_people=60, seed=0)


def person(visibility=2, skeleton=COCO, keypoints=None):
  if keypoints is None:
    keypoints = np.random.default_rng(3).uniform(20, 180, (17, 2))
  visibility = np.broadcast_to(np.uint8(visibility), len(keypoints))
  return Person(keypoints, visibility, np.array([10., 10, 160, 180]), np.array([0.75, 1.0]),
                skeleton, PICTURE, SIZE)


def people(count=60):
  """People of the world as recipes see them in evaluation."""
  maker = PairMaker(world(), (64, 96), None, 'none', 0)
  for row in range(count):
    matrix = geometry.affine(world().center[row], world().scale[row], 0, (64, 96))
    yield maker.person(row, matrix, world().visibility[row])


# ---- published

def test_published_draws_have_the_probabilities_of_the_table(bank):
  """5,000 draws; shares computed by hand from the table, 4 standard deviations are allowed."""
  n = 5000
  who, counts = person(), {'clean': 0, 'two': 0, 'three': 0}
  at = np.zeros(17)
  parts, hips = {}, 0
  for i in range(n):
    placed = recipes.draw(who, bank, np.random.default_rng([5, i]), 'published')
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


def test_published_sizes_are_those_of_the_table(bank):
  """Longer side = a fraction of 0.4 * box side, here 80 px: two sizes, and each as often as the
  bank has patches cut out at 0.3 * 80 px or more."""
  who, longer = person(), np.maximum(bank.height, bank.width)
  seen = {0: [], 1: []}
  for i in range(1500):
    placed = recipes.draw(who, bank, np.random.default_rng([6, i]), 'published')
    for slot, p in enumerate(placed[:2]):
      small, large = ((0.4, 0.6), (0.5, 0.8))[slot]
      is_large = longer[p.patch] * bank.shrink[p.patch] >= 0.3 * 80
      np.testing.assert_allclose(longer[p.patch] * p.matrix[0, 0], 80 * (large if is_large else
                                                                       small))
      seen[slot].append(is_large)
  legs = bank.of_part('lower_leg')
  expected = (longer[legs] * bank.shrink[legs] >= 24).mean()
  assert abs(np.mean(seen[0]) - expected) < 4 * np.sqrt(0.25 / len(seen[0]))


def test_only_labelled_joints_get_a_patch(bank):
  for name in ('published', 'severity5', 'mask_joints', 'instance_paste'):
    for i in range(20):
      assert not recipes.draw(person(0), bank, np.random.default_rng(i), name), name


def test_a_set_without_elbows_gets_patches_on_its_own_joints(bank):
  animal = skeletons.Skeleton(('nose', 'tail', 'paw'), ((0, 1), (1, 2)), (.1,) * 3)
  points = np.array([[10., 10], [50, 50], [90, 90]])
  who = person(np.array([2, 0, 2]), animal, points)
  placed = [p for i in range(40) for p in recipes.published(who, bank, np.random.default_rng(i))]
  assert len(placed) > 20
  for p in placed:
    h, w = bank.height[p.patch], bank.width[p.patch]
    quarter = p.matrix[:, 2] + p.matrix[0, 0] * np.array([w / 2, h / 4])
    assert np.linalg.norm(points[[0, 2]] - quarter, axis=1).min() < 1e-6


# ---- severity

def test_a_higher_severity_hides_what_a_lower_one_hides_and_more(bank):
  shares = np.zeros((60, 6))
  for row, who in enumerate(people()):
    before, covered = [], np.zeros(17, bool)
    for level in range(1, 6):
      rng = np.random.default_rng([1, row])
      placed = recipes.draw(who, bank, rng, f'severity{level}')
      assert [p.patch for p in placed[:len(before)]] == [p.patch for p in before]
      now = recipes.hidden_joints(who, placed, bank)[0]
      assert (now >= covered).all()
      before, covered = placed, now
      shares[row, level] = now.sum() / (who.visibility > 0).sum()
  assert (np.diff(shares.mean(0)) > 0.05).all()
  assert shares[:, 1].mean() < 0.12 and shares[:, 5].mean() > 0.45
  assert shares.max() <= 0.75  # the stated limit


def test_severity_uses_every_kind_of_occluder_and_can_hide_any_joint(bank):
  kinds, hidden, labelled = set(), np.zeros(17, bool), np.zeros(17, bool)
  for row, who in enumerate(people()):
    for seed in range(3):
      placed = recipes.draw(who, bank, np.random.default_rng([row, seed]), 'severity5')
      for p in placed:
        wide = p.patch == BLACK and np.linalg.det(p.matrix[:, :2]) > 1e5
        kinds.add('border' if wide else 'box' if p.patch == BLACK else str(bank.part[p.patch]))
      hidden |= recipes.hidden_joints(who, placed, bank)[0]
    labelled |= who.visibility > 0
  assert {'border', 'box', 'person', 'head', 'torso', 'texture', 'lower_leg', 'upper_arm'} <= kinds
  assert (hidden == labelled).all()


def test_patches_are_as_large_as_the_person_and_limbs_turn_with_its_limbs(bank):
  factors, turns = [], []
  limbs = bank.of_part('upper_arm', 'lower_arm', 'upper_leg', 'lower_leg')
  for row, who in enumerate(people()):
    height = body_parts.stature(who.keypoints, who.visibility, COCO, 0)
    directions = [who.keypoints[b] - who.keypoints[a] for a, b in COCO.limbs
                  if who.visibility[a] and who.visibility[b]]
    angles = np.array([math.atan2(d[1], d[0]) for d in directions])
    for p in recipes.draw(who, bank, np.random.default_rng([2, row]), 'severity2'):
      if p.patch in limbs:
        factors.append(np.sqrt(np.linalg.det(p.matrix[:, :2])) * bank.stature[p.patch] / height)
        d = p.matrix[:, :2] @ (bank.bone[p.patch, 1] - bank.bone[p.patch, 0])
        off = np.abs((np.array(math.atan2(d[1], d[0])) - angles + np.pi / 2) % np.pi - np.pi / 2)
        turns.append(off.min())
  assert len(factors) > 30 and min(factors) >= 0.6 - 1e-9 and max(factors) <= 1.1 + 1e-9
  assert np.median(turns) < np.pi / 9 and max(turns) <= np.pi / 2


def test_severity_does_not_depend_on_the_size_of_the_crop(bank):
  for row in range(10):
    flags = []
    for size in ((48, 64), (192, 256)):
      maker = PairMaker(world(), size, bank, 'severity4', 0)
      flags.append(maker.evaluate(row)['covered'])
    np.testing.assert_array_equal(*flags)


# ---- DAG's

def test_mask_joints_draws_boxes_of_10_to_19_pixels_around_two_joints():
  """In crop pixels, whatever the crop's own turn and scale."""
  matrix = geometry.crop_matrix(np.array([100., 90]), np.array([0.6, 0.8]), 33, True, 300, SIZE)
  who = person()._replace(to_crop=matrix)
  places = geometry.transform(who.keypoints, matrix)
  drawn, halves, at = 0, [], np.zeros(17)
  for i in range(2000):
    placed = recipes.draw(who, None, np.random.default_rng([8, i]), 'mask_joints')
    assert len(placed) in (0, 2)
    drawn += bool(placed)
    for p in placed:
      box = matrix @ np.vstack([p.matrix, [0, 0, 1]])
      np.testing.assert_allclose([box[0, 1], box[1, 0]], 0, atol=1e-6)
      half = np.array([box[0, 0], box[1, 1]]) / 2
      halves.append(half)
      distance = np.linalg.norm(places - (box[:, 2] + half), axis=1)
      assert distance.min() < 1e-6
      at[distance.argmin()] += 1
  halves = np.round(np.array(halves), 6)
  assert set(np.unique(halves)) == set(range(10, 20))
  assert abs(drawn / 2000 - 0.5) < 4 * np.sqrt(0.25 / 2000)
  assert (np.abs(at / at.sum() - 1 / 17) < 4 * np.sqrt(1 / 17 / at.sum())).all()
  larger = next(p for i in range(9) for p in recipes.draw(
    who._replace(size=(288, 384)), None, np.random.default_rng(i), 'mask_joints_scaled'))
  assert (matrix @ np.vstack([larger.matrix, [0, 0, 1]]))[0, 0] in 3 * np.arange(10, 20)


def test_masked_joints_are_the_published_rectangles():
  """Inside of the crop and over its lower right corner; over the upper and the left border the
  published code loses them. It counts pixels from their corner, this code from their centre."""
  with np.load(pathlib.Path(__file__).parent.parent / 'golden/dag/maskjoint_s30.npz') as g:
    masks = np.unpackbits(g['single_masks_packed'], -1).astype(bool)
    cases = list(zip(g['joints_in'][:4] - 0.5, g['single_size'], masks, strict=True))
    assert (g['sizes_drawn'].min(), g['sizes_drawn'].max()) == (10, 19)
  crop = np.full((256, 192, 3), 255, np.uint8)
  for case, (place, half, mask) in enumerate(cases):
    placed = Placement(BLACK, np.column_stack([np.diag(2 * half), place - half]))
    drawn = ~paste(crop, np.eye(2, 3), [placed], None)[0].any(-1)
    ends = np.clip(np.ceil([place - half, place + half]), 0, (192, 256)).astype(int)
    assert drawn.sum() == np.prod(ends[1] - ends[0])
    if case in (0, 2):
      np.testing.assert_array_equal(drawn, mask)
    else:
      assert not mask.any()


def test_instance_paste_follows_its_rule(bank):
  who, drawn = person(), []
  for i in range(2000):
    drawn += recipes.draw(who, bank, np.random.default_rng([9, i]), 'instance_paste')
  assert 0.3 < len(drawn) / 2000 < 0.5 + 4 * np.sqrt(0.25 / 2000)  # the guard takes some
  shares = {'person': [], 'upper_body': []}
  for p in drawn:
    size = np.array([bank.width[p.patch], bank.height[p.patch]])
    shares[str(bank.part[p.patch])].append(np.hypot(*size) * p.matrix[0, 0] / np.hypot(160, 180))
    center = p.matrix @ [*(size - 1) / 2, 1]
    assert (center >= 10 - 1e-9).all() and (center <= (170, 190)).all()
    hidden = pasting.hidden_points([p], who.keypoints, bank)
    assert hidden.mean() <= 0.7
  assert min(shares['person']) >= 0.63 - 1e-9 and max(shares['person']) <= 1.17 + 1e-9
  upper = np.array(shares['upper_body'])
  assert bank.of_part('upper_body').size == 0 or ((upper > 0.35) & (upper < 0.65)).all()


# ---- mixtures

def test_mixtures_have_their_odds_and_chains_their_order():
  who, counts = person(), [0, 0, 0]
  for i in range(3000):
    placed = recipes.draw(who, None, np.random.default_rng(i), 'none:2,mask_joints:1')
    counts[len(placed)] += 1
  assert abs(counts[2] / 3000 - 1 / 6) < 4 * np.sqrt(1 / 6 * 5 / 6 / 3000) and counts[1] == 0
  lengths = {len(recipes.draw(who, None, np.random.default_rng(i), 'mask_joints+mask_joints'))
             for i in range(30)}
  assert lengths == {0, 2, 4}


@pytest.mark.parametrize('name, message', [
  ('blobs', "not 'blobs'"), ('severty2', "did you mean 'severity2'"), ('', "not ''"),
  ('published:x', "'x' is no number"),
  ('published:-1', 'odds must be positive'), ('none:0', 'odds must be positive'),
  ('none:nan', 'odds must be positive'), ('published+', "not ''")])
def test_wrong_recipes_are_named(name, message):
  with pytest.raises(ValueError, match=message):
    recipes.recipe(name)


def test_which_recipes_need_a_bank():
  assert not recipes.needs_bank('none:3,mask_joints+mask_joints_scaled')
  assert recipes.needs_bank('none,severity1') and recipes.needs_bank('published')


# ---- pasting

class Bank:
  """A bank of given patches."""

  def __init__(self, *patches):
    self._patches = patches

  def patch(self, i):
    return self._patches[i]


def soft_patch(rng):
  h, w = rng.integers(3, 20, 2)
  patch = rng.integers(0, 256, (h, w, 4), np.uint8)
  patch[..., 3] = np.sort(patch[..., 3], axis=1)  # from clear to opaque
  patch[..., :3] = patch[..., :3] * (patch[..., 3:] / 255)
  return patch


def random_placements(rng):
  drawn = [Placement(i, np.column_stack([
    rng.normal(0, 1.2, (2, 2)) + np.eye(2), rng.uniform(-5, 45, 2)])) for i in range(3)]
  box = Placement(BLACK, np.column_stack([np.diag(rng.uniform(2, 15, 2)), rng.uniform(0, 40, 2)]))
  return [*drawn[:2], box, drawn[2]]


def slow_opacity(placement, x, y, bank):
  """Of one point, in plain Python: Cramer's rule, then the four pixels around it."""
  (a, b, tx), (c, d, ty) = placement.matrix.tolist()
  det = a * d - b * c
  u, v = (d * (x - tx) - b * (y - ty)) / det, (a * (y - ty) - c * (x - tx)) / det
  if placement.patch == BLACK:
    return float(0 <= u <= 1 and 0 <= v <= 1)
  alpha = bank.patch(placement.patch)[..., 3]
  total = 0.0
  for i in range(alpha.shape[0]):
    for j in range(alpha.shape[1]):
      total += max(0.0, 1 - abs(u - j)) * max(0.0, 1 - abs(v - i)) * int(alpha[i, j]) / 255
  return total


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_covered_flags_equal_a_slow_oracle(seed):
  rng = np.random.default_rng(seed)
  bank = Bank(*(soft_patch(rng) for _ in range(3)))
  placements = random_placements(rng)
  keypoints, visibility = rng.uniform(-5, 50, (12, 2)), rng.integers(0, 3, 12)
  who = person(visibility, keypoints=keypoints)
  flags = recipes.hidden_joints(who, placements, bank)[0]
  for (x, y), v, flag in zip(keypoints.tolist(), visibility, flags, strict=True):
    light = math.prod(1 - slow_opacity(p, x, y, bank) for p in placements)
    assert abs(light - 0.5) < 1e-9 or flag == (v > 0 and light < 0.5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_paste_equals_a_slow_oracle(seed):
  """At single pixels, for patches not drawn smaller: the mask, and the rest bit for bit."""
  rng = np.random.default_rng(seed)
  crop = rng.integers(0, 256, (30, 24, 3), np.uint8)
  patches_ = [soft_patch(rng) for _ in range(3)]
  matrix = geometry.crop_matrix(np.array([20., 20.]), np.array([0.1, 0.125]), rng.uniform(-60, 60),
                                bool(rng.integers(2)), 60, (24, 30))
  turn, zoom = rng.uniform(0, 6), rng.uniform(1, 2)
  linear = zoom * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
  placements = [Placement(i, np.column_stack([linear, rng.uniform(0, 40, 2)])) for i in range(3)]
  placements.insert(2, Placement(BLACK, np.column_stack([np.diag(rng.uniform(2, 15, 2)),
                                                         rng.uniform(10, 30, 2)])))
  bank = Bank(*patches_)
  out, mask = pasting.paste(crop, matrix, placements, bank)
  back = pasting.invert(matrix)
  for x, y in rng.integers(0, (24, 30), (80, 2)).tolist():
    point = (back @ [x, y, 1]).tolist()
    light = math.prod(1 - slow_opacity(p, *point, bank) for p in placements)
    # OpenCV rounds places to 1/32 pixel, and the patches are steep.
    assert mask[y, x] == (light <= 0.5) or abs(light - 0.5) < 0.15
    around = [(point[0] + dx, point[1] + dy) for dx in (-.1, 0, .1) for dy in (-.1, 0, .1)]
    if not any(slow_opacity(p, u, v, bank) for p in placements for u, v in around):
      np.testing.assert_array_equal(out[y, x], crop[y, x])
      assert not mask[y, x]


def test_paste_at_full_size_is_exact():
  """A patch that is only moved by whole pixels is blended to within rounding."""
  rng = np.random.default_rng(0)
  crop, patch = rng.integers(0, 256, (40, 40, 3), np.uint8), soft_patch(rng)
  h, w = patch.shape[:2]
  place = Placement(0, np.array([[1.0, 0, 7], [0, 1, 9]]))
  out, mask = pasting.paste(crop, PICTURE, [place], Bank(patch))
  want, alpha = crop.astype(float), patch[..., 3:] / 255
  want[9:9 + h, 7:7 + w] = want[9:9 + h, 7:7 + w] * (1 - alpha) + patch[..., :3]
  assert np.abs(out - want).max() <= 1
  assert mask.sum() == (alpha >= 0.5).sum()


def test_colours_are_matched_by_degrees():
  crop, patch = np.full((30, 30, 3), (200, 60, 60), np.uint8), np.zeros((10, 10, 4), np.uint8)
  patch[:] = 100, 100, 100, 255
  means = [pasting.paste(crop, PICTURE, [Placement(0, np.array([[1., 0, 5], [0, 1, 5]]), match)],
                         Bank(patch))[0][8:12, 8:12].mean((0, 1)) for match in (0, 0.5, 1)]
  np.testing.assert_allclose(means[0], 100)
  assert means[0][0] < means[1][0] < means[2][0] <= 201
  assert means[0][1] > means[1][1] > means[2][1] >= 59


def test_far_reduced_patches_skip_no_pixel():
  """A fine checkerboard drawn very small is grey, not a random choice of its squares."""
  y, x = np.indices((128, 128))
  patch = np.full((128, 128, 4), 255, np.uint8)
  patch[..., :3] = (((x + y) % 2) * 255)[..., None]
  place = Placement(0, np.array([[0.1, 0, 3], [0, 0.1, 3]]))
  out, _ = pasting.paste(np.zeros((20, 20, 3), np.uint8), PICTURE, [place], Bank(patch))
  assert np.abs(out[5:14, 5:14].astype(int) - 128).max() < 12


def test_pairs_share_their_geometry(bank):
  """Outside the patches both pictures of a pair are the same bit for bit; flags follow mirrors."""
  maker = PairMaker(world(), (64, 96), bank, 'published,severity3', 0,
                                   geometry.Augmentation())
  covered, agree = 0, []
  for i in range(60):
    sample = maker.train(i, i % 24)
    changed = (sample['image'] != sample['occluded_image']).any(-1)
    covered += sample['covered'].sum()
    assert not (sample['covered'] & (sample['visibility'] == 0)).any()
    inside = ((sample['keypoints'] >= 0) & (sample['keypoints'] < (64, 96))).all(1)
    assert not (sample['covered'] & ~inside).any()
    for x, y in np.minimum(np.round(sample['keypoints'][sample['covered']]), (63, 95)).astype(int):
      agree.append(changed[y, x])
  assert covered > 60 and np.mean(agree) > 0.95


def test_a_curriculum_shares_the_run_evenly(bank):
  name = 'none>severity1>severity5'
  assert [mixtures.at(name, p) for p in (0, 0.33, 0.34, 0.66, 0.67, 1)] == [
    'none', 'none', 'severity1', 'severity1', 'severity5', 'severity5']
  assert mixtures.at('published:2,severity3:1', 0.9) == 'published:2,severity3:1'
  make = lambda recipe: PairMaker(world(), (64, 96), bank, recipe, 0, geometry.Augmentation(),
                                  length=90)
  maker = make(name)
  for index, alone in ((29, 'none'), (30, 'severity1'), (59, 'severity1'), (60, 'severity5')):
    np.testing.assert_array_equal(maker.train(index, 4)['occluded_image'],
                                  make(alone).train(index, 4)['occluded_image'])


def test_a_curriculum_goes_by_the_length_of_the_run(tmp_path):
  config = tiny.config(None, steps=10, recipe='none>severity5')
  config.system.view = 'occluded'
  task = tasks.build(config, str(tmp_path))
  batches = {start: next(task.stream(start)) for start in (4, 5)}
  config.data.recipe = 'none'
  clean = tasks.build(config, str(tmp_path))
  same = {start: np.array_equal(batch['occluded_image'],
                                next(clean.stream(start))['occluded_image'])
          for start, batch in batches.items()}
  assert same == {4: True, 5: False}


@pytest.mark.parametrize('recipe', ['none>severity6', 'none>'])
def test_every_stage_of_a_curriculum_must_be_a_recipe(tmp_path, recipe):
  with pytest.raises(ValueError, match='a recipe is one of'):
    tasks.build(tiny.config(None, recipe=recipe), str(tmp_path))


def test_pictures_that_are_scored_have_no_curriculum(tmp_path):
  config = tiny.config(None)
  config.evals.val.recipe = 'none>severity5'
  with pytest.raises(ValueError, match='none>severity5'):
    tasks.build(config, str(tmp_path))


# ---- the border of the picture

def test_crop_out_ends_the_picture_at_a_line(bank):
  """Black beyond, the picture before; joints beyond are outside, none is covered; at least 0.4 of
  the labelled ones stay, and any number up to that can go."""
  shares, sides = [], set()
  for i, who in enumerate(people()):
    crop = np.full((96, 64, 3), 200, np.uint8)
    made = recipes.occlude(crop, who, None, np.random.default_rng(i), 'crop_out')
    labelled = who.visibility > 0
    outside = ((who.keypoints < made.window[:2]) | (who.keypoints > made.window[2:])).any(1)
    np.testing.assert_array_equal(made.outside, labelled & outside)
    assert not made.covered.any() and made.outside.any() and np.isfinite(made.window).sum() == 1
    shares.append(made.outside.sum() / labelled.sum())
    sides.add(int(np.flatnonzero(np.isfinite(made.window))[0]))
    places = geometry.transform(np.argwhere(made.mask)[:, ::-1].astype(float),
                                np.linalg.inv([*who.to_crop, [0, 0, 1]])[:2])
    assert pasting.beyond(made.window, places).all()
    assert (made.image[made.mask] == 0).all() and (made.image[~made.mask] == 200).all()
  assert max(shares) <= 0.6 and min(shares) < 0.15 and sides == {0, 1, 2, 3}
  one = person(np.eye(17, dtype=np.uint8)[0])
  assert recipes.draw(one, None, np.random.default_rng(0), 'crop_out') == []


def test_crop_out_by_hand():
  """Joints 10 pixels apart, cut below: the line lies between two of them."""
  points = np.stack([np.full(17, 50.), 10. * np.arange(17)], 1)
  for seed in range(20):
    made = recipes.occlude(np.full((256, 192, 3), 9, np.uint8), person(keypoints=points), None,
                           np.random.default_rng(seed), 'crop_out')
    line = made.window[3]
    if np.isfinite(line):
      break
  count = int(made.outside.sum())
  assert 1 <= count <= 10 and made.outside.tolist() == [False] * (17 - count) + [True] * count
  assert 10 * (16 - count) < line < 10 * (17 - count)
  assert not made.image[int(line) + 1:].any() and made.image[:int(line) + 1].all()


def test_nothing_is_drawn_beyond_a_border(bank):
  """Patches come first, and a joint is never covered and outside at once."""
  for i, who in enumerate(people(20)):
    made = recipes.occlude(np.full((96, 64, 3), 200, np.uint8), who, bank,
                           np.random.default_rng(i), 'crop_out+severity3')
    kinds = [p.patch == pasting.BORDER for p in made.placements]
    assert kinds == sorted(kinds) and sum(kinds) == 1
    assert not (made.covered & made.outside).any()
    assert pasting.beyond(made.window, who.keypoints[made.outside]).all()


def test_flags_of_the_border_follow_mirrors():
  maker = PairMaker(world(), (64, 96), None, 'crop_out', 0, geometry.Augmentation())
  black = {False: [], True: []}  # whether joints outside, and those inside, lie on black
  for i in range(40):
    sample = maker.train(i, i % 24)
    assert not (sample['outside'] & (sample['visibility'] == 0)).any()
    inside = ((sample['keypoints'] >= 0) & (sample['keypoints'] < (64, 96))).all(1)
    for joint in np.flatnonzero(inside & (sample['visibility'] > 0)):
      x, y = np.minimum(np.round(sample['keypoints'][joint]), (63, 95)).astype(int)
      black[bool(sample['outside'][joint])].append(not sample['occluded_image'][y, x].any())
  # A joint next to the line can lie on a pixel of the other side.
  assert np.mean(black[True]) > 0.85 and np.mean(black[False]) < 0.1
  sample = dataclasses.replace(maker, fields=('outside', 'window', 'visibility')).evaluate(3)
  assert sample['outside'].any() and sample['window'].dtype == np.float32
