"""Human3.6M in both forms, MPI-INF-3DHP, 3DPW: what is read, by which rules, what is refused."""
import pickle

import numpy as np
import pytest

from dslope_jax import cameras
from input_pipeline import sequences, windows
from input_pipeline.sequences import h36m_cameras
from tests.refusals import fails
from tests.sequences import made


def load(name, split, root, **options):
  return sequences.load(name, split, root=str(root), **options)


def test_variant_a_as_published(tmp_path):
  content = made.h36m_a(tmp_path / 'h36m_sh_conf_cam_source_final.pkl', (30, 7, 12))['test']
  found = load('h36m', 'test', tmp_path)
  # The second take of this action is one of the three that are left out.
  assert [s.name for s in found.sequences] == ['s_09_act_05_subact_01_ca_01',
                                               's_09_act_05_subact_03_ca_03']
  assert found.name == 'h36m A' and '1 videos are left out' in found.notes[0]
  first = found.sequences[0]
  assert (first.subject, first.action, len(first)) == ('S9', 'act_05', 30)
  assert first.cameras[0].size == (1000, 1002) and first.cameras[0].focal is None
  clip = first.clip(np.array([3, 29]), 0)
  rows = [3, 29]
  np.testing.assert_array_equal(clip.keypoints_2d, content['joint_2d'][rows])
  np.testing.assert_allclose(clip.confidence, content['confidence'][rows, :, 0], rtol=1e-6)
  np.testing.assert_array_equal(clip.image_3d, content['joint3d_image'][rows])
  np.testing.assert_allclose(first.factor[rows], content['2.5d_factor'][rows], rtol=1e-6)
  cut = windows.of(found, 9, 9, 'drop')
  assert cut.sequence.tolist() == [0, 0, 0, 1] and cut.frames[-1].tolist() == list(range(9))


def test_variant_a_in_training_has_image_space_alone(tmp_path):
  made.h36m_a(tmp_path / 'own.pkl')
  found = load('h36m', 'train', tmp_path, file='own.pkl')
  assert found.sequences[0].factor is None and found.sequences[0].subject == 'S1'
  assert found.sequences[1].cameras[0].size == (1000, 1000)


def test_variant_b_as_published(tmp_path):
  poses, points = made.h36m_b(tmp_path)
  found = load('h36m', 'test', tmp_path, file='data_2d_h36m_gt.npz')
  assert found.name == 'h36m B'
  assert [s.name for s in found.sequences] == ['S9 Walking', 'S9 Directions 2', 'S11 Phoning']
  assert [s.action for s in found.sequences] == ['Walking', 'Directions', 'Phoning']
  clip = found.sequences[1].clip(np.arange(12), 2)
  np.testing.assert_array_equal(clip.keypoints_2d, points['S9']['Directions 2'][2][:12])
  quaternion = np.array(h36m_cameras._EXTRINSICS['S9'][2][0])
  place = np.array(h36m_cameras._EXTRINSICS['S9'][2][1])
  kept = [j for j in range(32) if j not in (4, 5, 9, 10, 11, 16, 20, 21, 22, 23, 24, 28, 29, 30,
                                            31)]
  world = 1000 * poses['S9']['Directions 2'][:, kept].astype(np.float64)
  np.testing.assert_allclose(clip.keypoints_3d, cameras.world_to_camera(world, quaternion, place),
                             atol=0.01)
  cut = windows.of(found, 5, 5, 'cover')
  assert len(cut) == 3 * 4 * 3 and cut.counted.sum() == 3 * 4 * 12
  assert len(load('h36m', 'train', tmp_path, file='data_2d_h36m_gt.npz').sequences) == 6


@pytest.mark.parametrize('subject', ['S1', 'S5', 'S6', 'S7', 'S8', 'S9', 'S11'])
def test_cameras_look_at_the_middle_of_the_room(subject):
  for camera in h36m_cameras.of_subject(subject):
    np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-9)
    middle = camera.rotation @ np.array([0, 0, 1000.0]) + camera.translation
    assert 3000 < middle[2] < 7000
    point = cameras.project(middle, camera.params)
    assert (np.abs(point - 500) < 300).all()
    up = camera.rotation @ np.array([0, 0, 1.0])
    assert up[1] < -0.9  # Y is down
  assert h36m_cameras.of_subject('S2') is None


def test_3dhp_as_published(tmp_path):
  train, test = made.mpi_inf_3dhp(tmp_path)
  found = load('mpi_inf_3dhp', 'train', tmp_path)
  assert len(found.sequences) == 4 * 2  # camera 3 is not among the published eight
  assert found.sequences[1].name == 'S1 Seq1 camera 8' and found.root == 14
  np.testing.assert_allclose(found.sequences[1].keypoints_3d,
                             train['S1 Seq1'][0]['8']['data_3d'], rtol=1e-6)
  assert [s.fps for s in found.sequences] == 2 * [25, 25, 50, 50]
  found = load('mpi_inf_3dhp', 'test', tmp_path)
  assert [s.cameras[0].size for s in found.sequences] == 4 * [(2048, 2048)] + 2 * [(1920, 1080)]
  cut = windows.of(found, 9, 1, 'centre')
  assert len(cut) == cut.counted.sum() == sum(int(v['valid'].sum()) for v in test.values())
  assert load('mpi_inf_3dhp', 'train', tmp_path, cameras=(3,)).sequences[0].name.endswith('3')


def test_3dpw(tmp_path):
  made.pw3d(tmp_path / '3dpw_test.npz')
  found = load('pw3d', 'test', tmp_path)
  assert [len(s) for s in found.sequences] == [8, 5] and found.sequences[1].take == 'street_01'
  assert found.sequences[0].cameras[0].focal.tolist() == [1500, 1500]
  made.pw3d(tmp_path / '3dpw_test.npz', frames=np.array([8, 6]))
  fails(lambda: load('pw3d', 'test', tmp_path), '3dpw_test.npz', '14', '13')


class Evil:
  def __reduce__(self):
    return print, ('run',)


def test_files_that_could_run_code_are_refused(tmp_path, capsys):
  path = tmp_path / 'h36m_sh_conf_cam_source_final.pkl'
  path.write_bytes(pickle.dumps({'train': Evil()}))
  fails(lambda: load('h36m', 'train', tmp_path), str(path), 'print')
  np.savez(tmp_path / 'data_test_3dhp.npz', data=np.array(Evil(), dtype=object))
  fails(lambda: load('mpi_inf_3dhp', 'test', tmp_path), 'data_test_3dhp.npz', 'print')
  assert capsys.readouterr().out == ''
