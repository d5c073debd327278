"""Ids and smoothing of a video, to the number."""
import math

import numpy as np

from dslope_jax.tracking import OneEuro, Tracker, Tracks
from input_pipeline.geometry import iou


def test_overlaps():
  np.testing.assert_allclose(iou([(0, 0, 10, 10), (5, 0, 10, 10)], [(0, 0, 10, 10), (0, 0, 0, 0)]),
                             [[1, 0], [1 / 3, 0]])
  assert iou(np.zeros((0, 4)), [(0, 0, 1, 1)]).shape == (0, 1)
  assert iou([(0, 0, 0, 0)], [(0, 0, 0, 0)]).tolist() == [[0]]


def test_ids_follow_people():
  track = Tracker(patience=2)
  a, b, c = (0, 0, 10, 20), (50, 0, 10, 20), (100, 0, 10, 20)
  assert track([a, b]).tolist() == [1, 2]
  assert track([(51, 1, 10, 20), (1, 1, 10, 20)]).tolist() == [2, 1]  # whatever their order
  assert track([]).tolist() == [] and track([]).tolist() == []
  assert track([b, c]).tolist() == [2, 3]  # hidden for two frames
  for _ in range(3):
    track([c])
  assert track([b]).tolist() == [4]  # hidden for three: somebody new
  assert sorted(track.known) == [3, 4]


def test_the_best_pairs_of_all_not_one_by_one():
  """The first box overlaps both most; greedily it would take the one that the second needs."""
  track = Tracker(min_iou=0.1)
  assert track([(0, 0, 10, 10), (4, 0, 10, 10)]).tolist() == [1, 2]
  # 1 with A: 5/15, 1 with B: 4/16; 2 with A: 9/11, 2 with B: 0.
  assert track([(5, 0, 10, 10), (-6, 0, 10, 10)]).tolist() == [2, 1]


def test_one_euro_by_its_formula():
  points, times = [[(0., 0.)], [(3., 4.)], [(3., 4.)]], [0.0, 0.1, 0.3]
  smooth = OneEuro(cutoff=2.0, beta=0.5)
  assert smooth(points[0], times[0]).tolist() == [[0, 0]]
  share = lambda frequency, step: 1 / (1 + 1 / (2 * math.pi * frequency * step))
  speed = share(1, .1) * 50  # 5 pixels in a tenth of a second, smoothed with 1 Hz
  part = share(2.0 + 0.5 * speed, .1)
  np.testing.assert_allclose(smooth(points[1], times[1]), [[3 * part, 4 * part]])
  rest = 1 - part  # of the way, in the second step
  speed += share(1, .2) * (5 * rest / .2 - speed)
  part += share(2.0 + 0.5 * speed, .2) * rest
  np.testing.assert_allclose(smooth(points[2], times[2]), [[3 * part, 4 * part]])


def test_a_point_that_was_not_seen_begins_anew():
  smooth, unseen = OneEuro(), math.nan
  smooth([(0., 0.), (5., 5.)], 0.0)
  assert np.isnan(smooth([(unseen, unseen), (5., 5.)], 0.1)).tolist() == [[True] * 2, [False] * 2]
  np.testing.assert_array_equal(smooth([(9., 8.), (5., 5.)], 0.2), [(9, 8), (5, 5)])
  again = smooth([(10., 8.), (5., 5.)], 0.3)
  fresh = OneEuro()
  fresh([(9., 8.)], 0.2)
  np.testing.assert_allclose(again[:1], fresh([(10., 8.)], 0.3))


def test_everybody_has_a_filter_of_their_own():
  tracks, still = Tracks(), np.full((2, 3, 2), 5.0)
  boxes = [(0, 0, 10, 20), (50, 0, 10, 20)]
  for frame in range(4):
    ids, points = tracks(boxes[::1 - 2 * (frame % 2)], still, frame / 25)
    assert ids.tolist() == [[1, 2], [2, 1]][frame % 2]
    np.testing.assert_allclose(points, still)
  ids, points = tracks([], np.zeros((0, 3, 2)), 1)
  assert ids.shape == (0,) and points.shape == (0, 3, 2)
