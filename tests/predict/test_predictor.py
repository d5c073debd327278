"""The predictor as a library: it answers what the evaluation answers, whoever asks."""
import json

import numpy as np
import pytest

import eval as evaluation_script
from dslope_jax.predictor import Predictor
from dslope_jax.tasks.people import load_source
from tests.predict import folders


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """(work folder of a pair with an average, evaluated; its evaluated people)."""
  config, workdir = folders.make(tmp_path_factory.mktemp('pair'), ema=0.5)
  evaluation_script.evaluate(config, str(workdir))
  return workdir, load_source(config, 'val')


@pytest.mark.parametrize('answer', ['enet', 'pick', 'gate'])
def test_answers_are_those_of_the_evaluation(run, answer):
  workdir, people = run
  (file,) = workdir.glob(f'eval_7/val/predictions_{answer}_clean.json')
  stored = {pose['image_id']: pose for pose in json.loads(file.read_text())}
  predict = Predictor(workdir if answer == 'pick' else f'{workdir}:{answer}')
  found = predict([people.read(row) for row in range(4)], people.box[:4, None])
  assert predict.answer == answer and 'moving average' in predict.about
  for row, of_picture in enumerate(found):
    wanted = stored[people.image_id[row]]
    joints = np.reshape(wanted['keypoints'], (-1, 3))
    np.testing.assert_array_equal(of_picture.boxes, people.box[row:row + 1])
    np.testing.assert_array_equal(of_picture.keypoints[0], joints[:, :2])
    np.testing.assert_array_equal(of_picture.scores[0], joints[:, 2])
    for field in ('right', 'visible'):
      if field in wanted:
        np.testing.assert_allclose(getattr(of_picture, field)[0], wanted[field], atol=1e-4)
    assert of_picture.present is None and of_picture.right.shape == (1, 17)
    assert of_picture.visible.shape == (1, 17)
