"""Batches of samples by grain: a pure function of (seed, step).

Equal batches with any number of workers, equal global batches on any number of hosts, and
`start_step` resumes it exactly.
"""
import multiprocessing
import os
import threading

import cv2
import grain
from absl import flags


def train_stream(maker, *, batch_size: int, start_step: int = 0, num_workers: int = 0,
                  process: int = 0, processes: int = 1):
  """Endless iterator over this process's part of the global batches, from `start_step`.

  batch_size: of this process. num_workers: data processes; 0 works in threads of this one.
  """
  cv2.setNumThreads(0)  # the samples of a batch run side by side; a sample is one thread's work
  dataset = (
    grain.MapDataset.source(maker.source).seed(maker.seed).shuffle().repeat()
    .map_with_index(maker.train)[process::processes]
    .batch(batch_size, drop_remainder=True)[start_step:])
  return _iterate(dataset, num_workers)


def eval_stream(maker, *, batch_size: int, num_workers: int = 0, process: int = 0,
                 processes: int = 1):
  """Iterator over this process's part of the rows, every batch full, the last ones padded.

  Every process gets the same number of batches.
  """
  cv2.setNumThreads(0)
  count = len(maker.source)
  padded = -(-count // (batch_size * processes)) * batch_size * processes
  items = [(min(i, count - 1), i < count) for i in range(padded)]
  dataset = (grain.MapDataset.source(items)[process::processes].map(maker.evaluate)
             .batch(batch_size, drop_remainder=True))
  return _iterate(dataset, num_workers)


def in_order(count, work, num_workers=0):
  """Iterator over work(0), work(1), ... work(count - 1), done by so many processes; 0: here."""
  return _iterate(grain.MapDataset.range(count).map(work), num_workers)


def _iterate(dataset, num_workers):
  """Reads ahead: by worker processes, or by a few threads of this process."""
  threads = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
  iterable = dataset.to_iter_dataset(threads)
  if num_workers:
    if not flags.FLAGS.is_parsed():  # grain asks for its flags, also where no script parsed any
      flags.FLAGS.mark_as_parsed()
    options = grain.MultiprocessingOptions(num_workers=num_workers, per_worker_buffer_size=2)
    iterable = iterable.mp_prefetch(options, worker_init_fn=_start_worker)
  return iter(iterable)


def _start_worker(*_):
  """A worker never touches an accelerator, should a library in it import jax, and does not outlive
  a process that was killed."""
  os.environ['JAX_PLATFORMS'] = 'cpu'
  os.environ['CUDA_VISIBLE_DEVICES'] = ''
  cv2.setNumThreads(0)
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
  multiprocessing.parent_process().join()
  os._exit(1)
