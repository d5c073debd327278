"""The configs for faces, from start to table in small."""
import json

import pytest
from ml_collections import ConfigDict

import train
from configs import c300w_hrnet, ccofw_hrnet, cwflw_hrnet, quickstart_faces
from dslope_jax import skeletons
from dslope_jax.errors import UserError
from dslope_jax.tasks import top_down
from tests import tiny
from tests.data_sets import write_keypoints

CONFIGS = {'300w': (c300w_hrnet, 68), 'wflw': (cwflw_hrnet, 98), 'cofw': (ccofw_hrnet, 29)}


def shrink(config):
  config.duration, config.batch_size, config.evals.val.batch_size = '1 step', 4, 4
  config.log_every = config.save_every = config.eval_every = '1 step'
  config.system.model = ConfigDict(tiny.MODEL)
  config.data.size, config.data.num_workers = (32, 32), 0
  config.data.bank.num_people = 6
  return config


@pytest.mark.parametrize('word', CONFIGS)
def test_what_was_published(word):
  module, points = CONFIGS[word]
  config = module.get_config()
  assert config.data.loader.faces_of == word and f', {points} points' in ', ' + module.__doc__
  model = config.system.model
  assert (model.name, model.width, model.head) == ('hrnet', 18, 'multi')
  assert (config.data.size, config.system.sigma) == ((256, 256), 1.5)
  assert config.optim.gnet.boundaries == ('30 epochs', '50 epochs')
  assert not config.evals.val.flip and config.optim.enet.lr == 1e-4
  plain = module.get_config('plain,occluded')
  assert list(plain.optim) == ['net'] and plain.system.view == 'occluded'
  assert plain.data == config.data
  with pytest.raises(UserError, match="'side' is none of .*plain"):
    module.get_config('side')


@pytest.mark.slow
def test_cofw_from_files_to_the_table(tmp_path):
  def parts(truth):
    truth['annotations'][0]['subsets'] = ['first']
  for split in ('train', 'test'):
    write_keypoints(tmp_path, f'annotations/cofw_{split}.json', skeletons.COFW, num_images=6,
                    size=(160, 160), edit=parts)
  config = shrink(ccofw_hrnet.get_config('plain'))
  config.data.root = str(tmp_path)
  _, results = train.train(config.lock(), str(tmp_path / 'run'))
  row = results['val']['net/occluded']
  for name in ('NME', 'FR@0.08', 'FR@0.10', 'AUC@0.08', 'AUC@0.10', 'NME(visible)', 'NME(hidden)',
               'NME(covered)', 'NME(first)', 'FR@0.10(first)'):
    assert row[name] >= 0, name
  stamp = json.loads((tmp_path / 'run/eval_1/val/results.json').read_text())['stamp']
  assert stamp['metric'] == 'nme' and stamp['divided_by'] == 'outer corners of the eyes'
  assert stamp['recipe'] == 'face_severity3' and not stamp['flip']


@pytest.mark.slow
def test_the_quickstart_in_small(tmp_path):
  config = shrink(quickstart_faces.get_config())
  config.data.loader.num_people = config.evals.val.data.loader.num_people = 8
  _, results = train.train(config.lock(), str(tmp_path / 'run'))
  assert {'gnet/clean', 'enet/occluded', 'pick/occluded'} <= set(results['val'])
  assert results['val']['enet/occluded']['NME(covered)'] > 0
  index = (tmp_path / 'run/patches/index.npz')
  assert index.exists()


def test_the_stress_test_of_faces_draws_their_severities():
  levels = lambda recipe: [top_down._variants(skeletons.COFW, recipe)[f'severity{level}']['recipe']
                           for level in range(6)]
  assert levels('face_severity3') == ['none', *(f'face_severity{level}' for level in range(1, 6))]
  assert levels('severity3') == ['none', *(f'severity{level}' for level in range(1, 6))]
