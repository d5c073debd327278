"""Batches of samples by grain: a pure function of (seed, step).

Equal batches with any number of workers, equal global batches on any number of hosts, and
`start_step` resumes exactly. A stream knows nothing of what a sample is: a Maker makes it.
"""
import functools
from typing import Protocol

import cv2
import grain
import numpy as np
from absl import flags

from input_pipeline import watch


class Maker(Protocol):
  """Makes samples, dicts of arrays of fixed shapes. Picklable; everything random comes from
  (seed, sample, epoch)."""
  seed: int

  def __len__(self) -> int:
    """Number of rows; each is seen once in an epoch."""

  def train(self, index: int, row: int) -> dict:
    """Sample number `index` of the endless stream, of this row; OSError if it cannot be read."""

  def evaluate(self, row: int) -> dict:
    """The fixed sample of a row; OSError if it cannot be read."""

  def blank(self, row: int) -> dict:
    """A sample without labels, in place of one that cannot be read."""

  def name(self, row: int) -> str:
    """What a message calls a row, such as its file."""


def train_stream(maker: Maker, *, batch_size: int, start_step: int = 0, num_workers: int = 0,
                 process: int = 0, processes: int = 1, max_unreadable: int = 0,
                 patience: float = watch.PATIENCE):
  """Endless generator of this process's part of the global batches, from `start_step`.

  batch_size: of this process. num_workers: data processes; 0 works in threads of this one.
  A sample that cannot be read is named once and comes blank; more than max_unreadable of them
  raise OSError. patience: see `watch.watched`.
  """
  cv2.setNumThreads(0)  # the samples of a batch run side by side; a sample is one thread's work
  dataset = (
    grain.MapDataset.range(len(maker)).seed(maker.seed).shuffle().repeat()
    .map_with_index(functools.partial(_train_or_blank, maker))[process::processes]
    .batch(batch_size, drop_remainder=True)[start_step:])
  return _readable(_iterate(dataset, num_workers, patience), maker, max_unreadable)


def eval_stream(maker: Maker, *, batch_size: int, num_workers: int = 0, process: int = 0,
                processes: int = 1, patience: float = watch.PATIENCE):
  """Iterator over this process's part of the rows, every batch full, the last ones padded.

  A batch has 'row' (B,) and 'mask' (B,), False for padding. Every process gets the same number of
  batches. An unreadable sample raises OSError: a score over the others would be another score.
  """
  cv2.setNumThreads(0)
  count = len(maker)
  padded = -(-count // (batch_size * processes)) * batch_size * processes
  dataset = (grain.MapDataset.range(padded)[process::processes]
             .map(functools.partial(_evaluate, maker)).batch(batch_size, drop_remainder=True))
  return _iterate(dataset, num_workers, patience)


def in_order(count, work, num_workers=0):
  """Iterator over work(0), work(1), ... work(count - 1), by data processes; 0: by none."""
  return _iterate(grain.MapDataset.range(count).map(work), num_workers, watch.PATIENCE)


def _train_or_blank(maker, index, row):
  try:
    sample, unreadable = maker.train(index, row), False
  except OSError:
    sample, unreadable = maker.blank(row), True
  return sample | {'row': np.int32(row), 'unreadable': unreadable}


def _evaluate(maker, index):
  row = min(index, len(maker) - 1)
  return maker.evaluate(row) | {'row': np.int32(row), 'mask': index < len(maker)}


def _readable(batches, maker, limit):
  """The batches without the fields that are for this function; names what cannot be read."""
  names = set()
  try:
    for batch in batches:
      rows, unreadable = batch.pop('row'), batch.pop('unreadable')
      for name in sorted({maker.name(row) for row in rows[unreadable].tolist()} - names):
        names.add(name)
        print(f"'{name}' cannot be read; it counts as without labels ({len(names)} so far)",
              flush=True)
      if len(names) > limit:
        raise OSError(f'{len(names)} files cannot be read, more than data.max_unreadable={limit}; '
                      'mend the files named above')
      yield batch
  finally:
    batches.close()


def _iterate(dataset, num_workers, patience):
  """Reads ahead: by worker processes, or by a few threads of this process."""
  threads = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
  iterable = dataset.to_iter_dataset(threads)
  if num_workers:
    if not flags.FLAGS.is_parsed():  # grain asks for its flags, also where no script parsed any
      flags.FLAGS.mark_as_parsed()
    options = grain.MultiprocessingOptions(num_workers=num_workers, per_worker_buffer_size=2)
    iterable = iterable.mp_prefetch(options, worker_init_fn=watch.start_worker)
  return watch.watched(iterable, patience)
