"""AFLW's common split from its .mat file: exact points, splits, and what is wrong with a file."""
import cv2
import numpy as np
import pytest
import scipy.io

from input_pipeline import sources
from input_pipeline.sources import aflw_file
from tests.refusals import fails

FACES = 5
DATA = np.random.default_rng(0).uniform(20, 70, (FACES, 38))


def columns():
  files = np.empty((FACES, 1), object)
  files[:, 0] = ['0/a.jpg', '0/b.jpg', '0/a.jpg', '2/c.jpg', '2/d.jpg']  # two faces of one picture
  seen = np.ones((FACES, 19), np.uint8)
  seen[2, 4] = 0
  return {'nameList': files, 'data': DATA, 'mask_new': seen,
          'bbox': np.tile(np.array([10., 80, 15, 75]), (FACES, 1)),
          'ra': np.array([[4, 2, 3, 1, 5]], np.uint16)}


def write(root, **changed):
  scipy.io.savemat(root / aflw_file.NAME, columns() | changed)


@pytest.fixture
def root(tmp_path, monkeypatch):
  monkeypatch.setattr(aflw_file, 'TRAINING', 2)
  for name in ('0/a', '0/b', '2/c', '2/d'):
    path = tmp_path / 'flickr' / f'{name}.jpg'
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((90, 120, 3), np.uint8))
  write(tmp_path)
  return tmp_path


def load(root, split):
  return sources.load('faces', split, root=str(root), faces_of='aflw')


def test_splits_points_and_boxes(root):
  train, test, frontal = (load(root, split) for split in ('train', 'test', 'test_frontal'))
  assert [source.annotation_id.tolist() for source in (train, test, frontal)] == [
    [4, 2], [3, 1, 5], [1, 5]]
  assert test.image_id.tolist() == [1, 1, 2] and test.file[2].endswith('flickr/2/d.jpg')
  np.testing.assert_allclose(test.keypoints[0], DATA[2].reshape(2, 19).T, rtol=1e-6)
  np.testing.assert_array_equal(test.visibility, 2)
  np.testing.assert_array_equal(test.box[0], [10, 15, 69, 59])  # a pixel less, as of COCO's boxes
  np.testing.assert_allclose(test.reference, np.sqrt(70 * 60), rtol=1e-6)
  assert test.skeleton.name == 'aflw'
  assert test.read(0).shape == (90, 120, 3)


def test_files_of_another_form_are_refused(root):
  fails(lambda: load(root, 'val'), "not 'val'", 'train, test, test_frontal')
  for name, value, text in (
      ('data', DATA[:, :36], 'data is no table of 38 numbers'),
      ('bbox', np.array([['x']]), 'bbox is no table of 4 numbers'),
      ('ra', np.array([[1, 2, 3, 4, 4]]), 'not of the same faces'),
      ('ra', np.array([[0, 1, 2, 3, 4]]), 'not of the same faces'),
      ('mask_new', np.ones((4, 19)), 'not of the same faces'),
      ('nameList', DATA, 'not of the same faces'),
      ('data', np.where(DATA[2, 3] == DATA, np.nan, DATA), 'a keypoint is not a finite number')):
    write(root, **{name: value})
    fails(lambda: load(root, 'test'), text)
  (root / aflw_file.NAME).write_bytes(b'MATLAB 5.0 MAT-file' + bytes(200))
  fails(lambda: load(root, 'test'), "not a mat file with 'data'", 'get the file again')
