"""Checkpoints: save without stalling, resume from the newest readable one, restore networks."""
import os
import pathlib

import jax
import orbax.checkpoint as ocp
from absl import logging as absl_logging
from orbax.checkpoint import checkpoint_managers

from dslope_jax.train_state import TrainState

# Orbax warns of every choice it makes itself; its errors still come through.
absl_logging.set_verbosity(absl_logging.ERROR)


class Checkpoints:
  """The checkpoints of a run: folder `checkpoints` of its workdir, the newest `keep` of them."""

  def __init__(self, workdir, keep: int = 3):
    self.folder = pathlib.Path(workdir).absolute() / 'checkpoints'
    self._options = ocp.CheckpointManagerOptions(
      preservation_policy=checkpoint_managers.LatestN(keep), create=True)
    self._manager = ocp.CheckpointManager(self.folder, options=self._options)

  def save(self, state: TrainState, step: int):
    """Writes in the background; the state may be donated to the next step at once."""
    self._manager.save(step, args=ocp.args.StandardSave(state), force=True)

  def steps(self) -> list[int]:
    return sorted(self._manager.all_steps())

  def restore(self, state: TrainState) -> TrainState | None:
    """The newest checkpoint that can be read, in the shapes and shardings of `state`; else None.

    An unreadable one is put aside under another name, and said so.
    """
    target = jax.tree.map(ocp.tree.to_shape_dtype_struct, state)
    for step in reversed(self.steps()):
      try:
        return self._manager.restore(step, args=ocp.args.StandardRestore(target))
      except Exception as error:  # noqa: BLE001 - orbax has no common type for broken files
        self._put_aside(step, error)
    return None

  def _put_aside(self, step, error):
    aside = self.folder.parent / f'unreadable_checkpoint_{step}'
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    print(f"checkpoint {step} cannot be read and is put aside as '{aside}' ({reason}); "
          'the one before it is used', flush=True)
    self._manager.close()
    if jax.process_index() == 0:
      os.rename(self.folder / str(step), aside)
    _barrier(f'aside_{step}')
    self._manager = ocp.CheckpointManager(self.folder, options=self._options)

  def wait(self):
    """Returns when everything saved is on disk."""
    self._manager.wait_until_finished()

  def close(self):
    self._manager.close()


def _barrier(name):
  if jax.process_count() > 1:
    from jax.experimental import multihost_utils
    multihost_utils.sync_global_devices(name)


def restore_weights(workdir, wanted: dict, step: int | None = None, ema: bool = False):
  """Weights of a finished or running training, without its optimizer.

  wanted: {'params': {network: tree}, 'batch_stats': ...} of arrays or shapes, the networks to read.
  ema: read their moving average. step: None for the newest.
  Returns the same tree of arrays, and the step.
  Raises FileNotFoundError or ValueError, one line, where it is not there or does not fit.
  """
  folder = pathlib.Path(workdir).absolute() / 'checkpoints'
  if not folder.is_dir():
    raise FileNotFoundError(f"no checkpoints in '{workdir}'; give the workdir of a training run")
  with ocp.CheckpointManager(folder) as manager:
    steps = sorted(manager.all_steps())
    if not steps or (step is not None and step not in steps):
      raise FileNotFoundError(f"'{workdir}' has checkpoints of steps {steps}, not of {step}")
    step = steps[-1] if step is None else step
    target = jax.tree.map(ocp.tree.to_shape_dtype_struct, wanted)
    target = {'ema': target} if ema else target
    restored = manager.restore(step, args=ocp.args.PyTreeRestore(
      target, restore_args=ocp.checkpoint_utils.construct_restore_args(target),
      partial_restore=True))
  restored = restored['ema'] if ema else restored
  found, asked = (jax.tree.map(lambda x: x.shape, t) for t in (restored, wanted))
  if found != asked:
    raise ValueError(f"the networks in '{workdir}' have other shapes than this config's; use the "
                     'config that the run was trained with')
  return restored, step
