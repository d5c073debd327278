"""The script of the experiments on faces: its arms, a cell of each kind, its tables."""
import json

import pytest
from ml_collections import ConfigDict

from dslope_jax.skeletons import FACE_300W
from experiments import cells, faces
from tests import tiny
from tests.data_sets import write_keypoints
from tests.refusals import fails


@pytest.mark.parametrize('name', faces.ARMS)
def test_every_arm_is_a_config_of_its_kind(name):
  config = faces.config_of(name, 3, 'folder', '7 steps')
  assert config.seed == 3 and config.duration == config.eval_every == '7 steps'
  assert set(config.evals) == set(faces.RECIPES) and config.data.loader.skeleton == '300w'
  view = name.rpartition('_')[2]
  assert config.system.get('view', 'pair') == view and ('gnet' in config.optim) == (view == 'pair')
  recognition = faces.ARMS[name].kind == faces.IDENTITY
  assert (config.get('task') == 'recognition') == recognition


def people_of(truth):
  for number, annotation in enumerate(truth['annotations']):
    annotation |= {'identity': number // 4, 'video': number // 2}


@pytest.mark.slow
@pytest.mark.parametrize('name', ['points_pair', 'identity_clean'])
def test_a_cell_from_files_to_the_table(name, tmp_path, monkeypatch):
  for split in ('train', 'val'):
    write_keypoints(tmp_path, f'{split}.json', FACE_300W, num_images=12,
                    size=(96, 96), folder=split, edit=people_of)
  monkeypatch.setattr(faces, 'RECIPES', ('face_severity1', 'face_severity5'))
  whole = faces.config_of

  def small(*words):
    config = whole(*words)
    config.batch_size, config.data.size, config.data.num_workers = 4, (32, 32), 0
    config.data.bank.num_people = 6
    if faces.ARMS[name].kind == faces.POINTS:
      config.system.model = ConfigDict(tiny.MODEL)
    else:
      config.system.model.update(dict(width=8, dim=8))
    return config

  monkeypatch.setattr(faces, 'config_of', small)
  with monkeypatch.context() as patched:  # as if a signal had come
    patched.setattr(cells, 'newest_step', lambda folder: 1)
    assert faces.run_cell(name, 0, str(tmp_path), str(tmp_path), '2 steps') is None
  cell = json.loads(json.dumps(faces.run_cell(name, 0, str(tmp_path), str(tmp_path), '2 steps')))
  assert cell['steps'] == 2 and cell['cpu_hours'] > 0
  for scores in cell['results'].values():
    for row, sums in scores['samples'].items():
      groups, right, labelled = zip(*sums, strict=True)
      assert groups == (0, 1, 2)  # identities, not pictures
      if name == 'points_pair':
        assert sum(right) / sum(labelled) == pytest.approx(scores['rows'][row]['NME'], rel=1e-3)
  monkeypatch.setattr(faces, 'RECIPES', ('face_severity5',) * 5)
  assert f'| {name}, ' in faces.table([cell])


def test_the_table_by_hand():
  def cell(arm, network, offset):
    rows = lambda level: {f'{network}/clean': {'NME': 5.0 + offset},
                          f'{network}/occluded': {'NME': 5.0 + level + offset}}
    return {'arm': arm, 'seed': 0, 'steps': 5, 'batch_size': 2, 'results': {recipe: {
      'rows': {row: of | {'FR@0.10': 1.0, 'AUC@0.10': 2.0} for row, of in rows(level).items()},
      'samples': {row: [['a', of['NME'], 1.0], ['b', of['NME'], 1.0]]
                  for row, of in rows(level).items()}}
      for level, recipe in enumerate(faces.RECIPES, 1)}}

  found = faces.table([cell('points_occluded', 'net', 0), cell('points_pair', 'enet', -0.5)])
  lines = found.splitlines()
  assert lines[0] == (
    'points: NME, percent, occluded (small open set, not the official protocol)')
  assert lines[3].startswith('| points_occluded, net | 1 | 5.00 [5.00, 5.00] | 6.00 [6.00, 6.00] |')
  assert lines[4].startswith('| points_pair, enet | 1 | 4.50 [4.50, 4.50] |')
  assert lines[5].startswith('| less the plain one | 1 | -0.50 [-0.50, -0.50] | -0.50 ')
  assert lines[5].count('|') == 9 and 'identity: TAR@0.01' in found
  longer = cell('points_clean', 'net', 0) | {'steps': 7}
  fails(lambda: faces.table([longer, cell('points_pair', 'enet', 0)]),
        'points are of 5 steps of 2 samples and of 7 steps of 2 samples', 'remove')
