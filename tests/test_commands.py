"""Signals end a command in one line, and a training once its state is saved."""
import ast
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

import train
from dslope_jax import commands
from tests.test_floors import ROOT, SCRIPTS

# hashlib runs in C for hours here, and Python hears no signal meanwhile.
COMPUTES = '''
from dslope_jax import commands
commands.begin(terminated=75)
{switch}
print('ready', flush=True)
{work}
'''
BUSY = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
LOST = ('import time\nclass A:\n  def __del__(self):\n    time.sleep(60)\n'
        'a = A(); del a; time.sleep(60)')


def send(process, *numbers):
  assert process.stdout.readline() == 'ready\n'
  begin = time.monotonic()
  for number in numbers:
    process.send_signal(number)
  _, told = process.communicate(timeout=30)
  return process.returncode, told, time.monotonic() - begin


@pytest.mark.parametrize('switch, work, number, code, text', [
  ('commands.imported()', BUSY, signal.SIGTERM, 75, 'stopped by SIGTERM'),
  ('commands.imported()', BUSY, signal.SIGINT, 130, 'interrupted'),
  ('commands.imported()', LOST, signal.SIGINT, 130, 'interrupted'),
  ('', 'import time; time.sleep(60)', signal.SIGINT, 130, 'interrupted')],
  ids=['SIGTERM in C', 'Ctrl-C in C', 'in a callback', 'in imports'])
def test_a_signal_before_the_loop_is_one_line(switch, work, number, code, text):
  with subprocess.Popen([sys.executable, '-c', COMPUTES.format(switch=switch, work=work)],
                        cwd=ROOT, text=True, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE) as process:
    found, told, seconds = send(process, number)
  assert (found, told) == (code, text + '\n') and seconds < 10


@pytest.fixture
def stopped():
  with commands.StopSignal() as stop:
    yield stop


def kill(number):
  os.kill(os.getpid(), number)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_in_the_loop_a_signal_waits_for_the_step(stopped, number):
  kill(number)
  kill(number)  # of the same key stroke
  assert stopped.raised
  stopped._since -= 2
  if number == signal.SIGINT:
    with pytest.raises(commands.Stopped, match='interrupted; ') as found:
      kill(number)
    assert found.value.code == 130
  else:
    kill(number)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_where_nothing_is_to_be_saved_a_signal_leaves_at_once(stopped, number):
  with pytest.raises(commands.Stopped, match='all is saved') as found, \
       stopped.at_once('all is saved'):
    kill(number)
  assert found.value.code == 75 and stopped.raised
  with pytest.raises(commands.Stopped), stopped.at_once('a signal came before'):
    raise AssertionError('not reached')


def test_of_several_processes_all_stop_at_the_same_step():
  heard = []
  before = signal.signal(signal.SIGTERM, lambda *_: heard.append('SIGTERM'))  # in place of JAX's
  try:
    with commands.StopSignal(several=True) as stopped, stopped.at_once(''):
      kill(signal.SIGINT)
  finally:
    signal.signal(signal.SIGTERM, before)
  assert heard == ['SIGTERM'] and not stopped.raised


def test_a_signal_while_data_hang_saves_the_state(stopped):
  saved = []
  checkpoints = SimpleNamespace(steps=lambda: [2], save=lambda _, step: saved.append(step),
                                wait=lambda: None)

  def hanging():
    kill(signal.SIGTERM)
    time.sleep(60)
    yield

  with pytest.raises(commands.Stopped) as found:
    train._next(hanging(), SimpleNamespace(step=5), SimpleNamespace(flush=lambda: None),
                checkpoints, stopped)
  assert saved == [5] and found.value.code == 75 and 'step 5 is saved' in str(found.value)


LIGHT = {'argparse', 'ast', 'datetime', 'glob', 'hashlib', 'importlib.metadata', 'os', 'pathlib',
         're', 'sys', 'tempfile', 'time'}


@pytest.mark.parametrize('path', SCRIPTS, ids=str)
def test_every_command_begins_before_it_imports(path):
  if path.name in ('__init__.py', 'install.py'):  # it runs where nothing is installed
    return
  body = ast.parse((ROOT / path).read_text()).body
  guarded = [i for i, node in enumerate(body) if isinstance(node, ast.If)
             and 'commands.begin(' in ast.unparse(node)]
  assert len(guarded) == 1
  slow = [i for i, node in enumerate(body) if isinstance(node, (ast.Import, ast.ImportFrom))
          and not {a.name for a in node.names} & LIGHT]
  assert slow and guarded[0] < min(slow)
