"""Evaluations side by side, with intervals for how much better one is: see `tools/compare.py`."""
import os
import re

import numpy as np

from dslope_jax.errors import UserError, one_line
from dslope_jax.evaluation.base import SampleTable, load_samples, read_stamped
from dslope_jax.metrics import mixture

# What may differ between evaluations that measure the same.
_MAY_DIFFER = ('weights_step', 'network', 'ema', 'calibrated_on')
_LESS_IS_BETTER = re.compile(r'^(\w+-)?(nme|mpjpe|mpjve|fr@|ece|brier|nll|epe|eer)', re.I)


def less_is_better(metric: str) -> bool:
  return bool(_LESS_IS_BETTER.match(metric))


def compare(paths, *, metric=None, force=False, resamples=1000, seed=0) -> str:
  """The comparison as text.

  paths: evaluation folders or results.json files. metric: name of the only number shown.
  What depends on the people calibrated on (ECE, Brier and mixtures) is left out where these differ.
  Raises FileNotFoundError, or UserError naming the stamp fields that differ; not if `force`.
  """
  if resamples < 1:
    raise UserError(f'resamples must be at least 1, not {resamples}')
  runs = [_load(path) for path in paths]
  stamps = [run['stamp'] for run in runs]
  labels = _labels([run['folder'] for run in runs])
  lines = _stamp_lines(stamps, labels, force)
  calibrated_alike = len({str(stamp.get('calibrated_on')) for stamp in stamps}) == 1
  if not calibrated_alike and not force:
    lines.append('calibrated_on differs: ECE, Brier and the mixtures of networks are left out')
  rows, tables = {}, {}  # tables: {(view, metric): {(label, network): table}}
  for label, run in zip(labels, runs, strict=True):
    for name, numbers in run['results'].items():
      network, _, view = name.rpartition('/')
      if not calibrated_alike and not force:
        if _is_mixture(network):
          continue
        numbers = {k: v for k, v in numbers.items() if not k.startswith(('ECE', 'Brier'))}
      rows[f'{label} {name}'] = numbers
      for key, table in run['samples'].get(name, {}).items():
        if metric in (None, key):
          tables.setdefault((view, key), {})[label, network] = table
  lines += _numbers(rows, metric)
  for (view, key), of_view in (tables | _mixed(tables)).items():
    lines += _intervals(of_view, view, key, resamples, seed)
  return '\n'.join(map(one_line, lines))  # names and stamps are of files


def differing_fields(stamps):
  """Sorted names of the fields that are not the same in all stamps, but for those that may.

  The stamp of a result file of another program lacks fields: only those that all have count then.
  """
  fields = set().union(*stamps) - set(_MAY_DIFFER)
  if any('predictions' in s for s in stamps):
    fields = set.intersection(*(set(s) for s in stamps)) - {*_MAY_DIFFER, 'predictions', 'sha256'}
  missing = object()
  return sorted(f for f in fields if any(s.get(f, missing) != stamps[0].get(f, missing)
                                         for s in stamps))


def bootstrap(tables, resamples=1000, seed=0):
  """The metric of each of E tables on resampled groups, the same groups for all.

  tables: `SampleTable`s of the same samples. Whole groups are drawn with replacement, since
  samples of one picture or person are not independent.
  Returns (E, resamples) float64, NaN for a resample whose denominators sum to 0.
  Method: Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13 (percentiles).
  Raises UserError for no samples, or samples that differ from table to table.
  """
  group = tables[0].group
  if not len(group) or not all(np.array_equal(table.group, group) for table in tables):
    raise UserError('the tables need at least one sample, and the same samples')
  _, place = np.unique(group, return_inverse=True)
  columns = np.stack([np.bincount(place, column) for table in tables for column in table[1:]], 1)
  rng, count = np.random.default_rng(seed), len(columns)
  # How often each group is drawn says all: the draws themselves would take count times the memory.
  times = (rng.multinomial(count, np.full(count, 1 / count)) for _ in range(resamples))
  sums = np.array([t @ columns for t in times])
  with np.errstate(divide='ignore', invalid='ignore'):
    return (sums[:, ::2] / sums[:, 1::2]).T


def _load(path):
  folder, name = (path, 'results.json') if os.path.isdir(path) else os.path.split(path)
  file, samples = os.path.join(folder, name), os.path.join(folder, 'samples.npz')
  content = read_stamped(file, mend='give a folder WORKDIR/eval_STEP/ENTRY that an evaluation '
                         'wrote, or evaluate again')
  return {'folder': folder, 'stamp': content['stamp'], 'results': content['results'],
          'samples': load_samples(samples) if os.path.exists(samples) else {}}


def _labels(folders):
  """Paths without what all share, numbered where nothing else tells them apart."""
  parts = [os.path.normpath(os.path.abspath(f)).split(os.sep) for f in folders]
  shared = len(os.path.commonprefix(parts)) if len(parts) > 1 else len(parts[0]) - 1
  names = ['/'.join(p[shared:]) or p[-1] for p in parts]
  return [n if names.count(n) == 1 else f'{n}#{i}' for i, n in enumerate(names, 1)]


def _stamp_lines(stamps, labels, force):
  fields = differing_fields(stamps)
  if fields and not force:
    shown = '; '.join(f'{f}: ' + ' / '.join(str(s.get(f)) for s in stamps) for f in fields)
    raise UserError(f'the evaluations measure different things: {shown}. Pass --force to compare '
                    'them all the same')
  shared = {k for k, v in stamps[0].items() if all(s.get(k) == v for s in stamps)
            and k not in _MAY_DIFFER}
  lines = ['  '.join(f'{k}={v}' for k, v in stamps[0].items() if k in shared)]
  lines += [f'NOT COMPARABLE: {f} differs' for f in fields]
  for label, stamp in zip(labels, stamps, strict=True):
    own = {k: v for k, v in stamp.items() if k not in shared}
    lines.append(f'{label}: ' + '  '.join(f'{k}={v}' for k, v in own.items()))
  return lines


def _is_mixture(network):
  return network.partition('/')[0] in (*mixture.RULES, 'mean')  # 'mean': of embeddings


def _numbers(rows, metric):
  """Lines of all numbers that any row has; '-' where one lacks it."""
  names = dict.fromkeys(k for row in rows.values() for k, v in row.items()
                        if isinstance(v, (int, float)) and not isinstance(v, bool))
  if metric is not None and metric not in names:
    raise UserError(f"no evaluation has the metric '{metric}'; there are {', '.join(names)}")
  names = list(names) if metric is None else [metric]
  cell = lambda v, n: f'{v:>{max(8, len(n))}.4g}' if isinstance(v, (int, float)) else (
    '-'.rjust(max(8, len(n))))
  width = max(map(len, rows), default=0) + 2
  return ['', ' ' * width + '  '.join(f'{n:>8}' for n in names),
          *(f'{label:<{width}}' + '  '.join(cell(row.get(n), n) for n in names)
            for label, row in rows.items())]


def _mixed(tables):
  """The tables of both views of a network together, where it has both."""
  out = {}
  for (view, metric), clean in tables.items():
    occluded = tables.get(('occluded', metric), {}) if view == 'clean' else {}
    joined = {row: SampleTable(*map(np.concatenate, zip(table, occluded[row], strict=True)))
              for row, table in clean.items() if row in occluded}
    if joined:
      out['clean and occluded', metric] = joined
  return out


def _intervals(tables, view, metric, resamples, seed):
  """Lines of a metric on one view; tables: {(label, network): SampleTable}."""
  names = [f'{label} {network}' for label, network in tables]
  first = next(iter(tables.values()))
  for name, table in zip(names, tables.values(), strict=True):
    if not np.array_equal(table.group, first.group):
      raise UserError(f'{name}: its samples are of other pictures than those of {names[0]}')
  whole = np.array([t.numerator.sum() / (t.denominator.sum() or np.nan) for t in tables.values()])
  if np.isnan(whole).all():
    return []
  groups = len(np.unique(first.group))
  if groups < 2:
    return ['', f'{metric}, {view}: no intervals, since all samples are of one group']
  shares = bootstrap(list(tables.values()), resamples, seed)
  width = max(map(len, names)) + 2
  lines = ['', f'{metric}, {view}, {groups} groups, {resamples} resamples']
  for e, base in enumerate(_references(list(tables), whole, less_is_better(metric))):
    line = f'{names[e]:<{width}}{whole[e]:6.2f} {_interval(shares[e])}'
    if base != e:
      line += (f'   difference {whole[e] - whole[base]:+.2f} {_interval(shares[e] - shares[base])}'
               f' from {names[base]}')
    lines.append(line)
  return lines


def _references(rows, whole, less):
  """Number of the row that each row (label, network) is compared with."""
  label = rows[0][0]
  single = [e for e, row in enumerate(rows)
            if row[0] == label and not _is_mixture(row[1]) and np.isfinite(whole[e])]
  best = min(single, key=lambda e: whole[e] if less else -whole[e], default=0)
  same = {network: e for e, (own, network) in enumerate(rows) if own == label}
  return [best if own == label else same.get(network, best) for own, network in rows]


def _interval(values):
  values = values[np.isfinite(values)]
  low, high = np.percentile(values, (2.5, 97.5)) if len(values) else (np.nan, np.nan)
  return f'[{low:.2f}, {high:.2f}]'
