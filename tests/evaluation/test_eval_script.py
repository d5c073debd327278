"""The whole evaluation of a small run: mixtures, calibration, stress, files, another's results."""
import json
import pathlib
import shutil

import numpy as np
import pytest

import eval as evaluation_script
from configs import common, protocols
from dslope_jax.evaluation import base, compare, named_metrics
from dslope_jax.metrics import keypoint_ap
from dslope_jax.tasks.people import load_source
from tests import tiny
from tests.refusals import fails
from train import train

RULES = ('average', 'confidence', 'pick', 'gate')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A run of two steps with a third of the pictures held out, evaluated in every way."""
  workdir = tmp_path_factory.mktemp('run')
  config = tiny.config(steps=2, holdout=0.3)
  train(config, str(workdir))
  folder = workdir / 'eval_2' / 'val'
  shutil.rmtree(folder)  # what training wrote
  results = evaluation_script.evaluate(config, str(workdir), stress=True, report=True)
  return config, folder, results['val']


def read(folder, name):
  return json.loads((folder / f'{name}.json').read_text())


def of_file(config, path):
  (row,) = evaluation_script.evaluate_file(config, str(path))['val'].values()
  return row


def test_networks_and_all_their_mixtures_are_scored(run):
  _, folder, results = run
  names = [f'{n}/{view}' for n in ('gnet', 'enet', *RULES) for view in ('clean', 'occluded')]
  assert set(results) == set(names)
  samples = base.load_samples(folder / 'samples.npz')
  for name in names:
    assert 0 <= results[name]['PCK@0.2'] <= 100
    assert set(samples[name]) == {'right_joints', 'PCK@0.2'}
    table = samples[name]['PCK@0.2']
    assert len(table.group) == 10
    assert table.numerator.sum() / table.denominator.sum() == pytest.approx(
      results[name]['PCK@0.2'])
  assert 0 <= results['gnet/clean']['ECE'] <= 100
  assert read(folder, 'results')['stamp']['calibrated_on'] > 0
  poses = read(folder, 'predictions_enet_occluded')
  assert all(len(p[field]) == 17 and 0 <= min(p[field]) <= max(p[field]) <= 1
             for p in poses for field in ('right', 'visible'))
  fits = read(folder, 'calibration')
  assert set(fits['right']) == set(fits['visible']) == {'gnet', 'enet'} and fits['gates']


def test_report_counts_every_joint_once(run):
  config, folder, results = run
  source = load_source(config, 'val', config.evals.val.data)
  labelled = int((source.visibility > 0).sum())
  report = read(folder, 'report')
  assert set(report['report']) == set(report['per_joint']) == set(results)
  for name, found in report['report'].items():
    assert found['overall']['joints'] == labelled, name
    for group in ('visible', 'hidden', 'covered'):  # the table and the report count alike
      share, own = found['by']['joint'][group]['share'], results[name][f'{group}_joints']
      assert (share is None and np.isnan(own)) or share == pytest.approx(own)
  html = (folder / 'report.html').read_text()
  assert 'gnet/occluded' in html and 'data:image/jpeg;base64' in html


def test_stress_begins_at_the_clean_score(run):
  _, folder, results = run
  stress = read(folder, 'stress')['stress']
  assert {'gnet', 'enet', 'average'} <= set(stress)
  for name, found in stress.items():
    assert [level for level, _ in found['severity']] == list(range(6))
    assert found['severity'][0][1] == pytest.approx(results[f'{name}/clean'][found['metric']])
    assert found['metric'] == 'PCK@0.2' and len(found['others']) == 17
    low, high = (f(v for _, v in found['severity']) for f in (min, max))
    assert low - 1e-9 <= found['area'] <= high + 1e-9


def test_our_predictions_as_a_file_have_the_same_ap(run):
  config, folder, _ = run
  path = folder / 'predictions_gnet_clean.json'
  config = config.copy_and_resolve_references()
  config.evals.val.metric = 'coco_ap'
  source = load_source(config, 'val', config.evals.val.data)
  want = keypoint_ap.coco_ap(source.as_coco(), json.loads(path.read_text()),
                             source.skeleton.sigmas)
  found = of_file(config, path)
  for key in ('AP', 'AP50', 'AR'):
    assert found[key] == pytest.approx(100 * want[key], nan_ok=True)


def test_shares_do_not_depend_on_the_crop(run, tmp_path):
  config = run[0]
  source = load_source(config, 'val', config.evals.val.data)
  noisy = source.keypoints + np.random.default_rng(0).normal(0, 3, source.keypoints.shape)
  poses = keypoint_ap.to_coco_results(source.image_id, noisy, np.ones(noisy.shape[:2]),
                                      np.arange(len(source)) / 10)
  (tmp_path / 'poses.json').write_text(json.dumps(poses))
  (tmp_path / 'none.json').write_text('[]')
  nothing = of_file(config, tmp_path / 'none.json')
  assert nothing['PCK@0.2'] == nothing['visible_joints'] == 0
  tables = []
  for size in ((32, 64), (96, 64)):
    other = config.copy_and_resolve_references()
    other.data.size = size
    tables.append(of_file(other, tmp_path / 'poses.json'))
  assert tables[0] == pytest.approx(tables[1], nan_ok=True)
  assert 10 < tables[0]['visible_joints'] < 100


def test_another_recipe_gets_another_folder(run):
  config, folder, _ = run
  workdir, config = str(folder.parent.parent), config.copy_and_resolve_references()
  before = (folder / 'results.json').read_text()
  config.evals.val.recipe = 'severity2'
  evaluation_script.evaluate(config, workdir)
  assert (folder / 'results.json').read_text() == before
  (other,) = [p for p in folder.parent.iterdir() if p != folder]
  assert other.name == 'val_recipe-severity2'
  fails(lambda: evaluation_script.evaluate(config, workdir, given={'data.holdout': 0.5}),
        'data.holdout', '0.3', workdir)


def test_compare_reads_what_evaluation_writes(run):
  text = compare.compare([str(run[1])])
  assert 'gnet' in text and 'PCK@0.2' in text and 'right_joints' in text


def test_no_calibration_without_held_out_people(tmp_path):
  config = tiny.config(steps=1)
  train(config, str(tmp_path))
  folder = pathlib.Path(tmp_path, 'eval_1', 'val')
  results = read(folder, 'results')
  assert results['stamp']['calibrated_on'] == 'nobody' and not list(folder.glob('calibration*'))
  assert 'ECE' not in results['results']['gnet/clean']
  assert 'gate/clean' not in results['results'] and 'pick/clean' in results['results']


@pytest.mark.parametrize('word', protocols._PROTOCOLS)
def test_every_protocol_is_one_word(word):
  config = protocols.get_config(f'{word},kl')
  assert config.evals.val.metric in named_metrics.METRICS and config.system.mutual.kind == 'kl'
  assert set(config) == set(common.top_down())
