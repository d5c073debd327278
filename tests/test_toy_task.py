"""The interface of tasks holds for one that knows no picture: see tests/toy_task.py."""
import json
import shutil
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

import eval as evaluation_script
from dslope_jax import tasks
from dslope_jax.systems.base import Forward
from dslope_jax.training import checkpointing, train_state, workdir
from tests import runs, toy, toy_task
from tests.refusals import fails
from train import train

ROWS = {'single': ['net/clean', 'net/occluded'], 'pair': ['gnet/clean', 'enet/occluded']}


@pytest.fixture(scope='module', params=['single', 'pair'])
def run(request, tmp_path_factory):
  """A whole run: (kind, config, its folder, its results)."""
  folder, config = tmp_path_factory.mktemp(request.param) / 'run', toy.get_config(request.param)
  _, results = train(config, str(folder))
  return request.param, config, folder, results


def read(path):
  return json.loads(path.read_text())


def weights_of(config, folder):
  task = tasks.build(config, str(folder), training=False)
  shapes = train_state.weight_shapes(task.system, task.example)
  return checkpointing.restore_weights(str(folder), shapes)[0]


def test_trains_and_learns(run):
  kind, config, folder, results = run
  assert set(results) == {'val', 'other'} and set(results['val']) >= set(ROWS[kind])
  terms = [line for line in map(json.loads, (folder / 'metrics.jsonl').read_text().splitlines())
           if 'loss' in line]
  assert terms[-1]['loss'] < terms[0]['loss']
  name = 'net' if kind == 'single' else 'enet'
  assert f'{name}/distance' in terms[0] and (kind == 'pair') == (f'{name}/mutual_distance'
                                                                 in terms[0])


def test_resumes_bit_for_bit(run, tmp_path):
  kind, config, folder, _ = run
  first = config.copy_and_resolve_references()
  first.duration = '4 steps'
  train(first, str(tmp_path))
  assert checkpointing.find_step(str(tmp_path)) == 4
  _, results = train(config, str(tmp_path), allow_config_change=True)
  jax.tree.map(np.testing.assert_array_equal, weights_of(config, folder),
               weights_of(config, tmp_path))
  assert (folder / 'eval_12/val/results.json').read_text() == (
    tmp_path / 'eval_12/val/results.json').read_text() and results == run[3]


def test_every_set_has_its_own_data_and_calibration(run):
  kind, config, folder, results = run
  stamps = [read(folder / f'eval_12/{name}/results.json')['stamp'] for name in ('val', 'other')]
  assert [s['data'] for s in stamps] == ['circles', 'stars']
  assert [s['calibrated_on'] for s in stamps] == [8, 8]  # 2 of 8 sequences of 4
  file = f'predictions_{ROWS[kind][0].replace("/", "_")}.json'
  assert len(read(folder / 'eval_12/other' / file)) == 12
  # Without calibration the numbers are others, so held-out rings have been predicted.
  plain = config.copy_and_resolve_references()
  plain.data.holdout = 0.0
  task = tasks.build(plain, str(folder), training=False)
  assert task.evals['val'].held_out is None and task.evals['val'].stamp['calibrated_on'] == 0


def test_kept_fields_come_back_by_row(run):
  from dslope_jax.evaluation.engine import Engine
  from dslope_jax.training import sharding
  _, config, folder, _ = run
  task = tasks.build(config, str(folder), training=False)
  mesh, entry = sharding.make_mesh(), task.evals['other']
  outputs = Engine(task.system, entry, mesh).predict(
    sharding.replicate(weights_of(config, folder), mesh), entry.rows, entry.batches(hide=2))
  rings = toy_task.Rings.draw('stars', 'val', 3)
  wanted = np.array([toy_task.Maker(rings, hide=2).evaluate(row)['seen'] for row in range(12)])
  np.testing.assert_array_equal(outputs['batch']['seen'], wanted)
  assert (rings.valid.sum(1) - wanted.sum(1) == 2).all()


def test_variants_without_severities(run, capsys):
  kind, config, folder, results = run
  config = config.copy_and_resolve_references()
  del config.evals.other
  capsys.readouterr()
  again = evaluation_script.evaluate(config, str(folder), stress=True, report=True)
  assert again == {'val': results['val']}
  table = capsys.readouterr().out
  assert 'EPE by variant' in table and 'severity' not in table
  curves = read(folder / 'eval_12/val/stress.json')['stress']
  found = curves[ROWS[kind][1]]  # of both views, so each has a curve
  assert found['metric'] == 'EPE' and found['severity'] == [] and found['area'] is None
  # What a variant leaves out of a sample is what is scored: hiding one point is the set itself.
  assert found['others']['one'] == pytest.approx(results['val'][ROWS[kind][1]]['EPE'])
  assert found['others']['two'] > found['others']['one']
  assert (folder / 'eval_12/val/report.html').stat().st_size > 0


def test_two_processes_evaluate_as_one(run, tmp_path):
  kind, _, folder, _ = run
  shutil.copytree(folder, tmp_path / 'two')
  shutil.rmtree(tmp_path / 'two/eval_12')
  with socket.socket() as s:
    s.bind(('localhost', 0))
    port = s.getsockname()[1]
  processes = [runs.start(tmp_path / 'two', f'--coordinator=localhost:{port}', '--processes=2',
                          f'--process={i}', config=f'tests/toy.py:{kind}', script='eval.py')
               for i in (0, 1)]
  for code, output in [runs.finish(p) for p in processes]:
    assert code == 0, output
  for name in ('val', 'other'):
    one, two = (read(f / f'eval_12/{name}/results.json') for f in (folder, tmp_path / 'two'))
    assert one['stamp'] == two['stamp'] and set(one['results']) == set(two['results'])
    for row, numbers in one['results'].items():
      assert two['results'][row] == pytest.approx(numbers, rel=1e-5)


def compare(*arguments):
  out = subprocess.run([sys.executable, 'tools/compare.py', *map(str, arguments)], cwd=runs.ROOT,
                       capture_output=True, text=True)
  return out.returncode, out.stdout + out.stderr


def test_comparison_has_intervals_and_less_is_better(run, tmp_path):
  kind, config, folder, results = run
  config = config.copy_and_resolve_references()
  config.duration = '1 steps'
  shutil.copytree(folder / 'eval_12/val', tmp_path / 'late')
  _, fresh = train(config, str(tmp_path / 'run'))
  shutil.copytree(tmp_path / 'run/eval_1/val', tmp_path / 'early')
  code, text = compare(tmp_path / 'early', tmp_path / 'late', '--metric', 'EPE')
  assert code == 0, text
  network, view = ROWS[kind][1].split('/')
  after = text.split(f'EPE, {view}, 8 groups, 1000 resamples')[1]
  line = next(x for x in after.splitlines() if x.startswith(f'late {network} '))
  early, late = (r['val'][f'{network}/{view}']['EPE'] for r in (fresh, results))
  assert f'{late:.2f} [' in line and f'difference {late - early:+.2f} [' in line
  assert line.endswith(f'from early {network}') and late < early
  code, text = compare(folder / 'eval_12/val', folder / 'eval_12/other')
  assert code == 1 and 'data: circles / stars' in text


def test_result_file_is_scored_as_the_predictions_were(run, tmp_path):
  kind, config, folder, results = run
  config = config.copy_and_resolve_references()
  del config.evals.other
  row = ROWS[kind][1]
  path = folder / f'eval_12/val/predictions_{row.replace("/", "_")}.json'
  found = evaluation_script.evaluate_file(config, str(path), report=True, folder=str(tmp_path))
  assert found['val']['file/clean']['EPE'] == pytest.approx(results['val'][row]['EPE'], rel=1e-5)
  stamp = read(tmp_path / 'val/results.json')['stamp']
  assert stamp['predictions'] == path.name and len(stamp['sha256']) > 8
  wrong = folder / f'eval_12/other/{path.name}'
  fails(lambda: evaluation_script.evaluate_file(config, str(wrong)), wrong, 'other rings')


def test_served_from_facts_and_a_checkpoint(run, tmp_path, monkeypatch):
  """Nothing but the folder of a run; lists of any length come back in their own frame."""
  kind, _, folder, _ = run
  for name in ('config.json', 'facts.json'):
    shutil.copy(folder / name, tmp_path)
  shutil.copytree(folder / 'checkpoints', tmp_path / 'checkpoints')
  weights = weights_of(toy.get_config(kind), folder)
  monkeypatch.setattr(toy_task.Rings, 'draw', None)  # there are no data
  config = toy.ConfigDict(workdir.read_config(tmp_path))
  serving = tasks.serve(config, workdir.read_facts(tmp_path))
  lists = [np.array([(0, 1), (1, 0), (0, -1)]), np.array([(9, 10), (10, 9), (9, 8), (8, 9)])]
  samples = serving.prepare(lists)
  forward = Forward(serving.system.networks, weights['params'], weights['batch_stats'])
  batch = {name: samples[name] for name in serving.system.fields['predict']}
  found = serving.finish(serving.system.predict(forward, batch, mirror=False), samples)
  assert set(found) >= set(ROWS[kind])
  for fields in found.values():
    assert fields['points'].shape == (2, toy_task.P, 2)
    # A network is told shapes around their centres, so it answers near these.
    np.testing.assert_allclose(np.mean(fields['points'], 1) - samples['center'], 0, atol=2)
