"""The script of the experiments on several people: its arms, and a cell from files to the table."""
import pytest

from experiments import bottom_up, cells
from tests.sequences import made
from tests.tiny_people import NETWORKS


@pytest.mark.parametrize('name', bottom_up.ARMS)
def test_every_arm_is_a_config_of_its_people(name):
  config = bottom_up.config_of(name, 3, 'folder', '7 steps')
  assert config.seed == 3 and config.duration == config.eval_every == '7 steps'
  people, method = name.split('_')
  assert config.data.name == {'world': 'synthetic', 'pairs': 'cmu_pairs'}[people]
  assert set(config.optim) == {'detector', 'reasoner', 'refiner'} if method == 'hupor' else {
    'detector'}
  assert config.system.visible_only == (method == 'hupor')
  world = bottom_up.config_of(f'world_{method}', 3, 'folder', '7 steps')
  assert config.system == world.system and config.optim == world.optim


def test_a_cell_from_files_to_the_table(tmp_path, monkeypatch):
  data = str(made.small_cmu(tmp_path / 'cmu'))
  monkeypatch.setattr(cells, 'SEVERITIES', ('severity1', 'severity5'))
  whole = bottom_up.config_of

  def small(*words):
    config = whole(*words)
    config.batch_size, config.data.size, config.evals.severity1.batch_size = 2, (96, 64), 4
    config.evals.severity5.batch_size = 4
    config.data.loader.update(dict(size=(96, 64), every=20))
    config.system.detector.update(NETWORKS['detector'])
    return config

  monkeypatch.setattr(bottom_up, 'config_of', small)
  cell = bottom_up.run_cell('pairs_smap', 0, data, str(tmp_path), '2 steps')
  assert cell['steps'] == 2 and set(cell['results']) == {'severity1', 'severity5'}
  for scores in cell['results'].values():
    assert set(scores['rows']) == {'detector/clean', 'detector/occluded'}
  lines = bottom_up.table([cell]).splitlines()
  assert len(lines) == 2 + 1 + 2 and lines[2].startswith('| pairs_smap, detector | 1 | 0 |')
