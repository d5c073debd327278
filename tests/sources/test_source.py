"""People in columns: subsets, copies for data workers, and who stands beside whom."""
import dataclasses
import functools

import cloudpickle
import numpy as np

from input_pipeline import sources

OPTIONAL = ('area', 'head_size', 'reference', 'keypoints_3d', 'camera', 'identity')


@functools.cache
def people():
  source = sources.load('synthetic', 'train', num_people=12, size=(48, 64), people=(1, 4))
  numbers = np.arange(12, dtype=np.float32)
  return dataclasses.replace(source, area=numbers + 1, head_size=numbers + 2, reference=numbers + 3,
                             identity=np.arange(12) // 2)


def test_optional_columns_go_with_their_rows():
  rows = [7, 0, 7, 11]
  copy = cloudpickle.loads(cloudpickle.dumps(people()))  # as data workers get it
  for part in (people().subset(rows), copy.subset(rows)):
    assert set(OPTIONAL) <= set(part.columns())
    for name, column in people().columns().items():
      np.testing.assert_array_equal(getattr(part, name), column[rows], err_msg=name)
  assert people().keypoints_3d.shape == (12, 17, 3) and people().camera.shape == (12, 4)


def test_what_a_set_lacks_is_no_column():
  bare = dataclasses.replace(people(), **dict.fromkeys(OPTIONAL))
  assert not set(OPTIONAL) & set(bare.columns()) and len(bare.columns()) == 9
  assert bare.subset([1, 2]).camera is None


def test_areas_of_the_annotations():
  stated, guessed = ([a['area'] for a in source.as_coco()['annotations']] for source in (
    dataclasses.replace(people(), ground_truth=None, area=area) for area in (people().area, None)))
  assert stated == (np.arange(12) + 1).tolist()
  np.testing.assert_allclose(guessed, 0.53 * people().box[:, 2:].prod(1), rtol=1e-4)


def test_the_others_of_a_picture():
  image_id = np.array([5, 9, 5, 7, 9, 5])
  source = dataclasses.replace(people().subset(np.arange(6)), image_id=image_id)
  others = [rows.tolist() for rows in source.by_picture()]
  assert others == [[2, 5], [4], [0, 5], [], [1], [0, 2]]
  assert [rows.tolist() for rows in source.subset([5, 3, 0]).by_picture()] == [[2], [], [0]]
  assert people().subset([]).by_picture() == []
