"""The drawn faces: repeatable, plausible, and what hides their points is in the pictures."""
import pickle

import cv2
import numpy as np
import pytest

from configs import quickstart_faces
from dslope_jax.metrics import nme
from dslope_jax.skeletons import FACE_300W
from dslope_jax.tasks.people import load_train
from input_pipeline.occlusion import body_parts
from input_pipeline.sources import synthetic_faces
from input_pipeline.world import faces, kept
from tests.refusals import fails

SIZE = (96, 80)


@pytest.fixture(scope='module')
def source():
  return synthetic_faces.load('train', num_people=150, size=SIZE)


def test_a_picture_is_the_same_twice_and_after_pickling(source):
  twin = pickle.loads(pickle.dumps(source))
  assert twin.digest == source.digest == synthetic_faces.load(
    'train', num_people=150, size=SIZE).digest
  image = source.read(7)
  assert image.dtype == np.uint8 and image.shape == (80, 96, 3)
  assert source.read(7) is image  # kept, for the next epoch
  kept.forget()
  np.testing.assert_array_equal(image, twin.read(7))
  few = synthetic_faces.load('train', num_people=5, size=SIZE)
  np.testing.assert_array_equal(few.keypoints, source.keypoints[:5])
  for other in ({'split': 'test'}, {'split': 'train', 'seed': 1}):
    drawn = synthetic_faces.load(num_people=1, size=SIZE, **other)
    assert (drawn.read(0) != source.read(0)).mean() > 0.5


def test_faces_are_plausible(source):
  points, labelled = source.keypoints, source.labelled
  assert source.skeleton is FACE_300W and labelled.mean() > 0.95
  at = lambda name: points[:, FACE_300W.index(name)]
  whole = labelled.all(1)
  assert whole.mean() > 0.6
  # The person's right is on the picture's left; nobody's head is turned by more than 45 degrees.
  for part in ('eye_outer', 'jaw_0', 'brow_0'):
    assert (at(f'right_{part}')[whole, 0] < at(f'left_{part}')[whole, 0]).all()
  eyes = (at('right_eye_outer') + at('left_eye_outer')) / 2
  for above, below in ((eyes, at('nose_3')), (at('nose_3'), at('mouth_upper_middle')),
                       (at('mouth_upper_middle'), at('jaw_middle'))):
    assert (above[whole, 1] < below[whole, 1]).all()
  opening = at('mouth_inner_lower_middle') - at('mouth_inner_upper_middle')
  assert (opening[whole, 1] > -1).all()
  lengths = nme.inter_ocular(points, labelled, FACE_300W)[whole]
  assert lengths.min() > 15 and lengths.max() < 50 and lengths.std() > 2
  marks = [body_parts.face_marks(FACE_300W, points[i], labelled[i])
           for i in np.flatnonzero(whole)]
  assert all(m is not None for m in marks)


def test_a_point_is_hidden_where_something_lies_on_it():
  """Hair and dark lenses, painted alone: a point is hidden if it lies on them, or on the far side
  of the jaw."""
  counts = np.zeros(2, int)
  for number in range(60):
    found = faces.face(np.random.default_rng(number), (200, 200))
    cover = np.zeros((200, 200), np.uint8)
    for layer in found.layers:
      if layer.hides:
        cv2.fillPoly(cover, [np.round(layer.polygon * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
    x, y = np.clip(np.round(found.keypoints).astype(int), 0, 199).T
    near = lambda grow, cover=cover, x=x, y=y: grow(cover, np.ones((5, 5), np.uint8))[y, x] > 0
    surely, perhaps = near(cv2.erode), near(cv2.dilate)
    hidden = found.visibility == 1
    assert hidden[surely & (found.visibility > 0)].all()
    assert not (hidden & ~perhaps)[17:].any()  # the jaw has a far side
    counts += (hidden[36:48].any(), hidden.any())
  assert (counts > 5).all() and (counts < 60).all()


def test_options_must_be_possible():
  fails(lambda: synthetic_faces.load('train', num_people=0), 'num_people is 0')
  fails(lambda: synthetic_faces.load('train', size=(96, 20)), 'size is (96, 20)')


def test_the_quickstart_reads_them():
  config = quickstart_faces.get_config()
  config.data.loader.num_people = 3
  people, held_out = load_train(config)
  assert people.name == 'synthetic_faces' and len(people) == 3 and held_out is None
