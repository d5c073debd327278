"""What a sample of a person holds of the picture around: the other people, and the box."""
import dataclasses

import numpy as np

from input_pipeline import geometry, pairs, sources

FIELDS = (*pairs.FIELDS, 'others', 'box')
SIZE = 32, 48


def maker(source, augmentation=None):
  return pairs.PairMaker(source, SIZE, None, 'none', 0, augmentation, fields=FIELDS)


def crowd():
  """A world whose first 30 rows are people of one picture."""
  source = sources.load('synthetic', 'train', num_people=30, size=(48, 64), people=(1, 1))
  return dataclasses.replace(source, image_id=np.ones(30, np.int64))


def test_the_others_are_the_nearest_people_in_the_crop_of_the_row():
  source = crowd()
  sample = maker(source).evaluate(3)
  assert sample['others'].shape == (pairs.OTHERS, 17, 3)
  middle = source.box[:, :2] + source.box[:, 2:] / 2
  order = [r for r in np.argsort(np.linalg.norm(middle - middle[3], axis=1), kind='stable')
           if r != 3][:pairs.OTHERS]
  matrix = maker(source).upright(3)
  for place, row in enumerate(order):
    np.testing.assert_allclose(sample['others'][place, :, :2],
                               geometry.transform(source.keypoints[row], matrix), atol=1e-3)
    np.testing.assert_array_equal(sample['others'][place, :, 2], source.visibility[row])


def test_nobody_else_is_nobody():
  sample = maker(crowd().subset([4])).evaluate(0)
  assert not sample['others'].any()


def test_the_others_go_through_the_same_map_and_mirror_as_the_person():
  """A twin who stands exactly where the person does has the person's joints."""
  source = crowd().subset([2, 2])
  source = dataclasses.replace(source, annotation_id=np.array([1, 2]))
  mirrored = set()
  for index in range(12):
    sample = maker(source, geometry.Augmentation()).train(2 * index, 0)
    np.testing.assert_allclose(sample['others'][0, :, :2], sample['keypoints'], atol=1e-3)
    np.testing.assert_array_equal(sample['others'][0, :, 2], sample['visibility'])
    left = sample['keypoints'][source.skeleton.index('left_shoulder'), 0]
    mirrored.add(bool(left < sample['keypoints'][source.skeleton.index('right_shoulder'), 0]))
    assert not sample['others'][1:].any()
  assert mirrored == {True, False}


def test_a_box_goes_with_its_person():
  source = crowd()
  for row in range(4):
    matrix = maker(source).upright(row)
    low = geometry.transform(source.box[row, :2].astype(np.float64), matrix)
    sides = source.box[row, 2:] * matrix[0, 0]
    np.testing.assert_allclose(maker(source).evaluate(row)['box'], [*low, *sides], atol=1e-3)


def test_boxes_are_mirrored_and_scaled_but_not_turned():
  box, size, width = np.array([10, 20, 8, 12.0]), (32, 48), 64
  center, scale = np.array([20.0, 24.0]), np.array([32, 48]) / 200
  straight = geometry.crop_matrix(center, scale, 0, False, width, size)
  np.testing.assert_allclose(geometry.box_in_crop(box, straight, False, size), [6, 20, 8, 12],
                             atol=1e-4)
  mirror = geometry.crop_matrix(center, scale, 0, True, width, size)
  corner = geometry.transform(np.array([18, 20.0]), mirror)  # the right upper one is the left now
  found = geometry.box_in_crop(box, mirror, True, size)
  np.testing.assert_allclose(found, [*corner, 8, 12], atol=1e-4)
  for angle in (30, -90):
    for mirrored in (False, True):
      turned = geometry.crop_matrix(center, 2 * scale, angle, mirrored, width, size)
      plain = geometry.crop_matrix(center, 2 * scale, 0, mirrored, width, size)
      np.testing.assert_allclose(geometry.box_in_crop(box, turned, mirrored, size),
                                 geometry.box_in_crop(box, plain, mirrored, size), atol=1e-4)


def test_a_blank_sample_has_the_same_fields():
  one = maker(crowd())
  blank, real = one.blank(0), one.evaluate(0)
  assert set(blank) == set(real)
  for name, value in real.items():
    assert blank[name].shape == value.shape and blank[name].dtype == value.dtype, name
  assert (blank['box'][2:] > 0).all()
