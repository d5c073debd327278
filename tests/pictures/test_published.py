"""Published sets of people in space, read from files in their real forms, and broken ones."""
import json

import cv2
import numpy as np
import pytest
import scipy.io

from dslope_jax.skeletons import MPI15
from input_pipeline import pictures
from input_pipeline.pictures import mupots, panoptic
from tests.pictures import made, made_sets
from tests.refusals import fails

WRIST, HEAD = MPI15.names.index('left_wrist'), MPI15.names.index('head_top')


def check(found, row, one, people=(0, 1)):
  """The picture of a row has these people, exactly."""
  got = found[row]
  np.testing.assert_allclose(got.joints_3d, one.joints_3d[list(people)], atol=1e-3)
  np.testing.assert_allclose(got.joints_2d, one.joints_2d[list(people)], atol=1e-3)
  np.testing.assert_allclose(got.camera, made.CAMERA, rtol=1e-4)
  assert found.read(row).shape == (made.SIZE[1], made.SIZE[0], 3)


# ---- the form of SMAP and HUPOR

def test_canonical_files_hold_what_they_say(tmp_path):
  root = made_sets.write_canonical(tmp_path)
  options = {'root': str(root), 'annotations': 'M3E_gt.json'}
  found = pictures.load('canonical', 'all', **options)
  assert len(found) == 2 and found.has_depth and found.channels.all() and not found.notes
  for row, one in enumerate(made_sets.frames()):
    check(found, row, one)
  assert found.take.tolist() == ['TS1', 'TS2'] and (found.visibility == 2).all()
  for split, row in (('train', 0), ('val', 1)):
    part = pictures.load('canonical', split, **options)
    assert part.file.tolist() == [found.file[row]]
  same = pictures.load('mupots', 'test', **options)
  assert same.digest == found.digest


def test_a_canonical_file_without_depth_is_a_set_without(tmp_path):
  def flat(entries):
    for entry in entries:
      table = np.array(entry['bodys'])
      table[..., [2, 4, 5, 6, 7, 8, 9, 10]] = 0
      table[:, HEAD, 3] = 0
      entry['bodys'] = table.tolist()
  root = made_sets.write_canonical(tmp_path, edit=flat)
  found = pictures.load('canonical', 'all', root=str(root), annotations='M3E_gt.json')
  assert not found.has_depth and found.camera[0].tolist() == [320, 320, 160, 120]
  assert np.flatnonzero(found.channels == 0).tolist() == [1, 15, 16, *range(43, 57)]


def test_canonical_pictures_without_people_stay(tmp_path):
  root = made_sets.write_canonical(tmp_path, edit=lambda e: e[0].update(bodys=[]))
  found = pictures.load('canonical', 'all', root=str(root), annotations='M3E_gt.json')
  assert [len(found[row].visibility) for row in range(2)] == [0, 2]


def edited(person, column, value):
  """An edit of the first picture's table of people."""
  def edit(entries):
    table = np.array(entries[0]['bodys'])
    table[person, :, column] = value
    entries[0]['bodys'] = table.tolist()
  return edit


def test_a_mark_of_utf_8_is_passed_over(tmp_path):
  file = made_sets.write_canonical(tmp_path) / 'M3E_gt.json'
  file.write_bytes(b'\xef\xbb\xbf' + file.read_bytes())
  assert len(pictures.load('canonical', 'all', root=str(tmp_path), annotations='M3E_gt.json')) == 2


@pytest.mark.parametrize('edit, words', [
  (lambda e: e[1].update(bodys=[[[0] * 11] * 14]), ("'bodys' of picture 1", '15 x 11')),
  (lambda e: e[1].update(bodys=[[['x'] * 11] * 15]), ("'bodys' of picture 1",)),
  (lambda e: e[0].pop('img_width'), ('M3E_gt.json', 'img_width')),
  (lambda e: e[0].update(bodys=None), ('M3E_gt.json', "'bodys' of picture 0 is no list")),
  (lambda e: e[0].update(bodys=[[['1'] * 11] * 15]), ("'bodys' of picture 0", '1 x 15 x 11')),
  (lambda e: e[0].update(bodys=[[[None] * 11] * 15]), ("'bodys' of picture 0", '1 x 15 x 11')),
  (lambda e: e[0].update(img_width=0), ('TS1/img_000000.jpg', 'is 0 x 240 pixels')),
  (lambda e: e[0].update(img_width=10**12), ('TS1/img_000000.jpg', '1000000000000 x 240')),
  (lambda e: e[0].update(img_paths=e[1]['img_paths']), ('TS2/img_000000.jpg', 'there twice')),
  (edited(0, 7, 900), ("'bodys' of picture 0", 'different cameras')),
  (edited(0, 2, 17), ("'bodys' of picture 0", 'both Z in cm, and differ')),
  (edited(slice(None), 7, -400), ('TS1/img_000000.jpg', 'its camera is [-400')),
  (edited(0, 4, 1e300), ('person 0', 'its place in space is no finite number')),
  (edited(0, 3, 258), ('person 0', 'its visibility is not 0, 1 or 2')),
  (edited(0, 3, 1.5), ('person 0', 'its visibility is not 0, 1 or 2')),
  (lambda e: e[1].update(img_paths='../x.jpg'), ('../x.jpg', 'leads out'))])
def test_broken_canonical_files_are_named(tmp_path, edit, words):
  root = str(made_sets.write_canonical(tmp_path, edit=edit))
  fails(lambda: pictures.load('canonical', 'all', root=root, annotations='M3E_gt.json'), *words)


def test_mm_for_cm_is_noticed(tmp_path):
  def mm(entries):
    for entry in entries:
      table = np.array(entry['bodys'])
      table[..., [2, 4, 5, 6]] *= 10
      entry['bodys'] = table.tolist()
  root = made_sets.write_canonical(tmp_path, edit=mm)
  fails(lambda: pictures.load('canonical', 'all', root=str(root), annotations='M3E_gt.json'),
        'look like mm')


def test_cm_for_mm_is_told(tmp_path):
  def cm(content):
    for one in content['annotations']:
      one['keypoints_cam'] = (np.array(one['keypoints_cam']) / 10).tolist()
  note, = pictures.load('muco', 'all', root=str(made_sets.write_muco(tmp_path, cm))).notes
  assert note.startswith('half of the people would be 16.9 cm large or less')


# ---- MuCo-3DHP

def test_muco_has_cm_and_joints_of_mpi15(tmp_path):
  root = made_sets.write_muco(tmp_path)
  found = pictures.load('muco', 'all', root=str(root), visibility='set')
  for row, one in enumerate(made_sets.frames()):
    check(found, row, one)
  np.testing.assert_array_equal(found.visibility, 2 * (np.arange(15) != WRIST) * np.ones((4, 1)))
  proxy = pictures.load('muco', 'all', root=str(root))
  assert proxy.proxy and set(np.unique(proxy[0].visibility)) <= {0, 1, 2}
  assert (proxy[0].visibility[:, WRIST] == 0).all() and proxy.digest != found.digest


def test_muco_is_parted_by_names(tmp_path):
  root = str(made_sets.write_muco(tmp_path))
  sides = {}
  for share in (0.0, 0.3, 0.6, 1.0):
    for split in ('train', 'val'):
      try:
        sides[share, split] = pictures.load('muco', split, root=root, held_out=share).file.tolist()
      except ValueError as error:
        assert f"'{split}'" in str(error)
        sides[share, split] = []
    both = sides[share, 'train'] + sides[share, 'val']
    assert sorted(both) == ['unaugmented_set/0.jpg', 'unaugmented_set/1.jpg']
  assert not sides[0.0, 'val'] and not sides[1.0, 'train']


@pytest.mark.parametrize('edit, words', [
  (lambda c: c['annotations'][1].update(keypoints_cam=[[0, 0, 1]]), ("'keypoints_cam'", '1', '21')),
  (lambda c: c['annotations'][2].update(image_id=99), ('image_id 99',)),
  (lambda c: c['images'][0].update(f=[1500]), ('f and c of picture 7',)),
  (lambda c: c['images'][1].update(id=7), ('MuCo-3DHP.json', '1 id of pictures', 'such as 7')),
  (lambda c: c['annotations'][0].update(keypoints_vis=[None] * 21), ("'keypoints_vis'", '21')),
  (lambda c: c.pop('annotations'), ('MuCo-3DHP.json', 'annotations')),
  (lambda c: c['images'][0].update(file_name='unaugmented_set/x.jpg'), ('unaugmented_set/x.jpg',))])
def test_broken_muco_files_are_named(tmp_path, edit, words):
  root = made_sets.write_muco(tmp_path, edit)
  fails(lambda: pictures.load('muco', 'all', root=str(root)), *words,
        kind=(ValueError, FileNotFoundError))


# ---- MuPoTS-3D

def test_mupots_has_hidden_joints_a_fitted_camera_and_boxes_of_who_is_not_valid(tmp_path):
  root = made_sets.write_mupots(tmp_path)
  found = pictures.load('mupots', 'test', root=str(root), truth='metric')
  one, two = made_sets.frames()
  check(found, 0, one)
  check(found, 1, two, people=(0,))
  expected = np.where(np.arange(15) == WRIST, 1, 2)
  np.testing.assert_array_equal(found.visibility, np.tile(expected, (3, 1)))
  points = two.joints_2d[1]
  np.testing.assert_allclose(found[1].ignore, [[*points.min(0), *np.ptp(points, axis=0)]],
                             rtol=1e-5)
  assert not len(found[0].ignore) and set(found.take) == {'TS1'}
  univ = pictures.load('mupots', 'test', root=str(root))
  np.testing.assert_allclose(univ.joints_3d, found.joints_3d * 1.1, rtol=1e-5)
  np.testing.assert_allclose(univ.camera, found.camera, rtol=1e-4)
  assert univ.name == 'mupots univ'


def test_mupots_sequences_are_in_order_and_can_be_chosen(tmp_path):
  for name in ('TS2', 'TS10', 'TS1'):
    made_sets.write_mupots(tmp_path, name)
  take = lambda **options: list(dict.fromkeys(
    pictures.load('mupots', 'test', root=str(tmp_path), **options).take.tolist()))
  assert take() == ['TS1', 'TS2', 'TS10'] and take(sequences='TS10, TS2') == ['TS2', 'TS10']
  fails(lambda: take(sequences='TS3'), "'TS3'", kind=FileNotFoundError)
  fails(lambda: take(sequences='TS2,TS2'), 'TS2/img_000000.jpg', 'there twice')
  for option in ({'truth': 'metric'}, {'sequences': 'TS1'}):
    fails(lambda option=option: take(annotations='mupots.json', **option),
          'leave data.loader.truth')
  (tmp_path / 'TS2/occlusion.mat').unlink()
  fails(take, 'no file', 'TS2/occlusion.mat', 'MultiPersonTestSet', kind=FileNotFoundError)


def test_a_camera_needs_joints():
  assert mupots.fitted_camera(np.ones((1, 17, 3)), np.ones((1, 17, 2))) is None
  places = np.concatenate([made_sets.frames()[0].joints_3d, np.zeros((1, 15, 3))])
  points = np.concatenate([made_sets.frames()[0].joints_2d, np.full((1, 15, 2), np.nan)])
  np.testing.assert_allclose(mupots.fitted_camera(places, points), made.CAMERA)


def test_broken_mupots_folders_are_named(tmp_path):
  load = lambda **options: pictures.load('mupots', 'test', root=str(tmp_path), **options)
  fails(load, 'TS1', kind=FileNotFoundError)
  fails(lambda: pictures.load('mupots', 'train', root=str(tmp_path)), "'train'")
  fails(lambda: load(truth='best'), 'univ, metric', "'best'")
  cells = np.empty((2, 2), object)
  for place in np.ndindex(2, 2):
    cells[place] = {'annot2': np.zeros((2, 17)), 'isValidFrame': 1}
  made_sets.write_mupots(tmp_path, occlusion_labels=cells[:1])
  fails(load, 'annot.mat', '(2, 2)', '(1, 2)')
  made_sets.write_mupots(tmp_path, annotations=cells)
  fails(load, 'annot.mat: frame 0, person 0', 'univ_annot3')
  for place in np.ndindex(2, 2):
    cells[place] |= {'annot2': np.zeros((2, 16)), 'univ_annot3': np.zeros((3, 17))}
  made_sets.write_mupots(tmp_path, annotations=cells)
  fails(load, 'frame 0, person 0', "'annot2'", '2 x 17')
  scipy.io.savemat(tmp_path / 'TS1/annot.mat', {'other': 1})
  fails(load, 'annot.mat', "'annotations'")
  made_sets.write_mupots(tmp_path)
  (tmp_path / 'TS1/img_000001.jpg').unlink()
  fails(load, 'img_000001.jpg', kind=FileNotFoundError)


# ---- CMU Panoptic

def test_panoptic_is_in_the_frame_of_each_camera(tmp_path):
  root = made_sets.write_panoptic(tmp_path)
  found = pictures.load('panoptic', 'test', root=str(root), sequences='160906_pizza1',
                        visibility='set')
  assert len(found) == 4 and set(found.activity) == {'pizza'} and found.channels.all()
  for row in range(4):
    check(found, row, made_sets.frames()[row % 2])
    np.testing.assert_array_equal(found[row].visibility[0], 2)
    assert found[row].visibility[1].tolist() == [2 * (j != WRIST) for j in range(15)]
  assert found.file[2] == '160906_pizza1/hdImgs/00_30/00_30_00000000.jpg'


def test_panoptic_of_19_joints_has_no_top_of_the_head(tmp_path):
  root = made_sets.write_panoptic(tmp_path, joints=19)
  found = pictures.load('panoptic', 'test', root=str(root), sequences='160906_pizza1', cameras='30')
  assert len(found) == 2 and found.proxy
  assert not found.visibility[:, HEAD].any() and not found[0].visibility[:, HEAD].any()
  assert np.flatnonzero(found.channels == 0).tolist() == [1, 15, 16, 43]


def test_panoptic_takes_so_many_pictures_of_an_activity(tmp_path):
  for sequence in ('160224_mafia1', '160226_mafia2', '160224_mafia2'):
    made_sets.write_panoptic(tmp_path, sequence)
  names = '160224_mafia1,160226_mafia2,160224_mafia2'
  load = lambda **options: pictures.load('panoptic', 'train', root=str(tmp_path), sequences=names,
                                         **options)
  assert len(load()) == 12 and len(load(every=2)) == 6 and len(load(count=6)) == 6
  assert set(load(count=6).take) == set(names.split(','))
  assert {a for split in panoptic.SPLITS.values() for a in split} == {
    'haggling', 'mafia', 'ultimatum', 'pizza'}


def test_panoptic_s_lens_is_opencv_s(tmp_path):
  lens = (-0.2, 0.15, 0.002, -0.003, 0.01)
  root = made_sets.write_panoptic(tmp_path, lens=lens)
  found = pictures.load('panoptic', 'test', root=str(root), sequences='160906_pizza1',
                        cameras='16')
  fx, fy, cx, cy = made.CAMERA
  for row, one in enumerate(made_sets.frames()):
    points = cv2.projectPoints(one.joints_3d.reshape(-1, 3), np.zeros(3), np.zeros(3),
                               np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), np.array(lens))[0]
    np.testing.assert_allclose(found[row].joints_2d.reshape(-1, 2), points[:, 0], atol=1e-3)


def test_missing_pictures_of_panoptic_are_counted(tmp_path):
  root = made_sets.write_panoptic(tmp_path, pictures=(1,))
  found = pictures.load('panoptic', 'test', root=str(root), sequences='160906_pizza1', cameras='16')
  assert len(found) == 1 and '1 of 2 annotated frames have no picture' in found.notes[0]


def test_broken_panoptic_folders_are_named(tmp_path):
  load = lambda **options: pictures.load(
    'panoptic', 'test', root=str(tmp_path), **{'sequences': '160906_pizza1'} | options)
  fails(load, 'hdPose3d_stage1', kind=FileNotFoundError)
  fails(lambda: load(cameras='x'), 'cameras', "'x'")
  fails(lambda: pictures.load('panoptic', 'dev', root=str(tmp_path)), 'train, val, test', "'dev'")
  made_sets.write_panoptic(tmp_path)
  fails(lambda: load(cameras='4'), '00_04', 'calibration')
  fails(lambda: load(cameras='16,3'), 'hdImgs/00_03', kind=FileNotFoundError)
  body = tmp_path / '160906_pizza1/hdPose3d_stage1/body3DScene_00000001.json'
  body.write_text(json.dumps({'bodies': [{'id': 0, 'joints15': [1, 2]}]}))
  fails(load, body, "'joints15' of body 0", '60')
  body.write_text('{')
  fails(load, body)
  for option, value in (('every', 0), ('count', -1)):
    fails(lambda option=option, value=value: load(**{option: value}), f'{option} is {value}, must')


@pytest.mark.parametrize('key, value, words', [
  ('resolution', [320], ('resolution', 'length 2')),
  ('resolution', [0, 240], ('00_16_00000000.jpg', 'is 0 x 240 pixels')),
  ('K', [[0.0] * 3] * 3, ("'K' of camera 00_16", 'no focal lengths above 0')),
  ('R', [[1.0] * 3] * 3, ("'R' of camera 00_16", 'no rotation')),
  ('t', [[-200.0], [1800.0], [2500.0]], ("'t' of camera 00_16", '3087 cm', 'looks like mm'))])
def test_broken_calibrations_are_named(tmp_path, key, value, words):
  made_sets.write_panoptic(tmp_path)
  file = tmp_path / '160906_pizza1/calibration_160906_pizza1.json'
  content = json.loads(file.read_text())
  content['cameras'][0][key] = value
  file.write_text(json.dumps(content))
  fails(lambda: pictures.load('panoptic', 'test', root=str(tmp_path), sequences='160906_pizza1'),
        *words)
