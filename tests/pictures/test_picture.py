"""The form of pictures of several people: columns, guesses of cameras, and what cannot be true."""
import pickle

import numpy as np
import pytest

from dslope_jax.skeletons import MPI15
from input_pipeline import pictures
from input_pipeline.pictures import picture
from tests.pictures import made
from tests.refusals import fails

JOINT = MPI15.names.index


def test_rows_are_the_pictures_that_were_gathered():
  given = [made.one((0, 0, 400), (60, 0, 500), name='a'), made.one(name='empty'),
           made.one((10, 0, 300), name='b', ignore=np.array([(1, 2, 3, 4.0)]), take='t')]
  found = made.pictures(*given)
  assert len(found) == 3 and found.has_depth and found.people.tolist() == [0, 2, 2, 3]
  for row, one in enumerate(given):
    got = found[row]
    assert (got.name, got.size, got.take) == (one.name, one.size, one.take)
    np.testing.assert_allclose(got.joints_3d, one.joints_3d, atol=1e-4)
    np.testing.assert_allclose(got.joints_2d, one.joints_2d, atol=1e-4)
    np.testing.assert_array_equal(got.ignore, one.ignore)
    np.testing.assert_array_equal(got.camera, made.CAMERA.astype(np.float32))
  twin = pickle.loads(pickle.dumps(found))
  assert twin.digest == found.digest and len(pickle.dumps(found)) < 5000
  np.testing.assert_array_equal(twin[2].joints_2d, found[2].joints_2d)


def test_the_digest_is_of_what_is_known():
  base = made.pictures(made.one((0, 0, 400))).digest
  assert made.pictures(made.one((0, 0, 400))).digest == base
  others = [made.pictures(made.one((0, 0, 401))), made.pictures(made.one((0, 0, 400), name='b')),
            made.pictures(made.one((0, 0, 400)), visibility='proxy'),
            made.pictures(made.one((0, 0, 400), visibility=np.ones((1, 15))))]
  assert len({base, *(other.digest for other in others)}) == 5


def test_joints_outside_of_the_picture_are_not_labelled():
  found = made.pictures(made.one((0, 0, 180)))
  inside = ((found.joints_2d >= 0) & (found.joints_2d <= (319, 239))).all(-1)
  assert 0 < inside.sum() < 15
  np.testing.assert_array_equal(found.visibility, 2 * inside)


def test_an_unknown_camera_is_as_wide_as_the_picture_and_is_said():
  found = made.pictures(made.one((0, 0, 400)),
                        made.one((0, 0, 400), name='b.jpg', camera=None))
  np.testing.assert_array_equal(found.camera[1], (320, 320, 160, 120))
  assert len(found.notes) == 1 and found.notes[0].startswith('1 of 2 pictures have no camera')


def test_the_proxy_hides_who_stands_behind():
  found = made.pictures(made.one((0, 0, 300), (25, 0, 500)), visibility='proxy')
  front, back = found[0].visibility
  assert (front == 2).all()
  assert (back[[JOINT('neck'), JOINT('hip')]] == 1).all() and set(back.tolist()) == {1, 2}
  assert made.pictures(made.one(), visibility='proxy')[0].visibility.shape == (0, 15)


def test_channels_of_a_set_without_depth_and_head():
  channels = picture.channels_without(('head_top',), depth=False)
  assert np.flatnonzero(channels == 0).tolist() == [1, 15, 16, *range(43, 57)]
  assert picture.channels_without().all() and len(channels) == picture.CHANNELS == 57


def changed(field, place, value):
  """A picture of two people with another value in a field."""
  one = made.one((0, 0, 400), (60, 0, 500), name='bad.jpg')
  values = np.array(getattr(one, field), float)
  values[place] = value
  return lambda: made.pictures(made.one((0, 0, 400)), one._replace(**{field: values}))


@pytest.mark.parametrize('action, words', [
  (changed('joints_2d', (1, 5, 0), np.nan), ("'bad.jpg'", 'person 1', 'left_wrist', 'v = 0')),
  (changed('joints_3d', (0, 0, 1), np.inf), ("'bad.jpg'", 'person 0', 'neck', 'space')),
  (changed('joints_3d', (1, 2, 2), -1), ("'bad.jpg'", 'person 1', 'hip', 'Z <= 0')),
  (changed('visibility', (0, 3), 3), ("'bad.jpg'", 'person 0', 'left_shoulder', '0, 1 or 2')),
  (changed('camera', 0, 0), ("'bad.jpg'", 'camera', 'fx')),
  (lambda: made.pictures(), ('made train has no pictures',)),
  (lambda: made.pictures(made.one((0, 0, 400)), made.one(joints_3d=None, name='flat')),
   ("'flat'", 'two sets')),
  (lambda: made.pictures(made.one((0, 0, 400)), visibility='no'), ('set, proxy', "'no'")),
  (lambda: made.pictures(made.one((0, 0, 400), joints_3d=None), visibility='proxy'),
   ("'proxy'", 'space')),
  (lambda: pictures.load('nothing', 'train'), ("'nothing'", 'input_pipeline/pictures/nothing.py')),
  (lambda: pictures.load('picture', 'train'), ("'picture'",)),
  (lambda: pictures.load('synthetic', 'train', peple=3), ("'peple'", 'people'))])
def test_what_cannot_be_is_refused_in_one_line(action, words):
  fails(action, *words)


def scaled(factor, name):
  """Depths in another unit; the projection stays the same."""
  one = made.one((0, 0, 400), name=name)
  return one._replace(joints_3d=one.joints_3d * factor)


@pytest.mark.parametrize('factor, unit', [(10, 'mm'), (0.01, 'm')])
def test_depths_in_another_unit_are_noticed(factor, unit):
  right = [scaled(1, f'{i}') for i in range(3)]
  fails(lambda: made.pictures(*right[:1], scaled(factor, 'x'), scaled(factor, 'y')),
        '2 people of 3', f'look like {unit},', "'x'")
  notes = made.pictures(*right, scaled(factor, 'x')).notes
  assert len(notes) == 1 and '1 person of 4' in notes[0] and "'x'" in notes[0]
  assert not made.pictures(*right).notes


def test_a_camera_that_sees_people_elsewhere_is_said():
  found = made.pictures(made.one((0, 0, 400), camera=made.CAMERA, joints_2d=made.seen(
    made.STANDING + (60, 0, 400))[None]))
  assert len(found.notes) == 1 and 'elsewhere' in found.notes[0]
