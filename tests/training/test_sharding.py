"""One device, eight devices, two processes: the same training; what devices say to each other."""
import math
import re
import signal
import socket
import time

import jax
import pytest

from tests import runs, tiny

pytestmark = pytest.mark.slow

# In float64: Adam turns rounding noise in a small gradient into a step of the learning rate's size,
# which in float32 grows past any tolerance within a few steps, on one device as on eight.
EXACT = dict(config='tests/tiny.py:exact,plain', JAX_ENABLE_X64='1')
STEPS = ('--config.duration=5 steps', '--config.save_every=5 steps')


def run(workdir, *more, **options):
  """What a run prints."""
  code, output = runs.finish(runs.start(workdir, *STEPS, *more, **EXACT, **options))
  assert code == 0, output
  return output


def weights(workdir):
  return runs.weights(workdir, tiny.get_config('exact,plain'))


@pytest.fixture(scope='module')
def one(tmp_path_factory):
  """The weights that one device trains."""
  folder = tmp_path_factory.mktemp('one')
  run(folder)
  return weights(folder)


def test_eight_devices_equal_one_which_may_go_on(one, tmp_path):
  assert '8 x cpu' in run(tmp_path, '--config.duration=3 steps', devices=8)
  output = run(tmp_path, '--allow_config_change')
  assert 'resuming from step 3' in output and '1 x cpu' in output
  assert runs.largest_difference(one, weights(tmp_path)) < 1e-5


def test_devices_reduce_gradients_and_batch_statistics_and_nothing_else(tmp_path):
  """Read from the program that XLA makes of the paired step for eight devices."""
  flags = ('--xla_dump_hlo_module_re=jit_step', '--xla_disable_hlo_passes=cpu-all-reduce-combiner',
           '--xla_backend_optimization_level=0', f'--xla_dump_to={tmp_path}/hlo')
  code, output = runs.finish(runs.start(  # in float64 JAX gathers what max pooling has seen
    tmp_path, '--config.duration=1 steps', '--config.system.model.dtype=float32', devices=8,
    config='tests/tiny.py:exact', JAX_ENABLE_COMPILATION_CACHE='0', XLA_FLAGS=' '.join(flags)))
  assert code == 0, output
  program, = (tmp_path / 'hlo').glob('*jit_step*.cpu_after_optimizations.txt')
  found = re.findall(r'= \(?\w+\[([\d,]*)\]\S* (all-reduce|all-gather|reduce-scatter|all-to-all|'
                     r'collective-permute|collective-broadcast)(?:-start)?\(', program.read_text())
  assert {kind for _, kind in found} == {'all-reduce'}
  sizes = [math.prod(map(int, shape.split(','))) if shape else 1 for shape, _ in found]
  assert 0 < sizes.count(1) < 20  # terms of the loss
  config = tiny.get_config('exact')
  config.system.model.dtype = 'float32'
  trained = runs.weights(tmp_path, config)
  # Every parameter has a gradient; a batch norm needs the mean and the variance besides.
  means = jax.tree.leaves(trained['batch_stats'])[::2]
  wanted = [x.size for x in [*jax.tree.leaves(trained['params']), *means, *means]]
  assert sorted(size for size in sizes if size > 1) == sorted(wanted)


def test_two_processes_stop_at_the_same_step_and_resume(one, tmp_path):
  """2 processes x 4 devices, of which one gets SIGTERM, equal one device."""
  def both(*options, stop=False):
    with socket.socket() as s:
      s.bind(('localhost', 0))
      port = s.getsockname()[1]
    processes = [runs.start(tmp_path / 'two', *options, f'--coordinator=localhost:{port}',
                            '--processes=2', f'--process={i}', devices=4, **EXACT) for i in (0, 1)]
    while stop and not (tmp_path / 'two/facts.json').exists():  # they have joined
      assert processes[0].poll() is None, runs.finish(processes[0])
      time.sleep(0.1)
    processes[1].send_signal(signal.SIGTERM if stop else 0)
    return [runs.finish(p) for p in processes]

  (code, output), (other, _) = both(*STEPS, stop=True)
  assert (code, other) == (75, 75), output
  stopped = int(re.search(r'stopped by a signal; step (\d+) is saved', output)[1])
  results = both(*STEPS)
  for code, output in results:
    assert code == 0, output
  assert stopped < 5 and f'resuming from step {stopped}' in results[0][1]
  assert '2 process(es)' in results[0][1]
  assert runs.largest_difference(one, weights(tmp_path / 'two')) < 1e-5
