"""What the loop waits for: shares, verdicts, and a real run under --profile."""
import json
import time

import jax
import numpy as np
import pytest

import train
from dslope_jax.training.profiling import Profile, Shares, Waits, verdict
from tests import tiny


@pytest.mark.parametrize('shares,bound', [
  (dict(data=0.3, device=0.6, dry=0.9), 'data-bound: 30% of the time'),
  (dict(data=0.06, device=0.9, dry=0.5), 'data-bound: 6% of the time'),
  (dict(data=0.3, device=0.6, dry=0.0), 'compute-bound: 100% of the steps'),
  (dict(data=0.01, device=0.9, dry=1.0), 'compute-bound'),
  (dict(data=0.9, device=0.0, dry=0.05), 'compute-bound: 95% of the steps'),
  (dict(data=0.05, device=0.2, dry=0.4), 'sync-bound: 75% of the time'),
  (dict(data=0.0, device=0.0, dry=1.0), 'sync-bound: 100% of the time')])
def test_verdicts(shares, bound):
  assert verdict(Shares(**shares, seconds=1.0, steps=50)).startswith(bound)


class Work:
  """Terms of a step on a device that works off one step after the other."""
  free = 0.0  # when the device will have done all it was given

  def __init__(self, seconds):
    Work.free = self.done = max(Work.free, time.perf_counter()) + seconds

  def is_ready(self):
    return time.perf_counter() >= self.done

  def block_until_ready(self):
    time.sleep(max(0.0, self.done - time.perf_counter()))


def looped(data, host, device, steps=12):
  waits = Waits()
  start = waits.reading()
  for _ in range(steps):
    with waits.of('data'):
      time.sleep(data)
    waits.run(lambda state, batch: (state, Work(device)), None, None)
    time.sleep(host)
  return waits.since(start)


def test_data_is_what_is_missing_only_where_the_device_runs_dry():
  shares = looped(data=0.02, host=0.0, device=0.05)
  assert shares.data > 0.2 and shares.dry < 0.1 and verdict(shares).startswith('compute-bound')
  shares = looped(data=0.06, host=0.0, device=0.01)
  assert shares.data > 0.5 and shares.dry > 0.8 and verdict(shares).startswith('data-bound')
  shares = looped(data=0.0, host=0.06, device=0.01)
  assert shares.host > 0.5 and shares.dry > 0.8 and verdict(shares).startswith('sync-bound')
  assert shares.steps == 12 and shares.seconds > 12 * 0.06


def test_a_call_that_computes_counts_as_waiting_for_the_device():
  waits = Waits()
  start = waits.reading()
  for _ in range(3):
    waits.run(lambda state, batch: (state, time.sleep(0.02)), None, None)  # no terms: all are ready
  shares = waits.since(start)
  assert shares.device > 0.5 and verdict(shares).startswith('compute-bound')


def test_evaluations_are_left_out():
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


class Slow:
  """A stream whose batches come late."""

  def __init__(self, stream):
    self.stream = stream

  def __next__(self):
    time.sleep(0.15)
    return next(self.stream)

  def close(self):
    self.stream.close()


def test_profile_of_a_run(tmp_path, monkeypatch, capsys):
  config = tiny.config(None, steps=22)
  config.evals, config.save_every, config.data.recipe = {}, '22 steps', 'none'
  stream = train._data_stream
  monkeypatch.setattr(train, '_data_stream', lambda *arguments: Slow(stream(*arguments)))
  state, _ = train.train(config, str(tmp_path), profile=True)
  assert int(state.step) == 22 and np.isfinite(jax.tree.leaves(state.params)[0]).all()
  assert list((tmp_path / 'profile').rglob('*.xplane.pb'))
  printed = capsys.readouterr().out
  assert 'profile: data-bound: ' in printed and 'the 7 steps to 22: data ' in printed
  assert 'GiB a device before compilation: state ' in printed
  logged = [json.loads(x) for x in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  speeds = [x for x in logged if 'data_wait_share' in x]
  assert speeds and all(0 <= x['data_wait_share'] + x['device_wait_share'] <= 1 for x in speeds)
  assert speeds[-1]['data_wait_share'] > 0.3
