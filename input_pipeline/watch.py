"""Data workers, and a watch over them: their ends and silences become one line."""
import contextlib
import multiprocessing
import os
import queue
import re
import shutil
import signal
import sys
import threading
import time

import cv2
import numpy as np

from dslope_jax.errors import UserError

PATIENCE = 600.0  # seconds without a batch that end a run
_TOLD_AFTER = 60.0  # seconds
_CLOSING = 5.0  # seconds for workers to end when asked to
# Options of the processes that are started from here. Python's resource tracker removes the shared
# memory that was in flight at the end of a run; that it does so is no news.
sys.warnoptions.append('ignore:resource_tracker')
_END = object()


def watched(iterable, patience: float = PATIENCE):
  """The items of an iterable, read one ahead by a thread; their arrays are the reader's own.

  After a minute without an item a line says so; after `patience` seconds, and where a worker died,
  UserError. What reading raises is raised here. Closing it ends the workers.
  """
  ready, closed = queue.Queue(1), threading.Event()
  # Ctrl-C on a terminal reaches every process, but only this one acts on it: the workers inherit
  # the mask. Not so SIGTERM, by which Python itself ends workers.
  before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
  try:
    batches = iter(iterable)
    reader = threading.Thread(target=_read, args=(batches, ready, closed), name='data reader',
                              daemon=True)
    reader.start()
  finally:
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
  try:
    while True:
      item = _wait(ready, patience)
      if item is _END:
        return
      if isinstance(item, BaseException):
        raise _told(item)
      yield item
  finally:
    closed.set()
    ending = threading.Thread(target=batches.close, daemon=True)
    ending.start()
    ending.join(_CLOSING)
    if ending.is_alive():
      _kill_workers()
      ending.join(1)
    reader.join(1)


def _read(batches, ready, closed):
  try:
    for item in batches:
      _put(_own(item), ready, closed)
      if closed.is_set():
        return
    _put(_END, ready, closed)
  except BaseException as error:
    _put(error, ready, closed)


def _put(item, ready, closed):
  while not closed.is_set():
    with contextlib.suppress(queue.Full):
      return ready.put(item, timeout=0.2)


def _own(item):
  """Copies of arrays that lie in memory shared with a worker, which is free again at once."""
  if isinstance(item, np.ndarray):
    return item if type(item) is np.ndarray else np.array(item)
  if isinstance(item, dict):
    return {k: _own(v) for k, v in item.items()}
  return tuple(map(_own, item)) if isinstance(item, tuple) else item


def _wait(ready, patience):
  begin, told = time.monotonic(), _TOLD_AFTER
  while True:
    waited = time.monotonic() - begin
    with contextlib.suppress(queue.Empty):
      return ready.get(timeout=max(0.01, min(1.0, patience - waited)))
    waited = time.monotonic() - begin
    if waited >= patience:
      _kill_workers()
      raise UserError(f'no data for {waited:.0f} s (data.patience): a data worker is stopped, or '
                      'the disk does not answer that the pictures are on')
    if waited >= told:
      told *= 2
      print(f'waiting for data for {waited:.0f} s: is the disk of the pictures slow? The run ends '
            f'after {patience:.0f} s (data.patience)', file=sys.stderr, flush=True)


def _kill_workers():
  """Stopped or hanging ones do not end when asked to."""
  for process in multiprocessing.active_children():
    process.kill()


def _told(error):
  """What to raise for an error of the reader: the end of a worker by a signal is no bug."""
  found = re.search(r'Worker process .* exit code -(\d+)', str(error))
  if not found:
    return error
  number = int(found[1])
  if number == signal.SIGBUS:
    size = shutil.disk_usage('/dev/shm').total / 2**20 if os.path.isdir('/dev/shm') else 0
    return UserError(f'a data worker died of a bus error: shared memory (/dev/shm, {size:.0f} MiB) '
                     'is full; give it more (docker run --shm-size=8g), or set data.num_workers=0')
  name = signal.Signals(number).name if number in set(signal.Signals) else f'signal {number}'
  why = '; the system does that when memory runs out: lower data.num_workers' \
    if number == signal.SIGKILL else ''
  return UserError(f'a data worker was ended by {name}{why}')


def start_worker(*_):
  """A worker never touches an accelerator, should a library in it import jax, and does not outlive
  a process that was killed."""
  os.environ['JAX_PLATFORMS'] = 'cpu'
  os.environ['CUDA_VISIBLE_DEVICES'] = ''
  cv2.setNumThreads(0)
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
  multiprocessing.parent_process().join()
  os._exit(1)
