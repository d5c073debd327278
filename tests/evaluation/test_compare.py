"""Evaluations side by side: stamps, tables, intervals."""
import itertools
import json
import subprocess
import sys

import numpy as np
import pytest

from dslope_jax.evaluation import compare
from dslope_jax.evaluation.base import SampleTable, save_samples
from tests.refusals import fails

STAMP = {'data': 'val', 'digest': 'ab12', 'flip': True, 'weights_step': 10}


def draw(seed, share, pictures=150, gain=0.0):
  """Percent of right joints of two networks: pictures are easier or harder, the second gains."""
  rng = np.random.default_rng(seed)
  group = np.repeat(np.arange(pictures), rng.integers(1, 5, pictures))
  ease = np.clip(share + rng.normal(0, .1, pictures), 0, 1 - gain)[group, None]
  luck = rng.random((len(group), 8))
  labelled = rng.random(luck.shape) < .7
  return [SampleTable(group, 100.0 * ((luck < limit) & labelled).sum(1), 1.0 * labelled.sum(1))
          for limit in (ease, ease + gain)]


def value(*tables):
  return sum(t.numerator.sum() for t in tables) / sum(t.denominator.sum() for t in tables)


def write(folder, rows, stamp=STAMP, samples=None):
  folder.mkdir(parents=True)
  (folder / 'results.json').write_text(json.dumps({'stamp': stamp, 'results': rows}))
  if samples:
    save_samples(folder / 'samples.npz', samples)
  return str(folder)


def test_side_by_side_with_intervals(tmp_path):
  one, two = draw(0, .6, gain=.1)
  a = write(tmp_path / 'a/eval_10/val', {'net/clean': {'AP': .5, 'right': 1, 'per_joint': {}}},
            samples={'net/clean': {'right': one, 'MPJPE': one}})
  b = write(tmp_path / 'b/eval_20/val', {'net/clean': {'AP': .625, 'AR': .25}},
            STAMP | {'weights_step': 20}, {'net/clean': {'right': two, 'MPJPE': two}})
  text = compare.compare([a, b])
  assert 'data=val  digest=ab12' in text and 'a/eval_10/val: weights_step=10' in text
  lines = text.splitlines()
  rows = [line.split() for line in lines if '/val net/clean' in line]
  assert [row[2:] for row in rows] == [['0.5', '1', '-'], ['0.625', '-', '0.25']]
  expected = f'difference {value(two) - value(one):+.2f} ['
  assert text.count(expected) == 2  # of both metrics that have samples
  assert 'right, clean, 150 groups, 1000 resamples' in text and 'MPJPE, clean' in text
  assert compare.compare([a, b]) == text != compare.compare([a, b], seed=1)
  assert compare.compare([a + '/results.json', b]) == text
  only = compare.compare([a, b], metric='right')
  assert 'AP' not in only and 'MPJPE' not in only and only.count(expected) == 1


def test_rows_are_paired_by_name_else_with_the_best_network(tmp_path):
  one, two = draw(0, .6, gain=.1)
  samples = {'base/clean': {'right': one, 'NME': one}, 'pick/clean': {'right': two},
             'ours/fine/clean': {'right': two, 'NME': two}}
  a = write(tmp_path / 'a', dict.fromkeys(samples, {}), samples=samples)
  b = write(tmp_path / 'b', dict.fromkeys(('base/clean', 'new/clean'), {}),
            samples={'base/clean': {'right': two}, 'new/clean': {'right': two}})
  of_metric = compare.compare([a, b]).split('\n\n')[2:]
  right, nme = (dict(line.rsplit(' from ', 1) for line in block.splitlines() if ' from ' in line)
                for block in of_metric)
  shorten = lambda found: {name.split('  ')[0]: base for name, base in found.items()}
  # Within a from its best network that is no mixture; b from the same row of a.
  assert shorten(right) == {'a base': 'a ours/fine', 'a pick': 'a ours/fine', 'b base': 'a base',
                            'b new': 'a ours/fine'}
  assert shorten(nme) == {'a ours/fine': 'a base'}  # less is better


def test_both_views_together(tmp_path):
  one, two = draw(0, .6, gain=.2)
  samples = {'net/clean': {'right': two}, 'net/occluded': {'right': one},
             'half/clean': {'right': one}}
  text = compare.compare([write(tmp_path / 'val', dict.fromkeys(samples, {}), samples=samples)])
  block = text.split('right, clean and occluded, 150 groups')[1]
  assert f'{value(one, two):.2f} [' in block and 'half' not in block


def test_other_stamps_are_refused(tmp_path):
  a = write(tmp_path / 'a', {'net/clean': {'AP': .5}})
  b = write(tmp_path / 'b', {'net/clean': {'AP': .6}},
            {'data': 'val', 'digest': 'cd34', 'flip': True, 'weights_step': 20, 'boxes': 'own'})
  with pytest.raises(ValueError, match=r'boxes: None / own; digest: ab12 / cd34') as error:
    compare.compare([a, b])
  assert 'weights_step' not in str(error.value) and '\n' not in str(error.value)
  text = compare.compare([a, b], force=True)
  assert 'NOT COMPARABLE: digest differs' in text and 'digest=cd34' in text
  same = STAMP | {'network': 'x', 'ema': .99, 'weights_step': 3}
  assert compare.differing_fields([STAMP, same]) == []
  assert compare.differing_fields([STAMP, STAMP | {'extra': None}]) == ['extra']
  of_file = {'data': 'val', 'digest': 'ab12', 'predictions': 'x.json', 'sha256': '12'}
  assert compare.differing_fields([STAMP, of_file]) == []
  assert compare.differing_fields([STAMP, of_file | {'digest': 'cd'}]) == ['digest']


def test_other_calibration_leaves_out_what_depends_on_it(tmp_path):
  one, two = draw(0, .6, gain=.1)
  rows = {'net/clean': {'AP': .5, 'ECE': 3.25, 'Brier': 8.75}, 'gate/clean': {'AP': .75}}
  samples = {'net/clean': {'right': one}, 'gate/clean': {'right': two}}
  a, b, c = (write(tmp_path / name, rows, STAMP | {'calibrated_on': people}, samples)
             for name, people in (('a', 'nobody'), ('b', 900), ('c', 900)))
  text = compare.compare([a, b])
  assert 'a net/clean' in text and 'difference +0.00 [0.00, 0.00] from a net' in text
  assert not any(word in text for word in ('3.25', '8.75', 'gate'))
  assert 'ECE, Brier and the mixtures' in text
  assert 'calibrated_on=nobody' in text and 'calibrated_on=900' in text
  assert '3.25' in compare.compare([b, c]) and 'gate' in compare.compare([b, c])
  assert '3.25' in compare.compare([a, b], force=True)


def test_other_people_are_refused(tmp_path):
  one, _ = draw(0, .6)
  samples = {'a/clean': {'right': one}, 'b/clean': {'right': one._replace(group=one.group + 1)}}
  folder = write(tmp_path / 'val', dict.fromkeys(samples, {}), samples=samples)
  fails(lambda: compare.compare([folder]), 'val b', 'of other pictures')
  fails(lambda: compare.bootstrap([t['right'] for t in samples.values()]), 'the same samples')
  fails(lambda: compare.bootstrap([SampleTable(*np.zeros((3, 0)))]), 'at least one sample')


def test_bootstrap_agrees_with_plain_resampling():
  rng = np.random.default_rng(7)
  group = np.array([5, 9, 5, 2, 9, 9])
  tables = [SampleTable(group, rng.random(6), rng.integers(1, 4, 6).astype(float))
            for _ in range(3)]
  rng = np.random.default_rng(3)
  for got in compare.bootstrap(tables, 40, seed=3).T:
    times = rng.multinomial(3, [1 / 3] * 3)
    rows = np.concatenate([np.flatnonzero(group == g) for g in np.repeat([2, 5, 9], times)])
    np.testing.assert_allclose(got, [t.numerator[rows].sum() / t.denominator[rows].sum()
                                     for t in tables])


def test_bootstrap_draws_as_all_possible_resamples():
  numerator, denominator = np.array([10.0, 70.0, 20.0]), np.array([1.0, 2.0, 4.0])
  every = [numerator[list(d)].sum() / denominator[list(d)].sum()
           for d in itertools.product(range(3), repeat=3)]
  found = compare.bootstrap([SampleTable(np.arange(3), numerator, denominator)], 40_000)[0]
  wanted, counts = np.unique(np.round(every, 9), return_counts=True)
  got, times = np.unique(np.round(found, 9), return_counts=True)
  np.testing.assert_array_equal(got, wanted)
  np.testing.assert_allclose(times / 40_000, counts / 27, atol=0.01)


def test_bootstrap_of_nothing_labelled():
  empty = SampleTable(np.arange(2), np.zeros(2), np.zeros(2))
  assert np.isnan(compare.bootstrap([empty], 5)).all()
  half = SampleTable(np.arange(2), np.array([0.0, 3.0]), np.array([0.0, 1.0]))
  assert set(np.nan_to_num(compare.bootstrap([half], 50)[0], nan=-1)) == {-1.0, 3.0}


def test_interval_covers_the_truth():
  # The true gain of the second network is 5 points of each joint.
  hits, misses, width = 0, 0, []
  for seed in range(100):
    shares = compare.bootstrap(draw(seed, .6, gain=.05), 300, seed)
    low, high = np.percentile(shares[1] - shares[0], (2.5, 97.5))
    hits += low <= 5 <= high
    misses += low <= 0
    width.append(high - low)
  assert 88 <= hits <= 100 and misses == 0
  assert .5 < np.mean(width) < 4  # pairs: the pictures' own ease cancels


@pytest.mark.parametrize('metric, less', [
  ('MPJPE', True), ('PA-MPJPE', True), ('NME', True), ('nme_box', True), ('ECE', True),
  ('AP', False), ('PCK@0.2', False), ('3DPCK', False), ('TAR@FAR', False)])
def test_direction(metric, less):
  assert compare.less_is_better(metric) == less


@pytest.mark.parametrize('message, content', [
  ('is broken', '{"stamp": '), ('got `array`', '[]'), ('field `results`', '{"stamp": {}}'),
  ('Expected `object`, got `int`', '{"stamp": {}, "results": {"a/clean": 1}}')])
def test_bad_files(tmp_path, message, content):
  (tmp_path / 'results.json').write_text(content)
  with pytest.raises(ValueError, match=message):
    compare.compare([str(tmp_path)])


def test_wrong_arguments(tmp_path):
  with pytest.raises(FileNotFoundError, match='give a folder'):
    compare.compare([str(tmp_path)])
  a = write(tmp_path / 'a', {'net/clean': {'AP': .5}})
  with pytest.raises(ValueError, match="metric 'APP'; there are AP"):
    compare.compare([a], metric='APP')
  with pytest.raises(ValueError, match='at least 1'):
    compare.compare([a], resamples=0)


def test_command(tmp_path):
  a = write(tmp_path / 'a', {'net/clean': {'AP': .5}})
  b = write(tmp_path / 'b', {'net/clean': {'AP': .6}}, STAMP | {'flip': False})
  done = subprocess.run([sys.executable, 'tools/compare.py', a, b, '--force', '--metric', 'AP'],
                        capture_output=True, text=True, check=True)
  assert 'flip differs' in done.stdout
  done = subprocess.run([sys.executable, 'tools/compare.py', a, b], capture_output=True,
                        text=True)
  assert done.returncode == 1 and 'flip: True / False' in done.stderr
  assert done.stderr.startswith('error: ')
  assert 'Traceback' not in done.stderr and done.stdout == ''


def test_samples_of_one_group_have_no_interval(tmp_path):
  """Drawn again, they are always the same: an interval would have no length."""
  one = SampleTable(np.zeros(5, int), np.arange(5.0), np.ones(5))
  a = write(tmp_path / 'a', {'net/clean': {'MPJPE': 2.0}}, samples={'net/clean': {'MPJPE': one}})
  text = compare.compare([a])
  assert 'MPJPE, clean: no intervals, since all samples are of one group' in text
  assert '[' not in text
