"""Starts real training processes and reads what they leave behind."""
import os
import pathlib
import subprocess
import sys
import time

import jax
import numpy as np

from dslope_jax import systems
from dslope_jax.tasks import top_down
from dslope_jax.training import checkpointing, train_state
from dslope_jax.training import workdir as workdirs

ROOT = pathlib.Path(__file__).parent.parent


def start(workdir, *options, devices=1, config='tests/tiny.py', script='train.py', **environment):
  """A process of train.py or eval.py on so many CPU devices; its output is one text."""
  command = [sys.executable, '-u', script, '--config', config, '--workdir', str(workdir), *options]
  return subprocess.Popen(
    command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    env=os.environ | {'JAX_NUM_CPU_DEVICES': str(devices), 'JAX_PLATFORMS': 'cpu'} | environment)


def finish(process, timeout=300):
  """(exit code, output)."""
  output, _ = process.communicate(timeout=timeout)
  return process.returncode, output


def wait_for_checkpoint(workdir, step, process, timeout=200):
  """Returns once a checkpoint of `step` or later is there, or being written."""
  folder, end = pathlib.Path(workdir) / 'checkpoints', time.time() + timeout
  while time.time() < end:
    found = [int(p.name.split('.')[0]) for p in folder.glob('[0-9]*')] if folder.exists() else []
    if max(found, default=-1) >= step:
      return
    assert process.poll() is None, finish(process)
    time.sleep(0.005)
  raise TimeoutError(f'no checkpoint {step} in {folder}')


def weights(workdir, config, step=None):
  """{'params', 'batch_stats'} of a run as NumPy arrays."""
  exact = config.system.model.get('dtype') == 'float64'
  with jax.enable_x64(exact):
    facts = workdirs.read_facts(workdir)
    system = systems.build(facts, **config.system.to_dict())
    shapes = train_state.weight_shapes(system, top_down.example(facts))
    return jax.device_get(checkpointing.restore_weights(workdir, shapes, step)[0])


def largest_difference(one, other):
  return max(float(np.abs(a - b).max()) for a, b in
             zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))
