"""One device, eight devices, two processes: the same training."""
import socket

import pytest

from tests import runs, tiny

# In float64: Adam turns rounding noise in a small gradient into a step of the learning rate's size,
# which in float32 grows past any tolerance within a few steps, on one device as on eight.
EXACT = dict(config='tests/tiny.py:exact', JAX_ENABLE_X64='1')
CONFIG = tiny.get_config('exact')
STEPS = ('--config.duration=5 steps', '--config.save_every=5 steps')


@pytest.fixture(scope='module')
def one_device(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('one')
  code, output = runs.finish(runs.start(workdir, *STEPS, **EXACT))
  assert code == 0, output
  return runs.weights(workdir, CONFIG)


def test_eight_devices_equal_one(one_device, tmp_path):
  code, output = runs.finish(runs.start(tmp_path, *STEPS, devices=8, **EXACT))
  assert code == 0 and '8 x cpu' in output, output
  assert runs.largest_difference(one_device, runs.weights(tmp_path, CONFIG)) < 1e-5


def test_two_processes_train_save_and_resume(one_device, tmp_path):
  """2 processes x 4 devices, stopped after 3 steps and resumed, equal one device."""
  def both(*options):
    with socket.socket() as s:
      s.bind(('localhost', 0))
      port = s.getsockname()[1]
    processes = [runs.start(tmp_path, *options, f'--coordinator=localhost:{port}', '--processes=2',
                            f'--process={i}', devices=4, **EXACT) for i in (0, 1)]
    return [runs.finish(p) for p in processes]

  for code, output in both('--config.duration=3 steps', '--config.save_every=3 steps'):
    assert code == 0, output
  results = both(*STEPS, '--allow_config_change')
  for code, output in results:
    assert code == 0, output
  assert 'resuming from step 3' in results[0][1] and '2 process(es)' in results[0][1]
  assert runs.largest_difference(one_device, runs.weights(tmp_path, CONFIG)) < 1e-5
