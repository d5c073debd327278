"""The script of the experiments on lifting: its arms, a cell that resumes, its table."""
import shutil

import pytest

from configs import cmu_posemoe
from dslope_jax import models
from experiments import cells, lifting
from tests.sequences import made


@pytest.mark.parametrize('name', lifting.ARMS)
def test_every_arm_is_the_small_config_with_its_switch(name):
  config, plain = (lifting.config_of(arm, 3, 'folder') for arm in (name, 'pose_moe'))
  assert config.duration == plain.duration and config.batch_size == plain.batch_size
  assert config.seed == 3 and set(config.evals) == set(cells.SEVERITIES)
  models.build(**config.system.model.to_dict(), num_keypoints=17, frames=config.data.frames)
  assert (config.to_dict() == plain.to_dict()) == (name == 'pose_moe')


@pytest.mark.slow
def test_a_cell_resumes_and_holds_every_recipe(tmp_path, monkeypatch):
  shrink = cmu_posemoe.small

  def smallest(config):
    shrink(config)
    config.batch_size, config.data.frames, config.data.stride = 4, 9, 9
    config.system.model.update(dict(width=8, heads=1, encoder_layers=1, decoder_layers=1))

  monkeypatch.setattr(cmu_posemoe, 'small', smallest)
  monkeypatch.setattr(cells, 'SEVERITIES', ('severity1', 'severity5'))
  data = str(made.small_cmu(tmp_path / 'cmu'))
  cell = lambda steps: lifting.run_cell('pose_moe', 0, data, str(tmp_path), f'{steps} steps')
  whole = cells.newest_step
  with monkeypatch.context() as patched:  # as if a signal had come
    patched.setattr(cells, 'newest_step', lambda folder: whole(folder) - 1)
    assert cell(2) is None
  found = cell(2)
  assert found['steps'] == 2 and set(found['results']) == set(cells.SEVERITIES)
  rows = found['results']['severity5']['rows']
  assert rows['net/occluded']['MPJPE'] > 0
  clean = {scores['rows']['net/clean']['MPJPE'] for scores in found['results'].values()}
  assert clean == {rows['net/clean']['MPJPE']}
  # Scored further and stopped there: the cell is of its own entries all the same.
  scored = tmp_path / 'pose_moe_seed0/eval_2'
  shutil.copytree(scored / 'severity5', scored / 'further')
  assert cell(2)['results'] == found['results']
  assert {scores['stamp']['recipe'] for scores in found['results'].values()} == {*cells.SEVERITIES}


def test_the_table_by_hand():
  def cell(offset):
    rows = lambda level: {'net/clean': {'MPJPE': 100.0 + offset, 'router': 0.5},
                          'net/occluded': {'MPJPE': 100.0 + 10 * level + offset, 'router': 0.25}}
    return {'arm': 'pose_moe', 'results': {
      recipe: {'rows': rows(level)} for level, recipe in enumerate(cells.SEVERITIES, 1)}}

  lines = lifting.table([cell(0), cell(10)]).splitlines()
  assert len(lines) == 2 + 1 + 5
  assert lines[2].startswith('| pose_moe, net | 2 | 0 | 105 ± 7.1 |')
  assert lines[5].startswith('| pose_moe, net | 2 | 3 | 135 ± 7.1 |')
  assert lines[5].endswith('| 0.25 ± 0 |')
