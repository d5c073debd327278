"""Batches of samples by grain: a pure function of (seed, step).

Equal batches with any number of workers, equal global batches on any number of hosts, and
`start_step` resumes exactly. A stream knows nothing of what a sample is: a Maker makes it.
"""
import functools
from multiprocessing import resource_tracker
from typing import Protocol

import cv2
import grain
import numpy as np
from absl import flags

from dslope_jax.errors import one_line
from input_pipeline import watch

_REASON = 600  # bytes of the text why a sample cannot be read
_ALL = 32  # samples; if none of so many can be read, none will


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
  A sample that cannot be read is named once, with the reason, and comes blank; more than
  max_unreadable of them raise OSError, and so does a stream of nothing else.
  patience: see `watch.watched`.
  """
  cv2.setNumThreads(0)  # the samples of a batch run side by side; a sample is one thread's work
  dataset = _training(maker)[process::processes].batch(batch_size, drop_remainder=True)[start_step:]
  return _readable(_iterate(dataset, num_workers, patience), maker, max_unreadable)


def first_samples(maker: Maker, count: int) -> list[dict]:
  """The first samples of `train_stream`, with their 'row', and why one is blank in 'unreadable'."""
  dataset = _training(maker)
  return [dataset[i] for i in range(count)]


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


def _training(maker):
  """The endless data set of training samples."""
  return (grain.MapDataset.range(len(maker)).seed(maker.seed).shuffle().repeat()
          .map_with_index(functools.partial(_train_or_blank, maker)))


def _train_or_blank(maker, index, row):
  try:
    sample, reason = maker.train(index, row), ''
  except OSError as error:
    sample, reason = maker.blank(row), one_line(error)
  return sample | {'row': np.int32(row),
                   'unreadable': np.array(reason.encode('utf-8')[:_REASON], f'S{_REASON}')}


def _evaluate(maker, index):
  row = min(index, len(maker) - 1)
  return maker.evaluate(row) | {'row': np.int32(row), 'mask': index < len(maker)}


def _readable(batches, maker, limit):
  """The batches without the fields that are for this function; says what cannot be read, and why.

  Raises OSError for more than `limit` files, or if none of the first can be read.
  """
  names, first, read = set(), '', False
  try:
    for count, batch in enumerate(batches, 1):
      rows, reasons = batch.pop('row'), batch.pop('unreadable')
      read = read or not reasons.all()
      for row in np.flatnonzero(reasons).tolist():
        name, reason = maker.name(int(rows[row])), reasons[row].decode('utf-8', 'ignore')
        first = first or reason
        if name not in names:
          names.add(name)
          print(f'{reason}; it counts as without labels ({len(names)} so far)', flush=True)
      if not read and count * len(rows) >= min(len(maker), _ALL):
        raise OSError(f'no file can be read; the first: {first}')
      if len(names) > limit:
        raise OSError(f'{len(names)} files cannot be read, more than data.max_unreadable={limit}; '
                      f'mend the files named above; the first: {first}')
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
    # Whoever starts it has signals unblocked then, and workers would inherit that: not the reader.
    resource_tracker.ensure_running()
    options = grain.MultiprocessingOptions(num_workers=num_workers, per_worker_buffer_size=2)
    iterable = iterable.mp_prefetch(options, worker_init_fn=watch.start_worker)
  return watch.watched(iterable, patience)
