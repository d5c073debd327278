"""Evaluations side by side: stamps, tables, intervals."""
import json
import subprocess
import sys

import numpy as np
import pytest

from dslope_jax.evaluation import compare
from dslope_jax.metrics import occlusion_report

STAMP = {'data': 'val', 'digest': 'ab12', 'flip': True, 'weights_step': 10}


def draw(seed, share, pictures=150, gain=0.0):
  """Two networks' right joints: pictures are easier or harder, the second gains `gain`."""
  rng = np.random.default_rng(seed)
  image_id = np.repeat(np.arange(pictures), rng.integers(1, 5, pictures))
  ease = np.clip(share + rng.normal(0, .1, pictures), 0, 1 - gain)[image_id, None]
  luck = rng.random((len(image_id), 8))
  labelled = rng.random(luck.shape) < .7
  return image_id, luck < ease, luck < ease + gain, labelled


def write(folder, rows, stamp=STAMP, tables=None):
  folder.mkdir(parents=True)
  (folder / 'results.json').write_text(json.dumps({'stamp': stamp, 'results': rows}))
  for name, (image_id, right, labelled) in (tables or {}).items():
    occlusion_report.save_joint_table(folder / f'joints_{name.replace("/", "_")}.npz', image_id,
                                      right, labelled)
  return str(folder)


def test_side_by_side_with_intervals(tmp_path):
  image_id, one, two, labelled = draw(0, .6, gain=.1)
  a = write(tmp_path / 'a/eval_10/val', {'net/clean': {'AP': .5, 'per_joint': {}}},
            tables={'net/clean': (image_id, one, labelled)})
  b = write(tmp_path / 'b/eval_20/val', {'net/clean': {'AP': .625, 'AR': .25}},
            STAMP | {'weights_step': 20}, {'net/clean': (image_id, two, labelled)})
  text = compare.compare([a, b])
  assert 'data=val  digest=ab12' in text and 'a/eval_10/val: weights_step=10' in text
  lines = text.splitlines()
  rows = [line.split() for line in lines if '/val net/clean' in line]
  assert [row[2:] for row in rows[:2]] == [['0.5', '-'], ['0.625', '0.25']]
  share = 100 * (two & labelled).sum() / labelled.sum()
  assert any(f'{share:.2f} [' in line and 'difference +' in line for line in lines)
  assert compare.compare([a, b]) == text != compare.compare([a, b], seed=1)
  assert compare.compare([a + '/results.json', b]) == text
  assert 'AP' not in compare.compare([a, b], metric='AR').replace('AR', '')


def test_networks_of_one_evaluation(tmp_path):
  image_id, one, two, labelled = draw(0, .6, gain=.1)
  rows = {f'{n}/{k}': {'AP': .5} for n in ('base', 'ours') for k in ('clean', 'occluded')}
  tables = {name: (image_id, one if name.startswith('base') else two, labelled) for name in rows}
  folder = write(tmp_path / 'val', rows, tables=tables)
  text = compare.compare([folder])
  # From the best single network, on clean, occluded, and both kinds of pictures.
  assert text.count('difference -') == text.count('percent of right joints') == 3
  assert text.count('from val ours') == 3
  rows |= {f'average/{kind}': {'AP': .5} for kind in ('clean', 'occluded')}
  tables['average/clean'] = image_id, two & one, labelled
  tables['average/occluded'] = image_id, two | one, labelled
  text = compare.compare([write(tmp_path / 'more/val', rows, tables=tables), folder], force=True)
  assert 'from more/val average' not in text
  assert text.count('difference +0.00 [0.00, 0.00] from more/val base') == 3


def test_mixed_pictures_count_both_kinds(tmp_path):
  image_id, one, two, labelled = draw(0, .6, gain=.2)
  tables = {'net/clean': (image_id, two, labelled), 'net/occluded': (image_id, one, labelled)}
  text = compare.compare([write(tmp_path / 'val', dict.fromkeys(tables, {}), tables=tables)])
  share = 100 * ((one & labelled).sum() + (two & labelled).sum()) / (2 * labelled.sum())
  block = text.split('clean and occluded, 150 pictures')[1]
  assert f'{share:.2f} [' in block


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


def test_other_people_are_refused(tmp_path):
  image_id, one, _, labelled = draw(0, .6)
  rows = {'a/clean': {}, 'b/clean': {}}
  tables = {'a/clean': (image_id, one, labelled), 'b/clean': (image_id + 1, one, labelled)}
  with pytest.raises(ValueError, match='of other people'):
    compare.compare([write(tmp_path / 'val', rows, tables=tables)])


def test_interval_covers_the_truth():
  # Counts of whole pictures; the true gain of the second network is 5 points of each joint.
  hits, misses, width = 0, 0, []
  for seed in range(100):
    image_id, one, two, labelled = draw(seed, .6, gain=.05)
    counts = [compare.per_picture({'image_id': image_id, 'right': right, 'labelled': labelled})
              for right in (one, two)]
    shares = compare.bootstrap([c[1] for c in counts], [c[2] for c in counts], 300, seed)
    low, high = np.percentile(shares[1] - shares[0], (2.5, 97.5))
    hits += low <= 5 <= high
    misses += low <= 0
    width.append(high - low)
  assert 88 <= hits <= 100 and misses == 0
  assert .5 < np.mean(width) < 4  # pairs: the pictures' own ease cancels


def test_bootstrap_agrees_with_plain_resampling():
  right, labelled = np.array([[1, 2, 0], [3, 2, 1]]), np.array([[3, 2, 1]] * 2)
  got = compare.bootstrap(right, labelled, 50, seed=3)
  drawn = np.random.default_rng(3).integers(0, 3, (50, 3))
  want = 100 * right[:, drawn].sum(-1) / labelled[:, drawn].sum(-1)
  np.testing.assert_allclose(got, want)
  assert (got[1] == 100).all()  # everything right stays so
  assert np.isnan(compare.bootstrap([[0]], [[0]], 2)).all()


@pytest.mark.parametrize('message, content', [
  ('is not json', '{"stamp": '), ('has no stamp', '[]'), ('has no stamp', '{"stamp": {}}'),
  ('has no stamp', '{"stamp": {}, "results": {"a/clean": 1}}')])
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
  for right in (np.zeros((2, 0)), np.zeros(3)):
    with pytest.raises(ValueError, match='at least one picture'):
      compare.bootstrap(right, right)


def test_command(tmp_path):
  a = write(tmp_path / 'a', {'net/clean': {'AP': .5}})
  b = write(tmp_path / 'b', {'net/clean': {'AP': .6}}, STAMP | {'flip': False})
  done = subprocess.run([sys.executable, 'tools/compare.py', a, b, '--force', '--metric', 'AP'],
                        capture_output=True, text=True, check=True)
  assert 'flip differs' in done.stdout
  done = subprocess.run([sys.executable, 'tools/compare.py', a, b], capture_output=True,
                        text=True)
  assert done.returncode == 1 and 'flip: True / False' in done.stderr
  assert 'Traceback' not in done.stderr and done.stdout == ''
