"""Recognition from the config to the table, and what is refused on the way."""
import dataclasses
import json

import jax
import numpy as np
import pytest

import eval as evaluation_script
import train
from configs import faces_recognition, fields, quickstart_recognition
from dslope_jax import tasks
from dslope_jax.cli import check_ranges
from dslope_jax.evaluation import drawing
from dslope_jax.evaluation.base import load_samples
from dslope_jax.tasks import recognition
from dslope_jax.training import checkpointing, init_from, optimizers, train_state, workdir
from input_pipeline import identities
from tests import runs, tiny_recognition
from tests.refusals import fails
from tools import browse

ROWS = {f'{network}/{views}' for network in ('gnet', 'enet', 'mean')
        for views in ('clean-clean', 'clean-occluded', 'occluded-occluded')}


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """(its folder, its results) of a pair."""
  folder = tmp_path_factory.mktemp('recognition') / 'run'
  _, results = train.train(tiny_recognition.config().lock(), str(folder))
  return folder, results


def read(path):
  return json.loads(path.read_text())


def test_from_the_config_to_the_table(run):
  folder, results = run
  assert set(results['val']) == ROWS
  for row in results['val'].values():
    assert {'EER', 'EER_low', 'EER_high', 'accuracy', 'rank1'} == set(row)
    assert all(0 <= value <= 100 for value in row.values())
  stamp = read(folder / 'eval_2/val/results.json')['stamp']
  assert stamp['pictures'] == 20 and stamp['identities'] == 5 and stamp['pairs'] == '40 drawn'
  assert stamp['folds'] == 'every tenth pair'
  assert stamp['recipe'] == 'face_severity3' and stamp['crop'] == 'landmarks' and stamp['bank']
  lines = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
  assert {'gnet/arcface', 'enet/arcface', 'enet/mutual_kl', 'enet_head/learning_rate'} <= set(
    lines[0])
  assert read(folder / 'facts.json')['classes'] == 6
  assert set(load_samples(folder / 'eval_2/val/samples.npz')) == ROWS
  assert set(read(folder / 'eval_2/val/intervals.json')) == ROWS
  assert (folder / 'eval_2/val/pictures.jpg').stat().st_size > 1000
  assert (folder / 'patches/contact_sheet.jpg').exists()


@pytest.mark.slow
def test_other_identities_are_evaluated_by_the_embeddings_alone(run, tmp_path):
  """By the command: a set of another size, whose head there is not."""
  folder, _ = run
  config = tiny_recognition.config()
  task = tasks.build(config.lock(), str(folder), training=False)
  assert set(task.system.networks) == {'gnet', 'enet'} and task.facts.classes == 0
  shapes = train_state.weight_shapes(task.system, task.example)
  assert set(checkpointing.restore_weights(str(folder), shapes)[0]['params']) == {'gnet', 'enet'}
  process = runs.start(folder, '--config.evals.val.data.loader.identities=9', '--stress',
                       '--report', '--config.evals.val.recipe=face_severity2',
                       config='tests/tiny_recognition.py', script='eval.py')
  code, output = runs.finish(process)
  assert code == 0, output
  found = next(folder.glob('eval_2/val_*'))
  assert read(found / 'results.json')['stamp']['identities'] == 9
  assert 'EER by severity' in output and 'enet/clean-occluded' in output
  curves = read(found / 'stress.json')['stress']
  assert set(curves) == {row for row in ROWS if not row.endswith('clean-clean')}
  curve = curves['gnet/occluded-occluded']
  assert [level for level, _ in curve['severity']] == [*range(6)]
  assert [level for level, _, _ in curve['interval']] == [*range(6)]
  assert (found / 'report.html').exists()


def test_the_same_evaluation_gives_the_same_numbers(run):
  folder, results = run
  again = evaluation_script.evaluate(tiny_recognition.config().lock(), str(folder))
  for row, numbers in results['val'].items():
    assert again['val'][row] == pytest.approx(numbers)


def test_who_a_face_is_of_never_reaches_a_prediction(run):
  folder, _ = run
  task = tasks.build(tiny_recognition.config().lock(), str(folder), training=False)
  assert set(task.system.fields['predict']) == {'image', 'occluded_image'}
  batch = next(iter(task.evals['val'].batches()))
  assert set(batch) == {'image', 'occluded_image', 'row', 'mask'}


@pytest.mark.slow
def test_a_teacher_from_a_run_is_its_embedding(run, tmp_path):
  """Of other people, whose head there is not; so is the other network, whose head stays fresh."""
  folder, _ = run
  config = tiny_recognition.config('distill')
  config.data.loader.identities, config.evals = 4, {}
  task = tasks.build(config.lock(), str(tmp_path))
  optimizer, _ = optimizers.build(config.optim.to_dict(), task.system.networks, 2, 1)
  state = train_state.create(task.system, optimizer, seed=0, example=task.example)
  told = []
  state = init_from.apply(state, {'gnet': str(folder), 'enet': f'{folder}:gnet', 'enet_head': ''},
                          task.system.networks, task.facts.size, False, told.append)
  shapes, _ = checkpointing.stored_weights(str(folder))
  wanted = {kind: {'gnet': tree['gnet']} for kind, tree in shapes.items()}
  before, _ = checkpointing.restore_weights(str(folder), wanted)
  for name in ('gnet', 'enet'):
    jax.tree.map(np.testing.assert_array_equal, before['params']['gnet'], state.params[name])
  assert state.params['enet_head']['kernel'].shape == (8, 4)


def write_folders(root, people):
  """Drawn people as ROOT/PERSON/*.png."""
  drawn = identities.load('synthetic', 'train', identities=people, pictures=3, size=(48, 48))
  for row, person in enumerate(drawn.identity.tolist()):
    (root / drawn.names[person]).mkdir(parents=True, exist_ok=True)
    drawing.save(root / drawn.names[person] / f'{row}.png', drawn.read(row))


@pytest.mark.slow
def test_one_network_with_an_embedding_head_on_a_backbone_of_folders(tmp_path):
  write_folders(tmp_path / 'faces', 8)
  config = tiny_recognition.shrink(faces_recognition.get_config('occluded,cosface'))
  config.system.model = dict(name='embedding', dim=8, backbone=dict(
    name='simple_baseline', depth=10, width=4))
  config.data.root, config.data.loader.held_out = str(tmp_path / 'faces'), 2
  state, results = train.train(config.lock(), str(tmp_path / 'run'))
  assert set(state.params) == {'net', 'head'} and 'layer4_0' in state.params['net']
  assert set(results['val']) == {row.replace('gnet', 'net') for row in ROWS if 'gnet' in row}
  line = json.loads((tmp_path / 'run/metrics.jsonl').read_text().splitlines()[0])
  assert 'net/cosface' in line
  again = evaluation_script.evaluate(config, str(tmp_path / 'run'))
  assert again['val'].keys() == results['val'].keys()
  stamp = read(tmp_path / 'run/eval_2/val/results.json')['stamp']
  assert stamp['identities'] == 2 and stamp['loader'] == 'held_out=2,seed=0'
  assert workdir.read_facts(tmp_path / 'run').classes == 6


def test_samples_are_shown(tmp_path):
  captions = browse.browse(tiny_recognition.config(), str(tmp_path / 'sheet.jpg'), 3)
  assert len(captions) == 3 and (tmp_path / 'sheet.jpg').stat().st_size > 1000


def test_what_is_refused(tmp_path, capsys):
  config = tiny_recognition.config()
  config.data.loader.identities = 1
  fails(lambda: tasks.build(config, str(tmp_path)), 'has 1 identity', 'two')
  config = tiny_recognition.config()
  for size in ((32, 48), (0, 0), (-32, -32), (8, 8)):
    config.data.size = size
    fails(lambda: tasks.build(config, str(tmp_path)), f'data.size is {size}', 'squares', '16')
  config.system.scale = float('inf')
  fails(lambda: check_ranges(config, fields.RANGES), 'config.system.scale is inf: must be finite')
  config = tiny_recognition.config()
  fails(lambda: faces_recognition.get_config('plain'), "'plain' is none of kl, mse")
  fails(lambda: faces_recognition.get_config('clean,kl'), "no mutual term 'kl'")
  fails(lambda: evaluation_script.evaluate_file(config, 'x.json'), 'scores no result files')
  with pytest.MonkeyPatch.context() as patch:  # a task without a function serve
    patch.delattr(recognition, 'serve')
    fails(lambda: tasks.serve(config, None), 'cannot predict without a data set')
  config = tiny_recognition.config('clean')
  config.evals.val.split = 'train'
  config.data.recipe = config.evals.val.recipe = 'none'
  capsys.readouterr()
  tasks.build(config, str(tmp_path))
  assert '5 of 5 identities are trained on' in capsys.readouterr().out


def test_empty_options_are_as_the_loader_has_them():
  config = faces_recognition.get_config()
  assert recognition._data_set(config, None) == ('face_folders', 'data/faces', dict(
    held_out=0, seed=0))
  other = {'name': 'coco', 'root': 'FOLDER', 'loader': {'folder': 'val'}}
  assert recognition._data_set(config, other) == ('coco', 'FOLDER', {'folder': 'val'})
  config.data.name = 'coco'
  config.data.loader.update(dict(skeleton='300w', held_out=4))
  options = dict(skeleton='300w', held_out=4, seed=0)
  assert recognition._data_set(config, config.evals.val.data)[2] == options
  config.evals.val.data.loader.skeleton = 'wflw'
  assert recognition._data_set(config, config.evals.val.data)[2] == options | {'skeleton': 'wflw'}
  config = faces_recognition.get_config()
  config.data.name = 'lfw'  # has no held_out
  assert recognition._data_set(config, None) == ('lfw', 'data/faces', {})
  config.data.loader.held_out, config.data.loader.pairs = 3, 'pairs.txt'
  assert recognition._data_set(config, None)[2] == dict(held_out=3, pairs='pairs.txt')
  fails(lambda: recognition.load(config, 'train'), "'lfw' takes", 'held_out')


def test_folds_of_many_people_share_none():
  people = identities.load('synthetic', 'val', identities=100, pictures=3, size=(32, 32))
  pairs, folds, told = recognition._pairs(people, 200)
  assert told == {'pairs': f'{len(pairs)} drawn', 'folds': 'no identity in two'}
  of = people.identity[pairs[:, :2]]
  assert all(len(set(folds[(of == person).any(1)])) == 1 for person in set(of.ravel().tolist()))
  given = dataclasses.replace(people, pairs=pairs[::2], folds=folds[::2])
  found, same, told = recognition._pairs(given, 200)
  assert found is given.pairs and same is given.folds and told['folds'] == 'given'
  assert told['pairs'] == f'{len(found)} given'


def test_words_of_the_configs():
  for argument, depth in (('', 18), ('r50', 50), ('r100,occluded', 100)):
    assert faces_recognition.get_config(argument).system.model.depth == depth
  config = faces_recognition.get_config('cosface,clean')
  assert config.system.margin == 0.4 and config.system.view == 'clean'
  assert set(config.optim) == {'net', 'head'}
  assert set(quickstart_recognition.get_config().optim) == {'gnet', 'gnet_head', 'enet',
                                                            'enet_head'}
  assert quickstart_recognition.get_config('distill').optim.gnet.frozen


def test_whom_a_network_finds_is_framed():
  picture = np.full((20, 20, 3), 9, np.uint8)
  for right, colour in ((True, (0, 200, 0)), (False, (220, 0, 0))):
    shown = drawing.framed(picture, right)
    assert tuple(shown[0, 7]) == tuple(shown[19, 7]) == tuple(shown[7, 19]) == colour
    assert (shown[3:-3, 3:-3] == 9).all() and (picture == 9).all()
