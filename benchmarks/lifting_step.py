"""The training step of a one-stream lifting network, beside PyTorch where torch is installed.

  python benchmarks/lifting_step.py [--vs torch] [--batch N] [--width 64] [--depth 4] [--quick]

Spatial and temporal blocks in turn, as in MixSTE, on clips of 81 frames and 17 joints: float32 and
4 clips on a CPU, bfloat16 and 32 elsewhere. Both sides take turns in one process, so that other
jobs hit both; figures are medians of the rounds.
"""
import pathlib
import sys

import jax
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from benchmarks import shared
from configs import common
from dslope_jax import skeletons, systems
from dslope_jax.systems.base import Facts
from dslope_jax.training import optimizers, sharding, train_state
from dslope_jax.training.train_step import make_train_step

FRAMES = 81


def rows(quick=False, vs=None, batch=None, width=64, depth=4):
  """(what, value, unit, reference, target) of all that is measured here.

  vs: 'torch', or None to compare where it can be imported. width, depth: channels, and pairs of a
  spatial and a temporal block.
  """
  on_cpu = jax.default_backend() == 'cpu'
  batch = batch or ((1 if quick else 4) if on_cpu else 32)
  width, depth, frames = (16, 1, 9) if quick else (width, depth, FRAMES)
  data = _clips(batch, frames)
  ours = Ours(width, depth, data, 'float32' if on_cpu else 'bfloat16')
  theirs = _peer(width, depth, data, vs)
  sides = {'ours': ours.train} | ({'torch': theirs.train} if theirs else {})
  clock, cpu = shared.take_turns(sides, 2 if quick else 7)
  size = f'{width} channels, {depth} pairs of blocks, {frames} frames'
  yield 'training, clips/s', batch / clock['ours'], 'clips/s', size, ''
  yield '  CPU seconds a clip', cpu['ours'] / batch, 's', '', ''
  counted = f'PyTorch: {theirs.num_parameters / 1e6:.3f}' if theirs else 'PyTorch is not installed'
  yield '  parameters', ours.num_parameters / 1e6, 'million', counted, ''
  if theirs:
    yield '  PyTorch', batch / clock['torch'], 'clips/s', '', ''
    yield "  times PyTorch's speed", clock['torch'] / clock['ours'], 'x', '', ''
    yield '  the same by CPU time', cpu['torch'] / cpu['ours'], 'x', '', ''


class Ours:
  """The system of `systems/lifting.py` as train.py runs it, on one device."""

  def __init__(self, width, depth, data, dtype):
    model = dict(name='entangled', width=width, depth=depth, mlp_ratio=2, qkv_bias=True,
                 layer_scale=None, head='linear', dtype=dtype)
    facts = Facts(skeletons.H36M, frames=data['keypoints_2d'].shape[1])
    system = systems.build(facts, 'lifting', model=model)
    spec = common.adam(5e-4) | dict(schedule='constant', weight_decay=0.01, decay='all')
    optimizer, _ = optimizers.build({'net': spec}, system.networks, 1000, 100.0)
    mesh = sharding.make_mesh()
    example = {k: jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype) for k, x in data.items()}
    self._state = sharding.replicate(
      train_state.create(system, optimizer, seed=0, example=example), mesh)
    self._batch = sharding.to_global(data, mesh)
    step = make_train_step(system, optimizer, trainable=('net',))
    self._step = sharding.jit_step(step, mesh).lower(self._state, self._batch).compile()
    self.num_parameters = sum(x.size for x in jax.tree.leaves(self._state.params))

  def train(self):
    """One step; returns when it is done."""
    self._state, terms = self._step(self._state, self._batch)
    jax.block_until_ready(terms)


def _clips(count, frames):
  rng = np.random.default_rng(0)
  draw = lambda channels: rng.normal(size=(count, frames, 17, channels)).astype(np.float32)
  return {'keypoints_2d': draw(2), 'keypoints_3d': draw(3)}


def _peer(width, depth, data, vs):
  try:
    from benchmarks import torch_lifting
  except ImportError as error:
    if vs:
      sys.exit(f'error: {error}; pip install torch')
    return None
  return torch_lifting.Peer(width, depth, data)


def main():
  parser = shared.parser(__doc__)
  parser.add_argument('--vs', choices=['torch'], help='stop where it is not installed')
  parser.add_argument('--batch', type=int)
  parser.add_argument('--width', type=int, default=64)
  parser.add_argument('--depth', type=int, default=4)
  given = parser.parse_args()
  shared.show(rows(given.quick, given.vs, given.batch, given.width, given.depth))


if __name__ == '__main__':
  main()
