"""Faces of a json file in COCO's form with `identity` and `video`."""
import json
import os
import pathlib

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from dslope_jax.errors import UserError
from dslope_jax.skeletons import FACE_300W
from input_pipeline import face_crops, identities
from input_pipeline.identities import pairing
from tests.identities import made
from tests.refusals import fails

_DATA = os.environ.get('DSLOPE_DATA')


def load(root, split='train', **options):
  return identities.load('coco', split, root=str(root), **{'skeleton': '300w'} | options)


def edited(change):
  """An edit of every annotation."""
  def edit(truth):
    for number, annotation in enumerate(truth['annotations']):
      change(number, annotation)
  return edit


def test_the_columns_of_a_file(tmp_path):
  people = load(made.write_coco(tmp_path))
  assert people.name == 'train' and people.names == ('0', '1', '2', '3') and len(people) == 12
  np.testing.assert_array_equal(people.identity, np.repeat(range(4), 3))
  np.testing.assert_array_equal(people.video, [0, 1, 0, 2, 3, 2, 4, 5, 4, 6, 7, 6])
  np.testing.assert_array_equal(people.key[:4], [0, 1, 2, 100])
  assert people.landmarks.shape == (12, 68, 2) and (people.visibility == 2).all()
  assert people.skeleton.names == FACE_300W.names and people.box.shape == (12, 4)
  assert people.read(0).shape == (48, 40, 3) and people.notes == ()
  pairs = pairing.draw(people.identity, people.video, 100, 0)
  assert pairs[:, 2].sum() == 8  # of three frames the first and the last are of one video
  sample = face_crops.FaceMaker(people, (32, 32), None, 'none', 0).evaluate(4)
  assert sample['identity'] == 1 and sample['image'].any()


def test_numbers_are_in_their_order_and_names_may_be_texts(tmp_path):
  people = load(made.write_coco(tmp_path / 'a', identities=12))
  assert people.names[9:] == ('9', '10', '11')
  names = ['Ben', 'Ann', 'Cid', 'Ann']
  named = load(made.write_coco(tmp_path / 'b', edit=edited(
    lambda n, a: a.update(identity=names[n // 3], video=f'clip {n // 2}'))))
  assert named.names == ('Ann', 'Ben', 'Cid')
  np.testing.assert_array_equal(named.identity, np.repeat([1, 0, 2, 0], 3))
  np.testing.assert_array_equal(named.video, np.repeat(range(6), 2))


def test_boxes_alone_are_enough(tmp_path):
  def edit(truth):
    truth['categories'] = [{'id': 1, 'name': 'face'}]
    for annotation in truth['annotations']:
      del annotation['keypoints'], annotation['video']

  people = load(made.write_coco(tmp_path, edit=edit), skeleton='')
  assert people.landmarks is None and people.skeleton is None and (people.video == -1).all()
  assert face_crops.FaceMaker(people, (32, 32), None, 'none', 0).evaluate(0)['image'].any()


def test_landmarks_alone_are_enough(tmp_path):
  root = made.write_coco(tmp_path / 'a')
  bare = made.write_coco(tmp_path / 'b', edit=edited(lambda n, a: a.pop('bbox')))
  np.testing.assert_allclose(load(bare).box, load(root).box, atol=1e-4)


def test_five_points_need_no_skeleton(tmp_path):
  def edit(truth):
    truth['categories'][0]['keypoints'] = list('abcde')
    for annotation in truth['annotations']:
      annotation['keypoints'] = annotation['keypoints'][:15]

  people = load(made.write_coco(tmp_path, edit=edit), skeleton='')
  assert people.skeleton is None and people.landmarks.shape == (12, 5, 2)
  assert face_crops.FaceMaker(people, (32, 32), None, 'none', 0).evaluate(0)['image'].any()


def test_points_whose_names_say_nothing_need_a_skeleton_or_the_box(tmp_path):
  people = load(made.write_coco(tmp_path), skeleton='')
  fails(lambda: face_crops.FaceMaker(people, (32, 32), None, 'none', 0),
        'lack an eye, the tip of the nose', 'data.loader.skeleton')
  maker = face_crops.FaceMaker(people, (32, 32), None, 'none', 0, crop='box')
  assert maker.evaluate(0)['image'].any()
  fails(lambda: face_crops.FaceMaker(people, (32, 32), None, 'none', 0, crop='ear'),
        "crop is one of landmarks, box, not 'ear'")


def test_identities_are_held_apart(tmp_path):
  root = made.write_coco(tmp_path, identities=6)
  one = {'annotations': 'train.json', 'images': 'train', 'held_out': 2}
  train, val = (load(root, split, **one) for split in ('train', 'val'))
  assert len(train.names) == 4 and len(val.names) == 2 and not set(train.names) & set(val.names)
  assert len(train) == 12 and train.landmarks.shape == (12, 68, 2) and len(val.box) == 6
  assert {load(root, 'val', **one, seed=seed).names for seed in range(9)} != {val.names}


def test_faces_without_identity_are_told(tmp_path):
  def change(number, annotation):
    if number % 3 == 0:
      annotation['identity'] = None
    if number == 1:
      del annotation['identity']

  people = load(made.write_coco(tmp_path, edit=edited(change)))
  assert len(people) == 7 and people.notes[0] == '5 faces without identity are left out'
  assert 'single picture' in people.notes[1]
  root = made.write_coco(tmp_path / 'b', edit=edited(lambda n, a: a.pop('identity')))
  fails(lambda: load(root), "no annotation has an 'identity'", 'train.json')


@pytest.mark.parametrize('change, text', [
  (lambda n, a: n or a.update(identity='1'), "two identities have the name '1'"),
  (lambda n, a: n or a.update(identity=1.5), 'annotation 0: its identity 1.5 is neither a whole'),
  (lambda n, a: n or a.update(identity=True), 'its identity True is neither'),
  (lambda n, a: n or a.update(identity=''), "its identity '' is neither"),
  (lambda n, a: n or a.update(video=[1]), 'its video [1] is neither a whole number nor a name'),
  (lambda n, a: n or a.update(bbox=[1, 2, 0, 4]), 'bbox [1, 2, 0, 4] has no area'),
  (lambda n, a: n or a.update(bbox=[99, 2, 5, 4]), 'lies outside its picture of 40x48'),
  (lambda n, a: n or a.update(keypoints=[1, 2]), 'has 2 keypoint numbers, 68 joints need 204'),
  (lambda n, a: n or (a.pop('bbox'), a.pop('keypoints')), 'bbox None is not four finite numbers'),
  (lambda n, a: n or a.update(id=1), 'its id is not a whole number, is negative or repeats'),
  (lambda n, a: n or a.update(image_id=77), 'image_id 77 matches no picture of the file')])
def test_wrong_annotations_are_refused_in_one_line(tmp_path, change, text):
  root = made.write_coco(tmp_path, edit=edited(change))
  fails(lambda: load(root), text, 'train.json')


def test_numbers_that_are_no_pixels_are_refused(tmp_path):
  root = made.write_coco(tmp_path, edit=edited(
    lambda n, a: a.update(bbox=[value / 48 for value in a['bbox']])))
  fails(lambda: load(root), 'shares of the picture', 'train.json')


def test_invalid_faces_can_be_left_out(tmp_path, capsys):
  root = made.write_coco(tmp_path, edit=edited(lambda n, a: n or a.update(bbox=[1, 2, 0, 4])))
  assert len(load(root, skip_invalid=True)) == 11
  assert '1 invalid annotations left out' in capsys.readouterr().out


def test_missing_files_are_named(tmp_path):
  root = made.write_coco(tmp_path)
  fails(lambda: load(root, 'val'), 'no annotation file', "there are 'train.json'", kind=OSError)
  (tmp_path / 'train' / '000_00.jpg').unlink()
  fails(lambda: load(root), '1 picture of ', "'000_00.jpg'", kind=OSError)


@pytest.fixture(scope='module')
def made_once(tmp_path_factory):
  return pathlib.Path(made.write_coco(tmp_path_factory.mktemp('faces'), identities=2, pictures=2))


_VALUES = st.one_of(
  st.none(), st.booleans(), st.integers(-2**70, 2**70), st.floats(), st.text(max_size=3),
  st.lists(st.one_of(st.none(), st.integers(-9, 9), st.floats(), st.text(max_size=2)), max_size=5),
  st.just([5, 5, 10, 10]), st.just({}), st.just('drop'))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.sampled_from(['images', 'annotations', 'categories']),
                          st.integers(0, 3), st.sampled_from([
                            'id', 'image_id', 'category_id', 'iscrowd', 'identity', 'video', 'bbox',
                            'keypoints', 'file_name', 'width', 'name']), _VALUES), max_size=4))
def test_any_content_loads_or_is_refused_in_one_line(made_once, edits):
  truth = json.loads((made_once / 'train.json').read_text())
  for part, number, field, value in edits:
    entry = truth[part][number % len(truth[part])]
    entry.pop(field, None) if value == 'drop' else entry.update({field: value})
  (made_once / 'odd.json').write_text(json.dumps(truth))
  try:
    people = load(made_once, annotations='odd.json', images='train')
  except (UserError, FileNotFoundError) as error:
    assert '\n' not in str(error) and 'odd.json' in str(error)
    return
  assert len(people) and max(people.identity) < len(people.names)


@pytest.mark.skipif(not _DATA or not os.path.isdir(f'{_DATA}/faces/youtube_faces'),
                    reason='needs DSLOPE_DATA with faces/youtube_faces')
def test_real_frames_of_videos():
  people = load(f'{_DATA}/faces/youtube_faces', 'val')
  assert len(people.names) == 50 and len(people) == 597 and people.notes == ()
  pairs, folds = pairing.draw_in_folds(people.identity, people.video, 2000, 0)
  assert len(pairs) == 2000 and pairing.may_be_pair(people.video, *pairs[:, :2].T).all()
  sample = face_crops.FaceMaker(people, (112, 112), None, 'none', 0).evaluate(0)
  assert sample['image'].std() > 10
