"""Every config family from start to table, in small."""
import importlib
import json
import math
import pathlib

import cv2
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import train
from configs import ccoco_hrnet, clspet_hrnet, cmpii_hrnet, common, crowdpose_dag_hrnet
from dslope_jax import skeletons, tasks
from dslope_jax.predictor import Predictor
from dslope_jax.training import optimizers, train_state
from dslope_jax.training.metric_writer import learning_curve
from dslope_jax.training.train_step import make_train_step
from tests import data_sets, tiny
from tests.refusals import fails

ROOT = pathlib.Path(__file__).parent.parent
NAMES = sorted(p.stem for p in (ROOT / 'configs').glob('*.py')
               if p.stem not in ('__init__', 'common', 'fields'))
_SMALL_HRNET = dict(width=8, stem_width=8, modules=(1, 1, 1), blocks=(1, 1, 1))
SMALLEST = {
  'hrnet': _SMALL_HRNET, 'dag': _SMALL_HRNET,
  'simple_baseline': dict(depth=10, width=8, filters=(8, 8, 8)),
  'vitpose': dict(width=16, depth=1, heads=2, filters=(8, 8)),
  'hrformer': dict(width=8, heads=1, modules=(1, 1, 1), blocks=1, bottlenecks=1),
  'lite_hrnet': dict(modules=(1, 1, 1), blocks=1)}
ROWS = tuple(f'{n}/{kind}' for n in ('enet', 'gnet') for kind in ('clean', 'occluded'))
TOGETHER = tuple(f'{rule}/{kind}' for kind in ('clean', 'occluded')
                 for rule in ('average', 'confidence', 'pick'))


def shrink(config, root, steps=2):
  """The same config with the smallest network, crops and number of steps."""
  config.data.root, config.data.num_workers = root, 0
  config.duration, config.batch_size = f'{steps} steps', 4
  config.data.size, config.evals.val.batch_size = (32, 64), 4
  config.system.model.update(SMALLEST[config.system.model.name])
  config.log_every = config.save_every = config.eval_every = '1 step'
  return config.lock()


@pytest.mark.parametrize('name', NAMES)
def test_sections_are_the_same_everywhere(name):
  module = importlib.import_module(f'configs.{name}')
  config = module.get_config()
  assert set(config) == set(common.top_down())
  for line in ('Command: python train.py --config', 'Expected', 'ime'):
    assert line in module.__doc__


def test_arguments():
  config = ccoco_hrnet.get_config('w48,384x288,kl')
  assert config.system.model.width == 48 and config.data.size == (288, 384)
  assert config.system.sigma == 3.0 and config.system.mutual.kind == 'kl'
  assert ccoco_hrnet.get_config('distill').optim.gnet.frozen
  published = ccoco_hrnet.get_config().system.mutual
  assert (published.kind, published.weights.gnet, published.weights.enet) == ('mse', 1e-5, 1e-3)


def test_the_best_arm_is_lspets_default_and_published_a_word():
  of = lambda words: ((config := clspet_hrnet.get_config(words)).system.mutual.kind,
                      config.data.recipe)
  best = 'none>none:2,severity2:1,severity4:1'
  assert of('') == ('none', best) and of('kl') == ('kl', best)
  assert of('published') == ('mse', 'published') == of('mse,published')
  assert of('published,distill') == ('distill', 'published')
  assert clspet_hrnet.get_config('published').system.mutual == common.dslope().system.mutual
  fails(lambda: of('publisched'), "'publisched' is none of", 'published')


def _of_coco(argument):
  """ccoco_hrnet.py with a network that compiles several times faster."""
  config = ccoco_hrnet.get_config(argument)
  config.system.model = ConfigDict(tiny.MODEL)
  config.data.train_split, config.evals.val.split = 'train', 'val'
  return config


@pytest.fixture(scope='module')
def coco_run(tmp_path_factory):
  folder = tmp_path_factory.mktemp('coco')
  root = data_sets.write_coco(folder / 'data')
  config = _of_coco('')
  state, results = train.train(shrink(config, root), str(folder / 'run'))
  return root, folder / 'run', state, results


def test_coco(coco_run):
  _, workdir, state, results = coco_run
  assert int(state.step) == 2 and tuple(results['val']) == ROWS + TOGETHER
  for row in results['val'].values():
    assert {'AP', 'AP50', 'AP75', 'AP(M)', 'AP(L)', 'AR', 'covered_joints'} <= set(row)
    assert 0 <= row['AP'] <= 1
  stamp = json.loads((workdir / 'eval_2/val/results.json').read_text())['stamp']
  assert stamp['boxes'] == 'ground truth' and stamp['people'] == 4 and stamp['weights_step'] == 2
  lines = [json.loads(x) for x in (workdir / 'metrics.jsonl').read_text().splitlines()]
  losses = [x for x in lines if 'loss' in x]
  assert [x['step'] for x in losses] == [1, 2]
  for x in losses:
    mutual = sum(w * sum(v for k, v in x.items() if k.startswith(f'{n}/mutual'))
                 for n, w in (('gnet', 1e-5), ('enet', 1e-3)))
    assert math.isclose(x['loss'], x['gnet/heatmap'] + x['enet/heatmap'] + mutual, rel_tol=1e-4)
    assert 0 <= x.get('data_wait_share', 0) <= 1 and x['enet/learning_rate'] > 0
  assert list((workdir / 'tensorboard').iterdir())
  assert (workdir / 'eval_2/val/pictures.jpg').stat().st_size > 1000
  learning_curve(workdir / 'metrics.jsonl').savefig(workdir / 'curve.png', dpi=100)
  curve = cv2.imread(str(workdir / 'curve.png'))
  assert curve.shape[1] > 1200 and (curve[:, :400] < 200).any() and (curve[:, -400:] < 200).any()


@pytest.mark.slow
def test_distilling_from_a_run_with_moving_average_and_detector_boxes(coco_run, tmp_path):
  root, teacher, state, _ = coco_run
  before = jax.device_get(state.params['gnet'])
  truth = json.loads(pathlib.Path(root, 'annotations/person_keypoints_val.json').read_text())
  boxes = [{'image_id': a['image_id'], 'category_id': 1, 'bbox': a['bbox'], 'score': 0.9}
           for a in truth['annotations'][:3]]
  (tmp_path / 'boxes.json').write_text(json.dumps(boxes))
  config = _of_coco('distill')
  config.init_from.gnet, config.ema_decay = str(teacher), 0.5
  config.evals.val.boxes = str(tmp_path / 'boxes.json')
  state, results = train.train(shrink(config, root), str(tmp_path / 'run'))
  jax.tree.map(np.testing.assert_array_equal, before, jax.device_get(state.params['gnet']))
  stamp = json.loads((tmp_path / 'run/eval_2/val/results.json').read_text())['stamp']
  assert stamp['boxes'] == 'boxes.json' and stamp['people'] == 3 and stamp['ema']
  assert set(results['val']) == set(ROWS + TOGETHER)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['hrnet', 'simplebaseline', 'vitpose'])
def test_networks_on_coco(name, tmp_path):
  """As configured, in bfloat16, with every network's own schedule, decay and codec."""
  config = importlib.import_module(f'configs.ccoco_{name}').get_config('kl')
  config.data.train_split, config.evals.val.split = 'train', 'val'
  root = data_sets.write_coco(tmp_path / 'data')
  state, results = train.train(shrink(config, root, steps=1), str(tmp_path / 'run'))
  assert int(state.step) == 1 and set(results['val']) == set(ROWS + TOGETHER)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['hrformer', 'litehrnet'])
def test_other_networks_step(name, tmp_path):
  """The whole step of networks that take minutes to compile on CPU, traced but not compiled."""
  config = importlib.import_module(f'configs.ccoco_{name}').get_config('kl')
  config.evals = {}
  config.data.train_split = 'train'
  config.data.root = data_sets.write_coco(tmp_path / 'data')
  config.data.size, config.batch_size = (64, 96), 4
  config.system.model.update(SMALLEST[config.system.model.name])
  task = tasks.build(config, str(tmp_path))
  optimizer, _ = optimizers.build(config.optim.to_dict(), task.system.networks, 10, 1)
  step = make_train_step(task.system, optimizer, trainable=('gnet', 'enet'))
  state = jax.eval_shape(lambda: train_state.create(task.system, optimizer, seed=0,
                                                    example=task.example))
  after, terms = jax.eval_shape(step, state, next(task.stream(0)))
  assert jax.tree.structure(after) == jax.tree.structure(state)
  assert {'gnet/heatmap', 'enet/heatmap', 'gnet/mutual_kl', 'loss'} <= set(terms)


@pytest.mark.slow
def test_two_architectures_in_one_pair(tmp_path):
  config = tiny.config('kl', steps=1)
  model = config.system.model.to_dict()
  del config.system.model
  config.system.model = ConfigDict(dict(gnet=model, enet=model | dict(width=16)))
  state, results = train.train(config, str(tmp_path / 'run'))
  count = {n: sum(x.size for x in jax.tree.leaves(p)) for n, p in state.params.items()}
  assert count['enet'] > 2 * count['gnet'] and set(results['val']) == set(ROWS + TOGETHER)
  config.system.mutual.kind = 'mse'
  with pytest.raises(ValueError, match='compares the features .* choose .kl. without features'):
    train.train(config, str(tmp_path / 'other'))


@pytest.mark.slow
def test_mpii(tmp_path):
  config = cmpii_hrnet.get_config('kl')
  config.system.model = ConfigDict(tiny.MODEL)
  root = data_sets.write_mpii(tmp_path / 'data')
  _, results = train.train(shrink(config, root), str(tmp_path / 'run'))
  for row in results['val'].values():
    assert {'Head', 'Ankle', 'PCKh@0.5', 'Mean@0.1', 'PCKh@0.10'} <= set(row)


@pytest.mark.slow
def test_dag_on_crowdpose(tmp_path):
  """14 joints; three people on a picture, whose targets hold each other; the box as the frame."""
  def crowded(truth):
    for entry in truth['annotations']:
      entry['image_id'] = 1

  root = tmp_path / 'crowdpose'
  for split in ('trainval', 'test'):
    data_sets.write_keypoints(root, f'json/crowdpose_{split}.json', skeletons.CROWDPOSE,
                              edit=crowded)
  config = crowdpose_dag_hrnet.get_config('no_paste')
  config.system.gcn.width, config.system.coord_norm = 8, 'box'
  config.evals.val.recipe = 'severity3'
  _, results = train.train(shrink(config, str(root), steps=1), str(tmp_path / 'run'))
  assert set(results['val']) == {f'net/{readout}/{view}' for readout in ('heatmap', 'refined')
                                 for view in ('clean', 'occluded')}
  assert {'AP(easy)', 'AP(hard)'} <= set(results['val']['net/refined/clean'])
  people, = Predictor(tmp_path / 'run')([cv2.imread(str(root / 'images/0001.jpg'))])
  assert people.keypoints.shape == (1, 14, 2)


def test_plain_network_on_occluded_pictures(tmp_path):
  """The baseline: one network, fed occluded crops; same loop, same table."""
  config = tiny.config(None, steps=2)
  config.system.view = 'occluded'
  config.accumulate = 1
  _, results = train.train(config, str(tmp_path / 'run'))
  assert set(results['val']) == {'net/clean', 'net/occluded'}
  assert 0 <= results['val']['net/clean']['PCK@0.2'] <= 100


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
  config = tiny.config(None, steps=6)
  config.optim.net.lr, config.evals = 1e38, {}
  with pytest.raises(FloatingPointError, match=r"step \d+: 'net/heatmap' is (nan|inf)"):
    train.train(config, str(tmp_path / 'run'))


@pytest.mark.parametrize('config, words', [
  ('ccoco_hrnet', 'w32,w48'), ('ccoco_hrnet', '256x192,384x288'), ('quickstart', 'mse,kl'),
  ('coco_hrnet', 'clean,occluded'), ('quickstart_lifting', 'clean,occluded'),
  ('h36m_posemoe', 'gt,cpn'), ('h36m_posemoe', 't81,t27'),
  ('quickstart_recognition', 'clean,occluded')])
def test_two_words_of_one_choice_contradict(config, words):
  get_config = importlib.import_module(f'configs.{config}').get_config
  one, other = words.split(',')
  fails(lambda: get_config(words), f"'{one}' and '{other}' contradict: leave one out")
  get_config(f'{one},{one}')
