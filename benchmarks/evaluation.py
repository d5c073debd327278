"""How fast pictures are evaluated: the jitted prediction, and the loop around it.

  python benchmarks/evaluation.py [--quick]

Both networks see the clean and the occluded picture of a person, each mirrored, too; the maps are
merged and decoded on the device. The floor is the forward passes alone: the same networks, the same
number of pictures, in batches of the same size, mirrored beforehand. Both take turns, medians. Then
`Evaluator.predict` over people of the embedded world, whose number is no multiple of the batch. On
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
from benchmarks import shared
from dslope_jax.evaluation import engine as evaluation
from dslope_jax.systems.base import Forward
from dslope_jax.training import sharding, train_state
from input_pipeline import sources, stream
from input_pipeline.occlusion import bank as patches
from input_pipeline.pairs import PairMaker


def rows(quick=False):
  """(what, value, unit, reference, target) of all that is measured here."""
  config, batch_size, people, workers = _scale(quick)
  batch_size *= jax.device_count()
  system, size = shared.build_system(config), tuple(config.data.size)
  mesh = sharding.make_mesh()
  weights = sharding.replicate(train_state.init_weights(system, 0, size), mesh)
  with tempfile.TemporaryDirectory() as folder:
    evaluator, batches = _evaluator(config, system, mesh, people, batch_size, workers, folder)
    first_batches = batches('published')
    first = next(first_batches)
    first_batches.close()
    alone = yield from _predict(evaluator, system, weights, first, 2 if quick else 9)
    yield from _loop(evaluator, weights, batch_size, alone, 1 if quick else 3)


def _scale(quick):
  """(config, batch of a device, people, data workers)."""
  if quick:
    name, *rest = 'tests/tiny.py:plain', 8, 10, 0
  elif jax.default_backend() == 'cpu':
    name, *rest = 'configs/clspet_hrnet.py', 16, 200, 0
  else:
    name, *rest = 'configs/ccoco_hrnet.py', 64, 3000, 8
  return shared.load_config(name), *rest


def _evaluator(config, system, mesh, people, batch_size, workers, folder):
  """An Evaluator of people of the embedded world, and its function recipe -> batches."""
  size = tuple(config.data.size)
  options = dict(size=(96, 128) if size[0] < 192 else (160, 192), aspect=size[0] / size[1])
  bank = patches.load_or_build(
    f'{folder}/bank', sources.load('synthetic', 'train', num_people=60, **options),
    num_people=60, seed=0)
  source = sources.load('synthetic', 'val', num_people=people, **options)

  def batches(recipe):
    maker = PairMaker(source, size, bank, recipe, seed=0)
    return stream.eval_stream(maker, batch_size=batch_size, num_workers=workers)

  return evaluation.Evaluator(
    system, mesh, source, batches, size=size, metric='pck', flip=True, shift=True, stamp={},
    recipe='published', sigma=config.system.sigma, codec=config.system.codec), batches


def _predict(evaluator, system, weights, batch, rounds):
  """Yields the prediction against its floor; returns its pictures per second."""
  split, everywhere = sharding.by_sample(evaluator.mesh), sharding.replicated(evaluator.mesh)

  def forward(weights, pictures):
    run = Forward(system.networks, weights['params'], weights['batch_stats'])
    return [system.predict(run, each) for each in pictures]

  fields = [batch[name] for name in ('image', 'occluded_image')]
  mirrored = [np.ascontiguousarray(x[:, :, ::-1]) for x in fields]
  put = lambda x: jax.make_array_from_process_local_data(split, x)
  pairs = sharding.to_global({k: batch[k] for k in ('image', 'occluded_image')}, evaluator.mesh)
  work = {'predict': (evaluator._predict, pairs),
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


def _loop(evaluator, weights, batch_size, alone, rounds):
  """The whole prediction, start of the data included."""
  people, batches, waits, seconds, timed = len(evaluator.source), evaluator.batches, [], [], []

  def watched(recipe):
    timed.append(_Timed(batches(recipe)))
    return timed[-1]

  evaluator.batches = watched
  for _ in range(rounds):
    before = time.perf_counter()
    evaluator.predict(weights)
    seconds.append(time.perf_counter() - before)
    waits.append(timed[-1].seconds / seconds[-1])
  evaluator.batches = batches
  speed = 2 * people / statistics.median(seconds)
  padding = -people % batch_size
  # Padding is worked off, too: the least that the loop could take.
  floor = alone * people / (people + padding)
  yield (f'Evaluator.predict, {people} people', speed, 'pictures/s',
         f'floor {floor:.1f}: predict, {padding} of padding', '')
  yield 'Evaluator.predict', speed / floor, 'x floor', '', ''
  yield 'waiting for data', 100 * statistics.median(waits), '% of the loop', '', ''


if __name__ == '__main__':
  shared.show(rows(shared.parser(__doc__).parse_args().quick))
