"""Evaluations side by side, with intervals for how much better one is: see `tools/compare.py`."""
import json
import os

import numpy as np

from dslope_jax.metrics import mixture, occlusion_report

_MAY_DIFFER = ('weights_step', 'network', 'ema')


def compare(paths, *, metric=None, force=False, resamples=1000, seed=0):
  """The comparison as text.

  paths: evaluation folders or results.json files. metric: name of the only number shown.
  Raises FileNotFoundError, or ValueError naming the stamp fields that differ unless `force`.
  """
  if resamples < 1:
    raise ValueError(f'resamples must be at least 1, not {resamples}')
  runs = [_load(path) for path in paths]
  labels = _labels([run['folder'] for run in runs])
  lines = _stamp_lines(runs, labels, force)
  rows, tables = {}, {}  # tables: {kind of pictures: {(label, network): table}}
  for label, run in zip(labels, runs, strict=True):
    for name, numbers in run['results'].items():
      rows[f'{label} {name}'] = numbers
      network, kind = name.rsplit('/', 1)
      path = os.path.join(run['folder'], f'joints_{network}_{kind}.npz')
      if os.path.exists(path):
        tables.setdefault(kind, {})[label, network] = occlusion_report.load_joint_table(path)
  lines += _numbers(rows, metric)
  for kind, of_kind in (tables | _mixed(tables)).items():
    lines += _intervals(of_kind, kind, resamples, seed)
  return '\n'.join(lines)


def differing_fields(stamps):
  """Sorted names of the fields that are not the same in all stamps, but for those that may.

  The stamp of a result file of another program lacks fields: only those that all have count then.
  """
  fields = set().union(*stamps) - set(_MAY_DIFFER)
  if any('predictions' in s for s in stamps):
    fields = set.intersection(*(set(s) for s in stamps)) - {*_MAY_DIFFER, 'predictions', 'sha256'}
  return sorted(f for f in fields if any(s.get(f) != stamps[0].get(f) for s in stamps)
                or any((f in s) != (f in stamps[0]) for s in stamps))


def bootstrap(right, labelled, resamples=1000, seed=0):
  """Percent of right joints of E evaluations on resampled pictures, the same ones for all.

  right: (E,P) right joints of each of P pictures; labelled: (E,P) labelled ones. Whole pictures
  are drawn with replacement, as people of one picture are not independent.
  Returns (E, resamples) float64, nan for a resample without labelled joints.
  Method: Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13 (percentiles).
  Raises ValueError if shapes disagree or there is no picture.
  """
  right, labelled = np.asarray(right, np.float64), np.asarray(labelled, np.float64)
  if right.ndim != 2 or right.shape != labelled.shape or not right.shape[1]:
    raise ValueError(f'right has shape {right.shape}, labelled {labelled.shape}; needed is the '
                     'same (E,P) with at least one picture')
  count = right.shape[1]
  rng = np.random.default_rng(seed)
  both, sums = np.concatenate([right, labelled]).T, []
  block = max(1, (1 << 22) // count)  # bounds memory
  for start in range(0, resamples, block):
    number = min(block, resamples - start)
    drawn = rng.integers(0, count, (number, count)) + count * np.arange(number)[:, None]
    times = np.bincount(drawn.ravel(), minlength=number * count).reshape(number, count)
    sums.append(times @ both)
  sums = np.concatenate(sums).T
  part, whole = sums[:len(right)], sums[len(right):]
  return np.where(whole > 0, 100 * part / np.maximum(whole, 1), np.nan)


def per_picture(table):
  """Sorted picture ids (P,), right joints (P,), labelled joints (P,) of a table of joints."""
  ids, place = np.unique(table['image_id'], return_inverse=True)
  right = (table['right'] & table['labelled']).sum(1)
  return ids, np.bincount(place, right, len(ids)), np.bincount(place, table['labelled'].sum(1),
                                                               len(ids))


def _load(path):
  folder, name = (path, 'results.json') if os.path.isdir(path) else os.path.split(path)
  file = os.path.join(folder, name)
  try:
    with open(file, encoding='utf-8') as f:
      content = json.load(f)
  except FileNotFoundError:
    raise FileNotFoundError(f"no '{file}'; give a folder WORKDIR/eval_STEP/ENTRY that an "
                            'evaluation wrote') from None
  except ValueError as error:
    raise ValueError(f"'{file}' is not json: {error}") from None
  parts = [content.get(k) for k in ('stamp', 'results')] if isinstance(content, dict) else [None]
  if not all(isinstance(p, dict) for p in parts) or not all(
      isinstance(row, dict) for row in parts[1].values()):
    raise ValueError(f"'{file}' has no stamp with results; an evaluation writes both")
  return {'folder': folder, 'stamp': parts[0], 'results': parts[1]}


def _labels(folders):
  """Paths without what all share, numbered where nothing else tells them apart."""
  parts = [os.path.normpath(os.path.abspath(f)).split(os.sep) for f in folders]
  shared = len(os.path.commonprefix(parts)) if len(parts) > 1 else len(parts[0]) - 1
  names = ['/'.join(p[shared:]) or p[-1] for p in parts]
  return [n if names.count(n) == 1 else f'{n}#{i}' for i, n in enumerate(names, 1)]


def _stamp_lines(runs, labels, force):
  stamps = [run['stamp'] for run in runs]
  fields = differing_fields(stamps)
  if fields and not force:
    shown = '; '.join(f'{f}: ' + ' / '.join(str(s.get(f)) for s in stamps) for f in fields)
    raise ValueError(f'the evaluations measure different things: {shown}. Pass --force to compare '
                     'them all the same')
  shared = {k for k, v in stamps[0].items() if all(s.get(k) == v for s in stamps)
            and k not in _MAY_DIFFER}
  lines = ['  '.join(f'{k}={v}' for k, v in stamps[0].items() if k in shared)]
  lines += [f'NOT COMPARABLE: {f} differs' for f in fields]
  for label, stamp in zip(labels, stamps, strict=True):
    own = {k: v for k, v in stamp.items() if k not in shared}
    lines.append(f'{label}: ' + '  '.join(f'{k}={v}' for k, v in own.items()))
  return lines


def _numbers(rows, metric):
  """Lines of all numbers that any row has; '-' where one lacks it."""
  names = dict.fromkeys(k for row in rows.values() for k, v in row.items()
                        if isinstance(v, (int, float)) and not isinstance(v, bool))
  if metric is not None and metric not in names:
    raise ValueError(f"no evaluation has the metric '{metric}'; there are {', '.join(names)}")
  names = list(names) if metric is None else [metric]
  cell = lambda v, n: f'{v:>{max(8, len(n))}.4g}' if isinstance(v, (int, float)) else (
    '-'.rjust(max(8, len(n))))
  width = max(map(len, rows), default=0) + 2
  return ['', ' ' * width + '  '.join(f'{n:>8}' for n in names),
          *(f'{label:<{width}}' + '  '.join(cell(row.get(n), n) for n in names)
            for label, row in rows.items())]


def _mixed(tables):
  """{'clean and occluded': tables of both kinds together}, where there are both."""
  both = [tables.get(kind, {}) for kind in ('clean', 'occluded')]
  joined = {row: {k: np.concatenate([of_kind[row][k] for of_kind in both]) for k in both[0][row]}
            for row in both[0] if row in both[1]}
  return {'clean and occluded': joined} if joined else {}


def _intervals(tables, kind, resamples, seed):
  """Lines of the share of right joints on one kind of pictures; tables: {(label, network): ...}."""
  names = [f'{label} {network}' for label, network in tables]
  first = next(iter(tables.values()))
  for name, table in zip(names, tables.values(), strict=True):
    if not all(np.array_equal(table[k], first[k]) for k in ('image_id', 'labelled')):
      raise ValueError(f'{name}: its table of joints is of other people than that of {names[0]}')
  if not first['labelled'].any():
    raise ValueError(f'{names[0]}: its table of joints has no labelled joint')
  _, right, labelled = zip(*map(per_picture, tables.values()), strict=True)
  shares = bootstrap(np.array(right), np.array(labelled), resamples, seed)
  whole = 100 * np.sum(right, axis=1) / np.sum(labelled, axis=1)
  width = max(map(len, names)) + 2
  lines = ['', f'percent of right joints, {kind}, {len(right[0])} pictures, {resamples} resamples']
  for e, base in enumerate(_references(list(tables), whole)):
    line = f'{names[e]:<{width}}{whole[e]:6.2f} {_interval(shares[e])}'
    if base != e:
      line += (f'   difference {whole[e] - whole[base]:+.2f} {_interval(shares[e] - shares[base])}'
               f' from {names[base]}')
    lines.append(line)
  return lines


def _references(rows, whole):
  """Number of the row that each row (label, network) is compared with."""
  label = rows[0][0]
  single = [e for e, row in enumerate(rows) if row[0] == label and row[1] not in mixture.RULES]
  best = max(single, key=lambda e: whole[e], default=0)
  same = {network: e for e, (own, network) in enumerate(rows) if own == label}
  return [best if own == label else same.get(network, best) for own, network in rows]


def _interval(values):
  low, high = np.nanpercentile(values, (2.5, 97.5))
  return f'[{low:.2f}, {high:.2f}]'
