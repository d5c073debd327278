"""Sets whose annotations are kept secret: poses are written in the form that is sent in."""
import json
import pathlib
import shutil

import numpy as np
import pytest
import scipy.io

import eval as evaluation_script
from configs import common, protocols
from dslope_jax import skeletons
from dslope_jax.tasks.people import load_source
from input_pipeline import sources
from tests import tiny
from tests.data_sets import write_coco, write_json, write_keypoints, write_mpii
from tests.refusals import fails
from train import train


def _trained(tmp_path, root, name, train_split, evaluation, metric):
  """A run of one step on a set on disk, and the config that evaluates it on another split."""
  config = tiny.config(steps=1, name=name, root=root, train_split=train_split)
  config.data.loader = common.ConfigDict()
  config.evals = common.ConfigDict(dict(val=evaluation | dict(metric=metric, batch_size=2)))
  train(config, str(tmp_path / 'run'))
  return config, str(tmp_path / 'run')


def _other_folder(workdir):
  """What was evaluated after `val`, under another stamp."""
  (folder,) = [f for f in pathlib.Path(workdir, 'eval_1').iterdir() if f.name != 'val']
  return folder


@pytest.mark.slow
def test_mpii_test(tmp_path):
  root = write_mpii(tmp_path / 'mpii')
  annot = pathlib.Path(root, 'annot')
  entries = json.loads((annot / 'valid.json').read_text())
  for entry in entries:
    del entry['joints'], entry['joints_vis']
  write_json(annot / 'test.json', entries)
  config, workdir = _trained(tmp_path, root, 'mpii', 'train', common.evaluation('valid', 'pckh'),
                             'pckh')
  config.evals.val.update(dict(split='test', metric='none', recipe='none'))
  evaluation_script.evaluate(config, workdir, report=True)
  valid, test = pathlib.Path(workdir, 'eval_1', 'val'), _other_folder(workdir)
  preds = scipy.io.loadmat(test / 'predictions_gnet_clean.mat')['preds']
  assert preds.shape == (4, 16, 2)
  poses = json.loads((test / 'predictions_gnet_clean.json').read_text())
  own = np.array([p['keypoints'] for p in poses]).reshape(4, 16, 3)[..., :2]
  np.testing.assert_allclose(preds, own + 1, atol=0.01)  # MPII counts from 1
  # The same pictures as in 'valid': equal poses.
  np.testing.assert_array_equal(
    preds, scipy.io.loadmat(valid / 'predictions_gnet_clean.mat')['preds'])
  assert json.loads((test / 'results.json').read_text())['results']['gnet/clean'] == {}
  fails(lambda: evaluation_script.evaluate(config, workdir, stress=True), 'no variants')
  config.evals.val.metric = 'pckh'
  fails(lambda: evaluation_script.evaluate(config, workdir), 'needs annotated joints', "'none'")


@pytest.fixture
def secret(tmp_path):
  """A COCO folder with a file of pictures alone, and detections on them."""
  root = write_coco(tmp_path / 'coco')
  annotations = pathlib.Path(root, 'annotations')
  truth = json.loads((annotations / 'person_keypoints_val.json').read_text())
  found = [{'image_id': a['image_id'], 'category_id': 1, 'bbox': a['bbox'], 'score': 0.5 + i / 10}
           for i, a in enumerate(truth.pop('annotations'))]
  truth['categories'] = [{'id': 3, 'name': 'car'}, {'id': 1, 'name': 'person'}]
  write_json(annotations / 'image_info_secret.json', truth)
  pathlib.Path(root, 'val').rename(pathlib.Path(root, 'secret'))
  write_json(tmp_path / 'found.json', found)
  return root, str(tmp_path / 'found.json'), truth


@pytest.mark.slow
def test_coco_test_dev(secret, tmp_path):
  root, boxes, truth = secret
  evaluation = common.evaluation('train', 'coco_ap')
  config, workdir = _trained(tmp_path, root, 'coco', 'train', evaluation, 'coco_ap')
  config.evals.val.update(dict(split='secret', metric='none', recipe='none'))
  config.evals.val.data.loader = common.ConfigDict(dict(
    annotations='annotations/image_info_{split}.json'))
  fails(lambda: evaluation_script.evaluate(config, workdir), 'no annotated people',
        'evals.val.boxes')
  config.evals.val.boxes = boxes
  results = evaluation_script.evaluate(config, workdir)['val']
  folder = _other_folder(workdir)
  assert results['enet/clean'] == {}
  poses = json.loads((folder / 'predictions_enet_clean.json').read_text())
  assert {p['image_id'] for p in poses} == {i['id'] for i in truth['images']}
  assert all(p['category_id'] == 1 and len(p['keypoints']) == 51 for p in poses)
  fails(lambda: evaluation_script.evaluate_file(config, boxes), "'none'", 'without annotations')


@pytest.mark.parametrize('word', ['crowdpose', 'mpii'])
def test_result_files_are_scored_without_pictures(tmp_path, word):
  if word == 'mpii':
    root = write_mpii(tmp_path)
  else:
    root = write_keypoints(tmp_path, 'json/crowdpose_test.json', skeletons.CROWDPOSE)
  config = protocols.get_config(word)
  config.data.root = root
  source = load_source(config, config.evals.val.split)
  truth = [{'image_id': int(i), 'category_id': 1, 'score': 1.0,
            'keypoints': np.column_stack([k, v > 0]).ravel().tolist()}
           for i, k, v in zip(source.image_id, source.keypoints, source.visibility, strict=True)]
  write_json(tmp_path / 'truth.json', truth)
  for folder in ('images', 'train', 'valid'):
    shutil.rmtree(pathlib.Path(root, folder), ignore_errors=True)
  fails(lambda: load_source(config, config.evals.val.split), 'image', kind=FileNotFoundError)
  (row,) = evaluation_script.evaluate_file(config, str(tmp_path / 'truth.json'), report=True)[
    'val'].values()
  assert row['visible_joints'] == next(iter(row.values())) == pytest.approx(100)
  page = pathlib.Path(tmp_path / 'truth_eval/val/report.html')
  page.write_text('of the numbers before')
  evaluation_script.evaluate_file(config, str(tmp_path / 'truth.json'))
  assert '<html' in page.read_text()


def test_pictures_without_annotations(secret):
  root, _, truth = secret
  source = sources.load('coco', 'secret', root=root,
                               annotations='annotations/image_info_{split}.json')
  assert len(source) == 0 and source.skeleton.num_keypoints == 17 and source.category_id == 1
  assert len(source.ground_truth['images']) == len(truth['images'])
