"""The weights that come with the project: they load, and score what their card says."""
import os
import pathlib
import re

import numpy as np
import pytest

import eval as evaluation_script
from configs import clspet_hrnet
from dslope_jax.predictor import Predictor

FOLDER = pathlib.Path(__file__).parents[2] / 'weights/lspet_pair'
_DATA = os.environ.get('DSLOPE_DATA')


def test_the_pair_answers():
  predictor = Predictor(f'{FOLDER}:enet')
  assert predictor.facts.skeleton.name == 'lsp' and predictor.facts.size == (96, 128)
  picture = np.random.default_rng(0).integers(0, 256, (160, 120, 3), np.uint8)
  people, = predictor([picture], [[(10, 10, 80, 120)]])
  assert people.keypoints.shape == (1, 14, 2) and np.isfinite(people.keypoints).all()
  assert ((people.right >= 0) & (people.right <= 1)).all()  # calibrated


def test_the_card_names_the_data_and_their_terms():
  card = (FOLDER / 'README.md').read_text()
  for words in ('Leeds Sports Pose Extended', 'Johnson', 'research'):
    assert words in card
  assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 20e6


@pytest.mark.slow
@pytest.mark.skipif(not _DATA, reason='DSLOPE_DATA names no folder')
def test_the_numbers_of_the_card(tmp_path):
  config = clspet_hrnet.get_config()
  config.evals.val.data.root = os.path.join(_DATA, 'lspet')
  config.evals.val.recipe = 'severity3'
  given = {'evals.val.data.root': config.evals.val.data.root}
  found = evaluation_script.evaluate(config, str(tmp_path), weights=str(FOLDER), given=given)
  section = (FOLDER / 'README.md').read_text().partition('`severity3`;')[2]
  columns = re.search(r'^ +(PCK@0.2 .*)$', section, re.M)[1].split()
  for row in ('gnet/clean', 'enet/clean', 'gnet/occluded', 'enet/occluded', 'gate/occluded'):
    told = dict(zip(columns, re.search(rf'^{row} (.*)$', section, re.M)[1].split(), strict=True))
    for metric in ('PCK@0.2', 'ECE', 'Brier'):
      assert found['val'][row][metric] == pytest.approx(float(told[metric]), abs=0.3)
