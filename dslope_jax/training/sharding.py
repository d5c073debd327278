"""Devices: one mesh axis, the batch split over it, everything else on every device."""
import itertools
import time

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from orbax.checkpoint import multihost

from dslope_jax.errors import UserError
from dslope_jax.training.train_step import compile_step


def make_mesh():
  """A mesh of all devices of all hosts along 'data'.

  Auto axes: with explicit ones the backward pass of resized maps cannot be sharded by XLA.
  """
  return jax.make_mesh((jax.device_count(),), ('data',), axis_types=(AxisType.Auto,))


def replicated(mesh):
  return NamedSharding(mesh, PartitionSpec())


def by_sample(mesh):
  return NamedSharding(mesh, PartitionSpec('data'))


def jit_step(step, mesh):
  """A training step (state, batch) -> (state, terms), jitted: the batch is sharded, the state
  replicated and donated."""
  everywhere = replicated(mesh)
  return jax.jit(step, donate_argnums=0, in_shardings=(everywhere, by_sample(mesh)),
                 out_shardings=everywhere)


def compile_for(step, mesh, state, batch):
  """(the step compiled for these shapes, a line about it); see `jit_step`. Waits for all
  processes."""
  before = time.perf_counter()
  compiled = compile_step(jit_step(step, mesh).lower(state, batch), state.params)
  wait_for_all()
  found = compiled.memory_analysis()
  needed = (found.argument_size_in_bytes + found.temp_size_in_bytes) / 2**30 if found else 0
  seconds = time.perf_counter() - before
  return compiled, f'compiled in {seconds:.0f} s; the step needs {needed:.2f} GiB a device'


def check_batch_size(size: int, accumulate: int):
  """Raises UserError unless all devices get equal micro-batches."""
  devices = jax.device_count()
  if size < 1 or accumulate < 1 or size % (devices * accumulate):
    raise UserError(f'batch_size {size} is not a multiple of {devices} device(s) x accumulate '
                    f'{accumulate}')


def describe(params: dict, batch_size: int, accumulate: int) -> str:
  """What a run trains, and on which devices; params: {network: tree}."""
  devices = jax.devices()
  counts = {n: f'{sum(x.size for x in jax.tree.leaves(p)) / 1e6:.2f} M' for n, p in params.items()}
  per_step = f'{batch_size // len(devices)} a device'
  if accumulate > 1:
    per_step += f' in {accumulate} micro-batches'
  return (f'{len(devices)} x {devices[0].device_kind} ({devices[0].platform}), '
          f'{jax.process_count()} process(es)\n'
          'parameters: ' + ', '.join(f'{n} {c}' for n, c in counts.items()) + '\n'
          f'global batch {batch_size}, {per_step}')


def to_global(batch: dict, mesh) -> dict:
  """This process's part of a batch (NumPy, B first) as global arrays split over the mesh."""
  sharding = by_sample(mesh)
  return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}


def replicate(tree, mesh):
  """A tree that every process holds whole, as global arrays on every device."""
  sharding = replicated(mesh)

  def put(x):
    value = np.asarray(x)
    return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])
  return jax.tree.map(put, tree)


_barriers = itertools.count()


def wait_for_all():
  """Returns once every process of the run has come here; a no-op for one process.

  Needed where processes may take minutes of difference, as in compiling: a collective that one of
  them enters much earlier times out.
  """
  if jax.process_count() > 1:
    multihost.sync_global_processes(f'dslope_jax_{next(_barriers)}', timeout=3600,
                                    processes=set(range(jax.process_count())))


def agreed(value):
  """What process 0 says, a bool or a small int, on every process."""
  if jax.process_count() == 1:
    return value
  return type(value)(multihost_utils.broadcast_one_to_all(np.asarray(value, np.int32)))


def any_of(value: bool) -> bool:
  """Whether any process says so, on every process."""
  if jax.process_count() == 1:
    return value
  return bool(multihost_utils.process_allgather(np.asarray(value)).any())


def to_host(tree):
  """Global arrays split on axis 0 as whole NumPy arrays on every process."""
  if jax.process_count() > 1:
    return multihost_utils.process_allgather(tree, tiled=True)
  return jax.device_get(tree)
