"""Result files of any program: read as they are, or refused with one clear line."""
import json
import os
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslope_jax.metrics import keypoint_ap
from dslope_jax.metrics.result_files import read_results

K = 17
TRUTH = {'images': [{'id': 7, 'width': 100, 'height': 80}, {'id': 9}, {'id': 12}],
         'categories': [{'id': 1}]}
_DATA = os.environ.get('DSLOPE_DATA')


def result(number=7, seed=0, **fields):
  joints = np.random.default_rng(seed).uniform(0, 80, 3 * K).tolist()
  return {'image_id': number, 'category_id': 1, 'keypoints': joints, 'score': 0.5} | fields


def without(key):
  return {k: v for k, v in result().items() if k != key}


def write(folder, content):
  path = pathlib.Path(folder, 'results.json')
  path.write_text(content if isinstance(content, str) else json.dumps(content))
  return str(path)


def test_what_was_written_is_read(tmp_path):
  rng = np.random.default_rng(0)
  ids, keypoints = np.array([9, 7, 9]), rng.uniform(-5, 90, (3, K, 2))
  joint_scores, scores = rng.random((3, K)), rng.normal(size=3)
  path = write(tmp_path, keypoint_ap.to_coco_results(ids, keypoints, joint_scores, scores))
  got = read_results(path, TRUTH, K)
  assert got[4:] == (None, None, None)
  for ours, given_ in zip(got[:4], (ids, keypoints, joint_scores, scores), strict=True):
    np.testing.assert_array_equal(ours, given_)
  assert got.image_id.dtype == np.int64 and got.score.dtype == np.float64


def test_other_fields_and_an_empty_list(tmp_path):
  extra = result(bbox=[3, 4, 60, 50], id=5, area=None, box_caption='x')
  assert len(read_results(write(tmp_path, [extra]), TRUTH, K).score) == 1
  empty = read_results(write(tmp_path, []), TRUTH, K)
  assert [a.shape for a in empty[:4]] == [(0,), (0, K, 2), (0, K), (0,)]


def test_probabilities_are_read_where_all_poses_have_them(tmp_path):
  first, second = result(present=[.5] * K, right=None), result(9, present=[0] * K)
  got = read_results(write(tmp_path, [first, second]), TRUTH, K)
  assert got.present.tolist() == [[.5] * K, [0] * K] and got.right is got.visible is None


@pytest.mark.parametrize('message, content', [
  ('not a readable json file', '[{"image_id": 7, "keyp'),
  ('not a readable json file', '[' * 10**5),
  ("holds {'7': 1}, not a list", {7: 1}),
  ('looks like an annotation file', {'annotations': [], 'images': []}),
  ('holds 3, not a list', '3'),
  ('entry 1 is 5, not a dict', [result(), 5]),
  ('entry 1 lacks score; have the program write score', [result(9), without('score')]),
  ('entry 0 lacks image_id', [without('image_id')]),
  ('entry 0 lacks category_id', [without('category_id')]),
  ('entry 0 lacks keypoints', [without('keypoints')]),
  ('entry 1 is of picture 8, which the truth does not have', [result(), result(8)]),
  ("entry 0 has the image_id '7', not a whole number", [result('7')]),
  ('entry 0 has the image_id 7.0', [result(7.0)]),
  ('entry 0 has the image_id True', [result(True)]),
  ('entry 0 has the category_id 18, the truth has 1', [result(category_id=18)]),
  ("entry 0 has the category_id 'person'", [result(category_id='person')]),
  ('entry 0 has the score nan', [result(score=float('nan'))]),
  ('entry 0 has the score inf', [result(score=float('inf'))]),
  ('entry 0 has the score None', [result(score=None)]),
  ("entry 0 has the score '0.5'", [result(score='0.5')]),
  ('entry 0 has 18 keypoints, the truth has 17', [result(keypoints=[1.0] * 54)]),
  ('entry 0 has 34 keypoint numbers, as of x, y alone', [result(keypoints=[1.0] * 34)]),
  ('entry 0 has 50 keypoint numbers, 17 joints need 51', [result(keypoints=[1.0] * 50)]),
  ('entry 0 has 0 keypoints', [result(keypoints=[])]),
  ('entry 0 has lists of their own', [result(keypoints=[[1, 2, 3]] * K)]),
  ('entry 0 has None as keypoints', [result(keypoints=None)]),
  ('entry 0 has nan as y of joint 1', [result(keypoints=[1.] * 4 + [float('nan')] + [1.] * 46)]),
  ('entry 0 has -inf as x of joint 0', [result(keypoints=[-float('inf')] + [1.] * 50)]),
  ('entry 0 has 1000000000.* as score of joint 16', [result(keypoints=[1] * 50 + [10**400])]),
  ("entry 0 has 'a' as x of joint 0", [result(keypoints=['a'] * 51)]),
  ('entry 0 has .* as present, not 17 probabilities from 0 to 1', [result(present=[0.5] * 16)]),
  ('1 of 2 entries, such as entry 1, have no present', [result(present=[0.5] * K), result(9)]),
  ('entry 0 has .* as visible, not 17 probabilities', [result(visible=[1.01] + [0] * 16)]),
  ('entries 1 and 3 are the same pose of picture 9', [
    result(7), result(9), result(9, seed=1), result(9, score=0.1)]),
  ('entry 0 has the bbox .1, 2, 3., not four', [result(bbox=[1, 2, 3])]),
  ('2 of 2 boxes leave their picture or joints as x, y, width, height and fit them as corners', [
    result(seed=i, bbox=b) for i, b in enumerate(
      ([60, 10, 95, 70], [50, 20, 80, 60], [2, 3, 90, 60]))]),
])
def test_what_is_wrong_is_said_in_one_line(tmp_path, message, content):
  path = write(tmp_path, content)
  with pytest.raises(ValueError, match=message) as error:
    read_results(path, TRUTH, K)
  assert str(error.value).startswith(f'{path}: ') and '\n' not in str(error.value)
  assert len(str(error.value)) < len(path) + 250


def test_a_missing_file(tmp_path):
  with pytest.raises(OSError, match="cannot read '.*nothing.json' .No such file"):
    read_results(str(tmp_path / 'nothing.json'), TRUTH, K)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 90), st.floats(0, 70), st.floats(0.05, 1),
                          st.floats(0.05, 1)), min_size=1, max_size=8))
def test_boxes_inside_their_picture_are_never_taken_for_corners(tmp_path_factory, boxes):
  folder = tmp_path_factory.mktemp('boxes')
  rows = [result(seed=i, bbox=[x, y, a * (100 - x), b * (80 - y)])
          for i, (x, y, a, b) in enumerate(boxes)]
  assert len(read_results(write(folder, rows), TRUTH, K).score) == len(boxes)


@settings(deadline=None, max_examples=100)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
                      st.sampled_from(['image_id', 'category_id', 'keypoints', 'score', 'bbox']),
                      inner), max_leaves=12))
def test_any_json_is_read_or_refused(tmp_path_factory, content):
  path = write(tmp_path_factory.mktemp('any'), content)
  try:
    read_results(path, TRUTH, K)
  except ValueError as error:
    assert str(error).startswith(f'{path}: ')


@pytest.mark.skipif(not _DATA, reason='DSLOPE_DATA names no folder')
def test_real_file():
  path = os.path.join(_DATA, 'cocoapi_results',
                      'person_keypoints_val2014_fakekeypoints100_results.json')
  ids = {entry['image_id'] for entry in json.loads(pathlib.Path(path).read_text())}
  got = read_results(path, TRUTH | {'images': [{'id': i} for i in ids]}, K)
  assert len(got.score) == 125 and len(set(got.image_id.tolist())) == 47
