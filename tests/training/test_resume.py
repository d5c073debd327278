"""Interrupted at any moment, a run goes on as if nothing had happened. Real processes."""
import json
import re
import signal

import jax
import numpy as np
import pytest

from tests import runs, tiny

pytestmark = pytest.mark.slow

CONFIG = tiny.get_config()


def steps_of(workdir):
  return sorted(int(p.name) for p in (workdir / 'checkpoints').iterdir() if p.name.isdigit())


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """The weights of an uninterrupted run."""
  workdir = tmp_path_factory.mktemp('whole') / 'run'
  code, output = runs.finish(runs.start(workdir))
  assert code == 0, output
  return workdir, runs.weights(workdir, CONFIG)


def check_same(workdir, whole):
  assert steps_of(workdir)[-1] == 24
  jax.tree.map(np.testing.assert_array_equal, whole[1], runs.weights(workdir, CONFIG))


def test_killed_twice(whole, tmp_path):
  """SIGKILL the moment a checkpoint appears, so sometimes while it is being written."""
  for step in (2, 17):
    process = runs.start(tmp_path, '--config.save_every=1 step')
    runs.wait_for_checkpoint(tmp_path, step, process)
    process.kill()
    runs.finish(process)
  code, output = runs.finish(runs.start(tmp_path))
  assert code == 0, output
  resumed = int(re.search(r'resuming from step (\d+)', output)[1])
  assert 16 <= resumed < 24
  check_same(tmp_path, whole)


def test_sigterm_saves_and_exits_with_a_code_of_its_own(whole, tmp_path):
  process = runs.start(tmp_path)
  runs.wait_for_checkpoint(tmp_path, 4, process)
  process.send_signal(signal.SIGTERM)
  code, output = runs.finish(process)
  assert code == 75, output
  stopped = int(re.search(r'stopped by a signal; step (\d+) is saved', output)[1])
  assert steps_of(tmp_path)[-1] == stopped < 24
  code, output = runs.finish(runs.start(tmp_path, '--config.data.num_workers=2'))
  assert code == 0 and f'resuming from step {stopped}' in output
  check_same(tmp_path, whole)  # also: two data workers make the same batches as none


def test_finished_run_is_left_alone(whole):
  workdir, _ = whole
  before = steps_of(workdir)
  code, output = runs.finish(runs.start(workdir))
  assert code == 0 and 'resuming from step 24' in output
  assert steps_of(workdir) == before


def test_evaluation_of_a_run(whole):
  """eval.py prints the table, and its files agree with those the training wrote."""
  workdir, _ = whole
  trained = json.loads((workdir / 'eval_24/val/results.json').read_text())
  code, output = runs.finish(runs.start(workdir, script='eval.py'))
  assert code == 0, output
  for name in ('gnet/clean', 'gnet/occluded', 'enet/clean', 'enet/occluded'):
    assert name in output
  again = json.loads((workdir / 'eval_24/val/results.json').read_text())
  assert again == trained and again['stamp']['weights_step'] == 24
  predictions = json.loads((workdir / 'eval_24/val/predictions_enet_occluded.json').read_text())
  assert len(predictions) == 10 and len(predictions[0]['keypoints']) == 51
  code, output = runs.finish(runs.start(workdir, '--config.evals.val.flip=False', script='eval.py'))
  flipless = json.loads((workdir / 'eval_24/val_flip-False/results.json').read_text())
  assert code == 0 and flipless['stamp']['flip'] is False
