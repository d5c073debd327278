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


def test_people_on_both_sides_are_told(root, tmp_path, capsys):
  file = tmp_path / 'split.json'
  for val, told in ('one2_01', False), ('one1_02', True):
    file.write_text(json.dumps({'train': ['one1_01'], 'val': [val]}))
    load(root, split_file=str(file), cameras=1)
    assert ("takes of 1 person in train and in val, such as '1'" in capsys.readouterr().out) == told


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


def broken(tmp_path, **changes):
  """A folder of two people, whose first entry is changed."""
  return made.cmu(tmp_path, [('a', '1_01', 'A', 20, changes), ('b', '2_01', 'A', 20, {})])


@pytest.mark.parametrize('changes, parts', [
  ({'partner': 'ghost'}, ("partner of 'a' is 'ghost'", 'no other sequence')),
  ({'partner': 'a'}, ("partner of 'a' is 'a'",)),
  ({'name': 'b'}, ("two sequences 'b'", 'name them apart')),
  ({'file': 'npz/a\0.npz'}, ('is no path', 'get the file again')),
  ({'file': '../a.npz'}, ("'../a.npz' leads out of the folder",)),
  ({'glitch_frames': [-3]}, ("glitch_frames of 'a' has -3", 'a.npz', '0 to 19')),
  ({'glitch_frames': [20]}, ('has 20',))])
@pytest.mark.parametrize('split', ['all', 'train'])
def test_wrong_entries_are_named(tmp_path, changes, parts, split):
  fails(lambda: load(broken(tmp_path, **changes), split, cameras=1), *parts)


@pytest.mark.parametrize('changes, parts', [
  ({'xyz_q': np.zeros((0, 17, 3), np.int16)}, ('a.npz', 'no frames')),
  ({'xyz_q': np.zeros((9, 17, 3), np.float32)}, ("'xyz_q' holds float32, not whole numbers",)),
  ({'xyz_q': np.zeros((9, 17, 3), np.int16)}, ("joints of 'a' reach 0 mm",)),
  ({'scale_mm': np.float32(-1)}, ("'scale_mm' is -1",)),
  ({'scale_mm': np.float32(2.5e-4)}, ("joints of 'a' reach", 'Mend the unit')),
  ({'scale_mm': np.float32(250)}, ("joints of 'a' reach",)),
  ({'scale_mm': np.float32(1e38)}, ("'scale_mm' is",)),
  ({'fps': np.int32(0)}, ("'a' has 0.0 frames a second",))])
def test_wrong_numbers_are_named(tmp_path, changes, parts):
  root = broken(tmp_path)
  with np.load(root / 'npz/a.npz') as found:
    columns = dict(found)
  np.savez(root / 'npz/a.npz', **columns | changes)
  fails(lambda: load(root, 'all', cameras=1), *parts)


@pytest.mark.parametrize('option, value, words', [
  ('cameras', 0, '1 or more'), ('cameras', 1.5, 'a whole number'), ('cameras', '9', 'a number'),
  ('seed', -1, '0 or more'), ('split_file', True, 'a text')])
def test_wrong_options_are_named(root, option, value, words):
  fails(lambda: load(root, **{option: value}), f'data.loader: {option} of', str(value), words)


def test_somebody_with_two_skeletons_is_on_one_side(tmp_path):
  root = made.cmu(tmp_path, [(f'{n}{kind}', f'{n}_01', kind, 9, {}) for n in range(6)
                             for kind in 'AB'])
  for seed in range(4):
    val = names(load(root, 'val', seed=seed, cameras=1))
    assert val and {name[0] + 'A' for name in val} | {name[0] + 'B' for name in val} == val


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
