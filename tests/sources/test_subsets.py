"""The occluded part of a set: who is in it, and that the others are not asked for."""
import numpy as np
import pytest

from dslope_jax.metrics import keypoint_ap
from dslope_jax.tasks.subjects import of_source
from input_pipeline import sources
from tests import data_sets
from tests.refusals import fails


def set_of(tmp_path, people, crowd=()):
  """A set of one picture. people: [(box, visibility of the 17 joints)]."""
  def edit(truth):
    first = truth['annotations'][0]
    truth['images'] = truth['images'][:1]
    truth['annotations'] = []
    for number, (box, v) in enumerate(people):
      x = np.linspace(box[0] + 1, box[0] + box[2] - 1, 17)
      y = np.linspace(box[1] + 1, box[1] + box[3] - 1, 17)
      flat = np.stack([x * (np.array(v) > 0), y * (np.array(v) > 0), v], 1).ravel().tolist()
      truth['annotations'].append(first | {
        'id': number + 1, 'bbox': list(box), 'keypoints': flat, 'area': box[2] * box[3] / 2,
        'num_keypoints': int((np.array(v) > 0).sum()), 'iscrowd': int(number in crowd)})
  return data_sets.write_coco(tmp_path / 'set', num_images=1, edit=edit)


SEEN = [2] * 17
FAR = [((0, 0, 20, 40), SEEN), ((60, 60, 20, 40), SEEN)]


@pytest.mark.parametrize('name, people, wanted', [
  ('5 of 17 hidden are not 30 %', [(FAR[0][0], [1] * 5 + [2] * 12), FAR[1]], []),
  ('6 of 17 hidden', [(FAR[0][0], [1] * 6 + [2] * 11), FAR[1]], [1]),
  ('7 labelled joints are too few', [(FAR[0][0], [1] * 7 + [0] * 10), FAR[1]], []),
  ('8 labelled joints', [(FAR[0][0], [1] * 8 + [0] * 9), FAR[1]], [1]),
  ('an overlap of 1 / 3', [((0, 0, 20, 40), SEEN), ((10, 0, 20, 40), SEEN)], [1, 2]),
  ('an overlap of 1 / 4', [((0, 0, 20, 40), SEEN), ((12, 0, 20, 40), SEEN)], []),
  ('an overlap with somebody without joints', [((0, 0, 20, 40), SEEN), ((9, 0, 20, 40), [0] * 17)],
   [1])])
def test_who_is_occluded(tmp_path, name, people, wanted):
  root = set_of(tmp_path, people)
  load = lambda: sources.load('coco', 'train', root=root, subset='occluded')
  if not wanted:
    fails(load, 'nobody who is occluded')
  else:
    assert load().annotation_id.tolist() == wanted


def test_the_others_are_neither_found_nor_missed(tmp_path):
  root = set_of(tmp_path, [(FAR[0][0], [1] * 17), FAR[1]])
  part = sources.load('coco', 'train', root=root, subset='occluded')
  whole = sources.load('coco', 'train', root=root)
  assert part.annotation_id.tolist() == [1] and part.digest != whole.digest
  subjects = of_source(part)
  assert subjects.people.counted.tolist() == [True, False]
  poses = keypoint_ap.to_coco_results(
    whole.image_id, whole.keypoints, np.ones((2, 17)), np.array([0.9, 1.0]))
  scores = keypoint_ap.coco_ap(part.as_coco(), poses, whole.skeleton.sigmas)
  assert scores['AP'] == pytest.approx(1) and scores['AR'] == 1


def test_others_with_joints_outside_of_the_picture_are_excused_too(tmp_path):
  root = set_of(tmp_path, [(FAR[0][0], [1] * 17), (FAR[1][0], [2] * 16 + [3])])
  part = sources.load('coco', 'train', root=root, subset='occluded')
  assert of_source(part).people.counted.tolist() == [True, False]
  pose = keypoint_ap.to_coco_results(
    part.image_id, part.keypoints, np.ones((1, 17)), np.array([1.0]))
  assert keypoint_ap.coco_ap(part.as_coco(), pose, part.skeleton.sigmas)['AR'] == 1


def test_a_crowd_hides_nobody(tmp_path):
  root = set_of(tmp_path, [((0, 0, 20, 40), SEEN), ((9, 0, 20, 40), SEEN)], crowd=(1,))
  fails(lambda: sources.load('coco', 'train', root=root, subset='occluded'), 'nobody')


def test_another_name_is_refused(tmp_path):
  root = set_of(tmp_path, FAR)
  fails(lambda: sources.load('coco', 'train', root=root, subset='hidden'), "'hidden'")
