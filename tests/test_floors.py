"""Who may import whom, and what else every source file must keep to."""
import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FLOORS = {  # a file may import its own floor and what lies below
  'skeletons': 0, 'joint_mapping': 0, 'cameras': 0, 'commands': 0, 'errors': 0, 'files': 0,
  'own_files': 0, 'plain_pickle': 0, 'plausibility': 0, 'visibility': 0,
  'models': 1, 'losses': 1, 'heatmaps': 1, 'metrics': 1, 'part_maps': 1, 'part_losses': 1,
  'association': 1, 'absolute_pose': 1, 'margins': 1, 'part_noise': 1,
  'systems': 2,
  'training': 3, 'evaluation': 3, 'weights': 3,
  'tasks': 4, 'loading': 4, 'predictor': 4, 'doctor': 4, 'explain': 4, 'cli': 4, 'detectors': 4,
  'tracking': 4, 'output_files': 4, 'pose_writer': 4, 'lifter': 4, 'people_finder': 4,
  'face_encoder': 4,
  'pose_3d_writer': 4, 'exporting': 4, 'trial': 4, 'wrong_flags': 4}
MAY_READ_DATA = ('tasks', 'predictor', 'face_encoder', 'doctor', 'explain', 'cli', 'detectors',
                 'tracking', 'output_files', 'pose_writer', 'pose_3d_writer', 'exporting', 'trial',
                 'wrong_flags')
FILES = sorted(p.relative_to(ROOT) for folder in ('dslope_jax', 'input_pipeline')
               for p in (ROOT / folder).rglob('*.py'))
SCRIPTS = sorted(p.relative_to(ROOT) for p in (*ROOT.glob('*.py'), *ROOT.glob('tools/*.py')))
TOP = ('jax', 'flax', 'optax', 'orbax', 'ml_collections')


def imports(path):
  """Every module a file imports, anywhere in it."""
  for node in ast.walk(ast.parse((ROOT / path).read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield node.module
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


def floor_name(path):
  return pathlib.Path(path.parts[1]).stem


@pytest.mark.parametrize('path', FILES, ids=str)
def test_imports_stay_on_their_floor(path):
  for name in imports(path):
    parts = name.split('.')
    if path.parts[0] == 'input_pipeline':
      assert parts[0] not in TOP, f'{path} imports {name}'
      if parts[0] == 'dslope_jax' and len(parts) > 1:
        assert FLOORS[parts[1]] == 0, f'{path} imports {name}'
      continue
    own = floor_name(path)
    assert parts[0] not in ('train', 'eval', 'predict', 'configs', 'tools', 'benchmarks')
    if parts[0] == 'input_pipeline':
      assert own in MAY_READ_DATA, f'{path} imports {name}'
    floor = FLOORS.get(own, 0)
    if parts[0] == 'dslope_jax' and len(parts) > 1:
      assert FLOORS[parts[1]] <= floor, f'{path} (floor {floor}) imports {name}'
    if floor <= 1:
      assert parts[0] not in ('grain', 'ml_collections'), f'{path} imports {name}'


def test_every_module_has_a_floor():
  names = {floor_name(p) for p in FILES if p.parts[0] == 'dslope_jax'}
  assert names - {'__init__'} <= set(FLOORS)


def test_skeletons_are_cheap_to_import():
  code = ("import sys, dslope_jax.skeletons; "
          "print([m for m in ('jax', 'flax', 'optax') if m in sys.modules])")
  out = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
  assert out.stdout.strip() == '[]', out.stdout + out.stderr


@pytest.mark.parametrize('path', [*FILES, *SCRIPTS], ids=str)
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
