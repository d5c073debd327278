"""One device, eight devices, two processes: the same training."""
import socket

from tests import runs, tiny

# In float64: Adam turns rounding noise in a small gradient into a step of the learning rate's size,
# which in float32 grows past any tolerance within a few steps, on one device as on eight.
EXACT = dict(config='tests/tiny.py:exact', JAX_ENABLE_X64='1')
PLAIN = dict(config='tests/tiny.py:exact,plain', JAX_ENABLE_X64='1')
STEPS = ('--config.duration=5 steps', '--config.save_every=5 steps')


def run_alone(workdir, **options):
  code, output = runs.finish(runs.start(workdir, *STEPS, **options))
  assert code == 0, output
  return output, runs.weights(workdir, tiny.get_config(options['config'].partition(':')[2]))


def test_eight_devices_equal_one(tmp_path):
  _, one = run_alone(tmp_path / 'one', **EXACT)
  output, eight = run_alone(tmp_path / 'eight', devices=8, **EXACT)
  assert '8 x cpu' in output
  assert runs.largest_difference(one, eight) < 1e-5


def test_two_processes_train_save_and_resume(tmp_path):
  """2 processes x 4 devices, stopped after 3 steps and resumed, equal one device."""
  def both(*options):
    with socket.socket() as s:
      s.bind(('localhost', 0))
      port = s.getsockname()[1]
    processes = [runs.start(tmp_path / 'two', *options, f'--coordinator=localhost:{port}',
                            '--processes=2', f'--process={i}', devices=4, **PLAIN) for i in (0, 1)]
    return [runs.finish(p) for p in processes]

  for code, output in both('--config.duration=3 steps', '--config.save_every=3 steps'):
    assert code == 0, output
  results = both(*STEPS, '--allow_config_change')
  for code, output in results:
    assert code == 0, output
  assert 'resuming from step 3' in results[0][1] and '2 process(es)' in results[0][1]
  _, one = run_alone(tmp_path / 'one', **PLAIN)
  two = runs.weights(tmp_path / 'two', tiny.get_config('exact,plain'))
  assert runs.largest_difference(one, two) < 1e-5
