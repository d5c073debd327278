"""The paired training step and inference, beside PyTorch where torch and timm are installed.

  python benchmarks/train_step.py [--vs torch] [--batch N] [--width 32] [--cores N] [--quick]

Two HRNets at 256x192: float32 and 4 pairs on a CPU, bfloat16 and 32 pairs elsewhere. Both sides
take turns in one process, so that other jobs hit both; figures are medians of the rounds. --cores
ties the process to so many CPU cores; with one, the CPU time that is printed beside the clock's
is that of the work alone, whatever else runs on the machine.
"""
import os
import pathlib
import sys

if __name__ == '__main__' and '--cores' in sys.argv:  # before jax and torch count them
  _cores = int(sys.argv[sys.argv.index('--cores') + 1])
  os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:_cores])
  os.environ['OMP_NUM_THREADS'] = str(_cores)

import jax
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from benchmarks import shared
from configs import common
from dslope_jax import heatmaps, skeletons, systems
from dslope_jax.systems.base import Facts, Forward, normalise
from dslope_jax.training import optimizers, sharding, train_state
from dslope_jax.training.train_step import make_train_step

SIZE, KEYPOINTS = (192, 256), 17
SMALL = dict(modules=(1, 1, 1), blocks=(1, 1, 1))
MUTUAL = dict(kind='kl', weights=dict(gnet=0.02, enet=0.02), temperature=0.1, features=False)


def rows(quick=False, vs=None, batch=None, width=32):
  """(what, value, unit, reference, target) of all that is measured here.

  vs: 'torch', or None to compare where torch and timm can be imported.
  """
  on_cpu = jax.default_backend() == 'cpu'
  batch = batch or ((2 if quick else 4) if on_cpu else 32)
  data = _batch(batch)
  ours = Ours(width, data, 'float32' if on_cpu else 'bfloat16', SMALL if quick else {})
  theirs = _peer(width, data, vs)
  for what, unit, name, target in (
      ('training, pairs/s', 'pairs/s', 'train', 0.5 if on_cpu else 1.5),
      ('inference of both networks, pairs/s', 'pairs/s', 'infer', 0.83 if on_cpu else None)):
    sides = {'ours': getattr(ours, name)}
    if theirs:
      sides['torch'] = getattr(theirs, name)
    clock, cpu = shared.take_turns(sides, 2 if quick else 5)
    yield what, batch / clock['ours'], unit, '', ''
    yield f'  {name}: CPU seconds a pair', cpu['ours'] / batch, 's', '', ''
    if theirs:
      yield f'  {name}: PyTorch', batch / clock['torch'], unit, '', ''
      goal = f'>= {target}' if target and not quick else ''
      yield f'  {name}: times PyTorch\'s speed', clock['torch'] / clock['ours'], 'x', '', goal
      yield (f'  {name}: the same by CPU time', cpu['torch'] / cpu['ours'], 'x',
             f'{cpu["torch"] / batch:.3g} s a pair', '')
  memory = jax.local_devices()[0].memory_stats() or {}
  if 'peak_bytes_in_use' in memory:
    yield 'device memory, peak', memory['peak_bytes_in_use'] / 2**30, 'GiB', '', ''


class Ours:
  """The pair of `systems/dslope.py` as train.py runs it, on one device."""

  def __init__(self, width, data, dtype, smaller):
    model = dict(name='hrnet', width=width, dtype=dtype) | smaller
    facts = Facts(skeletons.COCO, SIZE)
    self.system = systems.build(facts, 'dslope', model=model, mutual=MUTUAL)
    optimizer, _ = optimizers.build(
      {n: common.adam() for n in self.system.networks}, self.system.networks, 1000, 100.0)
    mesh = sharding.make_mesh()
    self.state = sharding.replicate(
      train_state.create(self.system, optimizer, seed=0, example=shared.batch_shapes(SIZE, 1)),
      mesh)
    self.batch = sharding.to_global({k: v for k, v in data.items() if k != 'target'}, mesh)
    step = make_train_step(self.system, optimizer, trainable=tuple(self.system.networks))
    self._step = sharding.jit_step(step, mesh).lower(self.state, self.batch).compile()
    self._infer = jax.jit(self._both)

  def train(self):
    """One step; returns when it is done."""
    self.state, terms = self._step(self.state, self.batch)
    jax.block_until_ready(terms)

  def infer(self):
    """Heatmaps of both networks; returns when they are done."""
    jax.block_until_ready(self._infer(self.state.weights(), self.batch))

  def _both(self, weights, batch):
    forward = Forward(self.system.networks, weights['params'], weights['batch_stats'])
    return [forward(name, normalise(batch[field]), train=False)['heatmaps']
            for name, field in (('gnet', 'image'), ('enet', 'occluded_image'))]


def _batch(count):
  rng, (w, h) = np.random.default_rng(0), SIZE
  keypoints = rng.uniform(0, SIZE, (count, KEYPOINTS, 2)).astype(np.float32)
  visible = np.full((count, KEYPOINTS), 2, np.uint8)
  target, _ = heatmaps.codec('hrnet').encode(keypoints, visible.astype(np.float32), SIZE, sigma=2.0)
  return {'image': rng.integers(0, 256, (count, h, w, 3), np.uint8),
          'occluded_image': rng.integers(0, 256, (count, h, w, 3), np.uint8),
          'keypoints': keypoints, 'visibility': visible,
          'covered': np.zeros((count, KEYPOINTS), bool), 'target': np.array(target)}


def _peer(width, data, vs):
  try:
    from benchmarks import torch_pair
  except ImportError as error:
    if vs:
      sys.exit(f'error: {error}; pip install torch torchvision timm')
    return None
  return torch_pair.Pair(width, data)


def main():
  parser = shared.parser(__doc__)
  parser.add_argument('--vs', choices=['torch'], help='stop where it is not installed')
  parser.add_argument('--batch', type=int)
  parser.add_argument('--width', type=int, choices=[18, 32, 48], default=32)
  parser.add_argument('--cores', type=int, help='of the CPU, for both')
  given = parser.parse_args()
  shared.show(rows(given.quick, given.vs, given.batch, given.width))


if __name__ == '__main__':
  main()
