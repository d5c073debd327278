"""Work folders as training leaves them, made without training."""
import jax
import optax
from ml_collections import ConfigDict

from configs import common
from dslope_jax import tasks
from dslope_jax.training import checkpointing, train_state
from dslope_jax.training import workdir as workdirs
from tests import data_sets, tiny


def make(folder, kind='mse', ema=0.0, codec='udp'):
  """(config of a run with random weights, its work folder); the data lie beside it.

  kind: of the mutual term; None makes a run of one network. codec: UDP, as ViTPose was published.
  """
  root = data_sets.write_coco(folder / 'data', num_images=6)
  config = tiny.config(kind, name='coco', root=root, train_split='train', holdout=0.5,
                       recipe='none')
  config.system.codec, config.ema_decay = codec, ema
  config.system.model = ConfigDict(dict(
    name='vitpose', width=24, depth=1, heads=2, decoder='simple', drop_path=0.0))  # compiles fast
  config.evals = ConfigDict({'val': common.evaluation('val', 'coco_ap') | dict(
    recipe='none', batch_size=4)})
  workdir = folder / 'run'
  workdir.mkdir()
  write(config, workdir, ema, _enlarged)
  return config, workdir


def write(config, workdir, ema=0.0, change=lambda path, leaf: leaf):
  """Writes what a run of this config leaves, with fresh weights, which are changed leaf by leaf."""
  task = tasks.build(config, str(workdir))
  workdirs.check_config(config, workdir, False)
  workdirs.check_facts(workdir, task.facts, task.digest)
  state = train_state.create(task.system, optax.sgd(0.1), seed=0, example=task.example,
                             ema=ema > 0)
  state = state.replace(params=jax.tree_util.tree_map_with_path(change, state.params))
  if ema:
    state = state.replace(ema={'params': jax.tree.map(lambda leaf: 0.9 * leaf, state.params),
                               'batch_stats': state.batch_stats})
  checkpoints = checkpointing.Checkpoints(workdir)
  checkpoints.save(state, 7)
  checkpoints.close()


def _enlarged(path, leaf):
  """Of fresh weights heatmaps are nearly flat; the peaks of these are about 1."""
  return leaf * (30 if 'final_layer' in jax.tree_util.keystr(path) else 10)
