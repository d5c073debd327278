"""A metrics.jsonl whose last line is cut (full disk, power loss): every later session ends with an error about json, at the very end,
before the checkpoints are closed; the line that follows is glued to the cut one."""
import os, sys; REPO = os.environ.get("PROJECT", os.getcwd()); sys.path.insert(0, REPO); os.chdir(REPO); os.environ.setdefault("JAX_PLATFORMS", "cpu"); sys.dont_write_bytecode = True

from configs import common
from ml_collections import ConfigDict
from tests import tiny
from tests.data_sets import write_coco
import jax, pathlib, tempfile, train
def config(root, **changes):
  c = common.top_down(); c.update(dict(batch_size=2 * jax.device_count(), duration="3 steps", save_every="1 step", eval_every="3 steps", log_every="1 step"))
  c.system.name = "heatmap"; c.system.model = ConfigDict(tiny.MODEL); c.data.update(dict(root=root, size=(32, 32), recipe="none"))
  c.evals = dict(val=common.evaluation("val", "coco_ap") | dict(recipe="none", batch_size=4)); c.update_from_flattened_dict(changes); return c
d = pathlib.Path(tempfile.mkdtemp()); root = write_coco(d / "coco"); work = str(d / "run")
from dslope_jax.training import checkpointing
train.train(config(root, evals={}), work)
p = pathlib.Path(work, 'metrics.jsonl'); p.write_bytes(p.read_bytes()[:-20])
bad = []
for total in (4, 5):  # allow_config_change: a longer duration
  closed = []
  original = checkpointing.Checkpoints.close
  checkpointing.Checkpoints.close = lambda self: (closed.append(1), original(self))
  try: state, _ = train.train(config(root, evals={}, duration=f'{total} steps'), work, allow_config_change=True); print('ended at step', int(state.step))
  except Exception as e: bad.append(f'session to step {total}: {type(e).__name__}: {e}; checkpoints closed: {bool(closed)}')
  checkpointing.Checkpoints.close = original
print('\n'.join(bad)); sys.exit(bool(bad))
