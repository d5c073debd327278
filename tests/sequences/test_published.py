"""Files of others that are not as they should be: each fault is told in one line, none is read."""
import pickle

import numpy as np
import pytest

from input_pipeline import sequences
from input_pipeline.sequences import published
from tests.refusals import fails
from tests.sequences import made

PKL, GT = 'h36m_sh_conf_cam_source_final.pkl', 'data_2d_h36m_gt.npz'
NAN = float('nan')


def refused(root, name, *parts, split='test', **options):
  fails(lambda: sequences.load(name, split, root=str(root), **options), *parts)


def with_nan(values, *place):
  values = values.copy()
  values[place] = NAN
  return values


VARIANT_A = {  # what is changed: from the content, the fields of 'test' that differ; the message
  'joints': (lambda c: {'joint_2d': c['joint_2d'][:, :16]}, "'joint_2d'", '(50, 16, 2)'),
  'axes': (lambda c: {'joint_2d': np.zeros(50)}, "'joint_2d'", '(50,)'),
  'ragged': (lambda c: {'joint_2d': [np.zeros((17, 2))] * 49 + [np.zeros((16, 2))]}, 'no array'),
  'text': (lambda c: {'joint_2d': np.array(['a'] * 50)}, "'joint_2d'", 'no array of numbers'),
  'flat': (lambda c: {'joint3d_image': c['joint3d_image'][..., :2]}, "'joint3d_image'", '17, 3'),
  'confidence': (lambda c: {'confidence': c['confidence'][:40]}, "'confidence'", '(40, 17, 1)'),
  'factor': (lambda c: {'2.5d_factor': c['2.5d_factor'][:40]}, "'2.5d_factor'", '(40,)', '(50,)'),
  'no factor': (lambda c: {'2.5d_factor': None}, "'2.5d_factor'"),
  'nan factor': (lambda c: {'2.5d_factor': with_nan(c['2.5d_factor'], 9)},
                 's_09_act_05_subact_01_ca_01', 'frame 9', 'factor'),
  'truth': (lambda c: {'joints_2.5d_image': c['joints_2.5d_image'][:40]}, '(40, 17, 3)'),
  'action': (lambda c: {'action': ['Walking'] * 40}, "'action'", '40 texts for 50 frames'),
  'source': (lambda c: {'source': c['source'][:40]}, "'source'", '40 texts'),
  'no source': (lambda c: {'source': 5}, "'source'", '0 texts'),
  'video': (lambda c: {'source': ['S9_Walking'] * 50}, "'S9_Walking'", 's_09_act_02'),
  'video in two parts': (lambda c: {'source': c['source'][:20] + c['source'][40:]
                                    + c['source'][20:40]},
                         'two sequences', 's_09_act_05_subact_01_ca_01'),
  'camera': (lambda c: {'camera_name': ['1234'] * 50}, "'1234'", '54138969', 's_09_act_05'),
  'two cameras': (lambda c: {'camera_name': ['54138969'] * 9 + ['55011271'] * 41},
                  "'54138969' and '55011271'"),
  'zero factor': (lambda c: {'2.5d_factor': c['2.5d_factor'] * 0}, 'factor is 0', 'above 0'),
  'complex': (lambda c: {'joint_2d': c['joint_2d'] + 1j}, "'joint_2d'", 'no array of numbers'),
  'huge': (lambda c: {'joint_2d': c['joint_2d'].astype(float) * 1e300}, 'keypoints_2d',
           'no finite number'),
  'nan': (lambda c: {'joint_2d': with_nan(c['joint_2d'], 7, 3, 1)}, 'frame 7', 'right_ankle',
          's_09_act_05_subact_01_ca_01', 'keypoints_2d'),
  'nothing': (lambda c: {k: v[:0] for k, v in c.items()}, 'no sequences')}


@pytest.mark.parametrize('case', VARIANT_A)
def test_variant_a(tmp_path, case):
  change, *parts = VARIANT_A[case]
  content = made.h36m_a(tmp_path / PKL)['test']
  made.h36m_a(tmp_path / PKL, **change(content))
  refused(tmp_path, 'h36m', *parts)


@pytest.mark.parametrize('content, part', [
  ([1], PKL), ({'train': {}}, "no 'test'"), ({'test': [1]}, "'test' is no dict"),
  ({'test': {}}, "no 'joint3d_image'")])
def test_variant_a_of_another_form(tmp_path, content, part):
  (tmp_path / PKL).write_bytes(pickle.dumps(content))
  refused(tmp_path, 'h36m', part, PKL)


def test_variant_a_in_forms_that_are_accepted(tmp_path):
  """MotionBERT reads two numbers of joint_2d, and a confidence with or without a third axis."""
  content = made.h36m_a(tmp_path / PKL)['test']
  made.h36m_a(tmp_path / PKL, confidence=content['confidence'][..., 0], action=['Sitting'] * 50,
              joint_2d=np.concatenate([content['joint_2d'], content['confidence']], -1))
  found = sequences.load('h36m', 'test', root=str(tmp_path)).sequences[0]
  np.testing.assert_array_equal(found.keypoints_2d[0], content['joint_2d'][:30])
  np.testing.assert_allclose(found.confidence[0], content['confidence'][:30, :, 0], rtol=1e-6)
  assert found.action == 'Sitting' and found.take == 's_09_act_05_subact_01'


VARIANT_B = {  # what stands for S9 Walking: of the poses, of the views; the message
  'poses of 17 joints': (lambda w: w[:, :17], None, "'S9': 'Walking'", '(12, 17, 3)', '(F, 32, 3)'),
  'no poses': (lambda w: None, None, "'Walking' has the shape ()"),
  'poses with cameras': (lambda w: {'positions': w}, None, 'no array of numbers'),
  'poses in mm': (lambda w: w * 1000, None, "'S9 Walking' reach", 'Mend the unit'),
  'no frames': (lambda w: w[:0], None, 'S9 Walking', 'no frames'),
  'nan': (lambda w: with_nan(w, 2, 0, 0), None, 'S9 Walking', 'frame 2', "'hip'"),
  'three views': (None, lambda v: v[:3], 'not a list of 4 views', GT),
  'no views': (None, lambda v: None, 'not a list of 4 views'),
  'views of 16 joints': (None, lambda v: [*v[:3], v[3][:, :16]], 'view 3', '(15, 16, 2)'),
  'numbers': (None, lambda v: [1, 2, 3, 4], 'view 0'),
  'short': (None, lambda v: [*v[:3], v[3][:11]], '[15, 15, 15, 11]', 'data_3d_h36m.npz', '12')}


@pytest.mark.parametrize('case', VARIANT_B)
def test_variant_b(tmp_path, case):
  of_poses, of_views, *parts = VARIANT_B[case]
  for table, change, file, name in zip(
      made.h36m_b(tmp_path), (of_poses, of_views), ('data_3d_h36m.npz', GT),
      ('positions_3d', 'positions_2d'), strict=True):
    if change:
      table['S9']['Walking'] = change(table['S9']['Walking'])
      np.savez(tmp_path / file, **{name: np.array(table, dtype=object)})
  refused(tmp_path, 'h36m', *parts, file=GT)


def test_variant_b_lacks_a_part(tmp_path):
  poses, points = made.h36m_b(tmp_path)
  np.savez(tmp_path / 'data_3d_h36m.npz', positions_3d=np.array(poses | {'S9': {}}, dtype=object))
  refused(tmp_path, 'h36m', "'S9' has no actions", file=GT)
  np.savez(tmp_path / 'data_3d_h36m.npz', positions_3d=np.array(poses, dtype=object))
  del points['S9']['Directions 2']
  np.savez(tmp_path / GT, positions_2d=np.array(points, dtype=object))
  refused(tmp_path, 'h36m', GT, "no 'Directions 2'", file=GT)
  np.savez(tmp_path / 'data_3d_h36m.npz', positions_3d=np.array({'S9': [1]}, dtype=object))
  refused(tmp_path, 'h36m', "'S9' is no dict", file=GT)
  np.savez(tmp_path / 'data_3d_h36m.npz', positions_3d=np.zeros(3))
  refused(tmp_path, 'h36m', "'positions_3d' is no dict", file=GT)
  refused(tmp_path, 'h36m', "no 'positions_2d'", file='data_3d_h36m.npz')
  refused(tmp_path, 'h36m', 'train or test', split='val')


@pytest.mark.parametrize('change, parts', [
  ({'valid': np.ones(14)}, ("'valid'", '(14,)', '(15,)')),
  ({'valid': np.full(15, NAN)}, ("'TS1': 'valid' holds other numbers",)),
  ({'data_3d': None}, ("'data_3d'", '()')),
  ({'data_2d': np.zeros((15, 16, 2))}, ("'TS1'", '(15, 16, 2)')),
  ({'data_2d': np.zeros((14, 17, 2))}, ('(14, 17, 2)', '(15, 17, 2)')),
  ({'data_3d': with_nan(np.zeros((15, 17, 3)), 4, 14, 0)}, ('TS1', 'frame 4', "'hip'"))])
def test_3dhp(tmp_path, change, parts):
  _, test = made.mpi_inf_3dhp(tmp_path)
  test['TS1'] |= change
  np.savez(tmp_path / 'data_test_3dhp.npz', data=np.array(test, dtype=object))
  refused(tmp_path, 'mpi_inf_3dhp', *parts)


def test_3dhp_of_another_form(tmp_path):
  train, test = made.mpi_inf_3dhp(tmp_path)
  refused(tmp_path, 'mpi_inf_3dhp', 'data_train_3dhp.npz', 'cameras (9,)', split='train',
          cameras=(9,))
  np.savez(tmp_path / 'data_test_3dhp.npz', data=np.array(train, dtype=object))
  refused(tmp_path, 'mpi_inf_3dhp', "'S1 Seq1' is no dict")
  np.savez(tmp_path / 'data_train_3dhp.npz', data=np.array(test, dtype=object))
  refused(tmp_path, 'mpi_inf_3dhp', "'TS1' is not [videos", split='train')
  del test['TS1']['valid']
  np.savez(tmp_path / 'data_test_3dhp.npz', data=np.array(test, dtype=object))
  refused(tmp_path, 'mpi_inf_3dhp', "'TS1' has no 'valid'")


@pytest.mark.parametrize('change, parts', [
  ({'name': np.array(['a', 'a'])}, ('two sequences', "'a'")),
  ({'frames': np.array([16, -3])}, ('3dpw_test.npz', "'frames' is -3")),
  ({'frames': np.array([13, 0])}, ("'frames' is 0",)),
  ({'frames': np.array([8, 6])}, ('14', '13')),
  ({'size': np.array([0, 1920])}, ("'size' is 0",)),
  ({'confidence': np.full((13, 17), 2.0)}, ("'confidence' is 2.0",)),
  ({'keypoints_3d': np.random.default_rng(0).normal(0, 300, (13, 17, 3)) - (0, 0, 4000)},
   ("'street_00_0', frame 0: the hip is -3", 'above 0')),
  ({'params': np.zeros((2, 9))}, ("'params' is [0.0",)),
  ({'params': np.full((2, 9), NAN)}, ("'params' is not finite",))])
def test_3dpw(tmp_path, change, parts):
  made.pw3d(tmp_path / '3dpw_test.npz', **change)
  refused(tmp_path, 'pw3d', *parts)


def test_3dhp_tells_cameras_that_no_video_is_of(tmp_path):
  made.mpi_inf_3dhp(tmp_path)
  load = lambda *cameras: sequences.load('mpi_inf_3dhp', 'train', root=str(tmp_path),
                                         cameras=cameras)
  train, _ = made.mpi_inf_3dhp(tmp_path)
  train['S1 Seq1'][0] = {}
  np.savez(tmp_path / 'data_train_3dhp.npz', data=np.array(train, dtype=object))
  assert load(0, 8).notes == ('S1 Seq1: no video of the cameras asked for',)
  made.mpi_inf_3dhp(tmp_path)
  assert load(0, 8).notes == () and load(0, 99, 7).notes == ('no video is of camera 7, 99',)


def test_listed():
  assert published.listed((1, 'a')) == [1, 'a'] and published.listed(np.zeros((2, 3)))[1].size == 3
  assert all(published.listed(value) == [] for value in (None, 5, 'ab', {1: 2}, np.array(5)))


def test_numbers():
  found = published.numbers([[1, 2, 3], [4, 5, 6]], (None, 2), 'x', wider=True)
  assert found.tolist() == [[1, 2], [4, 5]] and found.dtype == np.float32
  assert published.numbers(25, (), 'x') == 25
  fails(lambda: published.numbers([[1, 2, 3]], (None, 2), 'x'), 'x has', '(1, 3), not (F, 2)')
  fails(lambda: published.numbers([[1]], (None, 2), 'x', wider=True), '(1, 1)')
  fails(lambda: published.numbers(3, (None, 2), 'x', wider=True), '()')
