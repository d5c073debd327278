"""Whole pictures to people in space: the finder, and predict.py with a run of bottom_up."""
import json

import cv2
import jax.numpy as jnp
import numpy as np
import pytest

from dslope_jax import loading
from dslope_jax.people_finder import PeopleFinder
from dslope_jax.predictor import Predictor
from dslope_jax.systems import hupor_people
from tests.predict import folders
from tests.predict.test_media import write_picture, write_video
from tests.predict.typed import caller
from tests.refusals import fails
from tests.test_bottom_up_task import tiny
from tools import publish

SIZE = 96, 64  # of the network's picture
ROOM = 4


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A run with fresh weights, which find nobody."""
  folder = tmp_path_factory.mktemp('run')
  config = tiny()
  config.evals = {}
  folders.write(config, folder)
  return str(folder)


def two_people(self, weights, batch):
  """In place of `Networks._predict`: joint k of person p is at (10 p + k, 20 + k), at a depth of
  2 p + 2 times the focal length; the second one has no joint 14. Peaks are 0.9; the third row is
  nobody."""
  del weights
  camera = hupor_people.network_camera(jnp.asarray(batch['camera']))
  count, p, k = len(camera), np.arange(ROOM)[:, None], np.arange(15)
  pixels = jnp.broadcast_to(np.stack([10 * p + k, 20 + 0 * p + k], -1), (count, ROOM, 15, 2))
  depth = (2.0 * p + 2) * camera[:, 0, None, None]
  flat = (pixels - camera[:, None, None, 2:]) / camera[:, None, None, :2] * depth[..., None]
  points = jnp.concatenate([flat, jnp.broadcast_to(depth[..., None], (*flat.shape[:3], 1))], -1)
  scores = np.where((p == 1) & (k == 14), 0, 0.9) * (p < 2)
  row = {'keypoints': pixels, 'keypoints_3d': points, 'overflow': jnp.full(count, 3, jnp.int32),
         'scores': jnp.broadcast_to(scores, (count, ROOM, 15)),
         'valid': jnp.broadcast_to(np.arange(ROOM) < 2, (count, ROOM))}
  return {f'{name}/clean': row for name in ('detector', 'reasoned', 'refined')}


@pytest.fixture
def finder(run, monkeypatch):
  monkeypatch.setattr(loading.Networks, '_predict', two_people)
  return PeopleFinder(run)


def test_people_are_in_pixels_of_the_picture_and_mm_of_its_camera(finder):
  images = [np.zeros((128, 192, 3), np.uint8), np.zeros((64, 48, 3), np.uint8)]
  people, narrow = finder(images, focal=300)
  assert finder.answer == 'refined' and len(people) == 2 and people.left_out == 3
  np.testing.assert_allclose(people.keypoints[1, :14, 0], 20 + 2 * np.arange(14), atol=1e-4)
  np.testing.assert_allclose(people.keypoints[0, :, 1], 40 + 2 * np.arange(15), atol=1e-4)
  np.testing.assert_allclose(people.boxes, [(0, 40, 28, 28), (20, 40, 26, 26)], atol=1e-4)
  assert not people.keypoints[1, 14].any() and not people.keypoints_3d[1, 14].any()
  assert np.isnan(people.places[1, 14]).all() and np.isfinite(people.places[0]).all()
  # A focal length of 300 pixels is 150 of the network's: 2 * 150 cm.
  np.testing.assert_allclose(people.keypoints_3d[0, :, 2], 3000, rtol=1e-5)
  np.testing.assert_allclose(people.keypoints_3d[0, 5], (
    (10 - 96) / 300 * 3000, (50 - 64) / 300 * 3000, 3000), rtol=1e-4)
  assert people.camera.tolist() == [300, 300, 96, 64]
  np.testing.assert_allclose(narrow.keypoints[0, :, 0], np.arange(15) - 24, atol=1e-4)  # not scaled


def test_without_a_focal_length_only_distances_change(finder):
  image = np.zeros((128, 192, 3), np.uint8)
  known, = finder([image], focal=384)
  assumed, = finder([image])
  np.testing.assert_allclose(2 * assumed.keypoints_3d[..., 2], known.keypoints_3d[..., 2])
  np.testing.assert_allclose(assumed.keypoints_3d[..., :2], known.keypoints_3d[..., :2],
                             rtol=1e-4)
  for wrong in 0, -3, np.nan, 'long':
    fails(lambda wrong=wrong: finder([image], focal=wrong), 'focal length is a number of pixels')
  assert finder([]) == []


@pytest.mark.slow
def test_odd_pictures_by_the_networks_themselves(run):
  images = [np.zeros((*size, 3), np.uint8) for size in ((1, 1), (3000, 2), (2, 3000))]
  for people in PeopleFinder(run, flip=False)(images):
    assert len(people) == 0
    assert people.keypoints_3d.shape == (0, 15, 3) and people.boxes.shape == (0, 4)


@pytest.mark.slow
def test_answers_and_refusals(run, tmp_path):
  assert PeopleFinder(run + ':detector').answer == 'detector'
  fails(lambda: PeopleFinder(run + ':enet'), 'gives detector, reasoned, refined, not')
  fails(lambda: PeopleFinder(run, peak=-1), 'peak is a height of 0 or more, not -1')
  fails(lambda: Predictor(run), 'take whole pictures, not boxes in pictures')
  given = publish._parse(['--weights', run + ':detector', '--out', str(tmp_path / 'half')])
  fails(lambda: publish.publish(given), "'detector' is no half of a pair")


@pytest.mark.slow
def test_a_published_folder_answers_as_its_run(run, tmp_path):
  out = tmp_path / 'out'
  publish.main(['--weights', run, '--out', str(out)])
  assert 'several people in space, in a whole picture' in (out / 'README.md').read_text()
  image = np.random.default_rng(0).integers(0, 255, (1, 64, 96, 3)).astype(np.uint8)
  samples = {'image': image, 'camera': np.float32([[96, 96, 48, 32, 1, 0, 0]])}
  ours, theirs = (PeopleFinder(str(of), flip=False, peak=1e-6)._outputs(samples)['refined/clean']
                  for of in (run, out))
  assert ours['valid'].any()
  for name, values in ours.items():
    np.testing.assert_allclose(values, theirs[name], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_the_command_writes_people_in_space(run, tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(loading.Networks, '_predict', two_people)
  call = caller(tmp_path / 'out', 'poses_3d.json', capsys, ['--weights', run])
  picture = write_picture(tmp_path / 'a.png')
  video = write_video(tmp_path / 'v.mp4', frames=3, size=(192, 128))
  entries, told = call(picture, video, '--focal', 300, '--csv')
  assert 'focal length 300 pixels' in told and '8 people' in told
  assert '12 peaks and people found no room' in told
  assert [(entry['frame'], entry['track_id']) for entry in entries] == [
    (None, None)] * 2 + [(frame, person) for frame in range(3) for person in (1, 2)]
  last = entries[-1]
  assert last['keypoints_3d'][14] is None and last['confidence'][14] == 0 and last['unit'] == 'mm'
  np.testing.assert_allclose(last['keypoints_3d'][0], ((20 - 96) * 20, (40 - 64) * 20, 6000),
                             atol=0.1)
  assert last['camera'] == [300, 300, 96, 64]
  poses = json.loads((call.out / 'poses.json').read_text())
  assert poses[-1]['keypoints'][-3:] == [0, 0, 0] and poses[-1]['score'] == pytest.approx(0.9)
  assert cv2.imread(str(call.out / 'overlays/a.jpg')).shape == (192, 8 + 192, 3)
  assert cv2.VideoCapture(str(call.out / 'v.mp4')).get(cv2.CAP_PROP_FRAME_WIDTH) == 192 + 192
  assert 'so the width of each picture is taken' in call(picture)[1]
  assert 'leave out --boxes, --lift' in call(picture, video, '--boxes', 'whole', '--lift', run,
                                             code=1)
  assert 'is no focal length' in call(picture, '--focal', '0', code=2)
