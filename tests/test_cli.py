"""Errors of users are one line, mistakes of this code keep their traceback; all is closed."""
import os
import pathlib
import signal
import subprocess
import sys
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

import train as train_script
from dslope_jax import cli
from dslope_jax.commands import StopSignal
from dslope_jax.errors import UserError, quoted
from dslope_jax.evaluation.engine import Engine
from dslope_jax.evaluation.rounds import Rounds
from dslope_jax.training import optimizers, profiling
from dslope_jax.training.checkpointing import Checkpoints, find_step
from dslope_jax.training.metric_writer import MetricWriter
from dslope_jax.training.train_state import TrainState
from tests import toy
from tests.refusals import fails
from train import train

ROOT = pathlib.Path(__file__).parent.parent


def _told():
  raise UserError('data.size is 3')


def _of_a_cause():
  try:
    int('x')
  except ValueError as error:
    raise UserError(f'data.size: {error}') from None


@pytest.mark.parametrize('mistake, line', [
  (_told, 'data.size is 3'), (_of_a_cause, 'data.size: invalid literal'),
  (lambda: pathlib.Path('/no/file').read_text(), 'No such file')])
def test_a_mistake_of_the_user_is_one_line(mistake, line, capsys):
  with pytest.raises(SystemExit) as stopped, cli.checked():
    mistake()
  assert stopped.value.code == 1
  first, second, *rest = capsys.readouterr().err.splitlines()
  assert first.startswith('error: ') and line in first and 'DSLOPE_TRACEBACK' in second
  assert not rest


def test_a_field_that_the_config_lacks_is_one_line(capsys):
  with pytest.raises(SystemExit), cli.checked():
    ConfigDict({'data': {'root': ''}}).data.size  # noqa: B018
  assert capsys.readouterr().err.startswith("error: the config has no field 'size', which this ")
  with pytest.raises(AttributeError), cli.checked():
    cli.no_such_function  # noqa: B018


def test_no_such_device_is_one_line(capsys):
  def ask():
    raise RuntimeError("Unable to initialize backend 'rocm': Backend 'rocm' is not in the list of "
                       "known backends: ['cpu']. (set JAX_PLATFORMS='' to automatically ...)")
  with pytest.raises(SystemExit), cli.checked():
    ask()
  assert "finds no such device (Unable to initialize backend 'rocm'" in capsys.readouterr().err


def test_texts_from_files_cannot_leave_their_quotes():
  assert quoted('a.jpg') == "'a.jpg'" and quoted('é.jpg') == "'é.jpg'"
  assert quoted('\x1b[2J\n') == "'\\x1b[2J\\n'" and quoted('caf\udce9') == "'caf\\udce9'"
  assert len(quoted('x' * 10**6)) < 305 and quoted(3) == '3'


MISTAKES = {
  'jax': lambda: jnp.stack([jnp.zeros(3)], axis=7),
  'jax, compiled': lambda: jax.jit(lambda x: jnp.stack([x], axis=7))(jnp.zeros(3)),
  'jax, its frames taken out': lambda: jax.vmap(lambda x, y: x)(jnp.zeros(3), jnp.zeros(4)),
  'opt_einsum': lambda: jnp.einsum('ij,jk->ik', jnp.zeros((2, 3)), jnp.zeros((2, 3))),
  'flax': lambda: nn.Conv(3, (3, 3)).init(jax.random.key(0), jnp.zeros(())),
  'numpy': lambda: np.zeros(3).reshape(7),
  'python': lambda: int('x')}


@pytest.mark.parametrize('name', MISTAKES)
def test_a_mistake_of_this_code_keeps_its_traceback(name):
  with pytest.raises(ValueError), cli.checked():
    MISTAKES[name]()


def test_never_is_not_an_interval_of_nothing():
  for text in ('0 steps', '0 epochs', '0.0 steps'):
    fails(lambda text=text: optimizers.due_steps({'eval_every': text}, 10, 100), 'eval_every', text)
  due = optimizers.due_steps({'save_every': '0.25 epochs', 'log_every': '0.1 steps'}, 10, 9)
  assert [step for step in range(1, 10) if due(step, 'save_every')] == [3, 5, 8, 9]
  assert all(due(step, 'log_every') for step in range(1, 10))


@pytest.mark.parametrize('part', [profiling.Profile, MetricWriter], ids=lambda x: x.__name__)
def test_checkpoints_are_closed_whatever_else_fails(part, tmp_path, monkeypatch):
  def fail(self):
    raise OSError('the disk is full')

  closed, close = [], Checkpoints.close
  monkeypatch.setattr(part, 'close', fail)
  monkeypatch.setattr(Checkpoints, 'close', lambda self: (close(self), closed.append(self)))
  config = toy.get_config()
  config.update(dict(duration='1 steps', evals={}))
  with pytest.raises(OSError, match='the disk is full'):
    train(config, str(tmp_path))
  assert len(closed) == 1 and find_step(str(tmp_path)) == 1


def test_an_evaluation_that_a_signal_broke_off_is_made_up_for(tmp_path, monkeypatch, capsys):
  config = toy.get_config()
  config.update(dict(duration='2 steps', eval_every='2 steps', save_every='9 steps'))
  run, calls = Rounds.run, []

  def interrupted(self, state, step):
    if not calls:
      os.kill(os.getpid(), signal.SIGTERM)
    calls.append(step)
    return run(self, state, step)

  monkeypatch.setattr(Rounds, 'run', interrupted)
  state, results = train(config, str(tmp_path))
  assert int(state.step) == 2 and results is None and find_step(str(tmp_path)) == 2
  assert not list(tmp_path.glob('eval_2/*/results.json'))
  state, results = train(config, str(tmp_path))
  assert int(state.step) == 2 and set(results) == set(config.evals) and calls == [2, 2]
  capsys.readouterr()
  assert train(config, str(tmp_path))[1] == {} and calls == [2, 2]  # it is done
  assert capsys.readouterr().out.endswith(
    f'the run is finished (step 2); results are in {tmp_path}/eval_2\n')


def test_only_the_last_evaluation_that_fails_ends_a_run(tmp_path, monkeypatch, capsys):
  config = toy.get_config()
  config.update(dict(duration='3 steps', eval_every='1 steps', save_every='9 steps'))
  failing = lambda *args, **options: (_ for _ in ()).throw(OSError('a picture is broken'))
  monkeypatch.setattr(Engine, 'run', failing)
  with pytest.raises(OSError, match='a picture is broken'):
    train(config, str(tmp_path))
  assert capsys.readouterr().out.count('a picture is broken); the training goes on') >= 2
  assert find_step(str(tmp_path)) == 3


def test_the_state_is_saved_where_data_end():
  saved = []
  checkpoints = SimpleNamespace(steps=lambda: [2], save=lambda _, step: saved.append(step),
                                wait=lambda: None)
  writer, ends = SimpleNamespace(flush=lambda: None), lambda: iter(())
  for step in (0, 2, 5):  # nothing trained; saved before; not yet
    with pytest.raises(StopIteration):
      train_script._next(ends(), SimpleNamespace(step=step), writer, checkpoints, StopSignal())
  assert saved == [5]


def test_a_reader_that_leaves_stops_nothing(tmp_path):
  code = ('import sys; from dslope_jax.errors import guard_output; guard_output()\n'
          'for i in range(100000): print(i)\n'
          f'open({str(tmp_path / "end")!r}, "w")')
  with subprocess.Popen([sys.executable, '-c', code], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE) as process:
    assert process.stdout.readline() == '0\n'
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == ('', 0)
  assert (tmp_path / 'end').exists()


def test_a_disk_that_refuses_a_checkpoint_is_one_line(tmp_path, monkeypatch):
  def refuse(*args, **options):
    raise ValueError('RESOURCE_EXHAUSTED: Error writing "params"\n  No space left on device')

  checkpoints = Checkpoints(tmp_path)
  monkeypatch.setattr(checkpoints._manager, 'save', refuse)
  state = TrainState(jnp.int32(7), {}, {}, (), {})
  fails(lambda: checkpoints.save(state, 7), 'checkpoint 7', tmp_path, 'RESOURCE_EXHAUSTED',
        kind=OSError)
  checkpoints.close()
