"""The whole evaluation of a small run: mixtures, calibration, stress, files, another's results."""
import json
import pathlib

import numpy as np
import pytest

import eval as evaluation_script
from configs import common, protocols
from dslope_jax.evaluation import compare, scoring
from dslope_jax.metrics import keypoint_ap, occlusion_report
from dslope_jax.tasks.people import load_source, load_train, recorded_holdout
from input_pipeline import sources
from tests import tiny
from tests.data_sets import write_coco
from tests.refusals import fails
from train import train

RULES = ('average', 'confidence', 'pick', 'gate')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A run of two steps with a third of the people held out, evaluated in every way."""
  workdir = tmp_path_factory.mktemp('run')
  config = tiny.config(steps=2, holdout=0.3)
  train(config, str(workdir))
  results = evaluation_script.evaluate(config, str(workdir), stress=True, report=True)
  return config, workdir / 'eval_2' / 'val', results['val']


def read(folder, name):
  return json.loads((folder / f'{name}.json').read_text())


def test_networks_and_all_their_mixtures_are_scored(run):
  _, folder, results = run
  names = [f'{n}/{kind}' for n in ('enet', 'gnet', *RULES) for kind in ('clean', 'occluded')]
  assert set(results) == set(names)
  for name in names:
    assert 0 <= results[name]['PCK@0.2'] <= 100
    table = occlusion_report.load_joint_table(folder / f'joints_{name.replace("/", "_")}.npz')
    assert table['right'].shape == (10, 17)
  assert 0 <= results['gnet/clean']['ECE'] <= 1
  assert read(folder, 'results')['stamp']['calibrated_on'] > 0
  poses = read(folder, 'predictions_enet_occluded')
  assert all(len(p[kind]) == 17 and 0 <= min(p[kind]) <= max(p[kind]) <= 1
             for p in poses for kind in ('right', 'visible'))
  fits = read(folder, 'calibration')
  assert set(fits['right']) == set(fits['visible']) == {'gnet', 'enet'} and fits['gate']


def test_report_counts_every_joint_once(run):
  config, folder, results = run
  source = load_source(config, 'val', **config.evals.val.loader)
  labelled = int((source.visibility > 0).sum())
  for name, found in read(folder, 'report')['report'].items():
    assert found['overall']['joints'] == labelled, name
    for split, bins in found['by'].items():
      assert sum(row['joints'] for row in bins.values()) == labelled, (name, split)
    for group in ('visible', 'hidden', 'covered'):  # the table and the report count alike
      share, own = found['by']['joint'][group]['share'], results[name][f'{group}_joints']
      assert (share is None and np.isnan(own)) or share == pytest.approx(own)
  html = (folder / 'report.html').read_text()
  assert 'gnet/occluded' in html and 'data:image/jpeg;base64' in html


def test_stress_begins_at_the_clean_score(run):
  config, folder, results = run
  stress = read(folder, 'stress')['stress']
  assert {'gnet', 'enet', 'average'} <= set(stress)
  for name, found in stress.items():
    assert [level for level, _ in found['severity']] == list(range(6))
    if f'{name}/clean' in results and name in ('gnet', 'enet', 'average'):
      assert found['severity'][0][1] == results[f'{name}/clean']['PCK@0.2']
    assert len(found['joints']) == 17
    low, high = (f(v for _, v in found['severity']) for f in (min, max))
    assert low <= found['area'] <= high


def test_our_predictions_as_a_file_have_the_same_score(run):
  config, folder, results = run
  path = str(folder / 'predictions_gnet_clean.json')
  found = evaluation_script.evaluate_file(config, path, report=True)['val']
  assert 0 <= found['PCK@0.2'] <= results['gnet/clean']['PCK@0.2'] + 25
  config = config.copy_and_resolve_references()
  config.evals.val.metric = 'coco_ap'
  ap = evaluation_script.evaluate_file(config, path)['val']
  source = load_source(config, 'val', **config.evals.val.loader)
  flat = np.array([e['keypoints'] for e in json.loads(pathlib.Path(path).read_text())])
  pose = flat.reshape(len(source), 17, 3)
  own, _, _ = scoring.score(source, {'keypoints': pose[..., :2], 'scores': pose[..., 2]},
                            'coco_ap', np.zeros((len(source), 17), bool), oks_nms=0)
  for key in ('AP', 'AP50', 'AR'):
    assert ap[key] == pytest.approx(own[key], abs=1e-9, nan_ok=True)


def test_shares_do_not_depend_on_the_crop(run, tmp_path):
  config, folder, _ = run
  source = load_source(config, 'val', **config.evals.val.loader)
  noisy = source.keypoints + np.random.default_rng(0).normal(0, 3, source.keypoints.shape)
  poses = keypoint_ap.to_coco_results(source.image_id, noisy, np.ones(noisy.shape[:2]),
                                      np.arange(len(source)) / 10)
  (tmp_path / 'poses.json').write_text(json.dumps(poses))
  (tmp_path / 'none.json').write_text('[]')
  nothing = evaluation_script.evaluate_file(config, str(tmp_path / 'none.json'))['val']
  assert nothing['PCK@0.2'] == nothing['visible_joints'] == 0
  tables = []
  for size in ((32, 64), (96, 64)):
    other = config.copy_and_resolve_references()
    other.data.size = size
    found = evaluation_script.evaluate_file(other, str(tmp_path / 'poses.json'))['val']
    tables.append({k: v for k, v in found.items() if isinstance(v, float) and v == v})
  assert tables[0] == tables[1] and 10 < tables[0]['visible_joints'] < 100


def test_covered_joints_of_an_exported_benchmark(tmp_path):
  def cover(truth):
    for annotation in truth['annotations']:
      annotation['covered'] = [1] * 5 + [0] * 12
  source = sources.load('coco', 'val', root=write_coco(tmp_path / 'coco', edit=cover))
  right = source.keypoints.copy()
  right[:, :5] += 1000  # all that are covered are wrong, all others right
  poses = keypoint_ap.to_coco_results(source.image_id, right, np.ones(right.shape[:2]),
                                      np.ones(len(source)))
  (tmp_path / 'poses.json').write_text(json.dumps(poses))
  numbers, found, _, _ = scoring.score_file(source, str(tmp_path / 'poses.json'), 'coco_ap')
  assert numbers['covered_joints'] == 0 and numbers['visible_joints'] == 100
  assert found['by']['joint']['covered']['joints'] == 5 * len(source)


def test_another_recipe_gets_another_folder(run):
  config, folder, _ = run
  stamp = read(folder, 'results')['stamp']
  workdir = str(folder.parent.parent)
  again = evaluation_script.evaluation_folder(workdir, 2, 'val', {
    k: v for k, v in stamp.items() if k not in ('weights_step', 'calibrated_on')})
  config = run[0].copy_and_resolve_references()
  config.data.holdout = 0.0  # the run's own is known
  assert recorded_holdout(config, workdir) == 0.3
  config.data.holdout = 0.5
  fails(lambda: evaluation_script.evaluate(config, workdir), 'data.holdout', '0.3', workdir)
  other = evaluation_script.evaluation_folder(workdir, 2, 'val', stamp | {'recipe': 'severity2'})
  assert again == str(folder) and other == str(folder) + '_severity2'


def test_compare_reads_what_evaluation_writes(run):
  text = compare.compare([str(run[1])])
  assert 'gnet' in text and 'enet' in text


def test_held_out_people_are_not_trained_on():
  config = tiny.config(holdout=0.3)
  rest, held = load_train(config)
  everybody = load_source(config, config.data.train_split)
  assert len(rest) + len(held) == len(everybody) and 3 <= len(held) <= 15
  assert not set(rest.annotation_id) & set(held.annotation_id)
  row = int(np.flatnonzero(everybody.annotation_id == held.annotation_id[1])[0])
  np.testing.assert_array_equal(held.read(1), everybody.read(row))
  config.data.holdout = 1.0
  with pytest.raises(ValueError, match='data.holdout is 1.0'):
    load_train(config)


@pytest.mark.parametrize('word', protocols._PROTOCOLS)
def test_every_protocol_is_one_word(word):
  config = protocols.get_config(f'{word},kl')
  assert config.evals.val.metric in scoring.METRICS and config.system.mutual.kind == 'kl'
  assert set(config) == set(common.base(('net',)))
