"""Lifting from the command line to the table: whole runs, an oracle, stamps, resuming, faults."""
import json

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import eval as evaluation_script
from dslope_jax import skeletons, systems, tasks
from dslope_jax.evaluation import engine
from dslope_jax.systems.base import Facts
from dslope_jax.training import checkpointing, sharding, train_state
from tests import runs, tiny, tiny_lifting
from tests.refusals import fails
from tests.sequences import made
from train import train

ROWS = {'': ['net/clean', 'net/occluded'], 'entangled': ['net/clean', 'net/occluded'],
        'pair': [f'{name}/{view}' for name in ('gnet', 'enet', 'average')
                 for view in ('clean', 'occluded')]}


@pytest.fixture(scope='module', params=['', *(
  pytest.param(words, marks=pytest.mark.slow) for words in ('entangled', 'pair'))])
def run(request, tmp_path_factory):
  """A whole run: (words, config, its folder, its results)."""
  folder = tmp_path_factory.mktemp('run')
  config = tiny_lifting.config(argument=request.param)
  _, results = train(config, str(folder))
  return request.param, config, folder, results['val']


def test_trains_and_writes_a_table(run):
  words, _, folder, results = run
  assert sorted(results) == sorted(ROWS[words])
  lines = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
  losses = [line['loss'] for line in lines if 'loss' in line]
  assert losses[-1] < losses[0]
  for row in results.values():
    assert row['MPJPE'] >= row['P-MPJPE'] > 0 and row['MPJVE'] > 0 and row['MPJPE_xy_input'] > 0
    assert row['N-MPJPE'] <= row['MPJPE'] + 1e-6 or row['N-MPJPE'] > 0
  if not words:
    assert 0 < results['net/clean']['router'] < 1
  found = folder / 'eval_6/val'
  assert (found / 'pictures.jpg').stat().st_size > 1000
  with np.load(found / 'predictions_net_clean.npz' if words != 'pair'
               else found / 'predictions_enet_occluded.npz') as poses:
    assert poses['keypoints_3d'].shape == (15, 9, 17, 3)
    assert np.abs(poses['keypoints_3d'][:, :, 0]).max() < 1e-3


@pytest.mark.slow
def test_a_stopped_run_ends_as_one_that_was_not(run, tmp_path):
  words, config, folder, results = run
  if words == 'entangled':
    pytest.skip('as pose_moe')
  first = config.copy_and_resolve_references()
  first.duration = '4 steps'
  train(first, str(tmp_path))
  _, again = train(config, str(tmp_path), allow_config_change=True)
  assert again['val'] == results


@pytest.mark.slow
def test_stress_and_report(run, capsys):
  words, config, folder, results = run
  if words:
    pytest.skip('as pose_moe')
  again = evaluation_script.evaluate(config, str(folder), stress=True, report=True)
  assert again == {'val': results}
  assert 'MPJPE by severity' in capsys.readouterr().out
  curves = json.loads((folder / 'eval_6/val/stress.json').read_text())['stress']
  assert [level for level, _ in curves['net']['severity']] == list(range(6))
  page = (folder / 'eval_6/val/report.html').read_text()
  assert 'MPJPE in mm' in page and 'Right joints' not in page and 'Worst cases' in page


def entry_of(config, folder):
  task = tasks.build(config, str(folder))
  return task, task.evals['val']


@pytest.mark.parametrize('target', ['image', 'camera'])
@pytest.mark.parametrize('rule, frames', [('cover', 9), ('drop', 9), ('centre', 5)])
def test_an_oracle_is_perfect(tmp_path, target, rule, frames):
  config = tiny_lifting.config(target=target, frames=frames)
  config.evals.val.windows = rule
  task, entry = entry_of(config, tmp_path)
  rows, found = entry.rows, {}
  for batch in entry.batches():
    for name, values in batch.items():
      found.setdefault(name, []).append(values[batch['mask']])
  found = {name: np.concatenate(values)[:rows] for name, values in found.items()}
  truth = found['keypoints_3d'] - found['keypoints_3d'][:, :, :1]
  outputs = {'net/occluded': {'keypoints_3d': truth},
             'batch': {name: found[name] for name in entry.keep}}
  row = entry.score(outputs, None).results['net/occluded']
  assert row['MPJPE'] < 0.05 and row['PCK'] == pytest.approx(100)
  assert rows == sum({'cover': 5, 'drop': 4, 'centre': 40}[rule] for _ in range(3))


CHANGES = {'split': 'test', 'metric': 'h36m', 'recipe': 'severity5', 'windows': 'drop',
           'stride': 4, 'flip': False, 'data.loader': dict(num_sequences=2)}
ALIKE = 'batch_size'


def scored(folder, **changes):
  """(stamp, numbers) of fresh weights, with these fields of the evaluation."""
  config = tiny_lifting.config()
  for field, value in changes.items():
    config.evals.val.update_from_flattened_dict(
      {field: ConfigDict(value) if isinstance(value, dict) else value})
  task, entry = entry_of(config, folder)
  mesh = sharding.make_mesh()
  weights = train_state.init_weights(task.system, 1, task.example)
  outputs = engine.Engine(task.system, entry, mesh).predict(
    sharding.replicate(weights, mesh), entry.rows, entry.batches())
  return entry.stamp, entry.score(outputs, None).results


@pytest.mark.slow
def test_what_changes_the_numbers_changes_the_stamp(tmp_path):
  before = {'cover': scored(tmp_path)}
  before['drop'] = scored(tmp_path, windows='drop')
  for field, value in CHANGES.items():
    windows = {'windows': 'drop'} if field == 'stride' else {}
    stamp, numbers = scored(tmp_path, **windows, **{field: value})
    base = before['drop' if windows else 'cover']
    assert stamp != base[0] and numbers != base[1], field
  fields = set(tiny_lifting.config().evals.val)
  assert fields == {f.split('.')[0] for f in CHANGES} | {ALIKE}


def test_the_truth_never_reaches_the_networks(run):
  _, config, folder, _ = run
  task = tasks.build(config, str(folder), training=False)
  assert not {'keypoints_3d', 'visibility', 'covered'} & set(task.system.fields['predict'])


@pytest.mark.slow
def test_trains_on_a_folder_and_is_evaluated_on_another(tmp_path):
  for name in ('one', 'two'):
    made.small_cmu(tmp_path / name)
  config = tiny_lifting.config(name='cmu_mocap', root=str(tmp_path / 'one'))
  config.data.loader = ConfigDict(dict(split_file='', cameras=4, seed=0))
  config.evals.val.data.loader = ConfigDict({})
  train(config, str(tmp_path / 'run'))
  other = config.copy_and_resolve_references()
  other.evals.val.data.root, other.evals.val.split = str(tmp_path / 'two'), 'all'
  found = evaluation_script.evaluate(other, str(tmp_path / 'run'))
  assert found['val']['net/occluded']['MPJPE'] > 0


def test_two_devices_predict_as_one(run):
  words, config, folder, results = run
  if words:
    pytest.skip('as pose_moe')
  again = runs.finish(runs.start(
    folder, '--report', config='tests/tiny_lifting.py', script='eval.py', devices=2))
  assert again[0] == 0, again[1]
  assert f"{results['net/clean']['MPJPE']:.4g}" in again[1]


@pytest.mark.parametrize('change, words', [
  ({'data.target': 'pixels'}, ('data.target', 'image', 'camera')),
  ({'data.target': 'camera', 'system.normalise': 'clip'}, ('normalise', 'data.target', 'image')),
  ({'data.recipe': 'severty3'}, ('data.recipe', "'severity3'")),
  ({'evals.val.recipe': 'published'}, ('evals.val.recipe', 'severity5')),
  ({'data.windows': 'dorp'}, ('windows', 'drop')),
  ({'evals.val.metric': 'coco_ap'}, ('metric', 'mpjpe')),
  ({'evals.val.metric': 'mpi_inf_3dhp'}, ('mpi_inf_3dhp', 'h36m')),
  ({'seed': 2**70}, ('config.seed', '0 to 4294967295')),
  ({'system.model.heads': 0}, ('config.system.model.heads', '1 or more')),
  ({'system.model.encoder_layers': -1}, ('encoder_layers is -1', '0 or more')),
  ({'system.model.dtype': 'float99'}, ("dtype is one of float32, bfloat16", "'float99'")),
  ({'system.model.input_channels': 1}, ('input_channels is 2 for x, y and 3', 'not 1')),
  ({'data.name': 'sintetic'}, ('sintetic', 'input_pipeline/sequences')),
])
def test_wrong_settings_are_one_line(tmp_path, change, words):
  config = tiny_lifting.config()
  config.update_from_flattened_dict(change)
  fails(lambda: train(config, str(tmp_path)), *words)


@pytest.mark.parametrize('weights', [(-1,) * 17, ('a',) * 17, (1, 2)])
def test_wrong_joint_weights_are_one_line(weights):
  config = tiny_lifting.config().system.to_dict()
  fails(lambda: systems.build(Facts(skeletons.H36M, frames=9), joint_weights=weights, **config),
        'system.joint_weights')


def test_another_task_is_not_evaluated(run):
  _, _, folder, _ = run
  fails(lambda: evaluation_script.evaluate(tiny.config(), str(folder), given={}),
        "is of the task 'lifting', and the config of 'top_down'")


def test_contradicting_words_are_refused():
  fails(lambda: tiny_lifting.config(argument='pair,clean'), 'pair', 'clean')
  fails(lambda: tiny_lifting.config(argument='par'), "'par'", 'pair')
  fails(lambda: tiny_lifting.config(argument='clean,occluded'), 'contradict: leave one out')


def test_no_jax_array_is_left_from_the_weights(run):
  _, config, folder, _ = run
  task = tasks.build(config, str(folder), training=False)
  shapes = train_state.weight_shapes(task.system, task.example)
  weights, step = checkpointing.restore_weights(str(folder), shapes)
  assert step == 6 and all(np.isfinite(x).all() for x in jax.tree.leaves(weights['params']))
