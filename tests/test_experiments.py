"""The script of the experiments: what screening may read, its cells, and that they resume."""
import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest

from dslope_jax import systems
from dslope_jax.skeletons import COCO, LSP
from dslope_jax.tasks import people
from dslope_jax.training import optimizers
from experiments import cells as shared
from experiments import coco_part, run
from experiments import table as tables
from experiments.arms import ARMS, Arm
from tests import data_sets, tiny
from tests.refusals import fails


def as_lsp(truth):
  """Neck and top of the head are drawn above the right shoulder."""
  for person in truth['annotations']:
    limbs = coco_part.converted(person['keypoints'])[:-6]
    x, y = limbs[3 * LSP.names.index('right_shoulder'):][:2]
    person['keypoints'] = [*limbs, x, y, 2, x, person['bbox'][1], 2]
  truth['categories'] = [coco_part.CATEGORY]


def make_data(folder):
  """A folder of LSPET's form, 12 people in each split."""
  coco = pathlib.Path(data_sets.write_coco(folder / 'coco', 12, edit=as_lsp))
  (folder / 'images').mkdir()
  for split in ('train', 'val'):
    for picture in (coco / split).iterdir():
      picture.rename(folder / 'images' / picture.name)
    (coco / f'annotations/person_keypoints_{split}.json').rename(folder / f'lspet_{split}.json')
  return folder


def people_of_coco(folder):
  """A folder of COCO's form with two people in each split, one of them a crowd."""
  data_sets.write_coco(folder, 2)
  (folder / 'images').mkdir()
  for split in ('train', 'val'):
    for picture in (folder / split).iterdir():
      picture.rename(folder / 'images' / picture.name)
  path = folder / 'annotations/person_keypoints_val.json'
  truth = json.loads(path.read_text())
  truth['annotations'][0]['iscrowd'] = 1
  path.write_text(json.dumps(truth))
  return str(folder)


def test_people_of_coco_have_the_joints_of_lsp(tmp_path):
  folder = people_of_coco(tmp_path / 'coco')
  found = json.loads((coco_part.write(folder, tmp_path) / 'lspet_coco.json').read_text())
  names, = (category['keypoints'] for category in found['categories'])
  train = json.loads((tmp_path / 'coco/annotations/person_keypoints_train.json').read_text())
  one = lambda truth, names: dict(zip(
    names, np.reshape(truth['annotations'][0]['keypoints'], (-1, 3)).tolist(), strict=True))
  new, old = one(found, names), one(train, COCO.names)
  assert len(found['annotations']) == 3 and len(found['images']) == 4 and tuple(names) == LSP.names
  assert {name: old[name] for name in set(names) & set(old)} | {
    'neck': [0, 0, 0], 'head_top': [0, 0, 0]} == new


SMALL = {'system.model': tiny.MODEL, 'data.size': (32, 64), 'batch_size': 4,
         'data.bank.num_people': 12, 'duration': '2 steps', 'evals.val.batch_size': 8}


@pytest.fixture
def cells(tmp_path, monkeypatch):
  """(folder of data, function that runs a cell of the smallest network)."""
  monkeypatch.setattr(run, 'TUNING', 5)
  small = {'first': Arm('lspet_hrnet.py:clean', SMALL),
           'second': Arm('clspet_hrnet.py:kl', SMALL, {'gnet': 'first:net'})}
  for name, arm in small.items():
    monkeypatch.setitem(ARMS, name, arm)
  data, out = make_data(tmp_path / 'data'), str(tmp_path / 'out')
  return data, lambda name, stage, length=1.0, **options: run.run_cell(
    name, 0, stage, str(data), out, length, **options)


def test_the_tuning_part_is_split_off_by_picture_once(tmp_path, monkeypatch):
  monkeypatch.setattr(run, 'TUNING', 5)
  data = make_data(tmp_path / 'data')
  folder = run.split_tuning_part(str(data), str(tmp_path / 'out'))
  read = lambda name: json.loads((folder / f'lspet_{name}.json').read_text())['images']
  parts = {name: {picture['id'] for picture in read(name)} for name in ('train', 'tune')}
  assert len(parts['tune']) == 5 and not parts['train'] & parts['tune']
  assert parts['train'] | parts['tune'] == set(range(1, 13))
  again = run.split_tuning_part(str(data), str(tmp_path / 'other'))
  assert (again / 'lspet_tune.json').read_text() == (folder / 'lspet_tune.json').read_text()


def test_cells_that_start_at_once_make_the_same_folder(tmp_path):
  data, other = make_data(tmp_path / 'data'), make_data(tmp_path / 'other')
  (tmp_path / 'out').mkdir()
  for _ in range(2):
    shared.link(tmp_path / 'out', data)
  assert shared.linked(tmp_path / 'out', data)
  fails(lambda: shared.link(tmp_path / 'out', other), 'take another --out')


def test_an_interrupted_cell_resumes_and_screening_needs_no_validation_part(cells, monkeypatch):
  data, cell = cells
  (data / 'lspet_val.json').unlink()
  whole = run.train.train
  with monkeypatch.context() as patched:
    patched.setattr(run.train, 'train', lambda config, folder: whole(shortened(config), folder))
    assert cell('first', 'screen') is None
  with pytest.raises(FileNotFoundError, match='run the arm that it starts from'):
    cell('second', 'screen')
  monkeypatch.setattr(run.train, 'train', lambda config, folder: whole(config, folder, True))
  found = cell('first', 'screen')
  assert found['pictures'] == 7 and found['steps'] == 2
  assert [point['step'] for point in found['curve']] == [1, 2]
  entry, = found['results'].values()
  assert entry['stamp']['split'] == 'tune' and entry['stamp']['people'] == 5
  assert set(entry['rows']) == {'net/clean', 'net/occluded'}
  for row in entry['rows'].values():
    assert len(row['right']) == 5 and sum(row['labelled']) > 0
    assert all(0 <= r <= n for r, n in zip(row['right'], row['labelled'], strict=True))
  assert found['cpu_hours'] > 0 and len(found['commit'].rstrip('+')) == 40


def test_a_cell_stopped_before_its_last_evaluation_is_not_finished(cells, monkeypatch):
  _, cell = cells
  whole = run.train.train

  def without_results(config, folder):
    whole(config, folder)
    shutil.rmtree(pathlib.Path(folder) / f'eval_{shared.newest_step(folder)}')

  with monkeypatch.context() as patched:
    patched.setattr(run.train, 'train', without_results)
    assert cell('first', 'screen') is None
  assert cell('first', 'screen')['results']['val']['rows']


def test_a_folder_made_of_other_data_is_refused(cells, tmp_path):
  data, _ = cells
  out, other = str(tmp_path / 'out'), make_data(tmp_path / 'other')
  run.split_tuning_part(str(data), out)
  run.split_tuning_part(str(data), out)
  fails(lambda: run.split_tuning_part(str(other), out), str(data), str(other), '--out')
  people_of_coco(tmp_path / 'coco_data')
  fails(lambda: coco_part.write(str(tmp_path / 'nowhere'), out), 'nowhere', '--coco')


def shortened(config):
  config = config.copy_and_resolve_references()
  config.duration = '1 steps'
  return config


@pytest.mark.slow
def test_the_full_stage_scores_every_recipe_on_the_validation_part_and_people_of_coco(
    cells, monkeypatch, tmp_path):
  monkeypatch.setattr(run, 'RECIPES', ('published', 'severity5'))
  _, cell = cells
  found = cell('first', 'full', others=people_of_coco(tmp_path / 'other'))
  stamp = found['results']['coco']['stamp']
  assert (stamp['people'], stamp['split'], stamp['recipe']) == (3, 'coco', 'severity3')
  assert found['pictures'] == 12
  for recipe in run.RECIPES:
    stamp = found['results'][recipe]['stamp']
    assert stamp['recipe'] == recipe and stamp['split'] == 'val'


@pytest.mark.parametrize('name', ARMS)
def test_every_arm_has_a_config(name, tmp_path, monkeypatch):
  monkeypatch.setattr(run, 'TUNING', 5)
  data = make_data(tmp_path / 'data')
  config = run.config_of(name, 3, 'screen', str(data), str(tmp_path), 1 / 3)
  assert config.seed == 3 and config.evals.val.split != 'val'
  if ARMS[name].data:
    assert config.data.root == str(tmp_path / 'screen')
    assert len(people.load_train(config)[0]) == 7
  facts = tiny.facts(4)
  facts = facts._replace(skeleton=dataclasses.replace(facts.skeleton, limbs=((0, 1), (1, 2))))
  system = systems.build(facts, **config.system.to_dict())
  _, learning = optimizers.build(config.optim.to_dict(), system.networks, 10, 1)
  assert learning and set(config.init_from) == set(system.networks)
  for start in ARMS[name].start.values():
    assert start.partition(':')[0] in ARMS


def test_unknown_fields_of_an_arm_are_refused(monkeypatch):
  monkeypatch.setitem(ARMS, 'wrong', Arm('lspet_hrnet.py:clean', {'optim.net.rate': 1.0}))
  with pytest.raises(ValueError, match='optim.net.rate'):
    run.config_of('wrong', 0, 'full', '', '', 1.0)


def test_results_in_the_repository_are_of_arms_and_never_scored_on_val_while_screening():
  for path in shared.RESULTS.glob('*.json'):
    cell = json.loads(path.read_text())
    assert path.stem == run.cell_name(cell['arm'], cell['seed'], cell['stage'])
    assert cell['arm'] in ARMS
    if cell['stage'] == 'screen':
      assert {entry['stamp']['split'] for entry in cell['results'].values()} <= {'tune', 'test'}


def cell_of(arm, seed, right, recipe='severity3', split='val'):
  stamp = dict.fromkeys(tables._Stamp.__annotations__, 'same') | {'recipe': recipe, 'split': split}
  row = {'right': right, 'labelled': [4, 4, 2],
         'results': dict.fromkeys(tables.JOINTS) | {'covered_joints': 10.0 * (seed + 1)}}
  return {'arm': arm, 'seed': seed, 'stage': 'full', 'cpu_hours': 0.5, 'parameters': {'net': 5},
          'pictures_per_cpu_second': 1.0, 'curve': [],
          'results': {'val': {'stamp': stamp, 'rows': {'net/clean': row, 'net/occluded': row}}}}


def test_tables_are_means_over_seeds_and_differences_by_pictures(tmp_path):
  cells = [cell_of('a', 0, [4, 2, 0]), cell_of('a', 1, [4, 4, 1]), cell_of('b', 0, [3, 2, 0]),
           cell_of('b', 1, [3, 4, 1])]
  for number, cell in enumerate(cells):
    (tmp_path / f'{number}.json').write_text(json.dumps(cell))
  arms = tables.read_cells(tmp_path)
  column = tables.columns(arms['a'])['net', 'severity3']
  assert tables.score(column) == (75, 15)  # 6 and 9 of 10
  gap, low, high = tables.difference(column, tables.columns(arms['b'])['net', 'severity3'])
  assert gap == pytest.approx(10) and low == 0 < gap < high  # one joint of the first picture
  both = tables.columns(arms['a'])['net', tables.BOTH]
  assert both.right.tolist() == [[8, 4, 0], [8, 8, 2]] and both.labelled.tolist() == [8, 8, 4]
  head, _, first, second = tables.table(arms, 'b:net')
  assert head.endswith('| clean | clean and severity3 | severity3 |')
  assert first.startswith('| a | net | 2 | 1.00 | 75.0 ±15.0 (+10.0 [0.0,')
  assert second == '| b | net | 2 | 1.00 | 65.0 ±15.0 | 65.0 ±15.0 | 65.0 ±15.0 |'
  chosen = tables.table(arms, chosen=('severity3',))
  assert chosen[2] == '| a | net | 2 | 1.00 | 75.0 ±15.0 |'
  fails(lambda: tables.table(arms, chosen=('severity9',)), '--sets', "'severity9'", 'severity3')


def test_differences_are_of_the_seeds_that_both_have():
  arm = [cell_of('a', 0, [4, 2, 0]), cell_of('a', 2, [4, 4, 2])]
  column = lambda *cells: tables.columns(cells)['net', 'severity3']
  gap, low, high = tables.difference(column(*arm), column(
    cell_of('b', 1, [0, 0, 0]), cell_of('b', 2, [4, 4, 1])))
  assert gap == pytest.approx(10) and low == 0 < high
  other = [cell_of('b', 1, [0, 0, 0])]
  assert tables.difference(column(*arm), column(*other)) is None
  lines = tables.table({'a': arm, 'b': other}, 'b:net', ('clean',))
  assert lines[2] == '| a | net | 2 | 1.00 | 80.0 ±20.0 |'


def test_seeds_of_other_pictures_and_cells_that_are_there_twice_are_refused(tmp_path):
  other = cell_of('a', 1, [1, 1, 1])
  other['results']['val']['stamp']['bank'] = 'another'
  fails(lambda: tables.columns([cell_of('a', 0, [1, 1, 1]), other]), 'seeds 0 and 1', 'bank')
  for name in 'xy':
    (tmp_path / f'{name}.json').write_text(json.dumps(cell_of('a', 0, [1, 1, 1])))
  fails(lambda: tables.read_cells(tmp_path), 'x.json', 'y.json', 'one arm and seed')
  (tmp_path / 'y.json').write_text(json.dumps(cell_of('b', 0, [1, 1])))
  fails(lambda: tables.read_cells(tmp_path), 'y.json', 'net/clean', 'other pictures')
  arms = {'a': [cell_of('a', 0, [1, 1, 1])]}
  fails(lambda: tables.table(arms, 'a:nett'), "no network 'nett'", 'net')


def test_a_set_that_one_seed_lacks_is_said():
  cells = [cell_of('a', 0, [4, 2, 0]), cell_of('a', 1, [4, 4, 1])]
  cells[0]['results']['heavy'] = cell_of('a', 0, [1, 0, 0], 'severity5')['results']['val']
  line = tables.table({'a': cells}, chosen=('severity3', 'severity5'))[2]
  assert line == '| a | net | 2 | 1.00 | 75.0 ±15.0 | 10.0 of one seed |'


def test_both_sets_have_the_answer_of_one_fit():
  """Mixtures are fitted for each recipe anew."""
  cell = cell_of('a', 0, [1, 1, 1])
  cell['results']['of_published'] = cell_of('a', 0, [4, 4, 2], 'published')['results']['val']
  found = tables.columns([cell])
  assert found['net', 'clean'].right.tolist() == [[4, 4, 2]]
  assert found['net', tables.BOTH].right.tolist() == [[2, 2, 2]]


def test_mixtures_are_compared_with_the_better_network_of_each_set():
  pair, plain = cell_of('pair', 0, [0, 0, 0]), cell_of('plain', 0, [4, 4, 2])
  right = {network: [0, 0, 1] for network in tables.ANSWERS} | {
    'gnet': [4, 1, 0], 'enet': [4, 2, 0], 'gate': [4, 4, 1]}
  row = pair['results']['val']['rows']['net/clean']
  pair['results']['val']['rows'] = {
    f'{network}/clean': row | {'right': counts} for network, counts in right.items()}
  lines = tables.mixtures({'pair': [pair], 'plain': [plain]}, ('clean',))
  assert len(lines) == 3 and lines[2].startswith(
    '| pair | clean | 1 | 50.0 | 60.0 | 10.0 | 10.0 | 10.0 | 90.0 | +30.0 [')
  del pair['results']['val']['rows']['average/clean']
  assert '| 60.0 | - | 10.0 |' in tables.mixtures({'pair': [pair]}, ('clean',))[2]


def test_joints_by_kind_are_means_over_seeds_and_other_people_sets_of_their_own(tmp_path):
  for seed in (0, 1):
    cell = cell_of('a', seed, [1, 1, 1])
    cell['results']['coco'] = cell_of('a', seed, [2, 1, 1], split='coco')['results']['val']
    (tmp_path / f'{seed}.json').write_text(json.dumps(cell))
  arms = tables.read_cells(tmp_path)
  assert {name for _, name in tables.columns(arms['a'])} == {
    'clean', 'severity3', tables.BOTH, 'COCO clean', 'COCO severity3'}
  assert tables.joints(arms)[2:] == [
    f'| a | net | {name} | - | - | 15.0 |'
    for name in ('clean', 'severity3', 'COCO clean', 'COCO severity3')]


def test_cells_of_other_pictures_are_not_compared():
  one, other = (tables.columns([cell]) for cell in (
    cell_of('a', 0, [1, 1, 1]), cell_of('b', 0, [1, 1, 1], 'severity4')))
  with pytest.raises(ValueError, match='recipe differ'):
    tables.difference(one['net', 'severity3'], other['net', 'severity4'])
  other = cell_of('c', 0, [1, 1, 1])
  other['results']['val']['stamp']['crops'] = 'smaller'
  lines = tables.table({'a': [cell_of('a', 0, [1, 1, 1])], 'c': [other]}, 'a:net', ('clean',))
  assert lines[3] == '| c | net | 1 | 0.50 | 30.0 (other pictures) |'
