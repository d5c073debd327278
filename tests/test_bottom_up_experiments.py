"""The script of the experiments on several people: its arms, and a cell from files to the table."""
import json

import pytest

from experiments import bottom_up
from tests.sequences import made
from tests.tiny_people import NETWORKS


@pytest.mark.parametrize('name', bottom_up.ARMS)
def test_every_arm_is_a_config_of_its_people(name):
  config = bottom_up.config_of(name, 3, 'folder', '7 steps')
  assert config.seed == 3 and config.duration == config.eval_every == '7 steps'
  people, method = name.split('_')
  assert config.data.name == {'world': 'synthetic', 'pairs': 'cmu_pairs'}[people]
  assert set(config.optim) == ({'detector', 'reasoner', 'refiner'} if method == 'hupor' else {
    'detector'})
  assert config.system.visible_only == (method == 'hupor')
  world = bottom_up.config_of(f'world_{method}', 3, 'folder', '7 steps')
  assert config.system == world.system and config.optim == world.optim
  for entry in config.evals.values():  # nothing is chosen on what is scored
    assert entry.split == 'tune' and entry.data.name == 'synthetic'
  tests = bottom_up.with_tests(config, name, {'a': 0.1, 'b': 0.2, 'c': 0.1}).evals
  assert {(entry.recipe, entry.peak) for entry in tests.values()} == {
    (recipe, peak) for recipe in bottom_up.RECIPES for peak in (0.1, 0.2)}
  assert {entry.split for entry in tests.values()} == {'val' if people == 'pairs' else 'test'}


@pytest.fixture
def tiny(monkeypatch):
  """The script with networks, pictures and sets as small as can be."""
  whole, entry_of_tests = bottom_up.config_of, bottom_up.entry_of_tests

  def config_of(*words):
    config = whole(*words)
    config.batch_size, config.data.size, config.data.max_people = 2, (96, 64), 4
    config.data.loader.update(dict(size=(96, 64), every=20))
    for name in set(NETWORKS) & set(config.optim):
      config.system[name].update(NETWORKS[name])
    config.system.update(dict(max_people=4, max_peaks=8))
    for entry in config.evals.values():
      entry.batch_size = 4
      entry.data.loader.update(dict(count=4, size=(96, 64)))
    return config

  monkeypatch.setattr(bottom_up, 'config_of', config_of)
  monkeypatch.setattr(bottom_up, 'entry_of_tests',
                      lambda name: entry_of_tests(name) | {'batch_size': 4})
  monkeypatch.setattr(bottom_up, 'PEAKS', (0.1, 1.0))
  monkeypatch.setattr(bottom_up, 'RECIPES', ('severity5',))


@pytest.mark.slow
def test_a_cell_from_files_to_the_table(tmp_path, tiny):
  data = str(made.small_cmu(tmp_path / 'cmu'))
  cell = bottom_up.run_cell('pairs_smap', 0, data, str(tmp_path), '2 steps')
  assert cell['steps'] == 2 and cell['peaks'] == {'detector': 0.1} and not cell['true_maps']
  scores = cell['results']['severity5']
  assert set(scores['rows']) == {'detector/clean', 'detector/occluded'}
  assert scores['stamps']['detector']['thresholds'] == 'peak=0.1,shortest=1.5,support=0.6'
  assert {found['stamp']['split'] for found in cell['tuning'].values()} == {'tune'}
  found = bottom_up.of_true_maps('pairs_smap', str(tmp_path / 'pairs_smap_seed0'), 'detector')
  assert found['detector/clean']['recall'] > scores['rows']['detector/clean']['recall']
  lines = bottom_up.table([json.loads(json.dumps(cell))]).splitlines()
  assert lines[2].startswith('| pairs_smap, detector, clean | 1 | ')
  assert lines[3].startswith('| pairs_smap, detector, severity5 | 1 | ') and lines[4] == ''


def test_the_best_peak_of_each_network_is_taken_and_its_own_row_kept():
  peaks = bottom_up.PEAKS
  tuning = {f'peak{i}': {'rows': {'detector/clean': {'PCK_rel': -abs(i - 1)},
                                  'refined/clean': {'PCK_rel': i}}} for i in range(len(peaks))}
  found = bottom_up.chosen(tuning)
  assert found == {'detector': peaks[1], 'refined': peaks[-1]}
  scores = {f'{recipe}_{i}': {'stamp': i, 'rows': {f'{network}/{view}': {'PCK_rel': i}
            for network in found for view in ('clean', 'occluded')}}
            for recipe in bottom_up.RECIPES for i in (1, len(peaks) - 1)}
  for recipe, kept in bottom_up.of_peaks(scores, found).items():
    assert recipe in bottom_up.RECIPES and kept['stamps'] == {'detector': 1, 'refined': 3}
    assert {row: of['PCK_rel'] for row, of in kept['rows'].items()} == {
      'detector/clean': 1, 'detector/occluded': 1, 'refined/clean': 3, 'refined/occluded': 3}
