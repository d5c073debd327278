"""eval.py evaluates a run as it was trained; a command line may not contradict it."""
import json
import pathlib
import shutil

import numpy as np
import pytest

import eval as evaluation_script
from configs import common
from dslope_jax.tasks import people
from dslope_jax.training import workdir as workdirs
from tests import runs, tiny
from tests.data_sets import write_coco
from tests.refusals import fails
from train import train

HALF = 'annotations/person_keypoints_half.json'


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  """A set of 12 pictures to train on; split 'half' is the first six of them."""
  root = tmp_path_factory.mktemp('data') / 'coco'
  write_coco(root, num_images=12)
  truth = json.loads((root / 'annotations/person_keypoints_train.json').read_text())
  truth['images'] = truth['images'][:6]
  kept = {image['id'] for image in truth['images']}
  truth['annotations'] = [a for a in truth['annotations'] if a['image_id'] in kept]
  (root / HALF).write_text(json.dumps(truth))
  shutil.copytree(root / 'train', root / 'half')
  return root


def plain_config(root):
  """What the user gives again: nothing of how the run was trained."""
  config = tiny.config(None, steps=3, name='coco', root=str(root), train_split='train',
                       recipe='published')
  config.evals = {}
  config.evals.val = common.evaluation('val', 'coco_ap') | dict(batch_size=8)
  config.evals.half = common.evaluation('half', 'pck') | dict(batch_size=8)
  return config


@pytest.fixture(scope='module')
def run(root, tmp_path_factory):
  """A run with settings of its own: (folder, its config, its results)."""
  config = plain_config(root)
  config.system.update(dict(codec='udp', sigma=1.5, view='occluded'))
  config.data.update(dict(size=(64, 64), holdout=0.4))
  config.ema_decay = 0.9
  folder = tmp_path_factory.mktemp('run') / 'run'
  _, results = train(config, str(folder))
  return folder, config, results


def stamps(folder):
  return {name: json.loads((folder / 'eval_3' / name / 'results.json').read_text())['stamp']
          for name in ('val', 'half')}


def test_a_plain_config_gives_the_runs_own_numbers(run, root):
  folder, _, results = run
  trained = stamps(folder)
  assert trained['val']['decoder'] == 'udp' and trained['val']['size'] == '64x64'
  assert trained['val']['sigma'] == 1.5 and trained['val']['ema'] is True
  again = evaluation_script.evaluate(plain_config(root), str(folder))
  assert json.dumps(again) == json.dumps(results)
  assert stamps(folder) == trained
  assert sorted(p.name for p in (folder / 'eval_3').iterdir()) == ['half', 'val']


def test_nobody_who_is_scored_is_calibrated_on(run):
  folder, config, _ = run
  held_out = people.load_held_out(config).image_id
  on_scored = np.isin(held_out, np.arange(1, 7)).sum()
  assert 0 < on_scored < len(held_out) < 12
  found = {name: stamp['calibrated_on'] for name, stamp in stamps(folder).items()}
  assert found == {'val': len(held_out), 'half': len(held_out) - on_scored}
  fits = json.loads((folder / 'eval_3/half/calibration.json').read_text())
  assert fits['people'] == found['half']


def test_a_command_line_that_contradicts_the_run_is_one_line(run):
  folder, _, _ = run
  code, output = runs.finish(runs.start(
    folder, '--config.system.codec=hrnet', config='tests/tiny.py:plain', script='eval.py'))
  line = next(x for x in output.splitlines() if x.startswith('error: '))
  assert code == 1 and 'Traceback' not in output
  assert "system.codec is hrnet, but the run in" in line and "trained with udp" in line


@pytest.mark.parametrize('field, value, trained', [
  ('data.size', (32, 64), '[64, 64]'), ('data.holdout', 0.2, '0.4'), ('ema_decay', 0.0, '0.9'),
  ('system.view', 'clean', 'occluded'), ('system.model.width', 16, '8')])
def test_every_setting_of_the_run_is_kept(run, root, field, value, trained):
  fails(lambda: evaluation_script.evaluate(plain_config(root), str(run[0]), given={field: value}),
        f'{field} is {value}', f"'{run[0]}'", trained)


def test_what_agrees_with_the_run_may_be_said(run, root):
  folder, config, _ = run
  given = {'data.size': (64, 64), 'system.codec': 'udp', 'evals.val.flip': False,
           'data.loader.padding': 1.5, 'data.num_workers': 0}
  found = workdirs.settings_to_evaluate(plain_config(root), str(folder), given)
  assert found.data.size == (64, 64) and found.system.to_dict() == config.system.to_dict()
  assert found.optim.to_dict() == config.optim.to_dict()


def test_the_evaluated_loader_is_not_that_of_the_held_out_people(run, root):
  folder, _, _ = run
  config = plain_config(root)
  config.data.loader.padding = 1.5
  found = workdirs.settings_to_evaluate(config, str(folder), {'data.root': str(root)})
  assert people.padding_of(found, found.evals.val.data) == 1.5
  assert people.padding_of(found, None) == 1.25


@pytest.mark.slow
def test_a_run_whose_data_are_gone_keeps_its_calibration(run, root, tmp_path, capsys):
  """Evaluated on another set: the confidences are calibrated as training left them."""
  folder, _, _ = run
  shutil.copytree(folder, tmp_path / 'run')
  config = workdirs.read_config(tmp_path / 'run')
  config['data']['root'] = str(tmp_path / 'gone')
  (tmp_path / 'run/config.json').write_text(json.dumps(config))
  other = plain_config(root)
  other.data.name, other.data.loader = 'synthetic', tiny.ConfigDict(
    dict(num_people=6, size=(64, 96)))
  del other.data.root, other.evals.half
  results = evaluation_script.evaluate(other, str(tmp_path / 'run'))
  stored = json.loads((folder / 'eval_3/val/calibration.json').read_text())['people']
  out = capsys.readouterr().out
  assert 'cannot be loaded' in out and 'calibration.json' in out
  assert f'calibrated_on={stored}, stored' in out  # and by whatever recipe
  assert 'ECE' in results['val']['net/clean']
  for file in pathlib.Path(tmp_path / 'run').rglob('calibration.json'):
    file.unlink()
  results = evaluation_script.evaluate(other, str(tmp_path / 'run'))
  assert 'has stored no calibration' in capsys.readouterr().out
  assert 'ECE' not in results['val']['net/clean']
