"""README and docs/: commands, files, links and config fields exist; the examples work."""
import importlib
import pathlib
import re

import cv2
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import common
from dslope_jax import skeletons
from dslope_jax.systems.base import Facts
from dslope_jax.training import train_state

ROOT = pathlib.Path(__file__).parent.parent
PAGES = {p.relative_to(ROOT).as_posix(): p.read_text(encoding='utf-8')
         for p in (ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md')))}
of_pages = pytest.mark.parametrize('page', PAGES)
_FOLDERS = 'configs|tools|benchmarks|tests|dslope_jax|input_pipeline|docs'


@of_pages
def test_files_exist(page):
  text = PAGES[page]
  named = set(re.findall(r'python ([\w/]+\.py)', text))
  named |= set(re.findall(rf'\b((?:{_FOLDERS})/[\w/.]*[\w/])', text))
  missing = [name for name in named if not {'NAME', 'WORD'} & set(re.split(r'[/.]', name))
             and not (ROOT / name).exists()]
  assert not missing


def test_the_table_of_configs():
  named = set(re.findall(r'`(\w+\.py)`', PAGES['README.md'])) - {
    'train.py', 'eval.py', 'predict.py'}
  found = {p.name for p in (ROOT / 'configs').glob('*.py')} - {'__init__.py', 'common.py'}
  assert named == found


@of_pages
def test_links_resolve(page):
  for link in re.findall(r'\]\(([^)]+)\)', PAGES[page]):
    path, _, anchor = link.partition('#')
    target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
    assert target.exists(), link
    if anchor:
      titles = re.findall(r'^#+ (.+)$', target.read_text(encoding='utf-8'), re.M)
      assert anchor in {re.sub(r'[^\w -]', '', t.lower()).replace(' ', '-') for t in titles}, link


@of_pages
def test_config_fields_exist(page):
  for line in PAGES[page].replace('\\\n', ' ').splitlines():
    file = re.search(r'configs/(?!common)(\w+)\.py(?::([\w,]+))?', line)
    name, argument = file.groups() if file else ('ccoco_hrnet', None)
    argument = argument if argument != 'WORD' else None
    fields = re.findall(r'--config\.([\w.]*\w)', line)
    if fields or file:
      get_config = importlib.import_module(f'configs.{name}').get_config
      config = get_config(argument) if argument else get_config()
      for field in fields:
        node = config
        for part in field.split('.'):
          assert part in node, f'{field} in: {line}'
          node = node[part]


def examples():
  """{what is added: the names that its example defines}."""
  out = {}
  for title, code in re.findall(r'^## Add an? (.+?)$.*?```python\n(.*?)```',
                                PAGES['docs/extend.md'], re.M | re.S):
    exec(code, out.setdefault(title, {'__name__': f'example_{title.replace(" ", "_")}'}))
  return out


def test_example_of_a_network():
  model = examples()['network']['Model'](num_keypoints=3, width=4)
  out, _ = jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x),
                          np.zeros((2, 32, 16, 3), np.float32))
  assert out['heatmaps'].shape == (2, 8, 4, 3)


def test_example_of_a_data_set(tmp_path):
  cv2.imwrite(str(tmp_path / 'a.png'), np.full((20, 30, 3), 9, np.uint8))
  points = np.array([[[1, 2], [3, 4], [5, 6]]], np.float32)
  np.savez(tmp_path / 'train.npz', picture=np.array(['a.png']), keypoints=points,
           box=np.array([[0, 0, 10, 10]], np.float32), v=np.full((1, 3), 2, np.uint8))
  source = examples()['data set']['load']('train', root=str(tmp_path))
  assert len(source) == 1 and source.read(0).shape == (20, 30, 3)
  assert source.skeleton.flip_pairs == ((0, 1),) and len(source.digest) == 12


SMALL = dict(name='simple_baseline', depth=18, width=4, filters=(4, 4, 4))


def test_example_of_a_system():
  """The middle of a flat heatmap is the middle of the crop, and its loss the L1 distance to it."""
  system = examples()['system']['build'](Facts(skeletons.COCO, (32, 64)), model=SMALL)
  flat = lambda name, images, train=True: {'heatmaps': np.zeros((2, 16, 8, 17), np.float32)}
  batch = {'image': np.zeros((2, 64, 32, 3), np.uint8), 'visibility': np.ones((2, 17), np.uint8),
           'keypoints': np.full((2, 17, 2), 16, np.float32)}
  out = system.predict(flat, batch, flip=True)
  np.testing.assert_allclose(out['net/clean']['keypoints'][0, 0], (16, 32), rtol=1e-5)
  loss, terms = system.loss(flat, batch)
  np.testing.assert_allclose([loss, terms['net/l1']], [8, 8], rtol=1e-5)


def test_example_of_a_task():
  config = common.top_down()
  config.data.update(dict(name='synthetic', size=(32, 64), train_split='train'))
  config.data.loader = ConfigDict(dict(num_people=4, size=(96, 128)))
  config.system.model, config.batch_size = ConfigDict(SMALL), 2
  config.evals.val.split = 'test'
  task = examples()['task']['build'](config, '')
  batches = task.stream(0)
  assert next(batches)['image'].shape == (2, 64, 32, 3)
  batches.close()
  shapes = train_state.weight_shapes(task.system, task.example)
  assert set(shapes['params']) == {'net'} and task.samples == 4
  entry = task.evals['val']
  batch = next(iter(entry.batches()))
  rows = {k: batch[k][:4] for k in entry.keep}
  perfect = {'batch': rows, 'net/clean': {'keypoints': rows['keypoints'] + np.float32([3, 4])}}
  assert entry.score(perfect, None).results['net/clean']['EPE'] == pytest.approx(5, rel=1e-5)
