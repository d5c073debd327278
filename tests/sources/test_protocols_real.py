"""Loaders of the field's sets on real files; skipped where DSLOPE_DATA names no folder."""
import json
import os
import shutil

import numpy as np
import pytest

from dslope_jax.metrics import crowdpose_ap
from input_pipeline import sources
from tests.truths import average_precision_of_own, own_poses

_DATA = os.environ.get('DSLOPE_DATA')
pytestmark = pytest.mark.skipif(not _DATA, reason='DSLOPE_DATA names no folder')


@pytest.mark.parametrize('folder, name, split, options, people', [
  ('crowdpose', 'crowdpose', 'val', {'annotations': 'test_crowdpose.json'}, 4),
  ('ochuman', 'ochuman', 'val', {'annotations': 'test_ochuman.json'}, 5),
  ('aic', 'aic', 'val', {'annotations': 'test_aic.json'}, 9),
  ('jhmdb', 'jhmdb', 'test', {'annotations': 'test_jhmdb_sub1.json'}, 3),
  ('300w', 'faces', 'test', {'annotations': 'test_300w.json', 'faces_of': '300w'}, 2),
  ('cofw', 'faces', 'test', {'annotations': 'test_cofw.json', 'faces_of': 'cofw'}, 2),
  ('wflw', 'faces', 'test', {'annotations': 'test_wflw.json', 'faces_of': 'wflw'}, 4),
  ('aflw', 'faces', 'test', {'annotations': 'test_aflw.json', 'faces_of': 'aflw'}, 2)])
def test_real_files(folder, name, split, options, people):
  root = os.path.join(_DATA, 'mmpose_tests', folder)
  source = sources.load(name, split, root=root, images='.', **options)
  assert len(source) == people
  for row in range(people):
    height, width = source.read(row).shape[:2]
    seen = source.keypoints[row][source.visibility[row] > 0]
    assert (seen >= -0.1 * width).all() and (seen <= (1.1 * width, 1.1 * height)).all()
    assert (np.abs(seen.mean(0) - source.center[row]) < source.scale[row] * 100).all()
  assert average_precision_of_own(source) > 0.999


@pytest.mark.parametrize('folder, faces_of', [('300w', '300w'), ('cofw', 'cofw'), ('wflw', 'wflw'),
                                              ('aflw', 'aflw')])
def test_real_faces_have_their_sides_where_the_names_say(folder, faces_of):
  """Frontal faces: what the names call the person's right is on the picture's left."""
  source = sources.load(
    'faces', 'test', root=os.path.join(_DATA, 'mmpose_tests', folder), images='.',
    faces_of=faces_of, annotations=f'test_{folder}.json')
  s = source.skeleton
  x = source.keypoints[..., 0]
  for a, b in s.flip_pairs:
    left, right = (a, b) if 'left' in s.names[a] else (b, a)
    assert (x[:, left] > x[:, right]).all(), s.names[left]


def test_real_aflw_states_its_reference_lengths():
  source = sources.load('faces', 'test', root=os.path.join(_DATA, 'mmpose_tests/aflw'), images='.',
                        faces_of='aflw', annotations='test_aflw.json')
  assert sorted(source.reference.tolist()) == [128, 362]


def test_real_lsp_joints(tmp_path):
  shutil.copy(os.path.join(_DATA, 'lsp_mpii_annotations/lsp/joints.mat'), tmp_path)
  (tmp_path / 'images').mkdir()
  for number in range(1001, 2001):
    (tmp_path / 'images' / f'im{number:04d}.jpg').touch()
  source = sources.load('lsp', 'test', root=str(tmp_path))
  assert len(source) == 1000
  assert 0.03 < (source.visibility == 1).mean() < 0.15 and (source.visibility > 0).all()
  hidden = (source.visibility == 1).mean(0)
  wrist, head = source.skeleton.index('left_wrist'), source.skeleton.index('head_top')
  assert hidden[wrist] > hidden[head]  # wrists go behind bodies, heads hardly


def test_real_crowdpose_annotations(tmp_path):
  """The whole official val file: its counts agree, its people score 1 against themselves."""
  (tmp_path / 'images').mkdir()
  (tmp_path / 'json').mkdir()
  shutil.copy(os.path.join(_DATA, 'crowdpose/crowdpose_val.json'), tmp_path / 'json')
  truth = json.loads((tmp_path / 'json/crowdpose_val.json').read_text())
  for image in truth['images']:
    (tmp_path / 'images' / image['file_name']).touch()
  source = sources.load('crowdpose', 'val', root=str(tmp_path))
  assert len(source) == sum(any(a['keypoints'][2::3]) and not a['iscrowd']
                            for a in truth['annotations'])
  table = crowdpose_ap.crowdpose_ap(source.ground_truth, own_poses(source))
  assert min(table.values()) > 0.9
  shutil.move(tmp_path / 'json/crowdpose_val.json', tmp_path / 'json/crowdpose_test.json')
  with pytest.raises(ValueError, match='this is val .2000 pictures, 8527 people. of crowdpose'):
    sources.load('crowdpose', 'test', root=str(tmp_path))
