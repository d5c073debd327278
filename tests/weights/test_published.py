"""A published folder is the run it was made of: for the predictor, for eval.py, for a reader."""
import json
import shutil
import sys
import types

import jax
import numpy as np
import pytest

import eval as evaluation_script
from dslope_jax.predictor import Predictor
from dslope_jax.training import init_from
from dslope_jax.training import workdir as workdirs
from dslope_jax.weights import published, pytorch
from dslope_jax.weights.hub import local_weights
from input_pipeline.occlusion.bank import PatchBank
from tests.predict import folders
from tests.refusals import fails
from tools import publish as tool


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """(config, work folder, results) of a pair with an average, which was evaluated."""
  config, workdir = folders.make(tmp_path_factory.mktemp('pair'), ema=0.5)
  return config, workdir, evaluation_script.evaluate(config, str(workdir))


@pytest.fixture(scope='module')
def folder(run, tmp_path_factory):
  """The run as a published folder."""
  return publish(run[1], tmp_path_factory.mktemp('published') / 'pair', '--license', 'apache-2.0',
                 '--data', 'someone/coco')


def publish(weights, out, *options):
  tool.publish(tool._parse(['--weights', str(weights), '--out', str(out), *options]))
  return out


def assert_same(one, other):
  jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_predictor_reads_it_back(run, folder):
  own, other = Predictor(run[1]), Predictor(folder)
  assert_same(own.weights, other.weights)
  assert other.answers == own.answers and other.answer == 'gate' and 'pick' in own.answers
  assert other.facts == own.facts and other.fits == own.fits
  assert other.serving.system.networks == own.serving.system.networks
  assert 'step 7' in other.about and "calibrated by 'calibration.json'" in other.about
  assert Predictor(f'{folder}:enet').members == ('enet/clean',)


def test_it_is_scored_as_the_run(run, folder, tmp_path):
  """Its data are told by the command line, and nothing of the run is there."""
  config, workdir, results = run
  root = config.data.root
  config = config.copy_and_resolve_references()
  config.data.root, config.evals.val.data.root = 'data/coco', root
  again = evaluation_script.evaluate(config, str(tmp_path / 'out'), weights=str(folder),
                                     given={'evals.val.data.root': root})
  assert json.dumps(again) == json.dumps(results)
  stamp = lambda place: json.loads((place / 'eval_7/val/results.json').read_text())['stamp']
  people = stamp(workdir)['calibrated_on']
  assert people > 0
  assert stamp(tmp_path / 'out') == stamp(workdir) | {'calibrated_on': f'{people}, stored'}


def test_patches_are_cut_beside_the_data_or_named(folder, run):
  config = run[0]
  root = lambda given: workdirs.settings_to_evaluate(config, str(folder), given).data.root
  config = config.copy_and_resolve_references()
  config.data.root = 'of the config'
  assert root({}) == 'of the config'
  assert root({'data.root': 'x'}) == 'of the config'  # which the command line has set
  config.evals.val.data.root = 'beside'
  assert root({}) == 'beside' and root({'data.root': 'x'}) == 'of the config'
  given = {'data.bank.folder': 'bank'}
  assert workdirs.settings_to_evaluate(config, str(folder), given).data.bank.folder == 'bank'


def test_a_folder_without_a_training_split_lends_its_own_people(run, folder, tmp_path, capsys):
  config, _, results = run
  root = tmp_path / 'coco'
  shutil.copytree(config.data.root, root)
  (root / 'annotations/person_keypoints_train.json').unlink()
  config = config.copy_and_resolve_references()
  config.data.root, config.evals.val.data.root = 'data/coco', str(root)
  config.evals.val.recipe = 'severity3'
  given = {'evals.val.data.root': str(root)}
  found = evaluation_script.evaluate(config, str(tmp_path / 'out'), weights=str(folder),
                                     given=given)
  said = capsys.readouterr().out
  assert "no patches from the split 'train'" in said and 'person_keypoints_train.json' in said
  visible = lambda results: results['val']['enet/clean']['visible_joints']
  assert visible(found) == visible(results)
  assert np.isfinite(found['val']['enet/occluded']['covered_joints'])
  # With a training split again, the same work folder takes its patches, not those of before.
  shutil.copytree(run[0].data.root, root, dirs_exist_ok=True)
  assert evaluation_script.evaluate(config, str(tmp_path / 'out'), weights=str(folder), given=given)
  assert 'no patches from' not in capsys.readouterr().out
  banks = [PatchBank(path) for path in (tmp_path / 'out').glob('patches_*')]
  splits = [{str(origin).split()[-1] for origin in bank.origin} for bank in banks]
  assert sorted(splits, key=str) == [{'train'}, {'val'}]
  config = config.copy_and_resolve_references()
  config.evals.val.data.root = str(tmp_path / 'nowhere')
  fails(lambda: evaluation_script.evaluate(config, str(tmp_path / 'other'), weights=str(folder)),
        'nowhere', kind=FileNotFoundError)


def test_no_folder_of_this_machine_is_in_it(run, folder):
  assert sorted(p.name for p in folder.iterdir()) == [
    'README.md', 'calibration.json', 'config.json', 'facts.json', 'model.safetensors']
  for path in folder.iterdir():
    if path.suffix != '.safetensors':
      assert str(run[1].parent) not in path.read_text()


def test_the_model_card(run, folder):
  text = (folder / 'README.md').read_text()
  _, front, body = text.split('---\n', 2)
  assert front.splitlines() == [
    'license: "apache-2.0"', 'library_name: dslope_jax', 'pipeline_tag: keypoint-detection',
    'tags:', '- human-pose-estimation', '- occlusion', '- jax', 'datasets:', '- "someone/coco"']
  value = run[2]['val']['enet/occluded']['AP']
  row = next(line for line in body.splitlines() if line.startswith('enet/occluded'))
  assert f'{value:.4g}' in row.split()
  assert '| `gnet` | vitpose |' in body and 'moving average 0.5' in body
  assert 'left_shoulder' in body and 'digest=' in body and '50% of the pictures held out' in body
  assert 'licence is not stated' not in body and '\n\n\n' not in body


def test_training_takes_the_network_of_that_name(folder):
  predictor = Predictor(str(folder))
  network, size = predictor.serving.system.networks['enet'], predictor.facts.size
  weights = {kind: tree['enet'] for kind, tree in jax.device_get(predictor.weights).items()}
  fresh = jax.tree.map(np.zeros_like, weights)
  found, text = init_from.load(str(folder), 'enet', fresh, network, size)
  jax.tree.map(np.testing.assert_array_equal, found, weights)
  assert text.startswith(f"'enet' of '{folder}'")
  other, text = init_from.load(f'{folder}:gnet', 'enet', fresh, network, size)
  assert text.startswith("'gnet' of") and any(jax.tree.leaves(jax.tree.map(
    lambda a, b: (a != b).any(), jax.device_get(other), weights)))


@pytest.mark.slow
def test_one_network_of_a_pair(run, tmp_path):
  out, own = publish(f'{run[1]}:enet', tmp_path / 'enet'), Predictor(f'{run[1]}:enet')
  other = Predictor(out)
  assert_same(other.weights['params'], {'net': own.weights['params']['enet']})
  assert other.serving.system.networks == {'net': own.serving.system.networks['enet']}
  assert other.answers == ('net',) and other.facts == own.facts
  assert other.fits['right'] == {'net': own.fits['right']['enet']}
  system = workdirs.settings(out).system
  assert system.view == 'occluded' and system.codec == run[0].system.codec
  # The names are the published ones: other code reads them, and so does init_from.
  model = run[0].system.model.to_dict()
  converted, _ = pytorch.load_file(out, model.pop('name'), model, own.facts.size)
  assert_same(converted.variables['params'], other.weights['params']['net'])
  assert 'licence is not stated' in (out / 'README.md').read_text()


@pytest.mark.slow
def test_a_run_of_one_network(tmp_path):
  _, workdir = folders.make(tmp_path, None)
  out = publish(workdir, tmp_path / 'out')
  assert_same(Predictor(out).weights, Predictor(workdir).weights)
  assert 'has not been evaluated' in (out / 'README.md').read_text()
  fails(lambda: publish(f'{workdir}:enet', tmp_path / 'other'), 'has one network', 'name none')


def test_the_hub(folder, monkeypatch):
  asked = []

  def snapshot_download(name, *, revision, allow_patterns):
    asked.append((name, revision))
    if name == 'someone/absent':
      raise RuntimeError('404 not there\nmore')
    return str(folder)

  monkeypatch.setitem(sys.modules, 'huggingface_hub',
                      types.SimpleNamespace(snapshot_download=snapshot_download))
  assert Predictor('hf://someone/pair@v1.0:enet').answer == 'enet'
  assert local_weights('hf://someone/pair') == str(folder)
  assert asked == [('someone/pair', 'v1.0'), ('someone/pair', None)]
  fails(lambda: local_weights('hf://someone/absent'), '(404 not there)')
  fails(lambda: local_weights('hf://pair'), 'no name on the hub', 'hf://OWNER/NAME')
  fails(lambda: local_weights('https://example.com/pair'), 'is an address')
  monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
  fails(lambda: local_weights('hf://someone/pair'), "pip install 'dslope_jax[hub]'")


@pytest.mark.slow
def test_what_is_refused(run, folder, tmp_path):
  config, workdir, _ = run
  fails(lambda: publish(workdir, folder), 'holds weights already')
  fails(lambda: publish(f'{workdir}:hnet', tmp_path / 'a'), "networks enet, gnet, not 'hnet'")
  evaluate = lambda weights, place: evaluation_script.evaluate(config, str(place),
                                                               weights=str(weights))
  fails(lambda: evaluate(workdir, tmp_path / 'a'), 'is no published folder', 'give --workdir')
  fails(lambda: evaluate(f'{folder}:enet', tmp_path / 'a'), f"give '{folder}' alone")
  fails(lambda: evaluate(folder, workdir), 'work folder of other weights (config.json differs)')
  out = publish(workdir, tmp_path / 'out')
  path = out / 'config.json'
  text = path.read_text()
  path.write_text(text.replace('"top_down"', '"some.module"'))
  fails(lambda: published.is_published(out), 'a task of its own', 'not run')
  path.write_text(text.replace('"width": 24', '"width": 48'))
  fails(lambda: Predictor(out), 'weights do not fit vitpose', 'misshapen')
