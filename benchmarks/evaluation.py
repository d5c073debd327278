"""How fast pictures are evaluated: the jitted prediction, and the loop around it.

  python benchmarks/evaluation.py [--quick]

Both networks see the clean and the occluded picture of a person, each mirrored, too; the maps are
merged and decoded on the device. The floor is the forward passes alone: the same networks, the same
number of pictures, in batches of the same size, mirrored beforehand. Both take turns, medians. Then
`Engine.predict` over people of the embedded world, whose number is no multiple of the batch. On
a CPU the network is the small HRNet of configs/clspet_hrnet.py, on an accelerator the HRNet-W32 of
configs/ccoco_hrnet.py. A picture is one of those that are scored: two a person.
"""
import pathlib
import statistics
import sys
import tempfile
import time

import jax
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from ml_collections import ConfigDict

from benchmarks import shared
from configs import common
from dslope_jax import tasks
from dslope_jax.evaluation.engine import Engine
from dslope_jax.systems.base import Forward, normalise
from dslope_jax.training import sharding, train_state


def rows(quick=False):
  """(what, value, unit, reference, target) of all that is measured here."""
  config, batch_size, people = _scale(quick)
  mesh = sharding.make_mesh()
  with tempfile.TemporaryDirectory() as folder:
    task = tasks.build(_of_the_world(config, batch_size * jax.device_count(), people), folder)
    entry, = task.evals.values()
    engine = Engine(task.system, entry, mesh)
    weights = sharding.replicate(train_state.init_weights(task.system, 0, task.example), mesh)
    first_batches = entry.batches()
    first = next(first_batches)
    alone = yield from _predict(engine, task.system, weights, first, 2 if quick else 9)
    yield from _loop(engine, weights, len(first['row']), alone, 1 if quick else 3)


def _scale(quick):
  """(config, batch of a device, people)."""
  if quick:
    name, *rest = 'tests/tiny.py:plain', 8, 10
  elif jax.default_backend() == 'cpu':
    name, *rest = 'configs/clspet_hrnet.py', 16, 200
  else:
    name, *rest = 'configs/ccoco_hrnet.py', 64, 3000
  return shared.load_config(name), *rest


def _of_the_world(config, batch_size, people):
  """The config with people of the embedded world in place of its data."""
  config = config.copy_and_resolve_references().unlock()
  config.data.name, config.data.root = 'synthetic', ''
  pictures = (96, 128) if config.data.size[0] < 192 else (160, 192)
  config.data.loader = ConfigDict(dict(num_people=60, size=pictures))
  config.data.bank.num_people, config.data.train_split = 60, 'train'
  config.evals = ConfigDict(dict(val=common.evaluation('val', 'pck') | dict(
    batch_size=batch_size, data=dict(name='', root='', loader=dict(num_people=people)))))
  return config


def _predict(engine, system, weights, batch, rounds):
  """Yields the prediction against its floor; returns its pictures per second."""
  split, everywhere = sharding.by_sample(engine.mesh), sharding.replicated(engine.mesh)

  def forward(weights, pictures):
    run = Forward(system.networks, weights['params'], weights['batch_stats'])
    names = list(system.networks)
    return [run(name, normalise(each), train=False) for name in names for each in pictures]

  fields = [batch[name] for name in ('image', 'occluded_image')]
  mirrored = [np.ascontiguousarray(x[:, :, ::-1]) for x in fields]
  put = lambda x: jax.make_array_from_process_local_data(split, x)
  pairs = sharding.to_global({k: batch[k] for k in ('image', 'occluded_image')}, engine.mesh)
  work = {'predict': (engine._predict, pairs),
          'forward': (jax.jit(forward, in_shardings=(everywhere, split), out_shardings=split),
                      [put(x) for x in fields + mirrored])}
  seconds = {name: [] for name in work}
  for turn in range(rounds + 1):
    for name, (function, pictures) in work.items():
      before = time.perf_counter()
      jax.block_until_ready(function(weights, pictures))
      if turn:  # in the first both are compiled
        seconds[name].append(time.perf_counter() - before)
  count = 2 * len(batch['row'])
  speed = {name: count / statistics.median(values) for name, values in seconds.items()}
  share = statistics.median(np.divide(seconds['forward'], seconds['predict']))
  yield (f'predict, batch {count // 2}', speed['predict'], 'pictures/s',
         f'floor {speed["forward"]:.1f}: forward passes', '')
  yield 'predict', share, 'x floor', f'{rounds} rounds', '>= 0.9'
  return speed['predict']


class _Timed:
  """An iterator that adds up the seconds its next elements were waited for."""
  seconds = 0.0

  def __init__(self, iterator):
    self.iterator = iterator

  def __iter__(self):
    return self

  def __next__(self):
    before = time.perf_counter()
    try:
      return next(self.iterator)
    finally:
      self.seconds += time.perf_counter() - before


def _loop(engine, weights, batch_size, alone, rounds):
  """The whole prediction, start of the data included."""
  people, waits, seconds = engine.entry.rows, [], []
  for _ in range(rounds):
    batches, before = _Timed(engine.entry.batches()), time.perf_counter()
    engine.predict(weights, people, batches)
    seconds.append(time.perf_counter() - before)
    waits.append(batches.seconds / seconds[-1])
  speed = 2 * people / statistics.median(seconds)
  padding = -people % batch_size
  # Padding is predicted, too: the least that the loop could take.
  floor = alone * people / (people + padding)
  yield (f'Engine.predict, {people} people', speed, 'pictures/s',
         f'floor {floor:.1f}: predict, {padding} of padding', '')
  yield 'Engine.predict', speed / floor, 'x floor', '', ''
  yield 'waiting for data', 100 * statistics.median(waits), '% of the loop', '', ''


if __name__ == '__main__':
  shared.show(rows(shared.parser(__doc__).parse_args().quick))
