"""An estimate of what a training step needs of a device's memory, before anything is compiled."""
import math
from typing import NamedTuple

import jax


class Estimate(NamedTuple):
  """Bytes of one device, by what they hold.

  state: parameters, optimizer, batch statistics, moving average. gradients: of what learns.
  batch: the device's share of it. activations: what the backward pass finds kept of the forward
  pass. The compiler keeps some of it in another form, needs room to work in besides, and gives
  gradients room that activations leave. With remat it takes more than is counted here: not all
  that is computed again is gone again before the next is.
  """
  state: int
  gradients: int
  batch: int
  activations: int

  @property
  def total(self) -> int:
    return sum(self)


def estimate(loss_fn, state, batch, trainable, *, accumulate: int = 1,
             devices: int = 1) -> Estimate:
  """The estimate for a loss of `train_step.make_loss`, a state, and a global batch.

  Arrays of state and batch may be shapes (`jax.ShapeDtypeStruct`); nothing is computed.
  """
  share = jax.tree.map(lambda x: _fewer(x, devices), batch)
  part = jax.tree.map(lambda x: _fewer(x, accumulate), share)
  learned = {name: state.params[name] for name in trainable}
  gradients = _bytes(learned) * (1 if accumulate == 1 else 2)  # those of a part, and their sum
  return Estimate(_bytes(state), gradients, _bytes(share), _kept(loss_fn, learned, state, part))


def _kept(loss_fn, learned, state, part):
  """Bytes that the backward pass needs, besides its arguments: each array once."""
  def forward(learned, state, part):
    of_learned = lambda p: loss_fn(p, state, state.batch_stats, part, 0)
    return jax.tree.leaves(jax.vjp(of_learned, learned, has_aux=True)[1])

  program = jax.make_jaxpr(forward)(learned, state, part).jaxpr
  arrays = {v for v in program.outvars if not hasattr(v, 'val')}  # the others are constants
  return sum(map(_size, arrays - set(program.invars) - set(program.constvars)))


def _size(variable):
  return math.prod(variable.aval.shape) * variable.aval.dtype.itemsize


def _fewer(x, parts):
  return jax.ShapeDtypeStruct((x.shape[0] // parts, *x.shape[1:]), x.dtype)


def _bytes(tree):
  return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def limit():
  """Bytes that this process may use of a device, or None where JAX does not know."""
  return (jax.local_devices()[0].memory_stats() or {}).get('bytes_limit')


def describe(needs: Estimate, available: int | None, remat: bool = False) -> str:
  """The estimate as a line, with a hint on a second one if there is less available."""
  parts = ', '.join(f'{name} {_gib(value)}' for name, value in needs._asdict().items())
  about = 'at least' if remat else 'about'
  line = f'{about} {_gib(needs.total)} GiB a device before compilation: {parts}'
  if available is None:
    return line
  line += f'; it has {_gib(available)}'
  if needs.total <= available:
    return line
  return line + ('\nthat is more than it has: if compilation or the first step fails, raise '
                 'accumulate, set remat=True or lower batch_size')


def _gib(count):
  return f'{count / 2**30:.2f}'
