"""Evaluation gives the same numbers on one device, on eight, and on two processes."""
import json
import socket

import numpy as np
import pytest

from tests import runs

TRAINED = ('--config.duration=2 steps', '--config.data.holdout=0.3')


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  folder = tmp_path_factory.mktemp('devices') / 'run'
  code, output = runs.finish(runs.start(folder, *TRAINED))
  assert code == 0, output
  return folder


def read(folder):
  files = ('results.json', 'calibration.json', 'predictions_enet_occluded.json')
  return [json.loads((folder / 'eval_2' / 'val' / file).read_text()) for file in files]


def check_equal(one, other):
  """Numbers of nested lists and dicts, to the rounding of other sums."""
  assert type(one) is type(other)
  if isinstance(one, dict):
    assert one.keys() == other.keys()
    for key in one:
      check_equal(one[key], other[key])
  elif isinstance(one, list):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
      check_equal(a, b)
  elif isinstance(one, float):
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-3)
  else:
    assert one == other


def start_two(workdir, *options):
  with socket.socket() as s:
    s.bind(('localhost', 0))
    port = s.getsockname()[1]
  return [runs.start(workdir, f'--coordinator=localhost:{port}', '--processes=2',
                     f'--process={i}', *options, script='eval.py') for i in (0, 1)]


def test_eight_devices_and_two_processes_evaluate_as_the_training_did(workdir):
  """The training evaluated on one device; held-out people are calibrated on, too."""
  trained = read(workdir)
  assert trained[0]['stamp']['calibrated_on'] > 0 and 'ECE' in trained[0]['results']['enet/clean']
  code, output = runs.finish(runs.start(workdir, script='eval.py', devices=8))
  assert code == 0, output
  check_equal(trained, read(workdir))
  for code, output in map(runs.finish, start_two(workdir)):
    assert code == 0, output
  check_equal(trained, read(workdir))
  assert [p.name for p in (workdir / 'eval_2').iterdir()] == ['val']


def test_fewer_people_than_a_batch_of_two_processes(workdir):
  """One process gets padding alone."""
  few = ('--config.evals.val.batch_size=8', '--config.evals.val.data.loader.num_people=3')
  outputs = [runs.finish(p) for p in start_two(workdir, *few)]
  assert all(code == 0 for code, _ in outputs), outputs
  folder, = (p for p in (workdir / 'eval_2').iterdir() if p.name != 'val')
  results = json.loads((folder / 'results.json').read_text())
  assert results['stamp']['people'] == 3 and 'people-3' in folder.name
  assert sum('PCK@0.2' in output for _, output in outputs) == 1  # one of them speaks
