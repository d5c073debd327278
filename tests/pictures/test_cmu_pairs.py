"""Pairs of the CMU form, drawn: splits by take, exact truth, and what is wrong with a folder."""
import os

import numpy as np
import pytest

from dslope_jax.skeletons import H36M
from input_pipeline import pictures
from input_pipeline.pictures import cmu_pairs
from tests.refusals import fails
from tests.sequences import made


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  return made.small_cmu(tmp_path_factory.mktemp('cmu'), frames=20)


def load(root, split='train', **options):
  return pictures.load('cmu_pairs', split, **{'root': str(root), 'size': (96, 64), 'every': 5}
                       | options)


def test_takes_are_on_one_side(root):
  train, val, both = (load(root, split) for split in ('train', 'val', 'all'))
  assert len(train) == len(val) == 4 and len(both) == 8
  assert not set(train.take) & set(val.take) and set(both.take) == {*train.take, *val.take}
  assert set(both.take) == {'01pair1_A-pair1_B', '02pair2_A-pair2_B'}
  sides = {str(load(root, 'val', seed=seed).take[0]) for seed in range(6)}
  assert len(sides) == 2


def test_the_truth_is_what_is_drawn(root):
  found = load(root, views=2)
  assert len(found) == 8
  assert 'neck by 0 mm' in found.notes[-1] and 'limbs by 0 mm' in found.notes[-1]
  for row in range(len(found)):
    one = found[row]
    seen = one.joints_3d[..., :2] / one.joints_3d[..., 2:] * one.camera[:2] + one.camera[2:]
    np.testing.assert_allclose(seen, one.joints_2d, atol=2e-3)
    assert one.visibility.any(1).all() and one.activity == 'dancing'
  assert found.read(3).shape == (64, 96, 3)
  assert not np.array_equal(found[0].joints_2d, found[1].joints_2d)  # another camera
  bones = np.linalg.norm(found.joints_3d[:, 3] - found.joints_3d[:, 4], axis=-1)
  assert (bones > 20).all() and (bones < 40).all()
  again = load(root, views=2)
  assert again.digest == found.digest != load(root, views=2, seed=1).digest
  np.testing.assert_array_equal(again.read(0), found.read(0))


def test_the_table_of_joints_is_one_of_weights():
  weights = cmu_pairs.weights()
  np.testing.assert_allclose(weights.sum(1), 1)
  assert weights.shape == (15, 17)
  joints = weights @ made.STANDING
  np.testing.assert_allclose(joints[:3], [(0, 1400, 0), (0, 1670, 11), (0, 950, 0)], atol=1e-9)
  np.testing.assert_array_equal(joints[3], made.STANDING[H36M.index('left_shoulder')])


def test_frames_with_marker_swaps_are_left_out_and_counted(tmp_path):
  pair = lambda n, side, other, **changes: (
    f'p{n}_{side}', f'{60 + (side == "B")}_0{n}', 'A', 20, {'partner': f'p{n}_{other}'} | changes)
  root = made.cmu(tmp_path, [pair(n, *sides) for n in (1, 2) for sides in ('AB', 'BA')]
                  + [pair(3, 'A', 'B', glitch_frames=[9]), pair(3, 'B', 'A')])
  found = load(root, 'all')
  assert len(found) == 11 and found.notes[0].startswith('1 frame left out')


def test_what_cannot_be_is_refused(root, tmp_path):
  fails(lambda: load(root, 'test'), 'train, val or all', "'test'")
  fails(lambda: load(root, every=0), 'every=0')
  fails(lambda: load(root, size=(96, 8)), 'size')
  fails(lambda: load(tmp_path), 'index.json', kind=FileNotFoundError)
  alone = made.cmu(tmp_path / 'alone', [('a', '1_01', 'A', 20, {})])
  fails(lambda: load(alone), 'index.json', '0 scenes of two')


@pytest.mark.skipif('CMU_MOCAP' not in os.environ, reason='CMU_MOCAP names no folder of the data')
def test_real_pairs_are_near_to_what_is_drawn():
  found = pictures.load('cmu_pairs', 'all', root=os.environ['CMU_MOCAP'], every=200)
  away = float(found.notes[-1].split('head_top by ')[1].split(' mm')[0])
  assert away < 45 and 'limbs by 0 mm' in found.notes[-1]
  assert 0.2 < (found.visibility == 1).mean() < 0.5
