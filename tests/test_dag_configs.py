"""DAG from its configs to tables: a pair on COCO, protocols, predictions."""
import json
import pathlib
import re

import jax
import numpy as np
import pytest

import eval as evaluation
import train
from configs import coco_dag_hrnet, lspet_dag_hrnet, protocols, quickstart_dag
from dslope_jax import exporting, systems, tasks
from dslope_jax.errors import UserError
from dslope_jax.predictor import Predictor
from dslope_jax.skeletons import COCO
from dslope_jax.systems.base import Facts
from tests import data_sets
from tests.sources.test_protocols import _ochuman
from tests.test_configs import shrink

VIEWS = 'clean', 'occluded'


@pytest.fixture(scope='module')
def coco(tmp_path_factory, small_dag):
  """(folder of the set, run, last state, results) of a pair."""
  folder = tmp_path_factory.mktemp('dag')
  root = data_sets.write_coco(folder / 'data')
  config = coco_dag_hrnet.get_config('pair,kl')
  config.data.train_split, config.evals.val.split = 'train', 'val'
  return root, folder / 'run', *train.train(shrink(config, root), str(folder / 'run'))


def test_a_pair_of_dag_on_coco(coco):
  _, folder, state, results = coco
  assert int(state.step) == 2
  assert set(state.params) == {'gnet', 'gnet_gcn', 'enet', 'enet_gcn'}
  networks = [f'{who}/{readout}/{view}' for who in ('gnet', 'enet')
              for readout in ('heatmap', 'refined') for view in VIEWS]
  mixtures = [f'{rule}/{readout}/{view}' for rule in ('average', 'confidence', 'pick')
              for readout in ('heatmap', 'refined') for view in VIEWS]
  assert set(results['val']) == {*networks, *mixtures}
  terms = json.loads((folder / 'metrics.jsonl').read_text().splitlines()[0])
  for half in ('gnet', 'enet'):
    for term in ('heatmap', 'multi', 'presence', 'pose', 'mutual_kl'):
      assert np.isfinite(terms[f'{half}/{term}']), term


@pytest.mark.slow
def test_predictions_are_the_refined_ones_of_the_surer_network(coco):
  _, folder, _, _ = coco
  predictor = Predictor(folder)
  assert predictor.answer == 'pick/refined'
  people, = predictor([np.full((80, 60, 3), 90, np.uint8)], [[(5, 5, 40, 60), (0, 0, 20, 20)]])
  assert people.keypoints.shape == (2, 17, 2)
  assert ((people.present > 0) & (people.present < 1)).all()
  assert Predictor(f'{folder}:enet').answer == 'enet/refined'
  assert Predictor(f'{folder}:gnet/heatmap').answer == 'gnet/heatmap'


@pytest.mark.slow
def test_a_run_of_dag_is_exported(coco):
  """Graph, flip test and all, for any number of crops."""
  predictor = Predictor(f'{coco[1]}:enet', dtype='float32')
  found = exporting.Reference(predictor, exporting.trial_crops(predictor, 2)).parity(
    jax.jit(exporting.exported(predictor).call), 'the file')
  assert found['joints'] == 4 * 17 and found['near_ties'] < 17


@pytest.mark.slow
def test_protocols_score_a_run_of_dag(coco, tmp_path):
  """OCHuman, and the occluded part of a set in which the first person is hidden."""
  root, folder, _, _ = coco
  config = protocols.get_config('ochuman')
  config.data.root, config.data.num_workers = _ochuman(tmp_path / 'ochuman'), 0
  config.evals.val.batch_size = 4

  def hide(truth):
    first = truth['annotations'][0]
    first['keypoints'][2::3] = [1] * 17

  part = protocols.get_config('coco_occluded')
  part.data.root, part.data.num_workers = data_sets.write_coco(tmp_path / 'set', edit=hide), 0
  part.evals.val.split, part.evals.val.batch_size = 'val', 4
  for one, people in ((config, 2), (part, 1)):
    results = evaluation.evaluate(one, str(folder))['val']
    assert 0 <= results['enet/refined/occluded']['AP'] <= 100
    newest = max(folder.glob('eval_2/*/results.json'), key=lambda path: path.stat().st_mtime)
    stamp = json.loads(newest.read_text())['stamp']
    assert stamp['people'] == people
  assert 'subset=occluded' in stamp['loader']


def test_words_leave_out_one_part_each():
  get = quickstart_dag.get_config
  assert get().data.recipe == 'mask_joints+instance_paste'
  assert get('no_masks').data.recipe == 'instance_paste'
  assert get('no_paste').data.recipe == 'mask_joints'
  for word, fields in (
      ('no_attention', {'attention': False}), ('no_presence', {'presence': False}),
      ('spatial_attention', {'spatial_attention': True}), ('clean', {})):
    changed = dict(get().system.model) | fields
    assert dict(get(word).system.model) == changed, word
  assert get('hops4').system.gcn.hops == 4 and not get('no_guidance').system.gcn.guidance
  bare = get('double_only')
  assert bare.data.recipe == 'none' and set(bare.optim) == {'net'} and not bare.system.graph
  assert not bare.system.model.attention and not bare.system.model.presence
  large = coco_dag_hrnet.get_config('w48,384x288')
  assert (large.system.sigma, large.system.model.width) == (4.0, 48)
  assert coco_dag_hrnet.get_config().optim.gcn.schedule == 'constant'
  assert coco_dag_hrnet.get_config('gcn_decay').optim.gcn.schedule == 'multistep'
  of_pair = lspet_dag_hrnet.get_config('pair,gcn_decay').optim
  assert of_pair.enet_gcn == of_pair.enet and of_pair.enet.schedule == 'cosine'
  small, large = get(), get('384x288')
  assert (small.data.size, small.system.sigma) == ((64, 96), 2.5)
  assert (large.data.size, large.system.sigma) == ((288, 384), 4.0)
  assert get('pair').optim.gnet_gcn == get('pair').optim.gnet
  taught = coco_dag_hrnet.get_config('pair,distill').optim
  assert taught.gnet.frozen and taught.gnet_gcn.frozen and not taught.enet_gcn.frozen
  with pytest.raises(UserError, match="'no_such_word' is none of w32, .*no_guidance"):
    coco_dag_hrnet.get_config('no_such_word')


def test_fields_that_the_page_names_can_be_set():
  page = pathlib.Path(__file__).parent.parent.joinpath('docs/dag.md').read_text()
  fields = set(re.findall(r'system(?:\.\w+)+', page))
  assert {'system.weights.pose', 'system.model.random_instance_scale'} <= fields
  for field in fields:
    section = coco_dag_hrnet.get_config()
    for name in field.split('.'):
      assert name in section, field
      section = section[name]


def test_the_word_clean_trains_on_clean_crops():
  assert coco_dag_hrnet.dag('clean').system.view == 'clean'
  assert coco_dag_hrnet.dag('').system.view == 'occluded'


@pytest.mark.parametrize('words', [
  'hops3,hops4', 'no_graph,hops4', 'no_attention,spatial_attention',
  'double_only,occluded', 'clean,occluded', 'clean,no_paste'])
def test_words_that_contradict_are_refused(words):
  with pytest.raises(UserError, match='contradict: leave one out'):
    coco_dag_hrnet.dag(words)


@pytest.mark.parametrize('words, graph, message', [
  ('no_graph', True, "optim lacks gcn: leave out the word 'no_graph'"),
  ('pair,no_graph', True, 'optim lacks enet_gcn, gnet_gcn: leave out'),
  ('', False, "optim names gcn: give the word 'no_graph'")])
def test_the_graph_is_switched_by_its_word_alone(words, graph, message, tmp_path, small_dag):
  """A field would leave the graph network as it starts, and its poses as the refined ones."""
  config = quickstart_dag.get_config(words)
  config.system.graph = graph
  config.data.loader.num_people = config.evals.val.data.loader.num_people = 4
  with pytest.raises(UserError, match=message):
    tasks.build(config, str(tmp_path))


def test_a_teacher_of_random_weights_is_refused(tmp_path, small_dag):
  config = quickstart_dag.get_config('pair,distill')
  config.data.loader.num_people = config.evals.val.data.loader.num_people = 4
  config.data.bank.num_people = 4
  config.init_from.gnet = str(tmp_path / 'no_run')
  with pytest.raises(FileNotFoundError, match='no_run'):
    train.train(config, str(tmp_path / 'run'))
  config.init_from.gnet = ''
  with pytest.raises(UserError, match='optim.gnet.frozen keeps .* random: set init_from.gnet,'):
    train.train(config, str(tmp_path / 'run'))


@pytest.mark.parametrize('words, fields, message', [
  ('', dict(name='heatmap'), "'heatmap' does not take coord_norm, gcn, graph, reference, weights;"),
  ('', dict(name='dslope'), "'dslope' .*'heatmap' lacks mutual and does not take coord_norm"),
  ('pair', dict(learner='heatmap'), "'dslope' with learner 'heatmap' does not take coord_norm"),
  ('pair', dict(learner='dslope'), "system.learner 'dslope' is no method of one network"),
  ('pair', dict(name='dag'), "'dag' does not take learner;")])
def test_a_config_of_another_system_is_refused(words, fields, message):
  system = quickstart_dag.get_config(words).system.to_dict() | fields
  with pytest.raises(UserError, match=message):
    systems.build(Facts(COCO, (32, 64)), **system)
