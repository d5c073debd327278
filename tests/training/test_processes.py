"""Processes of a run find each other or say so; one that ends takes the others along, in a line."""
import os
import socket
import subprocess
import sys

import jax
import pytest

from dslope_jax.training import processes
from tests.refusals import fails
from tests.test_floors import ROOT

BEGIN = '''
from dslope_jax import commands
commands.begin()
import os, pathlib, shutil, signal, sys
import jax, numpy as np
from dslope_jax.cli import checked
from dslope_jax.training import checkpointing, processes, sharding
from dslope_jax.training.train_state import TrainState
processes.JOINING = 2
index, address, folder = int(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
'''
# Both save; process 1 reads a copy in which checkpoint 3 is damaged, and then process 0 is killed.
DAMAGED = BEGIN + '''
processes.JOINING = 60
def state(step):
  return sharding.replicate(TrainState(step=np.int32(step), params={'w': np.arange(9.) + step},
                                       batch_stats={}, opt_state=(), ema={}), sharding.make_mesh())
with checked():
  processes.join(address, 2, index)
  checkpoints = checkpointing.Checkpoints(folder)
  for step in (1, 2, 3):
    checkpoints.save(state(step), step)
  checkpoints.close()
  sharding.wait_for_all()
  if index:
    folder = shutil.copytree(folder, folder.with_name('copy'))
    shutil.rmtree(folder / 'checkpoints/3/default/d')
  sharding.wait_for_all()
  shapes = {'params': {'w': jax.ShapeDtypeStruct((9,), np.float32)}, 'batch_stats': {}}
  print('weights', checkpointing.restore_weights(folder, shapes)[1], flush=True)
  checkpoints = checkpointing.Checkpoints(folder)
  restored = checkpoints.restore(state(0))
  print('restored', int(restored.step), float(restored.params['w'][0]), flush=True)
  sharding.wait_for_all()
  if not index:
    os.kill(os.getpid(), signal.SIGKILL)
  sharding.wait_for_all()
'''
JOIN = BEGIN + '''
with checked():
  processes.join(address, 2, index)
'''


def start(code, index, address, folder='.'):
  return subprocess.Popen(
    [sys.executable, '-c', code, str(index), address, str(folder)], cwd=ROOT, text=True,
    stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {'JAX_PLATFORMS': 'cpu'})


@pytest.fixture
def port():
  with socket.socket() as s:
    s.bind(('localhost', 0))
    return s.getsockname()[1]


def test_a_checkpoint_that_one_process_cannot_read_and_the_end_of_the_other(tmp_path, port):
  both = [start(DAMAGED, i, f'localhost:{port}', tmp_path / 'run') for i in (0, 1)]
  (out, _), (other, told) = (p.communicate(timeout=200) for p in both)
  for text in (out, other):
    assert 'weights 2\n' in text and 'restored 2 2.0\n' in text, (out, told, other)
  assert 'checkpoint 3 cannot be read and is put aside' in out
  assert [p.returncode for p in both] == [-9, 1]
  line, *hint = told.splitlines()
  assert line == f'error: {processes.ENDED}' and len(hint) < 2


def test_processes_that_do_not_meet_end_in_one_line(port):
  with socket.socket() as s:
    s.bind(('', 0))
    s.listen()
    taken = s.getsockname()[1]
    wrong, listening = start(JOIN, 1, f'localhost:{port}'), start(JOIN, 0, f'localhost:{taken}')
    ends = [(p.communicate(timeout=60)[1], p.returncode) for p in (wrong, listening)]
  for (told, code), text in zip(ends, ('did not find each other', 'cannot listen at port'),
                                strict=True):
    assert code == 1 and text in told and len(told.splitlines()) == 2, told


@pytest.mark.parametrize('given, words', [
  (('localhost', 2, 0), 'is not HOST:PORT'), (('localhost:x', 2, 0), 'is not HOST:PORT'),
  (('localhost:80', 2, 2), 'processes count from 0'), (('localhost:80', 0, 0), '--processes 0')])
def test_wrong_flags_are_told(given, words):
  fails(lambda: processes.join(*given), words)


@pytest.mark.parametrize('variables, cluster, told', [
  ({}, False, False), ({'SLURM_NTASKS': '8'}, False, True),  # inside salloc, without srun
  ({'SLURM_NTASKS': '8', 'SLURM_STEP_NUM_TASKS': '8'}, True, False),
  ({'SLURM_NTASKS': '8', 'SLURM_STEP_NUM_TASKS': '1'}, False, True),
  ({'SLURM_NTASKS': '1'}, False, False),
  ({'OMPI_COMM_WORLD_SIZE': '2'}, True, False), ({'TPU_WORKER_HOSTNAMES': 'a,b'}, True, False)])
def test_only_started_processes_are_waited_for(monkeypatch, capsys, variables, cluster, told):
  joined = []
  monkeypatch.setattr(jax.distributed, 'initialize', lambda *a, **options: joined.append(a))
  monkeypatch.setattr(processes, '_watch_others', lambda: None)
  for name in ('SLURM_NTASKS', 'SLURM_STEP_NUM_TASKS', 'OMPI_COMM_WORLD_SIZE',
               'TPU_WORKER_HOSTNAMES'):
    monkeypatch.delenv(name, raising=False)
  for name, value in variables.items():
    monkeypatch.setenv(name, value)
  processes.join()
  assert bool(joined) == cluster
  assert ('start the command with srun' in capsys.readouterr().err) == told
