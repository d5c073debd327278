"""Checkpoints: save without stalling, resume from the newest readable one, restore networks."""
import concurrent.futures
import contextlib
import functools
import gc
import logging
import os
import pathlib
import re
import sys
import traceback
import warnings
import zlib

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging as absl_logging
from orbax.checkpoint import checkpoint_managers
from orbax.checkpoint.options import MultiprocessingOptions

from dslope_jax.errors import UserError
from dslope_jax.files import first_line
from dslope_jax.training import processes, sharding
from dslope_jax.training.train_state import TrainState

# Orbax warns of every choice it makes itself, and its threads and tasks print what they raise; it
# is raised here, too.
absl_logging.set_verbosity(absl_logging.FATAL)
logging.getLogger('asyncio').setLevel(logging.CRITICAL)
_ELSEWHERE = 'another process cannot read it'


class Checkpoints:
  """The checkpoints of a run: folder `checkpoints` of its workdir, the newest `keep` of them."""

  def __init__(self, workdir, keep: int = 3):
    self.folder, self.keep = pathlib.Path(workdir).absolute() / 'checkpoints', keep
    self._manager = self._open()

  def _open(self):
    # Without a handler orbax guesses the layout of all checkpoints from the newest one's folders.
    return ocp.CheckpointManager(
      self.folder, item_handlers=ocp.StandardCheckpointHandler(),
      options=ocp.CheckpointManagerOptions(
        preservation_policy=checkpoint_managers.LatestN(self.keep), create=True))

  def save(self, state: TrainState, step: int):
    """Writes in the background; the state may be donated to the next step at once.

    Checksums of the arrays are stored with them, and are looked at by whoever reads.
    """
    sums = {_SUMS: _checksums(state)} if jax.process_index() == 0 else None
    with self._writing(f'checkpoint {step} or the one before'):
      self._manager.save(step, args=ocp.args.StandardSave(state), force=True, custom_metadata=sums)

  def steps(self) -> list[int]:
    return sorted(self._manager.all_steps())

  def restore(self, state: TrainState) -> TrainState | None:
    """The newest checkpoint that can be read, in the shapes and shardings of `state`.

    Newer ones that cannot be read are put aside under another name, and said so; one that a single
    process cannot read is none for all. None without checkpoints. Raises UserError, and moves
    nothing, where none of them can be read.
    """
    target = jax.tree.map(ocp.tree.to_shape_dtype_struct, state)

    def read(step):
      with _read_only(self.folder, ocp.StandardCheckpointHandler()) as manager:
        restored = manager.restore(step, args=ocp.args.StandardRestore(target))
        _check(restored, manager, step)
        return restored

    failed, steps = {}, self.steps()
    while (step := sharding.agreed(max(set(steps) - failed.keys(), default=-1))) >= 0:
      restored, reason = _attempt(read, step)
      if sharding.any_of(reason is not None):
        reason = reason or _ELSEWHERE
      else:
        if failed:
          self._put_aside(failed, step)
        return restored
      failed[step] = reason
    if failed:
      step, reason = max(failed.items())
      raise UserError(f"none of the checkpoints {sorted(failed)} in '{self.folder}' can be read "
                      f'or fits this config ({step}: {reason}); choose another --workdir')
    return None

  def _put_aside(self, failed, used):
    self._manager.close()
    for step, reason in failed.items() if jax.process_index() == 0 else ():
      aside = self.folder.parent / f'unreadable_checkpoint_{step}'
      while aside.exists():  # an earlier one of the same step
        aside = aside.with_name(aside.name + '_')
      os.rename(self.folder / str(step), aside)
      print(f"checkpoint {step} cannot be read and is put aside as '{aside}' ({reason}); "
            f'checkpoint {used} is used', flush=True)
    sharding.wait_for_all()
    self._manager = self._open()

  def wait(self):
    """Returns when everything saved is on disk."""
    with self._writing('the last checkpoint'):
      self._manager.wait_until_finished()

  def close(self):
    with self._writing('the last checkpoint'):
      self._manager.close()

  @contextlib.contextmanager
  def _writing(self, what):
    """Tells what the disk refuses in one line; earlier checkpoints are whole then."""
    try:
      with _quietly():
        yield
    except Exception as error:  # orbax has no common type for it
      if processes.lost(error) or (
          not isinstance(error, OSError) and not re.match('[A-Z_]+: ', str(error))):
        raise
      reason = first_line(error, 200)
      raise OSError(f"{what} cannot be written to '{self.folder}' ({reason}); make room or "
                    'mend the disk, and run the same command again: checkpoints '
                    f'{_steps(self.folder)} are there') from None


@contextlib.contextmanager
def _quietly():
  """Within it unfinished reads and writes of orbax do not complain when they are collected."""
  hooks = sys.unraisablehook, sys.excepthook
  sys.unraisablehook = sys.excepthook = lambda *_: None
  with warnings.catch_warnings():  # a read that failed has parts that were never begun
    warnings.filterwarnings('ignore', "coroutine '.*' was never awaited", RuntimeWarning)
    try:
      yield
    except Exception as error:
      traceback.clear_frames(error.__traceback__)
      gc.collect()
      raise
    finally:
      sys.unraisablehook, sys.excepthook = hooks


def _attempt(read, *args, **kwargs):
  """(what `read` returns, None) or (None, why it failed), without orbax's own pages about it."""
  with _quietly():
    try:
      return read(*args, **kwargs), None
    except UserError:  # the checkpoint is read, and is not what is needed
      raise
    except Exception as error:  # orbax has no common type for broken files
      if processes.lost(error):
        raise
      return None, first_line(error, 200)
    finally:
      gc.collect()


# Orbax keeps no checksum of the numbers. Ours are of the arrays and not of the files, and are
# stored in the checkpoint: one that is complete has them, whenever the run was killed.
_SUMS = 'crc32'


def _checksums(tree) -> dict[str, int]:
  """{path of an array in a checkpoint: checksum of its bytes}; waits for the arrays."""
  arrays = _by_path(jax.device_get(tree))

  def checksum(array):
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8))

  with concurrent.futures.ThreadPoolExecutor(4) as pool:  # zlib lets other threads run
    return dict(zip(arrays, pool.map(checksum, arrays.values()), strict=True))


def _by_path(tree):
  return {jax.tree_util.keystr(path, simple=True, separator='/'): leaf
          for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _stored_sums(manager, step) -> dict | None:
  """{path: checksum} of all arrays of a checkpoint; None in one without."""
  return (manager.metadata(step).custom_metadata or {}).get(_SUMS)


def _check(restored, manager, step):
  """Raises ValueError unless these arrays of a checkpoint are those that were saved."""
  stored = _stored_sums(manager, step)
  if stored is None:
    _tell(f"the checkpoints in '{manager.directory}' have no checksums: whether their numbers are "
          'as they were saved cannot be told')
    return
  changed = [path for path, checksum in _checksums(restored).items()
             if stored.get(path) != checksum]
  if changed:
    raise ValueError(f'{len(changed)} of its arrays are not as they were saved, the first is '
                     f'{min(changed)}')


@functools.cache
def _tell(text):
  if jax.process_index() == 0:
    print(text, flush=True)


def find_step(workdir, step: int | None = None) -> int:
  """`step`, or the newest there is; raises FileNotFoundError if the run has no such checkpoint."""
  folder = pathlib.Path(workdir).absolute() / 'checkpoints'
  if not folder.is_dir():
    raise FileNotFoundError(f"no checkpoints in '{workdir}'; give the workdir of a training run")
  steps = _steps(folder)
  if not steps:
    raise FileNotFoundError(f"'{workdir}' has no finished checkpoint yet")
  if step not in (None, *steps):
    raise FileNotFoundError(f"'{workdir}' has checkpoints of steps {steps}, not of {step}")
  return steps[-1] if step is None else step


def _steps(folder):
  return sorted(int(f.name) for f in folder.iterdir() if f.name.isdecimal())


def stored_weights(workdir, step: int | None = None):
  """Shapes of all networks in a checkpoint, {'params': {network: tree}, 'batch_stats': ...}, and
  whether it keeps a moving average of them. Raises as `restore_weights`."""
  tree, _ = _read(workdir, step, _stored_tree)
  shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
  return {kind: shapes.get(kind, {}) for kind in ('params', 'batch_stats')}, bool(tree.get('ema'))


def _stored_tree(manager, step):
  """What a checkpoint says of its arrays; ValueError where it does not name those it was saved
  with."""
  tree, sums = manager.item_metadata(step).tree, _stored_sums(manager, step)
  if sums is not None and sums.keys() != _by_path(tree).keys():
    raise ValueError('its list of arrays is not as it was saved')
  return tree


def restore_networks(workdir, step: int | None = None, ema: bool = False):
  """`restore_weights` of all networks of a run."""
  shapes, _ = stored_weights(workdir, step)
  wanted = {kind: {network: tree.get(network, {}) for network in shapes['params']}
            for kind, tree in shapes.items()}
  return restore_weights(workdir, wanted, step, ema)


def restore_weights(workdir, wanted: dict, step: int | None = None, ema: bool = False):
  """Weights of a finished or running training, without its optimizer.

  wanted: {'params': {network: tree}, 'batch_stats': ...} of arrays or shapes, the networks to read.
  ema: read their moving average. step: None for the newest that can be read; says so if that is
  not the newest there is.
  Returns the same tree of NumPy arrays, and the step.
  Raises FileNotFoundError or UserError, one line, where it is not there or does not fit.
  """
  target = jax.tree.map(ocp.tree.to_shape_dtype_struct, {'ema': wanted} if ema else wanted)

  def read(manager, step):
    stored = {path: tuple(leaf.shape) for path, leaf in
              _by_path(_stored_tree(manager, step)).items()}
    for path, leaf in _by_path(target).items():  # orbax would leave gaps silently
      if stored.get(path) != leaf.shape:
        raise UserError(f"the networks in '{workdir}' are not this config's: {path} is "
                        f'{stored.get(path, "absent")}, {leaf.shape} is needed; use the config '
                        'that the run was trained with, or, to start from it with other '
                        'keypoints, fresh_head=True')
    # As NumPy arrays, orbax does not ask which devices they were saved from.
    kinds = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), target)
    restored = manager.restore(step, args=ocp.args.PyTreeRestore(
      target, restore_args=kinds, partial_restore=True))
    _check(restored, manager, step)
    return restored

  restored, step = _read(workdir, step, read)
  return restored['ema'] if ema else restored, step


def _read(workdir, step, read):
  """(read(manager, step), step) of this checkpoint, or of the newest that can be read.

  A run may be writing there and removing its oldest: the list is made anew before each try.
  """
  failed, tried = {}, find_step(workdir, step)
  folder = pathlib.Path(workdir).absolute() / 'checkpoints'

  def attempt():
    with _read_only(folder, ocp.PyTreeCheckpointHandler()) as manager:
      return read(manager, tried)

  while (tried := sharding.agreed(tried)) >= 0:
    found, reason = _attempt(attempt)
    if not sharding.any_of(reason is not None):
      for other, why in failed.items():
        if (folder / str(other)).exists():
          _tell(f"checkpoint {other} in '{workdir}' cannot be read ({why}); checkpoint {tried} is "
                'used')
      return found, tried
    reason = reason or _ELSEWHERE
    if step is not None:
      raise UserError(f"checkpoint {step} in '{workdir}' cannot be read ({reason}); choose another "
                      'step, or none for the newest that can be read')
    failed[tried] = reason
    tried = max(set(_steps(folder)) - failed.keys(), default=-1)
  raise UserError(f"none of the checkpoints {sorted(failed)} in '{workdir}' can be read "
                  f'({max(failed)}: {failed[max(failed)]}); get them back from a copy')


def _read_only(folder, handler):
  """A manager that may look on while a run writes there.

  Each process reads by itself: one that finds damage does not leave the others waiting for it.
  """
  own = jax.process_index()
  alone = MultiprocessingOptions(primary_host=own, active_processes={own},
                                 barrier_sync_key_prefix=f'reader_{own}')
  return ocp.CheckpointManager(
    folder, item_handlers=handler,
    options=ocp.CheckpointManagerOptions(read_only=True, multiprocessing_options=alone))
