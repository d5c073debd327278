"""What the page shows, without the page: picture, recipe and painting in, poses and numbers out."""
import json

import cv2
import numpy as np
import pytest

from dslope_jax import trial
from dslope_jax.errors import UserError
from dslope_jax.predictor import Predictor
from dslope_jax.skeletons import COCO
from input_pipeline.occlusion import bank as patch_bank
from input_pipeline.sources import synthetic
from tests.predict import folders

PERSON = trial.rendered_people(1)[0]
FIT = {'kind': 'isotonic', 'x': [0.0, 2.0], 'y': [0.0, 0.8]}


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """Work folder of a pair whose evaluation stored a calibration."""
  _, workdir = folders.make(tmp_path_factory.mktemp('pair'))
  networks = {name: FIT for name in ('gnet', 'enet')}
  (workdir / 'eval_7/val').mkdir(parents=True)
  (workdir / 'eval_7/val/calibration.json').write_text(json.dumps(
    {'right': networks, 'visible': networks, 'gates': {}, 'people': 3}))
  return workdir


@pytest.fixture(scope='module')
def tried(run):
  with trial.Trial(run) as tried:
    yield tried


def numbers_of(shown, answer):
  """(K,) scores, probabilities of being right, and of being visible."""
  column = shown.columns.index(f'{answer} score')
  return np.array([row[column:column + 3] for row in shown.rows]).T


def test_both_networks_and_their_mixture(tried, run):
  shown = tried(PERSON)
  for pictures in (shown.clean, shown.occluded):
    assert list(pictures) == ['picture', 'gnet', 'gnet heatmaps', 'enet', 'enet heatmaps', 'pick']
    assert {(str(image.dtype), max(image.shape)) for image in pictures.values()} == {
      ('uint8', 384)}
  person, = Predictor(run)([PERSON])
  wanted = [person.scores[0], person.right[0], person.visible[0]]
  np.testing.assert_allclose(numbers_of(shown, 'pick'), wanted, atol=0.006)
  of_networks = [numbers_of(shown, name) for name in ('gnet', 'enet')]
  for scores, right, visible in of_networks:
    np.testing.assert_allclose(right, np.clip(0.4 * scores, 0, 0.8), atol=0.01)
    np.testing.assert_array_equal(right, visible)
  np.testing.assert_array_equal(np.maximum(*of_networks)[1], numbers_of(shown, 'pick')[1])


def test_occluders_aim_at_the_joints(run, tried):
  assert tried.recipes[:3] == ['none', 'published', 'severity']
  people = synthetic.load('trial', num_people=1, size=(192, 256), people=(1, 1))
  bank = patch_bank.load_or_build(run / 'cut', people, num_people=1, seed=0)
  picture, joints = people.read(0), people.keypoints[0]
  hide = lambda recipe, seed=0: trial.occlude(picture, joints, COCO, bank, recipe, seed)
  assert not hide('none').covered.any()
  np.testing.assert_array_equal(hide('none').image, picture)
  hard, again = hide('severity5'), hide('severity5')
  np.testing.assert_array_equal(hard.image, again.image)
  assert hard.covered.sum() > hide('severity1').covered.sum() > 0
  assert (hide('severity5', seed=1).image != hard.image).any()


def test_what_is_painted_changes_the_occluded_picture_alone(tried):
  layer = np.zeros((64, 48, 4), np.uint8)
  layer[:32] = (255, 0, 0, 255)
  before, after = tried(PERSON), tried(PERSON, layers=[layer])
  np.testing.assert_array_equal(before.clean['gnet'], after.clean['gnet'])
  painted = after.occluded['picture']
  assert (painted[:180] == (255, 0, 0)).all()
  np.testing.assert_array_equal(painted[210:], before.occluded['picture'][210:])


def test_an_unknown_recipe_is_one_line(tried):
  with pytest.raises(UserError, match='a recipe is one of'):
    tried(PERSON, recipe='serverity')


def test_uploads(tmp_path):
  wide = np.full((40, 3000, 3), 200, np.uint8)
  cv2.imwrite(str(tmp_path / 'wide.png'), wide)
  assert trial.read_upload(tmp_path / 'wide.png').shape == (14, 1024, 3)
  (tmp_path / 'broken.jpg').write_bytes(b'\xff\xd8\xff no picture')
  with pytest.raises(OSError, match=r"^picture 'broken.jpg' is broken"):
    trial.read_upload(tmp_path / 'broken.jpg')
