"""The one evaluation: predicts over padded batches, gathers, scatters to rows, scores, writes."""
import collections
import itertools
import os
import re

import jax
import numpy as np

from dslope_jax import own_files
from dslope_jax.errors import UserError
from dslope_jax.evaluation import drawing, report
from dslope_jax.evaluation.base import EvalSet, read_stamped, save_samples, write_stamped
from dslope_jax.metrics import result_files
from dslope_jax.systems.base import Forward, System, without_view
from dslope_jax.training import sharding
from dslope_jax.weights import files as weight_files

_SHOWN, _WORST = 12, 50  # samples in pictures.jpg, and in a report


class Engine:
  """Evaluates a system on one set; every process of a run calls it alike.

  picture: sheet of the first samples of the last run, (H,W,3) uint8, or None; of process 0.
  """

  def __init__(self, system: System, entry: EvalSet, mesh):
    self.entry, self.mesh, self.picture = entry, mesh, None
    self._fields = system.fields['predict']
    split = sharding.by_sample(mesh)

    def predict(weights, batch):
      forward = Forward(system.networks, weights['params'], weights['batch_stats'])
      return system.predict(forward, batch, **entry.test)

    self._predict = jax.jit(predict, in_shardings=(sharding.replicated(mesh), split),
                            out_shardings=split)

  def predict(self, weights, rows: int, batches) -> dict:
    """Outputs of all rows as NumPy arrays (rows first), and the kept fields under 'batch'.

    The truth never reaches the networks: only the fields that the system predicts from are sent.
    """
    outputs, in_flight = {}, None
    for batch in batches:
      device = {k: v for k, v in batch.items() if k in self._fields}
      host = {k: batch[k] for k in ('row', 'mask', *self.entry.keep) if k in batch}
      result = host, self._predict(weights, sharding.to_global(device, self.mesh))
      if in_flight:  # fetched while the next batch is computed
        self._collect(in_flight, outputs, rows)
      else:
        sharding.wait_for_all()  # the first call compiled
      in_flight = result
    self._collect(in_flight, outputs, rows)
    return outputs

  def _collect(self, item, outputs, rows):
    """Scatters a batch's results to their rows; padding is dropped."""
    host, result = item
    if jax.process_count() > 1:
      host = sharding.to_host(sharding.to_global(host, self.mesh))
    result = dict(sharding.to_host(result)) | {'batch': {
      k: host[k] for k in self.entry.keep if k in host}}
    places = host['row'][host['mask']]
    for name, fields in result.items():
      for field, value in fields.items():
        empty = np.zeros((rows, *value.shape[1:]), value.dtype)
        outputs.setdefault(name, {}).setdefault(field, empty)[places] = value[host['mask']]

  def run(self, weights, step: int, workdir, name: str, *, stress=False, with_report=False):
    """Evaluates and writes to WORKDIR/eval_STEP/NAME (see `own_folder`), results.json last.

    stress: also scores every variant of the set. Returns (results, text to print).
    """
    entry = self.entry
    if stress and not entry.variants:
      raise UserError(f'evals.{name} has no variants to score, such as severities; leave --stress '
                      'out')
    outputs = self.predict(weights, entry.rows, entry.batches())
    held_out = self._held_out(weights)
    scores = entry.score(outputs, held_out)
    stamp = entry.stamp | {'weights_step': step}
    folder = own_folder(os.path.join(workdir, f'eval_{step}', name), entry.stamp)
    if jax.process_index() == 0:
      os.makedirs(folder, exist_ok=True)
      if entry.pictures:
        cases = entry.pictures(outputs, range(min(_SHOWN, entry.rows)))
        self.picture = drawing.sheet([list(case['pictures'].values()) for case in cases],
                                     list(cases[0]['pictures']))
        drawing.save(os.path.join(folder, 'pictures.jpg'), self.picture)
      with_report |= write(folder, scores, stamp)
    text = f'{name}: {table(scores.results, stamp)}\nwritten to {folder}'
    if stress:
      curves = self._stress(weights, scores.files.get('calibration.json'))
      if jax.process_index() == 0:
        write_stamped(os.path.join(folder, 'stress.json'), stamp, {'stress': curves})
      text += '\n' + stress_text(curves)
    if with_report and jax.process_index() == 0:
      cases = entry.pictures(outputs, scores.worst[:_WORST]) if entry.pictures else ()
      text += f'\nthe report is {report.write(folder, cases)}'
    return scores.results, text

  def _held_out(self, weights):
    if not self.entry.held_out:
      return None
    rows, batches = self.entry.held_out
    return self.predict(weights, rows, batches())

  def _stress(self, weights, fits):
    """{row without its view: {'metric', 'severity': [[level, value], ...], 'area': mean height of
    the curve, 'others': {variant: value}}}, by the first metric of each row; and 'interval':
    [[level, low, high], ...] where the row has METRIC_low and METRIC_high. A row keeps its view
    where its network has several."""
    curves = {}
    for variant, arguments in self.entry.variants.items():
      outputs = self.predict(weights, self.entry.rows, self.entry.batches(**arguments))
      results = self.entry.score(outputs, None, full=False, fits=fits).results
      views = collections.Counter(map(without_view, results))
      for row, numbers in results.items():
        metric, value = next(iter(numbers.items()))
        name = without_view(row) if views[without_view(row)] == 1 else row
        curve = curves.setdefault(name, {'metric': metric, 'severity': [], 'others': {}})
        level = re.fullmatch(r'severity(\d+)', variant)
        if level:
          curve['severity'].append([int(level[1]), value])
          if f'{metric}_low' in numbers:
            curve.setdefault('interval', []).append(
              [int(level[1]), numbers[f'{metric}_low'], numbers[f'{metric}_high']])
        else:
          curve['others'][variant] = value
    for curve in curves.values():
      curve['area'] = _mean_height(curve['severity'])
    return curves


def score_file(entry: EvalSet, path, folder, name: str, *, with_report=False):
  """Scores another program's result file; writes to `folder` (see `own_folder`).

  Returns (results, text to print).
  """
  scores, message = entry.score_file(path)
  stamp = entry.stamp | {'predictions': os.path.basename(path),
                         'sha256': weight_files.sha256(path)[:12]}
  folder = own_folder(folder, stamp)
  with_report |= write(folder, scores, stamp)
  text = f'{name}: {table(scores.results, stamp)}\nwritten to {folder}'
  text += f'\n{message}' if message else ''
  if with_report:
    text += f'\nthe report is {report.write(folder)}'
  return scores.results, text


def write(folder, scores, stamp):
  """Writes all files of an evaluation, results.json last: where it is, the others are, too.

  A report of the numbers before is removed. Returns whether there was one, to be written anew.
  """
  os.makedirs(folder, exist_ok=True)
  stale = os.path.join(folder, 'report.html')
  had_report = os.path.exists(stale)
  if had_report:
    os.remove(stale)
  save_samples(os.path.join(folder, 'samples.npz'), scores.samples)
  for file, value in scores.files.items():
    path = os.path.join(folder, file)
    if file.endswith('.mat'):
      result_files.write_mpii(path, value)
    elif file.endswith('.npz'):
      own_files.write_npz(path, value, compressed=True)
    elif file == 'report.json':
      write_stamped(path, stamp, value)
    else:
      own_files.write_json(path, value)
  write_stamped(os.path.join(folder, 'results.json'), stamp, {'results': scores.results})
  return had_report


def own_folder(base: str, stamp: dict) -> str:
  """The folder `base`, or where an evaluation with another stamp lies there, one with the fields in
  its name that differ: BASE_recipe-severity2."""
  folder, tried = base, itertools.count(2)
  while True:
    path = os.path.join(folder, 'results.json')
    if not os.path.exists(path):
      return folder
    before = read_stamped(path, mend='remove it, or its whole folder')['stamp']
    differing = {k: v for k, v in stamp.items() if before.get(k) != own_files.as_json(v)}
    if not differing:
      return folder
    words = '_'.join(f'{k}-{v}' for k, v in differing.items())
    named = f"{base}_{re.sub('[^A-Za-z0-9_.-]+', '-', words)[:80]}"
    folder = named if folder == base else f'{named}_{next(tried)}'


def table(results: dict, stamp: dict) -> str:
  """The results of all rows as text, under their stamp."""
  head = '  '.join(f'{k}={v}' for k, v in stamp.items())
  shown = list(dict.fromkeys(k for row in results.values() for k, v in row.items()
                             if isinstance(v, (int, float))))
  if not shown:
    return head + '\npredictions written, nothing to score'
  width = max(len(name) for name in results) + 2
  lines = [head, ' ' * width + '  '.join(f'{k:>8}' for k in shown)]
  for name, row in results.items():
    values = (row.get(k, float('nan')) for k in shown)
    cells = ('-' if value != value else f'{value:.4g}' for value in values)
    lines.append(f'{name:<{width}}' + '  '.join(f'{cell:>{max(8, len(k))}}' for cell, k in
                                                zip(cells, shown, strict=True)))
  return '\n'.join(lines)


def _mean_height(curve):
  """Of a curve of (level, value); None without points."""
  if len(curve) < 2:
    return curve[0][1] if curve else None
  levels, values = zip(*curve, strict=True)
  return float(np.trapezoid(values, levels) / (levels[-1] - levels[0]))


def stress_text(curves: dict) -> str:
  """The curves by severity as a table; of a set without severities every variant."""
  metric = next(iter(curves.values()))['metric']
  table = {row: {str(level): value for level, value in curve['severity']} for row, curve in
           curves.items()}
  by_severity = any(table.values())
  for row, curve in curves.items():
    table[row] |= {'mean': curve['area']} if by_severity else curve['others']
  columns = list(next(iter(table.values())))
  head = f'{metric} by {"severity" if by_severity else "variant"}'
  width = max(map(len, [head, *table]))
  return '\n'.join([
    f'{head:<{width}}' + ''.join(f'{column:>10}' for column in columns),
    *(f'{row:<{width}}' + ''.join(f'{values[column]:10.4g}' for column in columns)
      for row, values in table.items())])
