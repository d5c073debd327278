"""Each script of this folder makes an input that once failed and runs the commands on it.

A script ends with 0 where all is well. Its first comment line may name what it needs:
`# needs: torch root` - it is skipped where that is not there.
"""
import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).parent
ROOT = FOLDER.parent.parent
SCRIPTS = sorted(p for p in FOLDER.glob('*.py') if p.stem not in ('__init__', 'test_cases'))


def missing(need):
  if need == 'root':
    return os.geteuid() != 0 or os.environ.get('DSLOPE_ROOT_TESTS') != '1'
  return importlib.util.find_spec(need) is None


@pytest.mark.slow
@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.stem)
def test_case(script):
  comments = [line for line in script.read_text().splitlines() if line.startswith('# needs: ')]
  absent = [need for line in comments for need in line.split()[2:] if missing(need)]
  if absent:
    pytest.skip(f'needs {", ".join(absent)}' + (' (and DSLOPE_ROOT_TESTS=1)' if 'root' in absent
                                                else ''))
  done = subprocess.run(
    [sys.executable, script], cwd=ROOT, text=True, capture_output=True, timeout=400,
    env=os.environ | {'PROJECT': str(ROOT), 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)})
  assert done.returncode == 0, done.stdout + done.stderr
