"""The one train step."""
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from dslope_jax.errors import UserError
from dslope_jax.systems.base import Forward, System
from dslope_jax.training.train_state import TrainState


def make_loss(system: System, trainable, seed: int = 0, remat: bool = False,
              total: int = 1) -> Callable:
  """A function (learned params, state, batch_stats, batch, part) -> (loss, (terms, batch_stats)).

  total: steps of the run.
  part: index of the micro-batch; random keys depend on it. batch['whole'] is then the whole batch,
    for terms that divide by a count: they must divide by the mean count of the whole.
  remat: gradient checkpointing. Results of convolutions and matrix products and the sums that end
    residual blocks are kept; the backward pass recomputes the rest (batch norm, ReLU).
  """
  def loss_fn(learned, state, batch_stats, batch, part):
    rng = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), state.step), part)
    forward = Forward(system.networks, state.params | learned, batch_stats, trainable, rng,
                      step=state.step, progress=state.step / total, average=state.ema)
    loss, terms = system.loss(forward, batch)
    if not terms:
      raise UserError('no term of the loss counts, so nothing can be learned; set one of '
                      'system.weights above 0')
    return loss, (terms | {'loss': loss}, forward.batch_stats)

  if not remat:
    return loss_fn
  # Computed again, every sum of residual blocks would be needed before the first gradient is, and
  # would take the memory all the same.
  keep = jax.checkpoint_policies
  return jax.checkpoint(loss_fn, policy=keep.save_from_both_policies(
    keep.dots_saveable, keep.save_only_these_names('residual_sum')))


def make_train_step(system: System, optimizer, *, trainable, seed: int = 0, accumulate: int = 1,
                    ema_decay: float = 0.0, remat: bool = False, total: int = 1) -> Callable:
  """A function (state, batch) -> (state, {term: scalar}), to be jitted with the state donated.

  trainable: names of the networks that learn; the others run in evaluation mode. A dict says by
    what schedule each learns; the rates are terms then.
  accumulate: splits the batch into this many equal micro-batches, processed in turn
    (gradient accumulation). Gradients and terms are means over them, and equal those of the whole
    batch but for batch norm: each micro-batch is normalised by its own statistics, and the running
    ones are updated by one after the other.
  ema_decay: 0 keeps no moving average. remat, total: see `make_loss`.
  """
  grad_fn = jax.grad(make_loss(system, trainable, seed, remat, total), has_aux=True)

  def step(state: TrainState, batch: dict):
    learned = {name: state.params[name] for name in trainable}
    if accumulate == 1:
      grads, (terms, batch_stats) = grad_fn(learned, state, state.batch_stats, batch, 0)
    else:
      grads, terms, batch_stats = _accumulate(grad_fn, learned, state, batch, accumulate)
    terms |= {f'{name}/grad_norm': optax.tree.norm(grads[name]) for name in trainable}
    if isinstance(trainable, dict):
      terms |= {f'{name}/learning_rate': jnp.asarray(schedule(state.step), jnp.float32)
                for name, schedule in trainable.items()}
    # The optimizer knows all networks; a frozen one has no gradient and gets no update.
    frozen = {n: jax.tree.map(jnp.zeros_like, p) for n, p in state.params.items() if n not in grads}
    updates, opt_state = optimizer.update(grads | frozen, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = state.ema and jax.tree.map(lambda old, new: ema_decay * old + (1 - ema_decay) * new,
                                     state.ema, {'params': params, 'batch_stats': batch_stats})
    return TrainState(state.step + 1, params, batch_stats, opt_state, ema), terms

  return step


def _accumulate(grad_fn, learned, state, batch, parts):
  """Means of gradients and terms over micro-batches, by a scan that keeps one of them alive."""
  # Every parts-th sample: the batch stays split over the devices as it is.
  split = jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), batch)

  def body(batch_stats, item):
    part, piece = item
    grads, (terms, batch_stats) = grad_fn(learned, state, batch_stats, piece | {'whole': batch},
                                          part)
    return batch_stats, (grads, terms)

  first = jax.tree.map(lambda x: x[0], split)
  shapes = jax.eval_shape(lambda: body(state.batch_stats, (0, first))[1])
  zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

  def add(carry, item):
    batch_stats, sums = carry
    batch_stats, new = body(batch_stats, item)
    return (batch_stats, jax.tree.map(jnp.add, sums, new)), None

  (batch_stats, sums), _ = jax.lax.scan(
    add, (state.batch_stats, zeros), (jnp.arange(parts), split))
  grads, terms = jax.tree.map(lambda x: x / parts, sums)
  return grads, terms, batch_stats


def compile_step(lowered, params):
  """A lowered step compiled; JAX's compilation cache does not keep a large one for CPU.

  XLA takes a time that grows with the square of its size to load a program for CPU (jaxlib 0.10 to
  0.12; it searches the whole program for each convolution): a pair of HRNet-W32 loads in 72 s and
  compiles in 57, one of half its layers loads in 15 s and compiles in 19.
  """
  large = len(jax.tree.leaves(params)) > 1000
  if not large or jax.devices()[0].platform != 'cpu':
    return lowered.compile()
  before = jax.config.jax_persistent_cache_min_compile_time_secs
  jax.config.update('jax_persistent_cache_min_compile_time_secs', math.inf)
  try:
    return lowered.compile()
  finally:
    jax.config.update('jax_persistent_cache_min_compile_time_secs', before)
