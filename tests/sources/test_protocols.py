"""Loaders of the field's sets: formats, codes of visibility, official counts."""
import functools
import json
import os
import pathlib
import pickle
import shutil

import cv2
import numpy as np
import pytest
import scipy.io

from configs import ccoco_hrnet, cmpii_hrnet, protocols
from dslope_jax import skeletons
from dslope_jax.tasks.people import load_train
from input_pipeline import sources
from input_pipeline.sources import counts as official_counts
from tests.data_sets import write_json, write_keypoints
from tests.refusals import fails
from tests.truths import average_precision_of_own


def _truth(root, file):
  return json.loads(pathlib.Path(root, file).read_text())


def _joints(annotation):
  return np.array(annotation['keypoints']).reshape(-1, 3)


@pytest.mark.parametrize('file', ['json/crowdpose_val.json', 'crowdpose_val.json',
                                  'annotations/mmpose_crowdpose_val.json'])
def test_crowdpose(tmp_path, file, capsys):
  root = write_keypoints(tmp_path, file, skeletons.CROWDPOSE)
  source = sources.load('crowdpose', 'val', root=root)
  assert source.skeleton is skeletons.CROWDPOSE  # its limbs, not those of the file
  joints = _joints(_truth(root, file)['annotations'][0])
  np.testing.assert_allclose(source.keypoints[0], joints[:, :2], atol=1e-4)
  np.testing.assert_array_equal(source.visibility[0], joints[:, 2])
  assert [i['crowdIndex'] for i in source.ground_truth['images']] == pytest.approx([.4, .8, 1.2])
  assert source.read(2).shape == (128, 96, 3)
  assert average_precision_of_own(source) > 0.999
  assert '3 pictures, 3 people; the official val of crowdpose has 2000' in capsys.readouterr().out


def test_counts(capsys):
  check = official_counts.check_counts
  check('crowdpose', 'val', 'a.json', 2000, 8527)
  check('crowdpose', 'trainval', 'a.json', 12000, 44000)
  check('mpii', 'valid', 'a.json', people=2958)
  check('crowdpose', 'my_split', 'a.json', 5, 5)
  check('no_set', 'val', 'a.json', 5, 5)
  assert capsys.readouterr().out == ''
  for name, split, counts, message in (
      ('crowdpose', 'test', dict(pictures=2000, people=8527),
       r'^a\.json: this is val \(2000 pictures, 8527 people\) of crowdpose, not test '
       r'\(8000 pictures\); give'),
      ('crowdpose', 'val', dict(pictures=10000, people=1), 'this is train .* not val'),
      ('mpii', 'valid', dict(people=22246), 'this is train .22246 people. of mpii, not valid'),
      ('wflw', 'train', dict(people=2500), 'this is test .2500 people'),
      ('ochuman', 'val', dict(pictures=2231, people=3819), 'this is test')):
    with pytest.raises(ValueError, match=message) as error:
      check(name, split, 'a.json', **counts)
    assert '\n' not in str(error.value)
  check('crowdpose', 'val', 'a.json', 2000, 8000)  # the pictures of val, with other people
  check('aic', 'val', 'a.json', 29000, 1)
  out = capsys.readouterr().out.splitlines()
  assert len(out) == 2 and out[1].startswith('a.json: 29000 pictures, 1 people; the official val')


def test_a_wrong_split_is_an_error(tmp_path, monkeypatch):
  root = write_keypoints(tmp_path, 'json/crowdpose_val.json', skeletons.CROWDPOSE)
  table = {'crowdpose': {'train': (3, None), 'val': (4, None)}}
  monkeypatch.setattr(official_counts, '_COUNTS', table)
  with pytest.raises(ValueError, match=r'crowdpose_val\.json: this is train .3 pictures. of'):
    sources.load('crowdpose', 'val', root=root)


@pytest.mark.parametrize('name, options', [
  ('crowdpose', {}), ('ochuman', {}), ('aic', {}), ('jhmdb', {'sub': 2}),
  ('faces', {'faces_of': 'wflw'}), ('lsp', {})])
def test_missing_files_say_how_to_get_them(tmp_path, name, options):
  with pytest.raises(FileNotFoundError, match=r'(?s)^[^\n]*--config.data.root=FOLDER[^\n]*$'):
    sources.load(name, 'train', root=str(tmp_path), **options)


def test_another_sets_file_is_refused(tmp_path):
  root = write_keypoints(tmp_path, 'json/crowdpose_val.json', skeletons.COCO)
  with pytest.raises(ValueError, match="17 keypoints, first 'nose'.*not the 14 of crowdpose"):
    sources.load('crowdpose', 'val', root=root)


def _ochuman(root, codes=(1, 2, 3, 0), broken=None):
  """ochuman.json with three pictures, of which the second has nobody with joints and mask."""
  names = [*skeletons.COCO.names[::-1], 'head', 'neck']
  write_keypoints(root, 'unused.json', skeletons.COCO)
  pictures = []
  for number in (3, 1, 2):
    joints = np.column_stack([np.arange(19) + number, np.arange(19) + 30, np.resize(codes, 19)])
    segms = {'outer': [[10, 20, 60, 20, 60, 100, 10, 100]], 'width': 96, 'height': 128,
             'inner': [[20, 30, 40, 30, 40, 50, 20, 50]] if number == 1 else []}
    person = {'bbox': [5, 6, 65, 106], 'keypoints': joints.ravel().tolist(), 'segms': segms}
    bare = {'bbox': [5, 6, 65, 106], 'keypoints': None, 'segms': segms}
    people = [bare] if number == 2 else [bare, person]
    pictures.append({'image_id': f'{number:06d}', 'file_name': f'{number:04d}.jpg', 'width': 96,
                     'height': 128, 'annotations': people})
  if broken:
    broken(pictures)
  write_json(pathlib.Path(root, 'annotations/ochuman.json'),
             {'keypoint_names': names, 'images': pictures})
  return str(root)


def test_ochumans_own_form(tmp_path):
  source = sources.load('ochuman', 'val', root=_ochuman(tmp_path))
  assert [os.path.basename(f) for f in source.file] == ['0001.jpg', '0003.jpg']
  assert source.image_id.tolist() == source.annotation_id.tolist() == [1, 2]
  assert source.ground_truth['annotations'][0]['bbox'] == [5, 6, 60, 100]
  # The file has the joints in reverse order with codes 1, 2, 3, 0 in turn.
  np.testing.assert_array_equal(source.keypoints[0, :, 0] - 1, np.arange(17)[::-1])
  np.testing.assert_array_equal(source.visibility[0], np.resize([2, 2, 1, 0], 17)[::-1])
  mask = source.mask(0)
  assert mask.shape == (128, 96) and mask[60, 30] and not mask[40, 30]  # a hole
  assert source.mask(1)[40, 30] and source.parts(0) == {}
  with pytest.raises(ValueError, match="holds the splits val, test and all, not 'train'"):
    sources.load('ochuman', 'train', root=str(tmp_path))
  with pytest.raises(ValueError, match='no annotation of category 1 has a labelled keypoint'):
    sources.load('ochuman', 'test', root=str(tmp_path))


def test_ochuman_broken(tmp_path):
  def edit(pictures):
    pictures[0]['annotations'][1]['keypoints'][2] = 4
  with pytest.raises(ValueError, match=r"ochuman.json: a person of picture '0003.jpg' .* get the"):
    sources.load('ochuman', 'val', root=_ochuman(tmp_path / 'a', broken=edit))
  for change in (lambda pictures: pictures[1].pop('image_id'),
                 lambda pictures: pictures[1].update(annotations=3)):
    root = _ochuman(tmp_path / 'c', broken=change)
    with pytest.raises(ValueError, match="entry 1 of 'images' has no image_id or list of annot"):
      sources.load('ochuman', 'val', root=root)
  source = sources.load('ochuman', 'val', root=_ochuman(
    tmp_path / 'b', broken=lambda pictures: pictures[1]['annotations'][1]['segms'].pop('outer')))
  with pytest.raises(ValueError, match='a mask has not the form outer, inner'):
    source.mask(0)


def test_aics_own_form(tmp_path):
  folder = tmp_path / 'ai_challenger_keypoint_validation_20170911'
  write_keypoints(folder, 'unused.json', skeletons.AIC,
                  folder='keypoint_validation_images_20170911')
  pose = np.column_stack([np.arange(14) + 10, np.arange(14) + 20, np.resize([1, 2, 3], 14)])
  entry = {'image_id': '0002', 'human_annotations': {'human1': [5, 6, 35, 46]},
           'keypoint_annotations': {'human1': pose.ravel().tolist()}}
  path = folder / 'keypoint_validation_annotations_20170911.json'
  write_json(path, [entry])
  source = sources.load('aic', 'val', root=str(tmp_path))
  assert source.skeleton is skeletons.AIC and os.path.basename(source.file[0]) == '0002.jpg'
  np.testing.assert_array_equal(source.visibility[0], np.resize([2, 1, 0], 14))
  np.testing.assert_allclose(source.box, [[5, 6, 29, 39]])  # clipped as COCO's boxes are
  assert average_precision_of_own(source) > 0.999
  for change in ({'keypoint_annotations': {'human2': []}}, {'human_annotations': {'human1': [5]}},
                 {'keypoint_annotations': {'human1': [0] * 42}}, {'keypoint_annotations': None}):
    write_json(path, [entry, entry | change])
    with pytest.raises(ValueError, match='entry 1 has not the form image_id, human_annotations'):
      sources.load('aic', 'val', root=str(tmp_path))


def test_jhmdb_counts_from_one(tmp_path):
  file = 'annotations/Sub2_test.json'
  root = write_keypoints(tmp_path, file, skeletons.JHMDB, folder='.')
  source = sources.load('jhmdb', 'test', root=root, sub=2)
  annotation = _truth(root, file)['annotations'][1]
  np.testing.assert_allclose(source.keypoints[1], _joints(annotation)[:, :2] - 1, atol=1e-4)
  np.testing.assert_allclose(source.box[1, :2], np.array(annotation['bbox'][:2]) - 1)
  assert average_precision_of_own(source) > 0.999
  with pytest.raises(ValueError, match='has the divisions 1, 2 and 3'):
    sources.load('jhmdb', 'test', root=root, sub=4)


@pytest.mark.parametrize('faces_of, skeleton', [
  ('300w', skeletons.FACE_300W), ('cofw', skeletons.COFW), ('wflw', skeletons.WFLW),
  ('aflw', skeletons.AFLW)])
def test_faces(tmp_path, faces_of, skeleton):
  def edit(truth):
    truth['categories'][0]['keypoints'] = []  # as published
    for annotation in truth['annotations']:
      annotation |= {'center': [40, 50], 'scale': 0.25, 'box_size': 40 + annotation['id']}
  root = write_keypoints(tmp_path, f'annotations/{faces_of}_test.json', skeleton, edit=edit)
  source = sources.load('faces', 'test', root=root, faces_of=faces_of)
  assert source.skeleton is skeleton
  assert set(source.visibility.ravel().tolist()) == ({1, 2} if faces_of == 'cofw' else {2})
  np.testing.assert_allclose(source.center, [[40, 50]] * 3)
  np.testing.assert_allclose(source.scale, [[0.3125, 0.3125]] * 3)
  # What NME divides by on AFLW; the other sets' is a distance of points.
  if faces_of == 'aflw':
    assert source.reference.tolist() == [50, 60, 70]
    assert source.reference.dtype == np.float32
    for copy in (source.subset([2, 0]), pickle.loads(pickle.dumps(source)).subset([2, 0])):
      assert copy.reference.tolist() == [70, 50]
  else:
    assert source.reference is None
  assert average_precision_of_own(source) > 0.999
  plain = write_keypoints(tmp_path / 'plain', f'annotations/{faces_of}_test.json', skeleton)
  assert (sources.load('faces', 'test', root=plain, faces_of=faces_of).center
          != source.center).any()


def _subsets(source):
  return [a.get('subsets') for a in source.ground_truth['annotations']]


def test_the_parts_of_300w_and_of_json_files(tmp_path):
  def edit(truth):
    for entry, folder in zip(truth['images'], ('ibug', 'helen/testset', 'lfpw/testset'),
                             strict=True):
      moved = f"{folder}/{entry['file_name']}"
      (tmp_path / 'images' / folder).mkdir(parents=True)
      shutil.copy(tmp_path / 'images' / entry['file_name'], tmp_path / 'images' / moved)
      entry['file_name'] = moved
  write = functools.partial(write_keypoints, tmp_path, skeleton=skeletons.FACE_300W)
  write('annotations/300w_valid.json', edit=edit)
  load = lambda split: sources.load('faces', split, root=str(tmp_path), faces_of='300w')
  assert _subsets(load('valid')) == [['challenge'], ['common'], ['common']]

  def name(parts):
    return lambda truth: truth['annotations'][1].update(subsets=parts)
  write('annotations/300w_test.json', edit=name(['indoor']))
  assert _subsets(load('test')) == [None, ['indoor'], None]
  for wrong in ('indoor', [1]):
    write('annotations/300w_test.json', edit=name(wrong))
    fails(lambda: load('test'), '300w_test.json', 'annotation 20', 'its subsets are')


def test_wflw_by_its_own_list(tmp_path):
  """Two faces of one picture and one of another; the flags are the six subsets."""
  folder = tmp_path / 'WFLW_annotations/list_98pt_rect_attr_train_test'
  folder.mkdir(parents=True)
  rng, lines = np.random.default_rng(0), []
  points = rng.uniform(20, 60, (3, 98, 2)).round(3)
  for flags, file, face in zip(('1 0 0 0 0 1', '0 0 0 0 0 0', '0 1 1 1 1 0'),
                               ('a/1 b.jpg', 'a/1 b.jpg', 'a/2.jpg'), points, strict=True):
    lines.append(f"{' '.join(map(str, face.ravel()))} 15 10 70 65 {flags} {file}")
    (tmp_path / 'WFLW_images/a').mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(tmp_path / 'WFLW_images' / file), np.zeros((96, 80, 3), np.uint8))
  path = folder / 'list_98pt_rect_attr_test.txt'
  path.write_text('\n'.join(lines) + '\n')
  load = lambda: sources.load('faces', 'test', root=str(tmp_path), faces_of='wflw')
  source = load()
  assert source.image_id.tolist() == [1, 1, 2] and source.read(2).shape == (96, 80, 3)
  np.testing.assert_allclose(source.keypoints, points, rtol=1e-6)
  assert (source.visibility == 2).all() and source.skeleton is skeletons.WFLW
  np.testing.assert_allclose(source.center, [[42.5, 37.5]] * 3, atol=0.6)
  assert _subsets(source) == [['largepose', 'blur'], [], ['expression', 'illumination', 'makeup',
                                                           'occlusion']]
  for broken in ('1 2 3', lines[1].replace(' 0 0 ', ' 0 7 ', 1), lines[1].replace('15', 'x')):
    path.write_text('\n'.join([lines[0], broken]))
    fails(load, 'list_98pt_rect_attr_test.txt', 'line 2', '196 coordinates')


def test_faces_errors(tmp_path):
  def edit(truth):
    for annotation in truth['annotations']:
      annotation |= {'center': [40, 50], 'scale': 0}
  root = write_keypoints(tmp_path, 'annotations/cofw_test.json', skeletons.COFW, edit=edit)
  with pytest.raises(ValueError, match='annotation 10: its scale is not 1 finite'):
    sources.load('faces', 'test', root=root, faces_of='cofw')
  def miss(truth):
    truth['annotations'][0]['box_size'] = 30
  root = write_keypoints(tmp_path / 'c', 'annotations/aflw_test.json', skeletons.AFLW, edit=miss)
  with pytest.raises(ValueError, match='annotation 20: its box_size is not 1 finite'):
    sources.load('faces', 'test', root=root, faces_of='aflw')
  with pytest.raises(ValueError, match=r"faces_of is one of \['300w', 'aflw', .* not 'menpo'"):
    sources.load('faces', 'test', root=root, faces_of='menpo')
  def unname(truth):
    truth['categories'][0]['keypoints'] = []
  root = write_keypoints(tmp_path / 'b', 'annotations/aflw_test.json', skeletons.COFW, edit=unname)
  with pytest.raises(ValueError, match='has 87 keypoint numbers, 19 joints need 57'):
    sources.load('faces', 'test', root=root, faces_of='aflw')


# ---- configs

def test_protocols_train_as_the_configs_of_their_sets():
  assert protocols.get_config('mpii').to_dict() == cmpii_hrnet.get_config().to_dict()
  assert protocols.get_config('coco').to_dict() == ccoco_hrnet.get_config().to_dict()


@pytest.mark.parametrize('word, wanted', [
  ('coco', (0.35, 45, 0.3)), ('crowdpose', (0.35, 45, 0.3)), ('mpii_test', (0.25, 30, 0)),
  ('jhmdb', (0.25, 30, 0)), ('aic', (0.5, 40, 0.3)), ('300w', (0.25, 30, 0)),
  ('cofw', (0.25, 30, 0)), ('wflw', (0.25, 30, 0)), ('aflw', (0.25, 30, 0))])
def test_every_set_has_its_published_augmentation(word, wanted):
  augmentation = protocols.get_config(word).data.augmentation
  assert (augmentation.scale, augmentation.rotation, augmentation.half_body_prob) == wanted


@pytest.mark.parametrize('word', ['ochuman', 'ochuman_test'])
def test_ochuman_is_not_trained_on(word):
  fails(lambda: load_train(protocols.get_config(word)), 'no training split', 'ochuman is for',
        'configs/ccoco_hrnet.py', '--workdir')


@pytest.mark.parametrize('extended', [False, True])
def test_lsp(tmp_path, extended):
  write_keypoints(tmp_path, 'unused.json', skeletons.LSP)
  for picture in (tmp_path / 'images').iterdir():
    picture.rename(picture.with_name('im' + picture.name.rjust(9 if extended else 8, '0')))
  joints = np.random.default_rng(0).uniform(10, 80, (3, 14, 3))
  joints[2] = 0
  joints[2, :5] = 1
  stored = joints.transpose(1, 0, 2) if extended else joints
  scipy.io.savemat(tmp_path / 'joints.mat', {'joints': stored})
  source = sources.load('lsp', 'train', root=str(tmp_path), extended=extended)
  assert len(source) == 3 and source.skeleton is skeletons.LSP
  labelled = slice(5) if extended else slice(14)
  np.testing.assert_allclose(source.keypoints[1, labelled], joints[:2, labelled, 1].T,
                             rtol=1e-5)
  assert source.visibility[1].tolist() == [2 if extended else 1] * 5 + [0 if extended else 2] * 9
  x = joints[0, labelled, 1]
  np.testing.assert_allclose(source.box[1, [0, 2]], [
    (x.min() + x.max()) / 2 - np.ptp(x) * 1.15 / 2, np.ptp(x) * 1.15], rtol=1e-5)
  assert source.read(0).shape == (128, 96, 3)
  for split, change, message in (
      ('val', {}, 'the splits are train'), ('train', {'joints': joints[:2]}, 'has shape'),
      ('train', {'joints': joints * np.nan}, 'neither 0 nor 1'),
      ('train', {'j': 1}, "with 'joints'")):
    scipy.io.savemat(tmp_path / 'joints.mat', change or {'joints': stored})
    with pytest.raises(ValueError, match=message):
      sources.load('lsp', split, root=str(tmp_path), extended=extended)
