"""What the training loop waits for: shares of its time, a verdict on them, a trace for xprof."""
import contextlib
import time
from collections import deque
from typing import NamedTuple

import jax

_AHEAD = 2  # steps handed to the device before the host waits for the oldest of them
_WARM_UP, _TRACED, _MEASURED = 10, 5, 100  # steps


class Shares(NamedTuple):
  """What a stretch of training went into; evaluations are left out of it.

  data: share of the time in which the host waited for a batch, or sent it to the devices.
  device: share in which it waited for a step to be computed.
  dry: share of the steps that found the device with nothing left to do.
  All other time is the host's own work: handing over steps, logging, saving, and what those wait
  for.
  """
  data: float
  device: float
  dry: float
  seconds: float
  steps: int

  @property
  def host(self) -> float:
    return 1 - self.data - self.device


class Waits:
  """Adds up, step by step, what the loop waits for, and hands the steps to the device.

  The host runs ahead of the device by at most two steps: after handing one over it waits for the
  one before the last. So while it waits for data the device may well have work, and the time costs
  nothing; what it costs is told by the steps that found the device dry.
  """

  def __init__(self):
    self._sums = {'data': 0.0, 'device': 0.0, 'away': 0.0, 'dry': 0, 'steps': 0}
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
    with self.of('away'):
      yield

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
    """What there is so far, for `since`."""
    return self._sums | {'clock': time.perf_counter()}

  def since(self, reading: dict) -> Shares:
    """The shares of the time since a reading."""
    passed = {key: value - reading[key] for key, value in self.reading().items()}
    seconds, steps = max(passed['clock'] - passed['away'], 1e-9), passed['steps']
    return Shares(passed['data'] / seconds, passed['device'] / seconds,
                  passed['dry'] / max(steps, 1), seconds, steps)


def _computed(terms):
  return all(x.is_ready() for x in jax.tree.leaves(terms))


def verdict(shares: Shares) -> str:
  """What bounds the speed, with its figure and what to do.

  compute-bound: fewer than a tenth of the steps found the device dry, or it is what the host waits
  for most of the time. data-bound: else, the host waits for data in more than 5 % of the time.
  sync-bound: neither, so the host's own work keeps the device waiting.
  """
  if shares.dry >= 0.1 and shares.data > 0.05:
    return (f'data-bound: {shares.data:.0%} of the time is waiting for data; raise '
            'data.num_workers, or train on prepared crops (data.prepared)')
  if shares.dry < 0.1 or shares.device > 0.5:
    return (f'compute-bound: {1 - shares.dry:.0%} of the steps found the device at work, and the '
            f'host waits for it in {shares.device:.0%} of the time; only less or cheaper computing '
            '(bfloat16, remat=False, a smaller network) or more devices make it faster')
  return (f'sync-bound: {shares.host:.0%} of the time is work of the host, for which the device '
          'waits; choose longer log_every and save_every, or a larger batch_size')


class Profile:
  """Records five steps for xprof and measures the hundred after them.

  Counted from the first step after compilation: ten steps of warm-up, five in the trace, and then,
  with the trace written, up to a hundred that are measured; fewer where the run ends before. Data
  read ahead in the pauses before is used up first, so a slight lack of data shows later, in the
  data_wait_share of metrics.jsonl.
  folder: of the trace; '' does nothing at all. say: called with the verdict.
  """

  def __init__(self, folder: str, waits: Waits, say):
    self.folder, self.waits, self.say = folder, waits, say
    self.tracing, self.reading, self.done, self.step = False, None, 0, 0

  def steps(self, numbers):
    """The numbers of the steps, the body of whose loop is annotated for the trace."""
    for self.step in numbers:
      if not self.folder:
        yield self.step
        continue
      if self.done == _WARM_UP:
        jax.profiler.start_trace(self.folder)
        self.tracing = True
      with jax.profiler.StepTraceAnnotation('train', step_num=self.step):
        yield self.step
      self.done += 1
      if self.done == _WARM_UP + _TRACED:
        with self.waits.away():
          self._end_trace()
        self.reading = self.waits.reading()
      elif self.done == _WARM_UP + _TRACED + _MEASURED:
        self._tell()

  def close(self):
    """To be called at the end of the run, whether or not all was recorded."""
    if self.tracing:
      self._end_trace()
    if self.reading:
      self._tell()
    elif self.folder and self.done < _WARM_UP + _TRACED:
      self.say(f'profile: the run is too short, it needs more than {_WARM_UP + _TRACED} steps')

  def _end_trace(self):
    jax.profiler.stop_trace()
    self.tracing = False

  def _tell(self):
    shares = self.waits.since(self.reading)
    self.reading = None
    if shares.steps:
      self.say(f'profile: {verdict(shares)}\n(the {shares.steps} steps to {self.step}: data '
               f'{shares.data:.0%}, device {shares.device:.0%}, host {shares.host:.0%}; a trace of '
               f'the {_TRACED} before is in {self.folder}, see xprof)')
