"""The training step of DAG beside that of the plain network it is made of, and its parts.

  python benchmarks/dag_step.py [--batch N] [--width 32] [--quick]

HRNets at 256x192: float32 and 4 people on a CPU, bfloat16 and 32 elsewhere. All take turns in one
process, so that other jobs hit all; figures are medians of the rounds.
"""
import pathlib
import statistics
import sys
import time

import jax
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from benchmarks import shared
from configs import coco_dag_hrnet, coco_hrnet
from dslope_jax.training import sharding

CONFIGS = {'plain HRNet': (coco_hrnet, ''),
           'maps of twice the size': (coco_dag_hrnet, 'double_only'),
           'DAG without its graph': (coco_dag_hrnet, 'no_graph'), 'DAG': (coco_dag_hrnet, '')}
SMALL = dict(modules=(1, 1, 1), blocks=(1, 1, 1))


def rows(quick=False, batch=None, width=32):
  """(what, value, unit, reference, target) of all that is measured here."""
  on_cpu = jax.default_backend() == 'cpu'
  batch = batch or ((2 if quick else 4) if on_cpu else 32)
  data = None
  steps = {}
  for name, (module, words) in CONFIGS.items():
    config = module.get_config(words)
    config.system.model.update(dict(width=width, dtype='float32' if on_cpu else 'bfloat16')
                               | (SMALL if quick else {}))
    data = data or _batch(tuple(config.data.size), batch)
    steps[name] = _Step(config, data)
  seconds = {name: [] for name in steps}
  for _ in range(2 if quick else 7):
    for name, step in steps.items():
      start = time.perf_counter()
      step()
      seconds[name].append(time.perf_counter() - start)
  found = {name: statistics.median(values) for name, values in seconds.items()}
  plain = found['plain HRNet']
  for name, value in found.items():
    yield f'{name}, people/s', batch / value, 'people/s', '', ''
    yield '  time of a step, in those of the plain one', value / plain, 'x', '', ''
  graph = found['DAG'] - found['DAG without its graph']
  yield 'the graph network alone, of a step of DAG', 100 * graph / found['DAG'], '%', '', ''


class _Step:
  """One training step of a config, again and again."""

  def __init__(self, config, data):
    fresh, step = shared.make_step(config)
    mesh = sharding.make_mesh()
    fields = shared.build_system(config).fields['loss']
    self._state = sharding.replicate(fresh(), mesh)
    self._batch = sharding.to_global({name: data[name] for name in fields}, mesh)
    self._step = step.lower(self._state, self._batch).compile()
    self()

  def __call__(self):
    self._state, terms = self._step(self._state, self._batch)
    jax.block_until_ready(terms)


def _batch(size, count):
  """Random pictures; three people on each."""
  rng, out = np.random.default_rng(0), {}
  for name, x in shared.batch_shapes(size, count).items():
    high = 256 if 'image' in name else size[0] if x.dtype.kind == 'f' else 2
    out[name] = rng.uniform(0, high, (count, *x.shape[1:])).astype(x.dtype)
  out['visibility'][:] = 2
  out['others'][..., 2] = 2 * (np.arange(out['others'].shape[1]) < 2)[:, None]
  return out


def main():
  parser = shared.parser(__doc__)
  parser.add_argument('--batch', type=int)
  parser.add_argument('--width', type=int, choices=[18, 32, 48], default=32)
  given = parser.parse_args()
  shared.show(rows(given.quick, given.batch, given.width))


if __name__ == '__main__':
  main()
