"""COCO as whole pictures: joints of MPI15, what has no truth, and who is to be ignored."""
import numpy as np
import pytest

from dslope_jax.skeletons import COCO, MPI15
from input_pipeline import pictures
from input_pipeline.pictures.coco import in_mpi15
from tests.data_sets import write_coco
from tests.refusals import fails


def test_joints_of_mpi15_are_made_of_coco_s():
  at = {name: np.random.default_rng(0).uniform(0, 99, 2) for name in COCO.names}
  at |= {'left_shoulder': np.array((60., 30)), 'right_shoulder': np.array((40., 30)),
         'left_hip': np.array((56., 130)), 'right_hip': np.array((44., 130))}
  v = dict.fromkeys(COCO.names, 2) | {'left_hip': 1, 'left_knee': 0, 'right_wrist': 3}
  points, visibility = in_mpi15(np.array([[at[n] for n in COCO.names]]),
                                np.array([[v[n] for n in COCO.names]]))
  got = {n: (points[0, i], visibility[0, i]) for i, n in enumerate(MPI15.names)}
  for name in set(MPI15.names) - {'hip', 'neck', 'head_top'}:
    np.testing.assert_array_equal(got[name][0], at[name])
    assert got[name][1] == (v[name] if v[name] < 3 else 0)
  np.testing.assert_allclose(got['hip'][0], (50, 130))
  np.testing.assert_allclose(got['neck'][0], (50, 30 - 18.5))
  assert (got['hip'][1], got['neck'][1], got['head_top'][1]) == (1, 1, 0)


@pytest.fixture
def changed(tmp_path):
  """A folder, and a function that changes each split."""
  return lambda edit: write_coco(tmp_path / 'coco', edit=edit)


def test_crowds_and_people_of_few_joints_are_boxes(changed):
  def edit(truth):
    first = truth['annotations'][0]
    crowd = first | {'id': 901, 'iscrowd': 1, 'bbox': [1, 2, 30, 40]}
    few = first | {'id': 902, 'bbox': [5, 6, 70, 80],
                   'keypoints': [20, 20, 2, 30, 30, 1] + [0] * 45, 'num_keypoints': 2}
    nobody = first | {'id': 903, 'bbox': [7, 8, 10, 11], 'keypoints': [0] * 51, 'num_keypoints': 0}
    truth['annotations'] += [crowd, few, nobody]
  found = pictures.load('coco', 'train', root=changed(edit))
  assert len(found) == 4 and not found.has_depth
  assert sorted(map(tuple, found[0].ignore.tolist())) == [
    (1, 2, 30, 40), (5, 6, 70, 80), (7, 8, 10, 11)]
  assert all(len(found[row].visibility) == 1 for row in range(4)) and not len(found[1].ignore)
  assert np.flatnonzero(found.channels == 0).tolist() == [1, 15, 16, *range(43, 57)]
  assert found.read(0).shape == (128, 96, 3) and found.size[0].tolist() == [96, 128]
  assert not any('no camera' in note for note in found.notes)  # nobody asks for it


def test_pictures_need_sizes_and_joints_of_coco(changed, tmp_path):
  root = changed(lambda truth: [image.pop(side) for image in truth['images']
                                for side in ('width', 'height')])
  fails(lambda: pictures.load('coco', 'train', root=root), 'width and height', 'picture 1')
  fails(lambda: pictures.load('coco', 'train', root=str(tmp_path / 'none')), 'COCO 2017',
        kind=FileNotFoundError)


def test_the_joints_must_be_coco_s(changed):
  def edit(truth):
    truth['categories'][0]['keypoints'] = [f'{n}_x' for n in COCO.names]
  fails(lambda: pictures.load('coco', 'train', root=changed(edit)), "needs COCO's")
