"""What logging and saving cost the training loop, and that neither keeps the device waiting.

  python benchmarks/loop.py [--quick]

Runs of train.py with a tiny network on one and the same batch, so that nothing else takes time:
with log_every of 1 and of 50 steps, in turn with their floor, the compiled step alone, called as
often; medians, by the clock and in CPU time, which other jobs on the machine do not lengthen.
Another run counts, step by step, what is fetched from the device and what is waited for. Then a
state of the size of the paired HRNet-W32 (configs/ccoco_hrnet.py) is saved while the tiny step goes
on; the floors are a copy of its arrays in memory, and their bytes written to one file.
"""
import contextlib
import os
import pathlib
import statistics
import sys
import tempfile
import threading
import time

import jax
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from benchmarks import probes, shared
from dslope_jax.training import checkpointing, sharding

SKIP = 5  # steps at the start of a run, until it flows


def rows(quick=False):
  """(what, value, unit, reference, target) of all that is measured here."""
  with tempfile.TemporaryDirectory() as folder, _kept_programs(folder):
    stream = probes.OneBatch()
    yield from _counts(stream, folder, 4 if quick else 10)
    step = yield from _speeds(stream, folder, 20 if quick else 200, 1 if quick else 3)
    yield from _saving(step, folder, 10 if quick else 100,
                       'tests/tiny.py:plain' if quick else 'configs/ccoco_hrnet.py')


@contextlib.contextmanager
def _kept_programs(folder):
  """The runs here compile the same step: it is kept from one to the next, if nowhere else."""
  before = jax.config.jax_compilation_cache_dir
  jax.config.update('jax_compilation_cache_dir', before or f'{folder}/programs')
  yield
  jax.config.update('jax_compilation_cache_dir', before)


def _config(steps, log_every=1):
  """Of a run that trains so many steps, evaluates nothing and saves at its end."""
  config = shared.load_config('tests/tiny.py:plain')
  config.duration = config.save_every = config.eval_every = f'{steps} steps'
  config.log_every, config.evals = f'{log_every} steps', {}
  config.batch_size *= jax.device_count()
  for spec in config.optim.values():  # as in the published configs
    spec.update(dict(schedule='multistep', boundaries=('1000 steps',)))
  return config


def _run(stream, folder, steps, log_every, counting=False):
  """(Probe, last state) of a run in a new work folder."""
  config, probe = _config(steps, log_every), probes.Probe()
  config.data.bank.folder = f'{folder}/bank'
  with tempfile.TemporaryDirectory(dir=folder) as workdir:
    return probe, probe.run(config, workdir, stream, counting)


def _counts(stream, folder, every):
  """What the loop asks of the device, three log points long."""
  total = 3 * every
  probe, _ = _run(stream, folder, total, every, counting=True)
  steps = range(1, total)  # before the first and after the last there is more to do
  between = {step for step in steps if step % every}
  fetches = [lag for step, lag in probe.fetched if step in between]
  lags = [lag for step, lag in probe.waited if step in between]
  at_log = [lag for step, lag in probe.fetched if step in steps and step not in between]
  reference = f'{len(between)} steps, log_every {every}'
  yield 'fetches between log points', len(fetches), '', reference, '0'
  yield ('waits for one of the newest two steps', sum(lag < 2 for lag in lags), '',
         f'{len(lags)} waits for older ones', '0')
  yield ('fetches at log points of what is in flight', sum(lag < 2 for lag in at_log), '',
         f'{len(at_log)} fetches at 2 log points', '0')


def _speeds(stream, folder, steps, rounds):
  """Yields the loop's time a step; returns a function that takes one more step."""
  passed = {'alone': [], 1: [], 50: []}
  for _ in range(rounds):
    for every in (1, 50):
      probe, state = _run(stream, folder, SKIP + steps + 1, every)
      passed[every].append(np.diff(probe.handed, axis=0)[SKIP:].mean(0))
    step, marks = _Stepper(probe, state), []
    for _ in range(steps + 1):
      marks.append((time.perf_counter(), time.process_time()))
      step()
    passed['alone'].append(np.diff(marks, axis=0).mean(0))
  alone, each, rare = (1e3 * np.median(values, axis=0) for values in passed.values())
  yield 'step alone', alone[0], 'ms', f'{alone[1]:.2f} ms of CPU; {rounds} x {steps} steps', ''
  for name, value in (('log_every 50', rare), ('log_every 1', each)):
    yield (f'train loop, {name}', 1e3 / value[0], 'steps/s',
           f'floor {1e3 / alone[0]:.1f}: step alone', '')
    over = value - alone
    yield f'train loop, {name}', over[0], 'ms over floor', f'{over[1]:.2f} ms of CPU', ''
  point = (each - rare) / (1 - 1 / 50)
  yield 'a log point', point[0], 'ms', f'{point[1]:.2f} ms of CPU', ''
  return step


class _Stepper:
  """Continues with the step of a run as the loop does, two steps in flight."""

  def __init__(self, probe, state):
    self.step_fn, self.batch, self.state, self.in_flight = probe.step_fn, probe.batch, state, []
    for _ in range(SKIP):
      self()

  def __call__(self):
    """Takes one step; returns the seconds it took."""
    before = time.perf_counter()
    self.state, terms = self.step_fn(self.state, self.batch)
    self.in_flight.append(terms)
    if len(self.in_flight) > 2:
      jax.block_until_ready(self.in_flight.pop(0))
    return time.perf_counter() - before


def _saving(step, folder, steps, name):
  state = _fresh_state(name)
  copy, write, size = _floors(state, folder)
  before = [step() for _ in range(steps)]
  checkpoints = checkpointing.Checkpoints(f'{folder}/saved', keep=1)
  blocked, written, during = [], [], []
  for number in (1, 2):  # what is set up once is seen in the first
    start = time.perf_counter()
    checkpoints.save(state, number)
    blocked.append(time.perf_counter() - start)
    waiter = threading.Thread(target=checkpoints.wait)
    waiter.start()
    while waiter.is_alive():
      during.append(step())
    waiter.join()
    written.append(time.perf_counter() - start)
  checkpoints.close()
  name = f'{size / 1e6:.0f} MB'
  yield (f'save of {name} keeps the loop', 1e3 * blocked[1], 'ms',
         f'floor {1e3 * copy:.0f}: copy; first save {1e3 * blocked[0]:.0f}', '')
  yield (f'save of {name}, until written', written[1], 's',
         f'floor {write:.2f}: one file; first save {written[0]:.2f}', '')
  yield ('step while it is written', 1e3 * statistics.median(during), 'ms',
         f'{1e3 * statistics.median(before):.2f} before; {len(during)} steps', '')


def _fresh_state(name):
  """Of the networks of a config."""
  make_state, _ = shared.make_step(shared.load_config(name))
  return sharding.replicate(make_state(), sharding.make_mesh())


def _floors(state, folder):
  """(seconds to copy all arrays to fresh memory, to write them to one file, bytes)."""
  leaves, marks = jax.tree.leaves(state), [time.perf_counter()]
  copies = [np.array(x) for x in leaves]
  marks.append(time.perf_counter())
  with open(f'{folder}/one_file', 'wb') as f:
    for x in copies:
      f.write(x.data)
    os.fsync(f.fileno())
  marks.append(time.perf_counter())
  os.remove(f'{folder}/one_file')
  return marks[1] - marks[0], marks[2] - marks[1], sum(x.nbytes for x in copies)


if __name__ == '__main__':
  shared.show(rows(shared.parser(__doc__).parse_args().quick))
