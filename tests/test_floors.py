"""Who may import whom, and what else every source file must keep to."""
import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FLOORS = {  # a file may import its own floor's neighbours and what lies below
  'skeletons': 0, 'losses': 1, 'heatmaps': 1, 'models': 1, 'metrics': 1, 'systems': 2,
  'train_step': 3, 'train_state': 3, 'checkpointing': 3, 'evaluation': 3, 'sharding': 3,
  'optimizers': 3, 'metric_writer': 3, 'visualize': 3, 'html_report': 3, 'svg_charts': 3,
  'torch_weights': 3, 'weight_files': 3, 'scoring': 3, 'stress_test': 3, 'evaluation_report': 3,
  'init_from': 3, 'compare': 3, 'profiling': 3, 'memory': 3}
FILES = sorted(p.relative_to(ROOT) for folder in ('dslope_jax', 'input_pipeline')
               for p in (ROOT / folder).rglob('*.py'))
TOP = ('jax', 'flax', 'optax', 'orbax')


def imports(path):
  """Every module a file imports, anywhere in it."""
  for node in ast.walk(ast.parse((ROOT / path).read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield node.module
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


@pytest.mark.parametrize('path', FILES, ids=str)
def test_imports_stay_on_their_floor(path):
  for name in imports(path):
    parts = name.split('.')
    if path.parts[0] == 'input_pipeline':
      assert parts[0] not in TOP, f'{path} imports {name}'
      assert parts[0] != 'dslope_jax' or parts[1:2] in ([], ['skeletons']), f'{path}: {name}'
      continue
    assert parts[0] not in ('input_pipeline', 'train', 'eval', 'startup', 'configs')
    floor = FLOORS.get(pathlib.Path(path.parts[1]).stem, 0)
    if parts[0] == 'dslope_jax' and len(parts) > 1:
      assert FLOORS[parts[1]] <= floor, f'{path} (floor {floor}) imports {name}'
    if floor <= 1:
      assert parts[0] not in ('grain', 'ml_collections'), f'{path} imports {name}'


def test_every_module_has_a_floor():
  names = {pathlib.Path(p.parts[1]).stem for p in FILES if p.parts[0] == 'dslope_jax'}
  assert names - {'__init__'} == set(FLOORS)


def test_skeletons_are_cheap_to_import():
  code = ("import sys, dslope_jax.skeletons; "
          "print([m for m in ('jax', 'flax', 'optax') if m in sys.modules])")
  out = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
  assert out.stdout.strip() == '[]', out.stdout + out.stderr


@pytest.mark.parametrize('path', [*FILES, *map(pathlib.Path, ('train.py', 'eval.py'))], ids=str)
def test_nothing_is_executed_that_a_user_brings(path):
  """No pickle, eval or shell; NumPy files are read without pickle."""
  tree = ast.parse((ROOT / path).read_text())
  assert not {'pickle', 'subprocess', 'marshal', 'shelve'} & set(imports(path))
  for node in ast.walk(tree):
    if isinstance(node, ast.Call):
      called = ast.unparse(node.func)
      assert called not in ('eval', 'exec', 'os.system', 'os.popen')
      assert not any(k.arg == 'allow_pickle' and getattr(k.value, 'value', True)
                     for k in node.keywords), f'{path}: {called}'
