"""Our own files are checked, not believed: whatever is done to them, one line tells it, or nothing
is changed. Hypothesis draws the damage."""
import json
import pathlib
import shutil
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslope_jax import own_files, skeletons
from dslope_jax.errors import UserError
from dslope_jax.evaluation import base, compare, confidences, report
from dslope_jax.evaluation.base import SampleTable
from dslope_jax.metrics import calibration, mixture
from dslope_jax.own_files import Column
from dslope_jax.systems.base import Facts
from dslope_jax.training import metric_writer
from dslope_jax.training import workdir as workdirs
from experiments import table
from input_pipeline import sources
from input_pipeline.geometry import Augmentation
from input_pipeline.occlusion import bank as patches
from input_pipeline.occlusion import benchmark
from input_pipeline.prepared import area, reading, writing
from tests import tiny
from tests.refusals import fails

SIZE = (48, 64)
STAMP = {'data': 'synthetic', 'split': 'val', 'recipe': 'severity3', 'weights_step': 30}
CURVE = {'kind': 'isotonic', 'x': [0.1, 0.9], 'y': [0.0, 1.0]}
FITS = {'right': {'gnet': CURVE, 'enet': CURVE}, 'visible': {'gnet': CURVE}, 'people': 5, 'gates': {
  'gnet+enet': {'gate': {'kind': 'logistic', 'mean': [0.0] * 4, 'deviation': [1.0] * 4,
                         'weights': [0.5] * 4, 'bias': 0.1},
                'reach': 0.3, 'fits': [CURVE, None], 'context': False}}}
CELL = {'arm': 'a', 'seed': 0, 'stage': 'full', 'cpu_hours': 1.0, 'parameters': {'net': 5},
        'pictures_per_cpu_second': 3.0,
        'curve': [{'cpu_minutes': 1.0, 'results': {'net/clean': 5}}],
        'results': {'val': {'stamp': dict.fromkeys(table._Stamp.__annotations__, ''), 'rows': {
          'net/clean': {'results': {}, 'right': [3, 4], 'labelled': [5, 6]}}}}}
LINES = [{'step': 1, 'loss': 0.5},
         {'step': 1, 'entry': 'val', 'results': {'net/clean': {'PCK': 5.0, 'NME': None}}}]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A folder with one of each of our files, as this program writes them."""
  folder = tmp_path_factory.mktemp('own')
  config = tiny.config()
  workdirs.check_config(config, folder, False)
  workdirs.check_facts(folder, Facts(skeletons.COCO, (32, 64)), 'abc')
  base.write_stamped(folder / 'results.json', STAMP, {'results': {
    'gnet/clean': {'PCK': 50.0}, 'enet/clean': {'PCK': float('nan')}}})
  base.write_stamped(folder / 'stress.json', STAMP, {'stress': {'gnet': {
    'metric': 'PCK', 'severity': [[0, 50.0], [1, 40.0]], 'area': 45.0,
    'others': {'joint=nose': 4}}}})
  samples = SampleTable(np.arange(4), np.array([0., 100, 0, 100]), np.ones(4))
  base.save_samples(folder / 'samples.npz', {'gnet/clean': {'PCK': samples}})
  own_files.write_json(folder / 'calibration.json', FITS)
  own_files.write_lines(folder / 'metrics.jsonl', LINES)
  (folder / 'cells').mkdir()
  own_files.write_json(folder / 'cells/a.json', CELL)
  world = sources.load('synthetic', 'train', num_people=3, size=(96, 128))
  bank = patches.load_or_build(folder / 'bank', world, num_people=3, seed=0)
  writing.write(world, folder / 'crops', area.Settings(SIZE, Augmentation()))
  benchmark.export(world, bank, 'severity3', SIZE, folder / 'benchmark')
  return folder


def read_bank(folder):
  bank = patches.PatchBank(folder / 'bank')
  return bank.digest, [bank.patch(i) for i in range(len(bank))], bank.bone, bank.stature


def read_crops(folder):
  source = reading.load('train', root=folder / 'crops', aspect=0.75)
  return *source.columns().values(), *(source.read(row) for row in range(len(source)))


def read_calibration(folder):
  fits = confidences.read(folder / 'calibration.json')
  poses, scores = np.ones((2, 3, 5, 2)), np.full((2, 3, 5), 0.5)
  for fit in [*fits['right'].values(), *fits['visible'].values()]:
    calibration.apply(fit, scores)
  for fit in fits['gates'].values():
    mixture.gate(poses, scores, fit)
  return fits


def read_cells(folder):
  arms = table.read_cells(folder / 'cells')
  return table.table(arms) + table.joints(arms) + table.curves(arms)


READERS = {
  'config.json': lambda folder: workdirs.settings_to_evaluate(tiny.config(), folder, {}),
  'facts.json': workdirs.read_facts,
  'results.json': lambda folder: compare.compare([folder], resamples=2),
  'samples.npz': lambda folder: compare.compare([folder], resamples=2),
  'stress.json': lambda folder: report._read(folder / 'stress.json', report._Stress),
  'calibration.json': read_calibration,
  'metrics.jsonl': lambda folder: metric_writer._lines(folder / 'metrics.jsonl'),
  'cells/a.json': read_cells,
  'bank/index.npz': read_bank, 'crops/train/columns.npz': read_crops,
  'crops/train/metadata.json': read_crops, 'crops/train/dataset_info.json': read_crops,
  'crops/train/features.json': read_crops, 'crops/train/ground_truth.json': read_crops,
  'benchmark/MANIFEST.json': lambda folder: benchmark.verify(folder / 'benchmark'),
  'benchmark/annotations/occluded.json': lambda folder: benchmark.verify(folder / 'benchmark')}
SECRET = 'secret\x1b[2J\n' * 2
VALUES = (None, True, 0, -1, 2, 10**30, 1e308, 0.5, float('nan'), float('inf'), '', SECRET, [], {},
          [[[]]], {'a': {'b': 1}}, '/etc/passwd', '../../x', ['a', 1], [1.5, None])


def nodes(value, path=()):
  """Paths of all that is in a JSON value."""
  yield path
  inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(
    value, list) else ()
  for key, item in inner:
    yield from nodes(item, (*path, key))


def change_json(text, draw):
  """The text with one node dropped, replaced or wrapped."""
  value = json.loads(text)
  path = draw(st.sampled_from(list(nodes(value))))
  if not path:
    return json.dumps(draw(st.sampled_from(VALUES)))
  *above, last = path
  node = value
  for key in above:
    node = node[key]
  action = draw(st.sampled_from(('drop', 'replace', 'replace', 'replace', 'wrap', 'rename')))
  if action == 'drop' or (action == 'rename' and isinstance(node, list)):
    del node[last]
  elif action == 'rename':
    node[SECRET] = node.pop(last)
  else:
    node[last] = [node[last]] if action == 'wrap' else draw(st.sampled_from(VALUES))
  return json.dumps(value)


def change_arrays(arrays, draw):
  """The arrays with one of them dropped or changed."""
  name = draw(st.sampled_from(sorted(arrays)))
  array, out = arrays[name], dict(arrays)
  del out[name]
  action = draw(st.sampled_from(('drop', 'text', 'nan', 'shorter', 'deeper', 'negative', 'float')))
  changed = {
    'text': lambda: array.astype(str), 'shorter': lambda: array[:-1] if array.ndim else array[None],
    'nan': lambda: np.full(array.shape, np.nan), 'deeper': lambda: array[None],
    'negative': lambda: np.full(array.shape, -1), 'float': lambda: np.full(array.shape, 1e300)}
  return out | ({name: changed[action]()} if action != 'drop' else {})


def told_or_read(read, folder):
  """What a reader gives; None where it refuses, in one line that prints."""
  try:
    return read(folder)
  except (UserError, OSError) as error:
    text = str(error)
    assert text.isprintable() and len(text) < 2000 and str(folder) in text, text
    return None


def same(one, other):
  if isinstance(one, (tuple, list)):
    return len(one) == len(other) and all(map(same, one, other))
  return np.array_equal(one, other, equal_nan=isinstance(one, np.ndarray) and one.dtype.kind == 'f')


@pytest.mark.parametrize('name', READERS)
def test_nothing_in_a_file_is_believed(folder, name):
  path, read = folder / name, READERS[name]
  whole = path.read_bytes()
  arrays = dict(np.load(path)) if path.suffix == '.npz' else None
  text = whole.decode().splitlines()[-1] if path.suffix == '.jsonl' else whole

  @settings(max_examples=8 if 'crops' in name or 'benchmark' in name else 40, deadline=None,
            database=None, derandomize=True)
  @given(st.data())
  def check(data):
    if arrays is None:
      path.write_text(change_json(text, data.draw))
    else:
      np.savez(path, **change_arrays(arrays, data.draw))
    told_or_read(read, folder)

  try:
    assert read(folder) is not None
    check()
  finally:
    path.write_bytes(whole)


@pytest.mark.parametrize('part, read', [('bank', read_bank), ('crops', read_crops)])
def test_a_damaged_byte_is_told_or_changes_nothing(folder, part, read):
  """In any file of a patch bank, and of prepared crops."""
  whole = read(folder)
  files = sorted(f for f in (folder / part).rglob('*') if f.is_file() and f.suffix != '.jpg')
  told = []

  @settings(max_examples=40, deadline=None, database=None, derandomize=True)
  @given(st.sampled_from(files), st.floats(0, 1, exclude_max=True), st.integers(0, 7),
         st.booleans())
  def check(file, place, bit, cut):
    content = file.read_bytes()
    place = int(place * len(content))
    damaged = bytearray(content)
    damaged[place] ^= 1 << bit
    try:
      file.write_bytes(content[:place] if cut else damaged)
      found = told_or_read(read, folder)
      told.append(found is None)
      assert found is None or same(found, whole)
    finally:
      file.write_bytes(content)

  check()
  assert any(told)


def test_a_damaged_patch_is_named(folder, tmp_path):
  copy = shutil.copytree(folder / 'bank', tmp_path / 'bank')
  bank = patches.PatchBank(copy)
  content = bytearray((copy / 'pixels.bin').read_bytes())
  content[int(bank.offset[3])] ^= 1
  (copy / 'pixels.bin').write_bytes(content)
  bank = patches.PatchBank(copy)
  np.testing.assert_array_equal(bank.patch(2), patches.PatchBank(folder / 'bank').patch(2))
  fails(lambda: bank.patch(3), 'patch 3', copy, 'remove')


def test_an_older_and_a_newer_file_are_told(folder, tmp_path):
  for version, word in ((2, 'an older'), (4, 'a newer')):
    copy = shutil.copytree(folder / 'bank', tmp_path / str(version))
    np.savez(copy / 'index.npz', **dict(np.load(copy / 'index.npz')) | {'version': version})
    fails(lambda copy=copy: patches.PatchBank(copy), copy / 'index.npz', word, 'remove it')
  shutil.copy(folder / 'facts.json', tmp_path)
  value = json.loads((tmp_path / 'facts.json').read_text())
  assert value['version'] == 1
  (tmp_path / 'facts.json').write_text(json.dumps(value | {'version': 2}))
  fails(lambda: workdirs.read_facts(tmp_path), tmp_path / 'facts.json', 'by a newer version')
  info = folder / 'crops/train/dataset_info.json'
  copy = shutil.copytree(folder / 'crops', tmp_path / 'crops')
  (copy / 'train/dataset_info.json').write_text(info.read_text().replace('3.0.0', '2.0.0'))
  fails(lambda: reading.load('train', root=copy), copy, 'by an older version', 'prepare')


@pytest.mark.parametrize('edit, part', [
  ({'filepathTemplate': '../../{SPLIT}'}, 'leads out'),
  ({'shardLengths': ['5']}, 'not those of'), ({'name': '../train'}, 'not those of')])
def test_prepared_crops_stay_in_their_folder(folder, tmp_path, edit, part):
  copy = shutil.copytree(folder / 'crops', tmp_path / 'crops')
  path = copy / 'train/dataset_info.json'
  info = json.loads(path.read_text())
  info['splits'][0] |= edit
  path.write_text(json.dumps(info))
  fails(lambda: reading.load('train', root=copy), copy, part)
  fails(lambda: reading.load('../train', root=copy), copy, 'leads out')


def test_prepared_crops_import_nothing_that_they_name(folder, tmp_path):
  copy = shutil.copytree(folder / 'crops', tmp_path / 'crops')
  path = copy / 'train/features.json'
  path.write_text(path.read_text().replace('core.features.image_feature.Image', 'x.Y'))
  fails(lambda: reading.load('train', root=copy), copy, 'other data than crops')


def test_what_is_written_comes_back(tmp_path):
  value = {'a': float('nan'), 'b': np.float32(0.5), 'c': (1, np.int64(2)), 3: np.arange(2)}
  own_files.write_json(tmp_path / 'a.json', value)
  wanted = {'a': None, 'b': 0.5, 'c': [1, 2], '3': [0, 1]}
  assert own_files.read_json(tmp_path / 'a.json', dict, 'mend') == wanted
  assert own_files.as_json(value) == wanted
  own_files.append_line(tmp_path / 'a.jsonl', wanted)
  own_files.append_line(tmp_path / 'a.jsonl', [1])
  with open(tmp_path / 'a.jsonl', 'a') as f:
    f.write('{"a": ')
  assert own_files.read_lines(tmp_path / 'a.jsonl', dict) == [wanted]
  form = {'x': Column('f', ('N', 2)), 'y': Column('iu')}
  arrays = {'x': np.ones((3, 2)), 'y': np.arange(3)}
  own_files.write_npz(tmp_path / 'a.npz', arrays, form, version=2)
  found = own_files.read_npz(tmp_path / 'a.npz', form, 'mend', version=2)
  assert found.keys() == arrays.keys() and all((found[k] == arrays[k]).all() for k in arrays)
  fails(lambda: own_files.write_npz(tmp_path / 'b.npz', arrays | {'y': np.arange(4)}, form), 'y',
        '(4,)', '(3,)')
  assert sorted(p.name for p in tmp_path.iterdir()) == ['a.json', 'a.jsonl', 'a.npz']


def test_what_is_no_file_is_told(tmp_path):
  fails(lambda: own_files.read_json(tmp_path / 'no', dict, 'do this'), tmp_path / 'no', 'do this',
        kind=FileNotFoundError)
  fails(lambda: own_files.read_json(tmp_path, dict, 'do this'), 'no ordinary file', 'do this')
  for text in ('', '{', '[' * 10**5, '{"a": 1e999}', '{"a": NaN}', '\0' * 100):
    (tmp_path / 'a').write_text(text)
    fails(lambda: own_files.read_json(tmp_path / 'a', dict, 'do this'), tmp_path / 'a', 'broken')
  fails(lambda: own_files.inside('here', '../x\n'), 'leads out', r'\n')
  assert own_files.inside('here', 'a/x') == str(pathlib.Path('here/a/x'))


def test_a_short_file_takes_little_memory_and_one_too_large_is_not_read(tmp_path):
  path = tmp_path / 'own.json'
  path.write_text('{"a": 1}')
  tracemalloc.start()
  assert own_files.read_json(str(path), dict, 'mend') == {'a': 1}
  assert tracemalloc.get_traced_memory()[1] < 1e6
  with open(path, 'wb') as file:
    file.truncate(own_files._MAX_BYTES + 1)  # takes no room on the disk
  fails(lambda: own_files.read_json(str(path), dict, 'mend'), 'own.json', 'which is too large')
  assert tracemalloc.get_traced_memory()[1] < 1e6
  tracemalloc.stop()
