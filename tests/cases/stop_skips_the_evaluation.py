"""SIGTERM in a step after which an evaluation is due: it is skipped and never made up for; at the last step the same command then ends at once, without the table."""
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

import signal
from dslope_jax.training.metric_writer import MetricWriter
original = MetricWriter.step
def step(self, number, terms):
  original(self, number, terms)
  if number == 3 and stop: os.kill(os.getpid(), signal.SIGTERM)  # arrives while step 3, the last one, is done
MetricWriter.step, stop = step, True
state, results = train.train(config(root), work); print('interrupted: step', int(state.step), 'results', results)
stop = False
state, results = train.train(config(root), work); print('same command again: step', int(state.step), 'results', results, 'folders', sorted(os.listdir(work)))
sys.exit(not results)
