"""The training state: arrays only, exactly what a checkpoint holds."""
import flax
import jax
import jax.numpy as jnp
import optax

from dslope_jax.systems.base import System


@flax.struct.dataclass
class TrainState:
  """params, batch_stats: {network: tree}. ema: the same two under their names, or empty.

  No random key is stored: everything random is fold_in(seed, step).
  """
  step: jax.Array
  params: dict
  batch_stats: dict
  opt_state: optax.OptState
  ema: dict

  def weights(self) -> dict:
    """{'params', 'batch_stats'} to evaluate with: the moving average where one is kept."""
    return self.ema or {'params': self.params, 'batch_stats': self.batch_stats}


def init_weights(system: System, seed: int, example: dict) -> dict:
  """Fresh {'params', 'batch_stats'}; example: a batch of shapes, B = 1.

  Networks are initialised leaf by leaf from shapes alone: no forward pass is run or compiled.
  """
  weights = {'params': {}, 'batch_stats': {}}
  for i, (name, shapes) in enumerate(system.inputs(example).items()):
    key = jax.random.fold_in(jax.random.key(seed), i)
    variables = system.networks[name].lazy_init({'params': key, 'dropout': key}, *shapes)
    for kind in weights:
      weights[kind][name] = variables.get(kind, {})
  return weights


def weight_shapes(system: System, example: dict) -> dict:
  """The tree of `init_weights` as shapes and dtypes."""
  return jax.eval_shape(lambda: init_weights(system, 0, example))


def create(system: System, optimizer, *, seed: int, example: dict, ema: bool = False) -> TrainState:
  """A fresh state for batches like `example`; equal for equal seeds on any number of devices."""
  weights = init_weights(system, seed, example)
  return TrainState(step=jnp.zeros((), jnp.int32), **weights,
                    opt_state=optimizer.init(weights['params']),
                    ema=jax.tree.map(jnp.copy, weights) if ema else {})
