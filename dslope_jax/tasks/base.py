"""What the scripts need to know of a task.

A task file dslope_jax/tasks/<name>.py only binds: a formula in it is in the wrong place. It offers
  build(config, workdir, training=True) -> Task
  serve(config, facts) -> Serving
  file_evals(config) -> {entry: EvalSet}, to score result files: no networks, no pictures
  FREE: beginnings of its config fields that may change when a run is resumed
  SETS: the package whose `loader(name)` reads its data sets; input_pipeline.sources without
  SETTLED: {folder of the workdir: beginnings of the config fields that it was made from}
"""
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax

from dslope_jax.evaluation.base import EvalSet
from dslope_jax.systems.base import Batch, Facts, System
from input_pipeline import stream


class Task(NamedTuple):
  """A kind of problem, bound to its data and to a system.

  example: a batch of shapes, B = 1. samples: of an epoch; 0 without training.
  stream: first step -> this process's batches, with the fields that the loss reads.
  evals: {entry of config.evals: its set}. digest: of all training samples.
  look_at: files, besides those of the loop, that show how a run went. show: (count) -> the first
  samples of the training as networks see them, [{'caption': text, 'pictures': {title: (H,W,3)
  uint8}}], all with the same titles and sizes; None without training. findings: {set: what looked
  wrong with it, `plausibility.Finding`s that are warnings}; they were printed when it was loaded.
  """
  system: System
  facts: Facts
  example: Batch
  samples: int
  stream: Callable[[int], Iterator] | None
  evals: dict[str, EvalSet]
  digest: str = ''
  look_at: tuple[str, ...] = ()
  findings: dict[str, tuple] = {}
  show: Callable | None = None


# What a `Serving` takes.
BOXES, TRACKS, PICTURES = 'boxes in pictures', 'tracks of 2D keypoints', 'whole pictures'
FACES = 'faces, of which they tell no keypoints but who they are of'


class Serving(NamedTuple):
  """Prediction without data sets: all it needs is the folder of a run.

  prepare: (what it takes) -> samples, a dict of arrays (B first) with the fields that the system
    predicts from, and what `finish` needs.
  finish: (outputs, samples) -> {row: fields} in `unit`.
  takes: BOXES, prepare(picture, boxes); TRACKS, prepare(keypoints, confidence, size of the
    picture); or PICTURES, prepare(picture, camera (4,) fx fy cx cy in its pixels).
  """
  system: System
  prepare: Callable
  finish: Callable
  takes: str = BOXES
  unit: str = 'picture pixels'


def data_set(config, data=None) -> tuple[str, str, dict]:
  """(name, root, options of the loader) of a data set.

  data: section `evals.NAME.data`; its empty fields are those of `config.data`.
  """
  own, data = config.data, data or {}
  same = data.get('name', '') in ('', own.name)
  name = own.name if same else data['name']
  root = data.get('root', '') or (own.get('root', '') if same else '')
  return name, root, (own.loader.to_dict() if same else {}) | dict(data.get('loader', {}))


def load_set(sets, of, split):
  """A split of the set that `data_set` describes; what is to be known of it is printed. sets: the
  package of input_pipeline that reads it."""
  name, root, options = of
  found = sets.load(name, split, **({'root': root} if root else {}), **options)
  for note in found.notes:
    print(f'{found.name} {found.split}: {note}', flush=True)
  return found


def describe_loader(options: dict) -> str:
  """How the data of an evaluation are read, for its stamp; folders are left to the digest."""
  name = lambda value: os.path.basename(value) if isinstance(value, str) and os.path.isabs(
    value) else value
  return ','.join(f'{k}={name(v)}' for k, v in sorted(options.items()))


def train_batches(config, maker: stream.Maker, start: int):
  """`Task.stream` of a maker: this process's part of the batches from step `start` on."""
  processes = jax.process_count()
  return stream.train_stream(
    maker, batch_size=config.batch_size // processes, start_step=start,
    num_workers=config.data.num_workers, process=jax.process_index(), processes=processes,
    max_unreadable=config.data.max_unreadable, patience=config.data.patience)


def eval_batches(config, entry, maker: stream.Maker):
  """`EvalSet.batches` of a maker; entry: of `config.evals`."""
  local = max(1, entry.batch_size // jax.device_count()) * jax.local_device_count()
  return stream.eval_stream(
    maker, batch_size=local, num_workers=config.data.num_workers, process=jax.process_index(),
    processes=jax.process_count(), patience=config.data.patience)
