"""Clips cut out of sequences by the rules of the protocols."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dslope_jax.skeletons import H36M
from input_pipeline import windows
from input_pipeline.sequences.sequence import Camera, Sequence, Sequences
from tests.refusals import fails

LENGTHS, FRAMES = st.integers(1, 60), st.integers(1, 20)


def test_rules_as_published():
  places, counted = windows.cut(10, 4, 3, 'drop')
  assert places.tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]] and counted.all()
  places, counted = windows.cut(11, 4, 4, 'drop')  # the tail is dropped
  assert places[-1].tolist() == [4, 5, 6, 7]
  places, counted = windows.cut(3, 6, 2, 'drop')  # a short video is stretched
  assert places.tolist() == [[0, 0, 1, 1, 2, 2]] and counted.all()
  places, counted = windows.cut(6, 4, 1, 'cover')
  assert places.tolist() == [[0, 1, 2, 3], [4, 5, 5, 5]]
  assert counted.tolist() == [[True] * 4, [True, True, False, False]]
  places, counted = windows.cut(3, 3, 1, 'centre')
  assert places.tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 2]]
  assert counted.tolist() == [[False, True, False]] * 3
  fails(lambda: windows.cut(3, 3, 1, 'dorp'), 'dorp', 'drop')


@given(LENGTHS, FRAMES, st.sampled_from(['cover', 'centre']))
def test_every_frame_is_counted_once(length, frames, rule):
  places, counted = windows.cut(length, frames, 1, rule)
  assert sorted(places[counted].tolist()) == list(range(length))
  assert places.shape[1] == frames and (np.diff(places, axis=1) >= 0).all()


@given(LENGTHS, FRAMES, st.integers(1, 9))
def test_dropped_tails_are_shorter_than_a_stride(length, frames, stride):
  places, _ = windows.cut(length, frames, stride, 'drop')
  assert places.min() >= 0 and places.max() < length
  if length >= frames:
    assert (np.diff(places, axis=1) == 1).all() and length - 1 - places.max() < stride


def people(*sequences):
  return Sequences('made', 'val', H36M, sequences)


def sequence(name='a', length=10, valid=None, views=1, detected=False):
  return Sequence(
    name, np.zeros((length, 17, 3), np.float32), (Camera((10, 10)),) * views, 50.0,
    keypoints_2d=np.zeros((views, length, 17, 2), np.float32) if detected else None, valid=valid)


def test_clips_that_touch_frames_that_are_not_valid_are_left_out_and_counted(capsys):
  valid = np.ones(10, bool)
  valid[5] = False
  found = windows.of(people(sequence(valid=valid), sequence('b', 4)), 4, 4, 'drop')
  assert found.sequence.tolist() == [0, 1] and found.frames[0].tolist() == [0, 1, 2, 3]
  assert capsys.readouterr().out == (
    'made val: 1 clip with frames that are not valid left out\n')
  found = windows.of(people(sequence(valid=valid)), 4, 1, 'centre')
  assert sorted(found.frames[found.counted].tolist()) == [0, 1, 2, 3, 4, 6, 7, 8, 9]
  fails(lambda: windows.of(people(sequence(valid=~valid)), 4, 4, 'drop'), 'made val', '4', 'drop')


@pytest.mark.parametrize('detected, views', [(False, [-1, -1]), (True, [0, 0, 1, 1, 2, 2])])
def test_cameras_are_drawn_or_all_of_those_that_saw(detected, views):
  found = windows.of(people(sequence(views=3, detected=detected)), 5, 5, 'cover')
  assert found.view.tolist() == views and len(found) == len(views)
