"""The notebooks run from the first cell to the last, and lie in the repository without outputs."""
import json
import pathlib

import jax
import matplotlib
import pytest

from tests.notebooks import running

ROOT = pathlib.Path(__file__).parent.parent.parent
BOOKS = sorted((ROOT / 'notebooks').glob('*.ipynb'))


@pytest.fixture
def run(tmp_path, monkeypatch):
  """Runs a notebook as Jupyter does, in its own folder, as a run of seconds in tmp_path."""
  monkeypatch.chdir(ROOT / 'notebooks')
  for name, value in {'NOTEBOOK_TINY': tmp_path, 'JAX_PLATFORMS': 'cpu', 'PATH': '/usr/bin:/bin',
                      'JAX_COMPILATION_CACHE_DIR': jax.config.jax_compilation_cache_dir}.items():
    monkeypatch.setenv(name, str(value))
  monkeypatch.syspath_prepend(str(ROOT))  # and takes away what the notebook adds
  matplotlib.use('agg')
  return lambda name: running.run(ROOT / 'notebooks' / name)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:FigureCanvasAgg is non-interactive')
def test_evaluate_in_colab(run, tmp_path, capsys):
  names = run('evaluate_in_colab.ipynb')
  said = capsys.readouterr().out
  assert 'all packages are there' in said and 'runs on [CpuDevice(id=0)]' in said
  assert [len(curve['severity']) for curve in names['stress'].values()] == [6] * 6
  assert (tmp_path / 'eval_2/val/report.html').stat().st_size > 10_000
  assert len(names['poses']) == 4 and {'right', 'visible'} <= set(names['poses'][0])
  assert len(names['overlays']) == 4 and 'left_ankle       score' in said


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:FigureCanvasAgg is non-interactive')
def test_train_your_own(run, tmp_path, capsys):
  names = run('train_your_own.ipynb')
  said = capsys.readouterr().out
  assert 'val: 8 people' in said and 'nose             score' in said
  assert len(names['poses']) == 8 and len(names['poses'][0]['keypoints']) == 15
  facts = json.loads((tmp_path / 'facts.json').read_text())
  assert facts['skeleton']['names'] == names['KEYPOINTS']
  assert facts['skeleton']['limbs'] == [[3, 4], [1, 3], [2, 4], [1, 2]]
  assert (tmp_path / 'doctor/findings.json').exists()


@pytest.mark.parametrize('book', BOOKS, ids=lambda path: path.stem)
def test_books_hold_no_outputs_and_have_readable_changes(book):
  text = book.read_text(encoding='utf-8')
  content = json.loads(text)
  assert text == json.dumps(content, indent=1, ensure_ascii=False) + '\n'
  names = [cell['id'] for cell in content['cells']]
  assert len(set(names)) == len(names)
  for cell in content['cells']:
    assert cell['metadata'] == {} and ''.join(cell['source']).strip()
    assert not cell.get('outputs') and cell.get('execution_count') is None
    assert all(line.endswith('\n') for line in cell['source'][:-1])
