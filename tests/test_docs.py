"""README and docs/: commands, files, links and config fields exist; the examples work."""
import importlib
import importlib.util
import pathlib
import re
import subprocess
import sys
import tomllib
import types

import cv2
import jax
import numpy as np
import pytest
import yaml
from ml_collections import ConfigDict

import eval as evaluation_script
from configs import common
from configs.fields import FIELDS
from dslope_jax import doctor, skeletons
from dslope_jax.systems.base import Facts
from dslope_jax.training import train_state
from dslope_jax.wrong_flags import OPEN
from tools.browse import browse
from train import train

ROOT = pathlib.Path(__file__).parent.parent
PAGES = {p.relative_to(ROOT).as_posix(): p.read_text(encoding='utf-8')
         for p in (*sorted(ROOT.glob('*.md')), *sorted((ROOT / 'docs').glob('*.md')))}
of_pages = pytest.mark.parametrize('page', PAGES)
_FOLDERS = 'configs|tools|benchmarks|tests|dslope_jax|input_pipeline|docs'


@of_pages
def test_files_exist(page):
  text = PAGES[page]
  named = set(re.findall(r'python ([\w/]+\.py)', text))
  named |= set(re.findall(rf'\b((?:{_FOLDERS})/[\w/.-]*[\w/])', text))
  named -= set(re.findall(r'[Ss]ave (?:it|this) as `([^`]+)`', text))  # the reader makes them
  missing = [name for name in named if not {'NAME', 'WORD'} & set(re.split(r'[/.]', name))
             and not (ROOT / name).exists()]
  assert not missing


def test_the_table_of_configs():
  named = set(re.findall(r'^\|.*', PAGES['docs/train.md'], re.M))
  named = {file for line in named for file in re.findall(r'`(\w+\.py)`', line)}
  found = {p.name for p in (ROOT / 'configs').glob('*.py')} - {
    '__init__.py', 'common.py', 'fields.py'}
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
    if page.startswith('docs/'):  # the site has no other files
      assert target.parent == ROOT / 'docs', link


def test_texts_of_fields_name_pages_that_there_are():
  pages = {page for text in FIELDS.values() for page in re.findall(r'docs/\w+\.md', text)}
  assert len(pages) > 3 and pages <= set(PAGES)


def pages_of(nav):
  for entry in nav:
    for part in entry.values() if isinstance(entry, dict) else [entry]:
      yield from [part] if isinstance(part, str) else pages_of(part)


def test_every_page_is_in_the_navigation():
  """And once; README and its neighbours are pages by docs/site_hooks.py."""
  site = yaml.safe_load((ROOT / 'mkdocs.yml').read_text())
  named = {'README.md': 'index.md'}
  pages = sorted(name.removeprefix('docs/') if name.startswith('docs/')
                 else named.get(name, name.lower()) for name in PAGES)
  assert sorted(pages_of(site['nav'])) == pages


@pytest.mark.skipif(not importlib.util.find_spec('material'),
                    reason="needs mkdocs-material: pip install -e '.[docs]'")
def test_the_site_is_built_without_a_warning(tmp_path):
  out = subprocess.run([sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir',
                        str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
  assert out.returncode == 0, out.stdout + out.stderr
  start = (tmp_path / 'index.html').read_text()
  assert 'href="dslope.html"' in start and 'href="contributing.html"' in start
  assert not re.findall(r'(?:src|href)="(?:https?:)?//(?!squidfunk)', start)  # nothing from afar


def test_the_citation_names_this_version():
  citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
  project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
  assert citation['version'] == project['version'] and citation['license'] == project['license']
  assert {'cff-version', 'message', 'title', 'authors'} <= set(citation)
  for paper in citation['references']:
    assert {'type', 'title', 'authors', 'year'} <= set(paper) and all(
      {'name'} == set(a) or {'family-names', 'given-names'} == set(a) for a in paper['authors'])


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
        node, (section, _, option) = config, field.rpartition('.')
        for part in section.split('.') if section else ():
          assert part in node, f'{field} in: {line}'
          node = node[part]
        assert option in node or section.endswith(OPEN), f'{field} in: {line}'


# {what is added: code}
EXAMPLES = dict(re.findall(r'^## Add an? (.+?)$.*?```python\n(.*?)```', PAGES['docs/extend.md'],
                           re.M | re.S))


def example(title):
  """The names that the example of an addition defines."""
  names = {'__name__': f'example_{title.replace(" ", "_")}'}
  exec(EXAMPLES[title], names)
  return names


def test_example_of_a_network():
  model = example('network')['Model'](num_keypoints=3, width=4)
  out, _ = jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x),
                          np.zeros((2, 32, 16, 3), np.float32))
  assert out['heatmaps'].shape == (2, 8, 4, 3)


def test_example_of_a_data_set(tmp_path):
  cv2.imwrite(str(tmp_path / 'a.png'), np.full((20, 30, 3), 9, np.uint8))
  points = np.array([[[1, 2], [3, 4], [5, 6]]], np.float32)
  np.savez(tmp_path / 'train.npz', picture=np.array(['a.png']), keypoints=points,
           box=np.array([[0, 0, 10, 10]], np.float32), v=np.full((1, 3), 2, np.uint8))
  source = example('data set')['load']('train', root=str(tmp_path))
  assert len(source) == 1 and source.read(0).shape == (20, 30, 3)
  assert source.skeleton.flip_pairs == ((0, 1),) and len(source.digest) == 12


SMALL = dict(name='simple_baseline', depth=10, width=4, filters=(4, 4, 4))


def test_example_of_a_system():
  """The middle of a flat heatmap is the middle of the crop, and its loss the L1 distance to it."""
  system = example('system')['build'](Facts(skeletons.COCO, (32, 64)), model=SMALL)
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
  task = example('task')['build'](config, '')
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


@pytest.mark.slow
def test_own_data_from_pictures_to_report(tmp_path, monkeypatch, capsys):
  """docs/own-data.md with fewer birds, two steps and the small network of docs/extend.md."""
  page = PAGES['docs/own-data.md']
  make, config_file = re.findall(r'```python\n(.*?)```', page, re.S)
  monkeypatch.chdir(tmp_path)
  exec(make.replace("('train', 80), ('val', 20)", "('train', 24), ('val', 8)"), {})
  made = {}
  exec(config_file, made)
  config = made['get_config']()
  network = types.ModuleType('dslope_jax.models.example')
  exec(EXAMPLES['network'], network.__dict__)
  monkeypatch.setitem(sys.modules, network.__name__, network)
  config.system.model = ConfigDict(dict(name='example', width=4))
  config.duration, config.batch_size, config.evals.val.batch_size = '2 steps', 8, 8
  commands = re.findall(r'^python (\S+) --config birds.py(.*)$', page, re.M)
  assert [script for script, _ in commands] == ['tools/doctor.py', 'tools/browse.py', 'train.py',
                                                'eval.py']
  for found in doctor.examine(config.copy_and_resolve_references(), True, 0).values():
    assert not found.suspects and found.source.skeleton.flip_pairs == ((1, 2),)
  captions = browse(config.copy_and_resolve_references(), 'browse/birds.jpg', 8)
  assert any(' wing' in text or '_wing' in text for text in captions)
  train(config, 'runs/birds')
  results = evaluation_script.evaluate(config, 'runs/birds', stress=True, report=True)
  assert {'gnet/clean', 'enet/occluded', 'pick/clean'} <= set(results['val'])
  assert pathlib.Path('runs/birds/eval_2/val/report.html').exists()
  assert pathlib.Path('runs/birds/eval_2/val/pictures.jpg').exists()


def test_own_data_on_the_command_line():
  """The flags of docs/own-data.md say the same of the files as its config does."""
  page = PAGES['docs/own-data.md']
  made = {}
  exec(re.findall(r'```python\n(.*?)```', page, re.S)[1], made)
  command = re.search(r'python train.py --config configs/ccoco_hrnet.py.*?```', page, re.S)[0]
  fields = dict(re.findall(r"--config\.([\w.]+)='?([^'\s]+)", command))
  assert len(fields) == 5
  config = made['get_config']()
  for field, value in fields.items():
    node = config
    for part in field.split('.'):
      node = node[part]
    assert node == value, field
