"""The patch bank: what is cut, what is refused, and what its files promise."""
import functools
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest

from input_pipeline import sources
from input_pipeline.occlusion import bank as patches
from input_pipeline.occlusion import body_parts, cutting
from tests import data_sets, runs

OPEN = np.full((2, 2), np.nan)


@functools.cache
def world():
  return sources.load('synthetic', 'train', num_people=24, size=(96, 128))


@pytest.fixture(scope='module')
def bank(tmp_path_factory):
  folder = tmp_path_factory.mktemp('bank') / 'b'
  return patches.load_or_build(folder, world(), num_people=24, seed=0)


def test_bank_reads_back_and_travels_as_its_path(bank):
  again = pickle.loads(pickle.dumps(bank))  # as data workers get it
  assert again.digest == bank.digest and len(again) == len(bank) > 50
  assert {'head', 'upper_arm', 'lower_arm', 'upper_leg', 'lower_leg', 'person'} <= bank.parts
  assert bank.parts <= set(patches.PARTS)
  for i in range(len(bank)):
    patch = bank.patch(i)
    assert patch.dtype == np.uint8 and patch.shape[2] == 4 and max(patch.shape[:2]) <= 192
    assert patch[..., 3].max() > 200
    assert (patch[0, :, 3] < 128).mean() > 0.5  # the cut-out has an edge, it is no rectangle
  assert cv2.imread(f'{bank.folder}/contact_sheet.jpg').std() > 20


def test_bank_depends_on_people_and_seed_alone(bank, tmp_path):
  same = patches.load_or_build(tmp_path / 'again', world(), num_people=24, seed=0)
  other = patches.load_or_build(tmp_path / 'other', world(), num_people=24, seed=1)
  assert same.digest == bank.digest != other.digest
  for name in ('pixels.bin', 'index.npz'):
    assert (tmp_path / 'again' / name).stat().st_size == \
      patches.pathlib.Path(bank.folder, name).stat().st_size


def test_every_patch_knows_its_person(bank):
  """Of a posed body the bones of the patches are as long as its stature says, or shorter."""
  limbs = np.isin(bank.part, ('upper_arm', 'lower_arm', 'upper_leg', 'lower_leg'))
  assert np.isfinite(bank.bone[limbs]).all() and (bank.stature[limbs] > 0).all()
  length = np.linalg.norm(bank.bone[:, 0] - bank.bone[:, 1], axis=-1)
  share = (length / np.maximum(bank.stature, 1e-9))[limbs]
  assert share.max() < 0.6 and 0.08 < np.median(share) < 0.3
  assert set(bank.annotation_id.tolist()) <= set(world().annotation_id.tolist())
  textures = bank.part == 'texture'
  assert np.isnan(bank.bone[textures]).all() and (bank.stature[textures] == 0).all()


def test_truncated_bank_is_named(bank, tmp_path):
  patches.shutil.copytree(bank.folder, tmp_path / 'b')
  with open(tmp_path / 'b' / 'pixels.bin', 'r+b') as f:
    f.truncate(1000)
  with pytest.raises(ValueError, match='is not a patch bank .*remove it'):
    patches.load_or_build(tmp_path / 'b', world(), num_people=1, seed=0)


def limb(a, b, mask=None, image=None, part='lower_leg'):
  image = np.full((60, 60, 3), 200, np.uint8) if image is None else image
  shape = body_parts.limb(part, np.array(a, float), np.array(b, float))
  return cutting._cut(part, image, mask, shape.capsules, shape.bone, 100.0)


def test_cut_follows_bone_and_mask():
  patch, _ = limb((20, 30), (45, 30))
  alpha = patch.pixels[..., 3]
  h, w = alpha.shape
  assert alpha[h // 2, w // 2] == 255 and alpha[0, 0] == 0 and not patch.exact
  # A capsule of radius 0.24 * 25 = 6 and length 25: area 25 * 12 + pi * 36.
  assert abs((alpha >= 128).sum() - (300 + np.pi * 36)) < 30
  np.testing.assert_allclose(patch.bone[1] - patch.bone[0], (25, 0))
  np.testing.assert_allclose(patch.bone[0], np.array([20, 30]) - (20 - 6 - 1, 30 - 6 - 1))
  mask = np.zeros((60, 60), bool)
  mask[:30] = True
  half, _ = limb((20, 30), (45, 30), mask)
  assert half.exact
  assert 0.35 < (half.pixels[..., 3] >= 128).sum() / (alpha >= 128).sum() < 0.6


def test_bad_cut_outs_are_refused_by_their_rules():
  nobody = np.zeros((60, 60), bool)
  assert limb((20, 30), (45, 30), nobody) == (None, 'mostly hidden')
  assert limb((2, 12), (27, 12)) == (None, 'cut by the border')
  assert limb((20, 30), (21, 30)) == (None, 'too small')


def test_a_capsule_tapers_as_its_radii_say():
  shape = body_parts.Shape([(np.array([20., 30.]), np.array([60., 30.]), 12.0, 4.0)], OPEN)
  patch, _ = cutting._cut('limb', np.zeros((60, 90, 3), np.uint8), None, shape.capsules, OPEN, 0)
  alpha, left = patch.pixels[..., 3], 20 - 12 - 1
  for x in (20, 30, 40, 50, 60):
    height = (alpha[:, x - left] >= 128).sum()
    assert abs(height - 2 * (12 - 8 * (x - 20) / 40)) <= 2


def test_large_cut_outs_are_reduced_by_a_whole_number():
  image = np.zeros((500, 500, 3), np.uint8)
  image[:, 250:] = 200
  patch, _ = limb((250, 100), (250, 400), image=image)
  assert patch.shrink == 3 and max(patch.pixels.shape[:2]) <= 192
  assert abs(np.linalg.norm(patch.bone[1] - patch.bone[0]) - 100) < 1e-9
  assert abs(patch.stature - 100 / 3) < 1e-9
  # A reduced pixel is the mean of nine; the bone stays on the seam of the two colours.
  middle = patch.pixels[round(patch.bone.mean(0)[1])]
  seam = int(np.argmax(middle[:, 0] > 100))
  assert abs(seam - patch.bone[0, 0]) <= 1


def test_reduction_is_the_mean_of_whole_blocks():
  pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 4), np.uint8)
  want = pixels.reshape(3, 3, 4, 3, 4).mean((1, 3))
  assert np.abs(cutting._reduce(pixels, 3) - want).max() <= 0.5


def test_stature_of_a_person_seen_from_the_side():
  """Bones that point at the camera look short; the longest ones tell the stature."""
  skeleton = world().skeleton
  points, visibility = np.zeros((17, 2)), np.zeros(17, np.uint8)
  for name, place in {'left_hip': (0, 0), 'left_knee': (0, 49), 'left_ankle': (0, 98.2),
                      'left_shoulder': (0, -57.6), 'left_elbow': (0, -57.6)}.items():
    points[skeleton.index(name)], visibility[skeleton.index(name)] = place, 2
  assert abs(body_parts.stature(points, visibility, skeleton, 7.0) - 200) < 1e-6
  assert body_parts.stature(points, visibility * 0, skeleton, 7.0) == 7.0


def test_textures_lie_beside_people():
  image = np.zeros((80, 120, 3), np.uint8)
  image[:, 40:80] = 255
  for i in range(30):
    patch = cutting.cut_texture(image, np.array([[40., 0, 40, 80]]), np.random.default_rng(i))
    if patch:
      assert patch.pixels[patch.pixels[..., 3] > 0][:, :3].max() == 0
  assert cutting.cut_texture(image, np.array([[0., 0, 120, 80]]), np.random.default_rng(0)) is None


def test_command_cuts_a_bank_and_counts_what_it_refuses(tmp_path):
  root = data_sets.write_coco(tmp_path / 'set', size=(192, 256))
  next((tmp_path / 'set' / 'train').iterdir()).write_bytes(b'no picture')
  command = [sys.executable, 'tools/cut_bank.py', '--data', f'coco,root={root}',
             '--data', 'synthetic,num_people=5', '--out', str(tmp_path / 'bank')]
  done = subprocess.run(command, cwd=runs.ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert 'left out of the bank: picture' in done.stdout
  assert '1 broken annotation or picture' in done.stdout
  bank = patches.PatchBank(tmp_path / 'bank')
  assert bank.digest in done.stdout
  assert {'person_keypoints_train train', 'synthetic train'} == set(bank.origin.tolist())
  again = subprocess.run(command, cwd=runs.ROOT, capture_output=True, text=True)
  assert again.returncode == 1 and 'exists; remove it' in again.stderr
  assert len(again.stderr.strip().splitlines()) == 1
