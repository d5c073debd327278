"""What reading a checkpoint prints where it fails."""
import warnings

import jax.numpy as jnp
import numpy as np

from dslope_jax.training import checkpointing, sharding
from dslope_jax.training.train_state import TrainState
from tests.refusals import fails


def test_parts_of_a_failed_read_that_were_never_begun_are_no_warnings(tmp_path, monkeypatch):
  state = sharding.replicate(
    TrainState(step=np.int32(1), params={'w': jnp.arange(3.)}, batch_stats={}, opt_state=(),
               ema={}), sharding.make_mesh())
  checkpoints = checkpointing.Checkpoints(tmp_path)
  checkpoints.save(state, 1)
  checkpoints.wait()

  async def part():
    pass

  def restore(*args, **kwargs):
    begun_later = part()
    raise ValueError(f'damaged before {begun_later.__name__}')

  monkeypatch.setattr(checkpointing.ocp.CheckpointManager, 'restore', restore)
  with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter('always')
    fails(lambda: checkpoints.restore(state), 'damaged before part')
  assert not [w for w in told if 'never awaited' in str(w.message)]
  checkpoints.close()
