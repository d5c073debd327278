"""What the training loop waits for: shares of its time, a verdict on them, a trace for xprof."""
import contextlib
import time
from collections import deque
from typing import NamedTuple

import jax

_AHEAD = 2  # steps handed to the device before the host waits for the oldest of them
_WARM_UP, _TRACED = 10, 5  # steps


class Shares(NamedTuple):
  """What a stretch of training went into; evaluations are left out of it.

  data, device: shares of the time in which the host waited for a batch, for a step to be computed.
  dry: share of the steps that found the device with nothing left to do.
  cpu_seconds: processor time of this process, all its threads together.
  """
  data: float
  device: float
  dry: float
  seconds: float
  steps: int
  cpu_seconds: float = 0.0

  def verdict(self) -> str:
    """What bounds the speed. Waiting for data costs nothing while the device has work."""
    figures = (f'host waits for data {self.data:.0%}, for the device {self.device:.0%} of the '
               f'time; {self.dry:.0%} of {self.steps} steps found the device idle')
    if self.dry < 0.1 or self.device > 0.5 and self.data <= 0.05:
      return f'compute-bound ({figures})'
    if self.data > 0.05:
      return f'data-bound ({figures}); raise data.num_workers, or train on prepared crops'
    return f'host-bound ({figures}); raise log_every and save_every, or the batch size'


class Waits:
  """Adds up, step by step, what the loop waits for, and hands the steps to the device.

  The host runs ahead of the device by at most two steps: after handing one over it waits for the
  one before the last.
  """

  def __init__(self):
    self._sums = {'data': 0.0, 'device': 0.0, 'away': 0.0, 'away_cpu': 0.0, 'dry': 0, 'steps': 0}
    self._in_flight = deque()

  @contextlib.contextmanager
  def of(self, what: str):
    """Counts the time within as 'data', 'device' or 'away'."""
    before = time.perf_counter()
    yield
    self._sums[what] += time.perf_counter() - before

  @contextlib.contextmanager
  def away(self):
    """Leaves out the time within, from when the device has done all it was given."""
    with self.of('device'):
      jax.block_until_ready(list(self._in_flight))
    self._in_flight.clear()
    before = time.process_time()
    with self.of('away'):
      yield
    self._sums['away_cpu'] += time.process_time() - before

  def run(self, step_fn, state, batch):
    """`step_fn(state, batch)`: the new state and the step's terms, neither computed yet."""
    if self._in_flight:
      self._sums['dry'] += _computed(self._in_flight[-1])
    before = time.perf_counter()
    state, terms = step_fn(state, batch)
    if jax.default_backend() == 'cpu' and _computed(terms):  # the call itself was the computation
      self._sums['device'] += time.perf_counter() - before
    self._in_flight.append(terms)
    self._sums['steps'] += 1
    if len(self._in_flight) > _AHEAD:
      with self.of('device'):
        jax.block_until_ready(self._in_flight.popleft())
    return state, terms

  def reading(self) -> dict:
    """The sums so far, for `since`."""
    return self._sums | {'clock': time.perf_counter(), 'cpu': time.process_time()}

  def since(self, reading: dict) -> Shares:
    """The shares of the time since a reading."""
    passed = {key: value - reading[key] for key, value in self.reading().items()}
    seconds, steps = max(passed['clock'] - passed['away'], 1e-9), passed['steps']
    return Shares(passed['data'] / seconds, passed['device'] / seconds,
                  passed['dry'] / max(steps, 1), seconds, steps,
                  max(passed['cpu'] - passed['away_cpu'], 1e-9))


def _computed(terms):
  return all(x.is_ready() for x in jax.tree.leaves(terms))


class Profile:
  """Traces five steps for xprof after ten of warm-up; `close` says what bounded those after.

  folder: of the trace; '' does nothing at all. say: called with each message.
  """

  def __init__(self, folder: str, waits: Waits, say):
    self.folder, self.waits, self.say = folder, waits, say
    self.tracing, self.reading = False, None

  def steps(self, numbers):
    """The numbers of the steps, the body of whose loop is annotated for the trace."""
    for done, step in enumerate(numbers):
      if self.folder and done == _WARM_UP:
        jax.profiler.start_trace(self.folder)
        self.tracing = True
      with jax.profiler.StepTraceAnnotation('train', step_num=step):
        yield step
      if self.tracing and done == _WARM_UP + _TRACED - 1:
        with self.waits.away():
          self._end_trace()
        self.reading = self.waits.reading()

  def close(self):
    """To be called at the end of the run, whether or not all was recorded."""
    if self.tracing:
      self._end_trace()
    if self.reading and self.waits.since(self.reading).steps:
      self.say(f'profile: {self.waits.since(self.reading).verdict()}')
    elif self.folder:
      self.say(f'profile: {_WARM_UP + _TRACED} steps or fewer are too short for a verdict')

  def _end_trace(self):
    jax.profiler.stop_trace()
    self.tracing = False
    self.say(f'profile: a trace of {_TRACED} steps or less is in {self.folder}, for xprof')
