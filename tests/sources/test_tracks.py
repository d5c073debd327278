"""Tracks out of entries: order, gaps, several people, and what is refused."""
import json
import random

import numpy as np
import pytest

from input_pipeline.sources import tracks
from tests.refusals import fails


def entry(frame, track_id=1, value=0.0, score=0.5, joints=3, **fields):
  return {'frame': frame, 'track_id': track_id,
          'keypoints': [value, 2 * value + 1, score] * joints} | fields


def written(tmp_path, entries):
  path = tmp_path / 'poses.json'
  path.write_text(json.dumps(entries))
  return str(path)


def test_people_of_two_videos_in_any_order(tmp_path):
  entries = [entry(frame, person, 10 * frame + person, file=file)
             for file in ('b.mp4', 'a.mp4') for person in (7, -2) for frame in (3, 4, 5)]
  random.Random(0).shuffle(entries)
  found = tracks.read(written(tmp_path, entries))
  assert [(t.file, t.track_id, t.first) for t in found] == [
    ('a.mp4', -2, 3), ('a.mp4', 7, 3), ('b.mp4', -2, 3), ('b.mp4', 7, 3)]
  for track in found:
    x = np.array([30, 40, 50]) + track.track_id
    np.testing.assert_array_equal(track.keypoints[:, 1], np.stack([x, 2 * x + 1], 1))
    np.testing.assert_array_equal(track.confidence, np.full((3, 3), 0.5))
    assert track.missing == 0


def test_gaps_are_interpolated_with_confidence_0(tmp_path):
  track, = tracks.read(written(tmp_path, [entry(7, value=50), entry(1, value=5),
                                          entry(5, value=10, score=3.0)]))
  assert track.first == 1 and track.file == '' and track.missing == 4
  x = np.array([5, 6.25, 7.5, 8.75, 10, 30, 50])
  np.testing.assert_allclose(track.keypoints, np.stack([x, 2 * x + 1], 1)[:, None].repeat(3, 1))
  np.testing.assert_array_equal(track.confidence[:, 0], [0.5, 0, 0, 0, 1, 0, 0.5])  # clipped


def test_joints_that_were_not_found_are_interpolated(tmp_path):
  entries = [entry(frame, value=10.0 * frame) for frame in range(4)]
  for frame in (1, 2):
    entries[frame]['keypoints'][3:6] = [0, 0, 0]  # as COCO has joints that are not labelled
  for one in entries:
    one['keypoints'][6:] = [0, 0, -0.5]
  track, = tracks.read(written(tmp_path, entries))
  np.testing.assert_allclose(track.keypoints[:, 1], track.keypoints[:, 0], atol=1e-9)
  assert track.confidence.tolist() == [[0.5, 0.5, 0], [0.5, 0, 0], [0.5, 0, 0], [0.5, 0.5, 0]]
  assert (track.keypoints[:, 2] == 0).all()  # never found: nothing is known of its place


def test_one_frame_is_a_track(tmp_path):
  track, = tracks.read(written(tmp_path, [entry(9, value=4, file_name='v.mp4')]))
  assert track.first == 9 and track.keypoints.shape == (1, 3, 2) and track.file == 'v.mp4'


@pytest.mark.parametrize('entries, words', [
  ([], ('holds no poses',)),
  ({}, ('holds a dict, not a list',)),
  ([entry(0), 5], ('entry 1 is 5, not a dict',)),
  ([entry(0), entry(None)], ('entry 1 has the frame None', 'frame and the track_id')),
  ([entry(-1)], ('entry 0 has the frame -1, not a whole number from 0',)),
  ([entry(1.0)], ('the frame 1.0',)),
  ([entry(0, None)], ('entry 0 has the track_id None, not a whole number;',)),
  ([entry(0, True)], ('the track_id True',)),
  ([entry(0, file=3)], ('the file of entry 0 is 3',)),
  ([entry(0, file='a\0b')], ('the file of entry 0 is', 'not a name of a file')),
  ([entry(2**70)], (f'the frame {2**70}',)),
  ([entry(0, -2**70)], (f'the track_id -{2**70}',)),
  ([entry(0) | {'keypoints': [True, 1, 1] * 3}], ('keypoints of entry 0 are not 9 finite',)),
  ([entry(0), entry(1), entry(0)], ('entries 0 and 2', 'track_id 1 in frame 0', 'remove one')),
  ([entry(0), entry(1, joints=4)], ('keypoints of entry 1 are not 9 finite',)),
  ([entry(0), entry(1) | {'keypoints': ['a', 1, 1] * 3}], ('keypoints of entry 1',)),
  ([entry(0), entry(1, value=float('nan'))], ('keypoints of entry 1',)),
  ([entry(0) | {'keypoints': [1, 2, 3, 4]}], ('entry 0 has 4 numbers',)),
  ([entry(0) | {'keypoints': []}], ("entry 0 has no list of 'keypoints'",)),
  ([entry(0), {'frame': 1, 'track_id': 1}], ("entry 1 has no list of 'keypoints'",)),
  ([entry(0), entry(10**9)], ('from frame 0 to 1000000000', 'another track_id')),
])
def test_refused(tmp_path, entries, words):
  path = written(tmp_path, entries)
  fails(lambda: tracks.read(path), path, *words)


def test_a_frame_size_that_cannot_be():
  person = np.random.default_rng(0).uniform((800, 500), (1500, 1000), (9, 5, 2))
  track = tracks.Track('', 1, 0, person, np.ones((9, 5)))
  assert tracks.check_size([track], (1920, 1080), 'f.json') == []
  fails(lambda: tracks.check_size([track], (640, 480), 'f.json'), 'f.json, pictures of 640x480',
        'outside of their picture', 'width and height')
  shares = track._replace(keypoints=person / (1920, 1080))
  fails(lambda: tracks.check_size([shares], (1920, 1080), 'f.json'), 'shares of the picture')
  corner = track._replace(keypoints=person / 20)
  found = tracks.check_size([corner], (1920, 1080), 'f.json')
  assert [f.kind for f in found] == ['joints-are-percent']
