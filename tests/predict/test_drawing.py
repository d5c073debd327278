"""People on pictures: hidden joints hollow, unsure ones pale."""
import numpy as np

from dslope_jax.evaluation import drawing
from dslope_jax.skeletons import Skeleton

SKELETON = Skeleton(('left_hand', 'right_hand', 'head'), limbs=((0, 2),), sigmas=(0.1,) * 3)
IMAGE = np.full((240, 320, 3), 50, np.uint8)
BOXES = np.array([(0, 0, 320, 240)])  # joints have a radius of 4
POINTS = np.array([[(60, 60), (120, 120), (200, 60)]], np.float32)


def drawn(scores, visible=None, ids=None):
  return drawing.draw_people(IMAGE, BOXES, POINTS, np.array([scores]), visible, SKELETON, ids)


def test_sure_joints_have_their_colour_and_limbs():
  out = drawn([1, 1, 1])
  assert out[60, 60].tolist() == list(drawing._LEFT)
  assert out[120, 120].tolist() == list(drawing._RIGHT)
  assert out[60, 200].tolist() == out[60, 130].tolist() == list(drawing._MIDDLE)
  assert out[200, 60].tolist() == [50] * 3 and IMAGE.max() == 50


def test_sides_are_those_of_the_flip_pairs():
  limbs, sigmas = ((0, 3), (1, 3)), (0.1,) * 4
  short = Skeleton(('rim_R', 'rim_L', 'tip', 'top'), limbs, sigmas, flip_pairs=((0, 1),))
  assert short.sides.tolist() == [-1, 1, 0, 0]
  given = Skeleton(('a', 'b', 'c', 'd'), limbs, sigmas, flip_pairs=((3, 0),))
  assert given.sides.tolist() == [-1, 0, 0, 1]
  colours = [drawing._colour(short, *joints) for joints in ((1,), (0,), (2,), (0, 1), (1, 2))]
  assert colours == [drawing._LEFT, drawing._RIGHT] + [drawing._MIDDLE] * 3


def test_joints_without_a_place_are_not_drawn():
  places = POINTS.copy()
  places[0, 0] = np.nan
  out = drawing.draw_people(IMAGE, BOXES, places, np.ones((1, 3)), None, SKELETON)
  assert out[60, 200].tolist() == list(drawing._MIDDLE)
  assert out[60, 60].tolist() == out[60, 130].tolist() == [50] * 3


def test_unsure_joints_are_pale():
  pale = drawn([1, 0.2, 0.5])
  for (x, y), colour, score in (((120, 120), drawing._RIGHT, 0.2), ((60, 60), drawing._LEFT, 1),
                                ((130, 60), drawing._MIDDLE, 0.5)):  # a limb: its lower score
    wanted = 255 + score * (np.array(colour) - 255)
    assert np.abs(pale[y, x] - wanted).max() <= 1


def test_hidden_joints_are_hollow():
  out = drawn([1, 1, 1], np.array([[0.9, 0.4, 0.4]]))
  assert out[120, 120].tolist() == [50] * 3 and out[60, 200].tolist() == [50] * 3
  assert out[120, 124].tolist() == list(drawing._RIGHT)  # the ring
  assert out[60, 60].tolist() == list(drawing._LEFT)


def test_ids_and_joints_outside_of_the_picture():
  assert (drawn([1, 1, 1], ids=[12]) != drawn([1, 1, 1])).any()
  one = drawing.draw_people(np.zeros((1, 1, 3), np.uint8), [(0, 0, 1, 1)], POINTS * 1e9,
                            np.ones((1, 3)), np.zeros((1, 3)), SKELETON, [1])
  assert one.shape == (1, 1, 3)
  nobody = drawing.draw_people(IMAGE, np.zeros((0, 4)), np.zeros((0, 3, 2)), np.zeros((0, 3)), None,
                               SKELETON)
  np.testing.assert_array_equal(nobody, IMAGE)
