"""Data that stop coming end in one line: dead, stopped and hanging workers, full shared memory."""
import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest

from dslope_jax.errors import UserError
from input_pipeline import stream, watch


def big(row):
  return np.full((50, 60), row, np.int32)


class Batches:
  """An iterator that does what it is told after two items."""

  def __init__(self, then):
    self.left, self.then, self.closed = 2, then, threading.Event()

  def __iter__(self):
    return self

  def __next__(self):
    if self.left:
      self.left -= 1
      return {'number': np.array(self.left)}
    return self.then(self)

  def close(self):
    self.closed.set()


def fail(error):
  def then(batches):
    raise error
  return then


@pytest.mark.parametrize('code, told', [
  (-9, ('SIGKILL', 'num_workers')), (-7, ('/dev/shm', '--shm-size')), (-11, ('SIGSEGV',))])
def test_the_end_of_a_worker_by_a_signal_is_one_line(code, told):
  batches = Batches(fail(RuntimeError(
    f'Worker process was terminated unexpectedly with exit code {code}. Search the logs above')))
  items = watch.watched(batches, 60)
  assert [int(next(items)['number']) for _ in range(2)] == [1, 0]
  with pytest.raises(UserError) as found:
    next(items)
  assert all(word in str(found.value) for word in told) and '\n' not in str(found.value)
  assert batches.closed.is_set()


@pytest.mark.parametrize('error', [
  RuntimeError('Worker process was terminated unexpectedly with exit code 1.'), KeyError('x'),
  OSError('a.jpg')])
def test_other_errors_come_as_they_are(error):
  items = watch.watched(Batches(fail(error)), 60)
  with pytest.raises(type(error)) as found:
    list(items)
  assert found.value is error


def test_a_silence_is_told_and_then_ends(monkeypatch, capsys):
  monkeypatch.setattr(watch, '_TOLD_AFTER', 0.2)
  batches = Batches(lambda self: self.closed.wait(30))
  items = watch.watched(batches, 1.5)
  next(items), next(items)
  begin = time.monotonic()
  with pytest.raises(UserError, match='no data for 2 s .*data.patience'):
    next(items)
  assert time.monotonic() - begin < 5
  told = capsys.readouterr().err.splitlines()
  assert told and all('waiting for data for' in line for line in told) and len(told) < 4


def test_closing_ends_the_reader():
  before = set(threading.enumerate())
  readers = lambda: [t for t in set(threading.enumerate()) - before if t.name == 'data reader']
  items = watch.watched(Batches(lambda self: self.closed.wait(30)), 60)
  next(items)
  assert len(readers()) == 1
  items.close()
  assert not readers()


def children():
  return [p for p in multiprocessing.active_children() if 'grain' in p.name]


@pytest.mark.slow
@pytest.mark.parametrize('number, told, patience', [
  (signal.SIGKILL, 'SIGKILL', 100), (signal.SIGSTOP, 'no data for', 20)])
def test_a_worker_that_is_killed_or_stopped(number, told, patience, monkeypatch):
  monkeypatch.setattr(watch, 'PATIENCE', patience)  # its start takes seconds, too
  items = stream.in_order(10**6, big, 2)
  assert type(next(items)) is np.ndarray  # not a view of memory that it shares with a worker
  process, *_ = children()
  for each in children():
    os.kill(each.pid, signal.SIGINT)  # as Ctrl-C on a terminal does
  next(items)
  os.kill(process.pid, number)
  begin = time.monotonic()
  with pytest.raises(UserError, match=told):
    for _ in items:
      pass
  items.close()
  for each in children():  # told to end; they may not have yet
    each.join(30)
  assert time.monotonic() - begin < 40 and not children()
