"""Boxes by file: which picture an entry belongs to, and what is refused."""
import json

import cv2
import numpy as np
import pytest

from input_pipeline.sources.given_boxes import GivenBoxes
from tests.refusals import fails


@pytest.fixture
def write(tmp_path):
  def to_file(content):
    path = tmp_path / 'boxes.json'
    path.write_text(json.dumps(content))
    return str(path)
  return to_file


def of(box=(1, 2, 30, 40), **fields):
  return {'category_id': 1, 'bbox': list(box), 'score': 0.9} | fields


TRUTH = {
  'images': [{'id': 7, 'file_name': 'val/a.jpg', 'width': 60, 'height': 80},
             {'id': 8, 'file_name': 'val/b.jpg', 'width': 60, 'height': 80},
             {'id': 9, 'file_name': 'train/b.jpg'}],
  'annotations': [
    {'image_id': 7, 'category_id': 3, 'bbox': [1, 2, 30, 40]},
    {'image_id': 7, 'category_id': 3, 'bbox': [0, 0, 60, 80], 'iscrowd': 1},
    {'image_id': 9, 'category_id': 5, 'bbox': [1, 2, 9, 9]},
    {'image_id': 9, 'category_id': 3, 'bbox': [5, 6, 20, 30]}],
  'categories': [{'id': 3, 'name': 'bird', 'keypoints': ['beak']}, {'id': 5, 'name': 'cage'}]}


def test_annotations_by_file_name(write):
  files = ['pictures/a.jpg', 'x/train/b.jpg', 'x/val/b.jpg', 'c.jpg']
  boxes = GivenBoxes(write(TRUTH), files)
  found, scores, number = boxes('pictures/a.jpg')
  assert found.tolist() == [[1, 2, 30, 40]] and scores.tolist() == [1] and number == 7
  assert boxes.size('pictures/a.jpg') == (60, 80) and boxes.size('x/train/b.jpg') == (0, 0)
  found, _, number = boxes('x/train/b.jpg')
  assert found.tolist() == [[5, 6, 20, 30]] and number == 9
  assert len(boxes('x/val/b.jpg')[0]) == 0 and boxes('x/val/b.jpg')[2] == 8
  assert boxes.unnamed == ['c.jpg'] and boxes('c.jpg')[2] == 10  # no number of the file
  fails(lambda: GivenBoxes(write(TRUTH), ['b.jpg']), "'val/b.jpg' may mean 'b.jpg'")
  fails(lambda: GivenBoxes(write(TRUTH), ['a/val/a.jpg', 'b/val/a.jpg']), "'a/val/a.jpg'")


def test_results_by_number_and_by_name(write):
  path = write([of(image_id=12), of((4, 4, 9, 9), image_id=12, score=0.2), of(image_id=3)])
  boxes = GivenBoxes(path, ['p/COCO_val_000012.jpg', 'p/4.jpg'], min_score=0.3)
  found, scores, number = boxes('p/COCO_val_000012.jpg')
  assert found.tolist() == [[1, 2, 30, 40]] and scores.tolist() == [0.9] and number == 12
  assert boxes.low == 1 and boxes('p/4.jpg')[2] == 13
  fails(lambda: GivenBoxes(path, ['12.jpg', '0012.png']), "'12.jpg'")
  fails(lambda: GivenBoxes(path, ['q.jpg']), 'none of its 3 boxes', 'names 12')
  video = GivenBoxes(write([of(file='v.mp4', frame=2, image_id=5), of(file='v.mp4', frame=4)]),
                     ['here/v.mp4'])
  assert [len(video('here/v.mp4', frame)[0]) for frame in range(5)] == [0, 0, 1, 0, 1]
  assert video('here/v.mp4', 2)[2] == 5


def test_boxes_that_are_on_nothing_are_told(write):
  boxes = GivenBoxes(write([
    of(file='v.mp4'), of(file='v.mp4', frame=-1), of(file='v.mp4', frame=0), of(image_id=7),
    of(image_id=7, frame=0), of(image_id=9)]), ['v.mp4', '7.jpg'])
  assert [len(boxes(*of)[0]) for of in (('v.mp4', 0), ('v.mp4', 1), ('7.jpg',))] == [1, 0, 1]
  left = boxes.left_over()
  assert "4 of its 6 boxes" in left and "such as entry 0 ('v.mp4', without a frame)" in left
  boxes = GivenBoxes(write([of(file='x/a.jpg')]), ['y/a.jpg'])
  assert boxes.by_last == {'y/a.jpg': 'x/a.jpg'}
  boxes('y/a.jpg')
  assert boxes.left_over() == ''


def test_other_categories_are_left_out(write):
  path = write([of(image_id=1), of(image_id=1, category_id=2)])
  boxes = GivenBoxes(path, ['1.jpg'])
  assert len(boxes('1.jpg')[0]) == 1 and boxes.others == 1
  assert GivenBoxes(write(TRUTH), ['a.jpg', 'train/b.jpg']).others == 1  # of a cage
  path = write([of(image_id=1, category_id=77)])  # the only category is that of people
  boxes = GivenBoxes(path, ['1.jpg'])
  assert len(boxes('1.jpg')[0]) == 1 and boxes.category == 77
  assert GivenBoxes(write([]), ['1.jpg']).category == 1
  things = TRUTH | {'categories': [{'id': 3, 'name': 'cat'}, {'id': 5, 'name': 'dog'}]}
  fails(lambda: GivenBoxes(write(things), ['a.jpg']), "none of its 2 categories is called 'person'")


def test_boxes_without_area_are_told(write):
  boxes = GivenBoxes(write([of(image_id=1), of((3, 3, 1e-300, 9), image_id=1)]), ['1.jpg'])
  (found,) = boxes.findings
  assert found.kind == 'boxes-without-area' and found.ids == (1,)
  assert len(boxes('1.jpg')[0]) == 1


def test_corners_are_noticed_by_the_pictures_themselves(write, tmp_path):
  file = str(tmp_path / '1.png')
  cv2.imwrite(file, np.zeros((100, 100, 3), np.uint8))
  corners = [of((50 + i, 50, 90, 95), image_id=1) for i in range(3)]
  fails(lambda: GivenBoxes(write(corners), [file]), 'fit them as corners', 'entry 0')


@pytest.mark.parametrize('content, part', [
  ([7], 'entry 0 is 7'), ([{'bbox': [1, 2, 3, 4]}], 'entry 0 names no picture'),
  ([of(image_id=1.5)], 'entry 0 names no picture'), ([of(image_id=[1])], 'entry 0 names no'),
  ([of(image_id=1, frame='x')], 'entry 0 names no picture'),
  ([of(image_id=1, bbox=[1, 2, 3])], 'entry 0 has no bbox'),
  ([of(image_id=1, bbox=[1, 2, 3, float('nan')])], 'entry 0 has no bbox'),
  ([of(image_id=1, score='high')], 'entry 0 has no bbox'),
  ([of(image_id=1, category_id=2), of(image_id=1, category_id='a')], 'none of these is 1'),
  ([of(file='a.jpg', image_id=1), of(file='a.jpg', image_id=2)], 'two numbers of pictures'),
  (TRUTH | {'annotations': [{'image_id': 7, 'iscrowd': '0'}]}, "annotation 0 has the iscrowd '0'"),
  ({'images': []}, "lacks the list(s) ['annotations']"), (3, 'holds a int'),
  (TRUTH | {'annotations': [{'image_id': [7]}]}, 'annotation 0 is of a picture'),
  (TRUTH | {'categories': 4}, "lacks the list(s) ['categories']")])
def test_refused_in_one_line(write, content, part):
  fails(lambda: GivenBoxes(write(content), ['1.jpg', 'a.jpg']), 'boxes.json', part)
