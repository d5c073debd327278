"""Several people from the command line to the table: whole runs, stamps, an oracle, faults."""
import functools
import json

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import eval as evaluation_script
from configs import common
from dslope_jax import part_maps, tasks
from dslope_jax.systems.hupor_people import people_of
from tests import tiny_people
from tests.refusals import fails
from train import train

ROWS = {'all': ['detector', 'reasoned', 'refined'], 'smap': ['detector']}


def tiny(argument='', steps=2, **data):
  """A config that trains in seconds, once it is compiled."""
  config = common.use_hupor_arguments(common.bottom_up(), argument)
  config.duration, config.batch_size = f'{steps} steps', 2
  for name, model in tiny_people.NETWORKS.items():
    config.system[name].update(model)
  config.system.update(dict(max_people=4, max_peaks=8))
  config.data.update(dict(name='synthetic', root='', size=(96, 64), max_people=4))
  config.data.loader = ConfigDict(dict(count=6, size=(96, 64)))
  config.data.update(data)
  config.evals.val.update(dict(batch_size=4, data=dict(
    name='', root='', loader=dict(count=5))))
  if not argument:  # pictures with things on them are for the small system
    config.evals.val.recipe = 'none'
  config.log_every = config.save_every = '1 step'
  return config


@pytest.fixture(scope='module', params=[pytest.param('all', marks=pytest.mark.slow), 'smap'])
def run(request, tmp_path_factory):
  """A whole run: (what, config, its folder, its results)."""
  folder = tmp_path_factory.mktemp('run')
  config = tiny('smap' if request.param == 'smap' else '')
  _, results = train(config, str(folder))
  return request.param, config, folder, results['val']


def test_trains_and_writes_a_table(run):
  what, _, folder, results = run
  views = ('clean', 'occluded') if what == 'smap' else ('clean',)
  assert sorted(results) == sorted(f'{row}/{view}' for view in views for row in ROWS[what])
  for row in results.values():
    assert {'PCK_rel', 'PCK_abs', 'PCOD', 'recall', 'MPJPE', 'overflow'} <= set(row)
  lines = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
  assert [line['step'] for line in lines if 'loss' in line] == [1, 2]
  found = folder / 'eval_2/val'
  assert (found / 'pictures.jpg').stat().st_size > 1000
  stamp = json.loads((found / 'results.json').read_text())['stamp']
  assert (stamp['pictures'], stamp['metric'], stamp['bank']) == (5, 'mupots', 'black boxes')
  assert stamp['recipe'] == ('severity3' if what == 'smap' else 'none')
  with np.load(found / f'predictions_{ROWS[what][-1]}_{views[-1]}.npz') as file:
    assert file['keypoints_3d'].shape == (5, 4, 15, 3) and len(file['picture']) == 5


@pytest.mark.slow
def test_eval_gives_the_same_and_a_stress_curve(run):
  what, config, folder, results = run
  if what == 'all':
    pytest.skip('as the detector alone')
  again = evaluation_script.evaluate(config, str(folder), stress=True, report=True)['val']
  np.testing.assert_equal(again, results)
  curves = json.loads((folder / 'eval_2/val/stress.json').read_text())['stress']
  assert {name: len(curve['severity']) for name, curve in curves.items()} == {'detector': 6}
  assert 'above' in (folder / 'eval_2/val/report.html').read_text()


def test_the_truth_passes_from_the_pictures_to_the_table(tmp_path):
  """The whole evaluation with a system whose maps are the truth's: floor of the representation."""
  config = tiny('smap')
  config.data.update(dict(size=(384, 256)))
  config.data.loader = ConfigDict(dict(count=6, size=(384, 256), people='1-3'))
  config.system.update(dict(max_peaks=16))
  config.evals.val.recipe, config.evals.val.data.loader.count = 'none', 12
  config.evals.val.batch_size = 12
  task = tasks.build(config, str(tmp_path))
  entry = task.evals['val']
  batch = next(entry.batches())
  people = people_of(batch | {'has_depth': np.ones(12, bool)})

  def forward(name, images, train=True):
    drawn = part_maps.encode(people, (384, 256), scales=(1,), visible_only=False)
    return {name: drawn[name][:, 0] for name in ('maps', 'relative_depth')} | {
      'anchor_depth': tiny_people.nearest_anchors(people, (384, 256))}

  fields = {name: batch[name] for name in task.system.fields['predict'] if name in batch}
  found = jax.tree.map(np.asarray, task.system.predict(forward, fields, flip=False))
  scores = entry.score(found | {'batch': batch}, None)
  results = scores.results['detector/clean']
  seen = scores.files['report.json']['report']['detector/clean']['by']['joint']
  assert results['recall'] == results['PCOD'] == 100, results
  assert results['MPJPE'] < 42 and results['PCK_abs'] > 86, results
  assert seen['visible']['share'] > 90 and not seen['outside']['share'], seen
  # No peak of the truth is higher than 1.
  config.evals.val.peak = 1.0
  entry = tasks.build(config, str(tmp_path)).evals['val']
  assert entry.stamp['thresholds'] == 'peak=1.0' and entry.test['peak'] == 1.0
  found = task.system.predict(forward, fields, flip=False, peak=1.0)
  assert not np.asarray(found['detector/clean']['valid']).any()


def test_stages_show_what_they_see(tmp_path):
  config = tiny()
  config.system.update(dict(stage='reason', detected_share=0.0))
  for spec, frozen in ((config.optim.detector, True), (config.optim.reasoner, False)):
    spec.frozen = frozen
  del config.optim['refiner']
  task = tasks.build(config, str(tmp_path))
  assert task.samples == 6
  case, = task.show(1)
  assert set(case['pictures']) == {'people'} and case['pictures']['people'].any()
  config.system.update(dict(stage='all', view='occluded'))
  case, = tasks.build(config, str(tmp_path)).show(1)
  assert set(case['pictures']) == {'input occluded'}


def test_faults(tmp_path):
  build = lambda config: functools.partial(tasks.build, config, str(tmp_path))
  fails(build(tiny(size=(100, 64))), 'data.size is (100, 64), must be (width, height) in multiples')
  fails(build(tiny(recipe='published')), 'data.recipe')
  config = tiny()
  config.data.augmentation.scale = (2.0, 1.0)
  fails(build(config), 'data.augmentation.scale is (2.0, 1.0), must be the lowest and the highest')
  config = tiny()
  config.evals.val.metric = 'coco_ap'
  fails(build(config), "evals.NAME.metric is one of mupots, panoptic, not 'coco_ap'")
  config = tiny()
  config.evals.val.recipe = 'severity9'
  fails(build(config), 'evals.val.recipe')
  fails(lambda: tiny('hrnet'), "config argument 'hrnet' is none of smap, occluded")
