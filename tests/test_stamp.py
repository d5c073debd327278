"""Whatever changes the numbers of an evaluation changes its stamp."""
import json
import shutil

import jax
import numpy as np
import pytest

from dslope_jax import tasks
from dslope_jax.evaluation.engine import Engine
from dslope_jax.training import sharding, train_state
from tests import data_sets, tiny


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A COCO folder, the same people under other names, a copy of the pictures, detector boxes."""
  folder = tmp_path_factory.mktemp('stamp')
  root = data_sets.write_coco(folder / 'coco')
  data_sets.write_coco(folder / 'other', num_images=3)
  annotations = folder / 'coco/annotations'
  truth = json.loads((annotations / 'person_keypoints_val.json').read_text())
  boxes = [{'image_id': a['image_id'], 'category_id': 1, 'bbox': a['bbox'], 'score': 0.9}
           for a in truth['annotations']]
  (folder / 'boxes.json').write_text(json.dumps(boxes))
  truth['annotations'][0]['keypoints'][0] += 1
  (annotations / 'moved_val.json').write_text(json.dumps(truth))
  shutil.copytree(folder / 'coco/val', folder / 'coco/pictures')
  shutil.copytree(folder / 'coco', folder / 'copy')
  return folder, root


def build(folder, root, workdir, **changes):
  config = tiny.config(None, name='coco', root=root, size=(32, 64))
  config.evals.val.metric = 'coco_ap'
  config.evals.val.data.loader = {}
  config.unlock()
  for field, value in changes.items():
    path, _, name = field.replace('__', '.').rpartition('.')
    section = config
    for part in path.split('.') if path else ():
      section = section[part]
    section[name] = value.replace('FOLDER', str(folder)) if isinstance(value, str) else value
  return config, tasks.build(config, str(workdir))


# Field: a value that changes the numbers, or may.
CHANGED = {
  'evals.val.split': 'train', 'evals.val.metric': 'pck', 'evals.val.recipe': 'none',
  'evals.val.boxes': 'FOLDER/boxes.json', 'evals.val.flip': False, 'evals.val.shift': False,
  'evals.val.oks_nms': 0.5, 'evals.val.data.root': 'FOLDER/other',
  'evals.val.data.loader': dict(padding=1.1),
  'data.loader.annotations': 'annotations/moved_{split}.json', 'data.loader.images': 'pictures',
  'data.loader.padding': 1.0, 'data.loader.skip_invalid': True,
  'system.codec': 'udp', 'system.sigma': 3.0, 'data.size': (48, 64), 'ema_decay': 0.9}
# Field: a value that changes no number.
SAME = {'evals.val.batch_size': 3, 'evals.val.data.root': 'FOLDER/copy',
        'evals.val.data.name': 'coco', 'data.num_workers': 1}


def test_every_field_is_tried(folder, tmp_path):
  config, _ = build(*folder, tmp_path)
  entry = [f'evals.val.{k}' for k in config.evals.val if k != 'data']
  data = [f'evals.val.data.{k}' for k in config.evals.val.data]
  loader = [f'data.loader.{k}' for k in config.data.loader]
  assert set(entry + data + loader) <= set(CHANGED) | set(SAME)


@pytest.mark.parametrize('field', CHANGED)
def test_what_may_change_numbers_changes_the_stamp(folder, tmp_path_factory, field):
  changes = {field: CHANGED[field]}
  if field == 'data.loader.annotations':  # of the validation alone
    shutil.copy(folder[0] / 'coco/annotations/person_keypoints_train.json',
                folder[0] / 'coco/annotations/moved_train.json')
  if field == 'data.loader.images':
    changes['data.train_split'] = 'val'
  _, task = build(*folder, tmp_path_factory.mktemp('run'), **changes)
  _, plain = build(*folder, tmp_path_factory.mktemp('run'))
  assert task.evals['val'].stamp != plain.evals['val'].stamp


def test_other_boxes_of_a_detector_change_the_stamp(folder, tmp_path):
  boxes, stamps = json.loads((folder[0] / 'boxes.json').read_text()), []
  for field, value in (('score', 0.9), ('score', 0.8), ('bbox', [1, 1, 30, 90])):
    (tmp_path / 'boxes.json').write_text(json.dumps([b | {field: value} for b in boxes]))
    _, task = build(*folder, tmp_path, **{'evals.val.boxes': str(tmp_path / 'boxes.json')})
    stamps.append(json.dumps(task.evals['val'].stamp))
  assert len(set(stamps)) == 3


def test_what_leaves_the_stamp_leaves_the_numbers(folder, tmp_path):
  found = []
  for changes in ({}, *({field: value} for field, value in SAME.items())):
    _, task = build(*folder, tmp_path, **changes)
    entry, mesh = task.evals['val'], sharding.make_mesh()
    weights = train_state.init_weights(task.system, 0, task.example)
    engine = Engine(task.system, entry, mesh)
    outputs = engine.predict(sharding.replicate(weights, mesh), entry.rows, entry.batches())
    found.append((entry.stamp, jax.device_get(outputs), entry.score(outputs, None).results))
  for stamp, outputs, results in found[1:]:
    assert stamp == found[0][0] and str(results) == str(found[0][2])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), outputs, found[0][1])
