"""What the loop waits for: shares, verdicts, and a real run under --profile."""
import json
import time

import jax
import pytest

import train
from dslope_jax.training.profiling import Profile, Shares, Waits
from tests import tiny


@pytest.mark.parametrize('shares, bound', [
  (dict(data=0.3, device=0.6, dry=0.9), 'data-bound'),
  (dict(data=0.06, device=0.9, dry=0.5), 'data-bound'),
  (dict(data=0.3, device=0.6, dry=0.0), 'compute-bound'),
  (dict(data=0.01, device=0.9, dry=1.0), 'compute-bound'),
  (dict(data=0.9, device=0.0, dry=0.05), 'compute-bound'),
  (dict(data=0.05, device=0.2, dry=0.4), 'host-bound'),
  (dict(data=0.0, device=0.0, dry=1.0), 'host-bound')])
def test_verdicts(shares, bound):
  assert Shares(**shares, seconds=1.0, steps=50).verdict().startswith(bound)


class Work:
  """Terms of a step on a device that works off one step after the other."""
  free = 0.0  # when the device will have done all it was given

  def __init__(self, seconds):
    Work.free = self.done = max(Work.free, time.perf_counter()) + seconds

  def is_ready(self):
    return time.perf_counter() >= self.done

  def block_until_ready(self):
    time.sleep(max(0.0, self.done - time.perf_counter()))


@pytest.mark.parametrize('data, host, device, bound', [
  (0.02, 0.0, 0.05, 'compute-bound'), (0.06, 0.0, 0.01, 'data-bound'),
  (0.0, 0.06, 0.01, 'host-bound')])
def test_data_is_what_is_missing_only_where_the_device_runs_dry(data, host, device, bound):
  waits = Waits()
  start = waits.reading()
  for _ in range(12):
    with waits.of('data'):
      time.sleep(data)
    waits.run(lambda state, batch: (state, Work(device)), None, None)
    time.sleep(host)
  shares = waits.since(start)
  assert shares.verdict().startswith(bound)
  assert shares.steps == 12 and shares.seconds >= 10 * max(data, host, device)
  assert shares.data >= 12 * data / shares.seconds


def test_a_call_that_computes_counts_as_waiting_for_the_device():
  waits = Waits()
  start = waits.reading()
  for _ in range(3):
    waits.run(lambda state, batch: (state, time.sleep(0.02)), None, None)  # no terms: all are ready
  assert waits.since(start).device > 0.5


def test_evaluations_are_left_out():
  jax.devices()  # to start JAX takes longer than all of this
  waits = Waits()
  start = waits.reading()
  waits.run(lambda state, batch: (state, Work(0.05)), None, None)
  with waits.away():
    time.sleep(0.2)
  waits.run(lambda state, batch: (state, Work(0.0)), None, None)
  shares = waits.since(start)
  assert 0.05 <= shares.seconds < 0.2 and shares.device > 0.5 and shares.dry == 0


def test_a_run_that_is_too_short_says_so(tmp_path):
  said = []
  profile = Profile(str(tmp_path), Waits(), said.append)
  assert list(profile.steps(range(3, 6))) == [3, 4, 5]
  profile.close()
  assert 'too short' in said[0]
  profile = Profile('', Waits(), said.append)
  assert list(profile.steps(range(30))) == list(range(30))
  profile.close()
  assert len(said) == 1 and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_profile_of_a_run(tmp_path, capsys):
  config = tiny.config(None, steps=18)
  config.evals, config.save_every, config.data.recipe = {}, '18 steps', 'none'
  train.train(config, str(tmp_path), profile=True)
  assert list((tmp_path / 'profile').rglob('*.xplane.pb'))
  printed = capsys.readouterr().out
  assert f'a trace of 5 steps or less is in {tmp_path}' in printed
  assert '-bound (host waits for data ' in printed and 'of 3 steps found' in printed
  logged = [json.loads(x) for x in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  speeds = [x for x in logged if 'data_wait_share' in x]
  assert speeds and all(0 <= x['data_wait_share'] + x['device_wait_share'] <= 1 for x in speeds)
