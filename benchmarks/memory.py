"""How many pairs fit in a device's memory, by an estimate.

  python benchmarks/memory.py [--gib 16] [--compile]

Programs are traced, not compiled, and the figures are estimates: XLA may need more or less, and
with remat it needs more: not all that is computed again is gone again before the next is. How far
off they are is told by --compile, which compiles the step of a small network for the device at
hand and compares. (XLA for CPU undoes remat.)
"""
import argparse
import importlib
import math
import pathlib
import sys
from typing import NamedTuple

import jax

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from benchmarks import shared
from configs import ccoco_hrnet
from dslope_jax import models
from dslope_jax.models.cpu_forms import plain_forms
from dslope_jax.training import optimizers, train_state
from dslope_jax.training.train_step import make_loss, make_train_step

RUNS = [('HRNet-W32', '256x192', 'ccoco_hrnet', 'w32'),
        ('HRNet-W48', '384x288', 'ccoco_hrnet', 'w48,384x288'),
        ('Simple baseline R50', '256x192', 'ccoco_simplebaseline', 'r50'),
        ('ViTPose-S', '256x192', 'ccoco_vitpose', 'small'),
        ('HRFormer-S', '256x192', 'ccoco_hrformer', 'small')]
_PAIRS = 4  # of the traced batch; what is kept grows in proportion


class Estimate(NamedTuple):
  """Bytes of one device, by what they hold.

  state: parameters, optimizer, batch statistics, moving average. gradients: of what learns.
  activations: what the backward pass finds kept of the forward pass. The compiler keeps some of it
  in another form, needs room to work in besides, and gives gradients room that activations leave.
  """
  state: int
  gradients: int
  batch: int
  activations: int


def as_compiled(system, learners, remat):
  """`train_step.make_loss`, such that what compilers compute again counts as not kept."""
  loss_fn = make_loss(system, learners, remat=remat)
  cheap = ('sub', 'convert_element_type')  # of batch norm
  return loss_fn if remat else jax.checkpoint(
    loss_fn, policy=lambda primitive, *_, **__: primitive.name not in cheap)


def estimate(loss_fn, state, batch, trainable):
  """The estimate for a loss of `as_compiled`, and shapes of a state and a batch."""
  learned = {name: state.params[name] for name in trainable}
  return Estimate(_bytes(state), _bytes(learned), _bytes(batch),
                  _kept(loss_fn, learned, state, batch))


def _kept(loss_fn, learned, state, batch):
  """Bytes that the backward pass needs, besides its arguments: each array once."""
  def forward(learned, state, batch):
    of_learned = lambda p: loss_fn(p, state, state.batch_stats, batch, 0)
    return jax.tree.leaves(jax.vjp(of_learned, learned, has_aux=True)[1])

  with plain_forms():  # a program for any platform has those for CPU besides
    program = jax.make_jaxpr(forward)(learned, state, batch).jaxpr
  arrays = {v for v in program.outvars if not hasattr(v, 'val')}  # the others are constants
  return _bytes([v.aval for v in arrays - set(program.invars) - set(program.constvars)])


def _bytes(tree):
  return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def parts(config, pairs):
  """System, optimizer, and the shapes of state and batch of a config."""
  system = shared.build_system(config)
  depths = {name: models.trait(net, 'depth_of') for name, net in system.networks.items()}
  optimizer, _ = optimizers.build(config.optim.to_dict(), system.networks, 1000, 100, depths)
  size = tuple(config.data.size)
  image = jax.ShapeDtypeStruct((pairs, size[1], size[0], 3), 'uint8')
  batch = {'image': image, 'occluded_image': image,
           'keypoints': jax.ShapeDtypeStruct((pairs, 17, 2), 'float32'),
           'visibility': jax.ShapeDtypeStruct((pairs, 17), 'uint8')}
  state = jax.eval_shape(lambda: train_state.create(system, optimizer, seed=0, example=batch,
                                                    ema=config.ema_decay > 0))
  return system, optimizer, state, batch


def measure(config, pairs=_PAIRS):
  """{remat: estimate} of a config's step for so many pairs."""
  system, _, state, batch = parts(config, pairs)
  learners = tuple(system.networks)
  return {remat: estimate(as_compiled(system, learners, remat), state, batch, learners)
          for remat in (False, True)}


def row(name, size, estimates, limit):
  """A line of the table."""
  needs = estimates[False]
  fixed = needs.state + needs.gradients
  cells = [name, size, f'{fixed / 2**30:.2f} GiB']
  for remat in (False, True):
    each = (estimates[remat].batch + estimates[remat].activations) / _PAIRS
    cells += [f'{each / 2**20:.0f} MiB', f'{max(0, int((limit - fixed) // each))}']
  return '| ' + ' | '.join(cells) + ' |'


def small():
  """A pair that compiles in less than a minute."""
  config = ccoco_hrnet.get_config()
  config.system.model = dict(name='simple_baseline', depth=18, width=16, filters=(32, 32, 32),
                             dtype='float32')
  config.data.size = (96, 128)
  return config


def compare(config, pairs=16):
  """{remat: (estimated, compiled bytes)} of the step, compiled for the default device."""
  system, optimizer, state, batch = parts(config, pairs)
  learners, found = tuple(system.networks), {}
  for remat, needs in measure(config, pairs).items():
    step = make_train_step(system, optimizer, trainable=learners, remat=remat)
    compiled = jax.jit(step, donate_argnums=0).lower(state, batch).compile().memory_analysis()
    found[remat] = (sum(needs),
                    compiled.argument_size_in_bytes + compiled.temp_size_in_bytes)
  return found


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--gib', type=float, default=16, help='memory of a device')
  parser.add_argument('--compile', action='store_true', help='compare with the compiler')
  arguments = parser.parse_args()
  print('| both networks | crop | state, gradients | a pair of crops | '
        f'batch in {arguments.gib:g} GiB | with remat | batch |\n|' + ' --- |' * 7)
  for name, size, file, words in RUNS:
    config = importlib.import_module(f'configs.{file}').get_config(words)
    print(row(name, size, measure(config), arguments.gib * 2**30), flush=True)
  if arguments.compile:
    for remat, (estimated, compiled) in compare(small()).items():
      print(f'a small pair on {jax.devices()[0].device_kind}, remat={remat}: the compiler reserves '
            f'{compiled / 2**20:.0f} MiB, estimated were {estimated / 2**20:.0f}: '
            f'{estimated / compiled:.2f} of it')


if __name__ == '__main__':
  main()
