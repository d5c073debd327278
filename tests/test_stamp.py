"""Everything that changes the numbers of an evaluation is in its stamp.

But for the pictures: a stamp knows annotations, crops, and the folder that pictures are read from
below the root, not their pixels.
"""
import json
import shutil

import flax.linen as nn
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import common
from dslope_jax import models, tasks
from dslope_jax.evaluation.engine import Engine
from dslope_jax.tasks.base import describe_loader
from dslope_jax.training import sharding, train_state
from tests.data_sets import write_coco

ENTRY, LOADER = 'evals.val.', 'data.loader.'
# {field: another legal value}; ROOT is the folder of the set.
CHANGES = {
  'evals.val.split': 'train', 'evals.val.metric': 'pck', 'evals.val.recipe': 'severity3',
  'evals.val.boxes': 'ROOT/detections.json', 'evals.val.batch_size': 3, 'evals.val.flip': False,
  'evals.val.shift': False, 'evals.val.oks_nms': 0.01, 'evals.val.data.name': 'synthetic',
  'evals.val.data.root': 'ROOT/other', 'evals.val.data.loader': dict(padding=1.1),
  'data.loader.annotations': 'annotations/other_{split}.json', 'data.loader.images': 'gray',
  'data.loader.padding': 1.5, 'data.loader.skip_invalid': True,
  'data.loader.category': 'person', 'data.loader.skeleton': 'coco',
  'system.codec': 'hrnet', 'system.sigma': 3.0, 'data.size': (64, 64), 'ema_decay': 0.9}
# These change no number, as long as the annotations stay the same.
ALIKE = ('evals.val.batch_size', 'data.loader.skip_invalid', 'data.loader.category',
         'data.loader.skeleton', 'ema_decay')


class Net(nn.Module):
  """Heatmaps of random features: other pictures, other answers."""
  num_keypoints: int

  @nn.compact
  def __call__(self, images, train=False):
    x = nn.relu(nn.Conv(8, (7, 7), (4, 4))(images))
    return {'heatmaps': nn.Conv(self.num_keypoints, (5, 5))(x)}


def _seen_twice(truth):
  """A second person a little beside each: whether one of them is suppressed shows."""
  for person in list(truth['annotations']):
    beside = [person['bbox'][0] + 3, *person['bbox'][1:]]
    truth['annotations'].append(person | {'id': person['id'] + 1, 'bbox': beside})


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  """A set, a detector's boxes, the same pictures in grey, other annotations, and another set."""
  root = tmp_path_factory.mktemp('stamp') / 'set'
  write_coco(root, num_images=6, edit=_seen_twice)
  write_coco(root / 'other', num_images=5)
  annotations = root / 'annotations'
  for split in ('train', 'val'):
    truth = json.loads((annotations / f'person_keypoints_{split}.json').read_text())
    truth['annotations'].pop()
    (annotations / f'other_{split}.json').write_text(json.dumps(truth))
  truth = json.loads((annotations / 'person_keypoints_val.json').read_text())
  boxes = [{'image_id': a['image_id'], 'category_id': 1, 'score': 0.5,
            'bbox': [v + 2 for v in a['bbox']]} for a in truth['annotations']]
  (root / 'detections.json').write_text(json.dumps(boxes * 2))
  shutil.copytree(root / 'train', root / 'gray')
  for number, file in enumerate(sorted((root / 'val').iterdir())):
    shutil.copy(sorted((root / 'train').iterdir())[number], root / 'gray' / file.name)
  return root


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
  monkeypatch.setattr(models, 'build', lambda num_keypoints, **_: Net(num_keypoints))


def config_of(root, **changes):
  config = common.top_down()
  config.data.update(dict(root=str(root), train_split='train', size=(32, 48)))
  config.data.bank.num_people = 6
  config.system.codec = 'dark'
  config.evals.val.batch_size = 4
  config.evals.val.oks_nms = 0.5
  for field, value in changes.items():
    value = value.replace('ROOT', str(root)) if isinstance(value, str) else value
    if isinstance(value, dict):
      value = ConfigDict(value)
    config.update_from_flattened_dict({field: value})
  if config.evals.val.data.name == 'synthetic':
    config.evals.val.data.loader = ConfigDict(dict(num_people=6, size=(64, 96)))
  return config


def evaluate(config, workdir):
  """(stamp, everything that comes out) for weights that depend on nothing."""
  task, mesh = tasks.build(config, str(workdir)), sharding.make_mesh()
  entry, weights = task.evals['val'], train_state.init_weights(task.system, 1, task.example)
  outputs = Engine(task.system, entry, mesh).predict(
    sharding.replicate(weights, mesh), entry.rows, entry.batches())
  scores = entry.score(outputs, None)
  poses = [[p['keypoints'] for p in poses] for name, poses in sorted(scores.files.items())
           if name.startswith('predictions')]
  return json.loads(json.dumps(entry.stamp)), (scores.results, poses)


@pytest.fixture(scope='module')
def before(root, tmp_path_factory):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(models, 'build', lambda num_keypoints, **_: Net(num_keypoints))
    workdir = tmp_path_factory.mktemp('workdir')
    return workdir, *evaluate(config_of(root), workdir)


def same(one, other):
  """Whether numbers and poses are equal, up to what another batch does to rounding."""
  if jax.tree.structure(one) != jax.tree.structure(other):
    return False
  return all(np.allclose(a, b, atol=1e-3, equal_nan=True) for a, b in
             zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_every_field_is_in_the_table():
  config = common.top_down()
  entry = [ENTRY + f for f in config.evals.val if f != 'data']
  fields = entry + [ENTRY + 'data.' + f for f in config.evals.val.data]
  fields += [LOADER + f for f in config.data.loader]
  own = ['system.codec', 'system.sigma', 'data.size', 'ema_decay']
  assert sorted(CHANGES) == sorted(fields + own)


@pytest.mark.parametrize('field', CHANGES)
def test_what_changes_the_numbers_changes_the_stamp(root, before, field):
  workdir, stamp, numbers = before
  other_stamp, other = evaluate(config_of(root, **{field: CHANGES[field]}), workdir)
  if field in ALIKE:
    assert same(numbers, other)
  else:
    assert not same(numbers, other)  # else this test would show nothing
    assert stamp != other_stamp


@pytest.mark.parametrize('edit', [
  dict(area=900.0), dict(iscrowd=1), dict(bbox=[20, 20, 40, 80]),
  dict(covered=[1] * 17)], ids=lambda edit: next(iter(edit)))
def test_what_answers_are_compared_with_is_in_the_stamp(root, before, tmp_path, edit):
  """An annotation that differs in what only the metric reads."""
  workdir, stamp, numbers = before
  path = 'annotations/edited.json'
  truth = json.loads((root / 'annotations/person_keypoints_val.json').read_text())
  truth['annotations'][1] |= edit
  (root / path).write_text(json.dumps(truth))
  config = config_of(root)
  config.evals.val.data.loader = ConfigDict(dict(annotations=path))
  other_stamp, _ = evaluate(config, workdir)
  ignored = ('loader', 'data')
  assert {k: v for k, v in stamp.items() if k not in ignored} != {
    k: v for k, v in other_stamp.items() if k not in ignored}


def test_other_boxes_of_a_detector_change_the_stamp(root, before, tmp_path):
  boxes, stamps = json.loads((root / 'detections.json').read_text()), []
  for field, value in (('score', 0.9), ('score', 0.8), ('bbox', [1, 1, 30, 90])):
    (tmp_path / 'boxes.json').write_text(json.dumps([b | {field: value} for b in boxes]))
    config = config_of(root, **{'evals.val.boxes': str(tmp_path / 'boxes.json')})
    stamps.append(json.dumps(evaluate(config, before[0])[0]))
  assert len(set(stamps)) == 3


def test_a_moved_set_has_the_same_stamp(root, before, tmp_path):
  workdir, stamp, numbers = before
  shutil.copytree(root, tmp_path / 'moved')
  config = config_of(root, **{'evals.val.data.root': str(tmp_path / 'moved'),
                              'data.num_workers': 1})
  moved, other = evaluate(config, workdir)
  assert moved == stamp and same(numbers, other)


def test_a_stamp_names_no_folder_of_the_machine():
  """A run and what is published of it have the same stamp, and the card shows it to others."""
  options = {'split_file': '/home/somebody/split.json', 'images': 'gray', 'seed': 3}
  assert describe_loader(options) == 'images=gray,seed=3,split_file=split.json'
