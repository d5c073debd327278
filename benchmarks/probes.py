"""A run of train.py watched from outside: what it compiles, fetches and waits for, by step."""
import contextlib
import io
import threading
import time
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

import train
from dslope_jax.training.profiling import Waits
from input_pipeline import stream

COMPILED = '/jax/core/compile/backend_compile_duration'  # also where a kept program is loaded


class Probe:
  """What happened, each with the number of steps that had been handed to the device by then.

  compiled: (step, name of the program, seconds). fetched, waited: (step, lag) for each time that
  the thread that trains asked for the value of a jax array, or waited for one; lag says how many
  steps had been handed over after the one that it is a term of, 0 for any other array. handed:
  seconds by the clock, and of CPU of all threads, at which each step was handed over.
  step_fn, batch: the compiled step and its last batch, to continue with.
  """

  def __init__(self):
    self.step, self.compiled, self.fetched, self.waited, self.handed = 0, [], [], [], []
    self.step_fn = self.batch = None
    self._terms = {}  # id of a term: step; the terms are kept, or ids would come again
    self._kept, self._thread = [], threading.get_ident()

  def run(self, config, workdir, train_stream=stream.train_stream, counting=True):
    """Trains by `train.train`, silently; returns the last state.

    train_stream: in place of the data's own, such as `OneBatch`. counting: write down what is
    fetched and waited for, which takes time.
    """
    patches = [mock.patch.object(Waits, 'run', self._runner(Waits.run)),
               mock.patch.object(stream, 'train_stream', train_stream)]
    with contextlib.ExitStack() as stack:
      for patch in [*patches, *(self._counters() if counting else ())]:
        stack.enter_context(patch)
      stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
      stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
      jax.monitoring.register_event_duration_secs_listener(self._on_duration)
      stack.callback(jax.monitoring.unregister_event_duration_listener, self._on_duration)
      return train.train(config, workdir)[0]

  def _counters(self):
    array, patch = type(jnp.zeros(())), mock.patch.object
    counting, fetched, waited = self._counting, self.fetched, self.waited
    # What float(), device_get() and __array__ end in; on a CPU NumPy reads the memory itself.
    yield patch(array, '_value', property(counting(fetched, array._value.fget)))
    for name in ('asarray', 'array'):
      yield patch(np, name, counting(fetched, getattr(np, name)))
    for where in (array, jax):
      yield patch(where, 'block_until_ready', counting(waited, where.block_until_ready))

  def _counting(self, events, function):
    """`function`, with its use on jax arrays by the thread that trains written down."""
    def counted(*args, **kwargs):
      if threading.get_ident() == self._thread:
        used = [x for x in jax.tree.leaves(args[:1]) if isinstance(x, jax.Array)]
        if used:
          newest = max(self._terms.get(id(x), self.step) for x in used)
          events.append((self.step, self.step - newest))
      return function(*args, **kwargs)
    return counted

  def _runner(self, run):
    def runner(waits, step_fn, state, batch):
      self.step_fn, self.batch = step_fn, batch
      return run(waits, self._hand_over, state, batch)
    return runner

  def _hand_over(self, state, batch):
    self.handed.append((time.perf_counter(), time.process_time()))
    state, terms = self.step_fn(state, batch)
    self.step += 1
    self._kept.append(terms)
    self._terms |= {id(x): self.step for x in jax.tree.leaves(terms)}
    return state, terms

  def _on_duration(self, event, duration, fun_name='', **_):
    if event == COMPILED:
      self.compiled.append((self.step, fun_name, duration))


class OneBatch:
  """Stands for `stream.train_stream`: its first batch, again and again, in every run."""

  def __init__(self):
    self._make, self._batch = stream.train_stream, None

  def __call__(self, *args, **kwargs):
    if self._batch is None:
      batches = self._make(*args, **kwargs)
      self._batch = next(batches)
      batches.close()
    return self

  def __next__(self):
    return self._batch

  def close(self):
    pass
