"""The evaluation comes before the save of the same step: what it stumbles over (here a broken validation picture) costs every step since the save before."""
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
import pathlib
p = sorted(pathlib.Path(root, 'val').iterdir())[0]; p.write_bytes(p.read_bytes()[:-100])
try: train.train(config(root, save_every='3 steps'), work)
except OSError as e: print('error:', str(e)[:150])
c = checkpointing.Checkpoints(work); print('3 steps done, checkpoints:', c.steps()); sys.exit(not c.steps())
