"""Motion of the CMU database: splits, cameras, and what is wrong with a folder."""
import json

import numpy as np
import pytest

from input_pipeline import sequences
from tests.refusals import fails
from tests.sequences import made


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  return made.small_cmu(tmp_path_factory.mktemp('cmu'))


def load(root, split='train', **options):
  return sequences.load('cmu_mocap', split, root=str(root), **options)


def names(found):
  return {sequence.name for sequence in found.sequences}


@pytest.mark.parametrize('seed', range(4))
def test_subjects_and_partners_are_on_one_side(root, seed):
  train, val = (load(root, split, seed=seed, cameras=1) for split in ('train', 'val'))
  assert names(train) | names(val) == names(load(root, 'all', cameras=1))
  assert not names(train) & names(val)
  side = lambda s: {'60': 'pair', '61': 'pair'}.get(s.subject, s.subject)
  assert not {side(s) for s in train.sequences} & {side(s) for s in val.sequences}
  assert {s.family for s in val.sequences} == {'A', 'C'}
  for found in (train, val):
    assert all(partner in found.by_name for s in found.sequences for partner in s.partners)


def test_a_file_splits_as_it_says(root, tmp_path):
  file = tmp_path / 'split.json'
  file.write_text(json.dumps({'train': ['one1_01'], 'val': ['one2_01', 'pair1_A', 'pair1_B']}))
  assert names(load(root, split_file=str(file))) == {'one1_01'}
  assert names(load(root, 'val', split_file=str(file))) == {'one2_01', 'pair1_A', 'pair1_B'}
  for content, words in (({'train': ['x'], 'val': ['one2_01']}, ('index.json', "'x'")),
                         ({'train': ['one1_01']}, ("'val'",)),
                         ({'train': ['one1_01'], 'val': ['one1_01']}, ('one1_01', 'in val')),
                         ({'train': [], 'val': ['one1_01']}, ('no sequence', 'train')),
                         ({'train': ['pair1_A'], 'val': ['pair1_B']}, ('pair1_A', 'pair1_B'))):
    file.write_text(json.dumps(content))
    fails(lambda: load(root, split_file=str(file)), str(file), *words)


def test_cameras_see_the_person_upright_and_in_the_picture(root):
  found = load(root, cameras=8)
  for sequence in found.sequences:
    for view in range(8):
      clip = sequence.clip(np.arange(len(sequence)), view)
      assert clip.keypoints_3d[..., 2].min() > 1000
      head, ankle = clip.keypoints_2d[:, 10, 1], clip.keypoints_2d[:, 3, 1]
      assert (head < ankle).all()  # Y is down
      assert (np.abs(clip.keypoints_2d[..., 0] / clip.camera.size[0] - 0.5) < 0.6).all()
  np.testing.assert_allclose(  # a camera is a rigid motion
    np.linalg.norm(np.diff(clip.keypoints_3d[:, :2], axis=1), axis=-1),
    np.linalg.norm(np.diff(sequence.keypoints_3d[:, :2], axis=1), axis=-1), rtol=1e-4)


def test_cameras_are_drawn_by_seed_and_are_others_for_evaluation(root):
  camera = lambda split, **options: next(
    s for s in load(root, split, cameras=2, **options).sequences if s.name == 'one1_01').cameras[0]
  file_free = camera('all')
  np.testing.assert_array_equal(file_free.rotation, camera('all').rotation)
  assert not np.allclose(file_free.rotation, camera('all', seed=1).rotation)
  one = {split: load(root, split, cameras=1) for split in ('train', 'val')}
  assert one['train'].digest != one['val'].digest
  assert load(root, 'all', cameras=2).digest != load(root, 'all', cameras=3).digest


def test_frames_with_glitches_are_not_valid(tmp_path):
  root = made.cmu(tmp_path, [('a', '1_01', 'A', 20, {'glitch_frames': [4]})])
  found = load(root, 'all')
  assert np.flatnonzero(~found.sequences[0].valid).tolist() == [4, 5]
  assert found.notes == ('2 frames are not valid (marker swaps in the recording)',)


def test_broken_folders_are_named(root, tmp_path):
  fails(lambda: load(tmp_path), 'index.json', '--config.data.root', kind=FileNotFoundError)
  fails(lambda: load(root, 'test'), "'test'", 'train, val or all')
  fails(lambda: load(root, camera=3), "'camera'", 'cameras')
  broken = made.cmu(tmp_path / 'b', [('a', '1_01', 'A', 20, {})])
  np.savez(broken / 'npz/a.npz', fps=np.int32(60), scale_mm=np.float32(1),
           xyz_q=np.zeros((9, 16, 3), np.int16))
  fails(lambda: load(broken, 'all'), 'a.npz', '17')
  (broken / 'npz/a.npz').unlink()
  fails(lambda: load(broken, 'all'), 'a.npz', kind=FileNotFoundError)
  (broken / 'index.json').write_text('{"sequences": [{"cmu_id": "1_01"}]}')
  fails(lambda: load(broken, 'all'), 'index.json', 'name')
