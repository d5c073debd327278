"""Cells of experiments: each a config with a seed, trained once and scored once.

A finished cell is a small json file and is not run again; one that was interrupted resumes.
"""
import argparse
import os
import pathlib
import platform
import subprocess
import sys
import time
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

import train
from dslope_jax import own_files, tasks
from dslope_jax.errors import UserError
from dslope_jax.evaluation.base import load_samples, read_stamped
from dslope_jax.training import checkpointing, sharding, train_state, workdir

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / 'experiments/results'
TIMES = 'sessions.jsonl'
SEVERITIES = tuple(f'severity{level}' for level in range(1, 6))


def run(config, folder, facts):
  """Trains a config whose last step is evaluated, and whose duration is in steps.

  Returns the cell: `facts`, which describe the arm, and what was seen; None where a signal stopped
  it.
  """
  cpu, clock = time.process_time(), time.time()
  try:
    train.train(config, folder)
  finally:
    note_time(folder, time.process_time() - cpu, time.time() - clock)
  step = newest_step(folder)
  found = results_of(folder, step)  # of other entries, too, where the cell was scored further
  scores = {entry: found[entry] for entry in config.evals if entry in found}
  if f'{step} steps' != config.duration or set(scores) != set(config.evals):
    return None
  return facts | about_run(folder) | {'seed': config.seed, 'steps': step,
                                      'batch_size': config.batch_size, 'results': scores}


def results_of(folder, step):
  """{entry: {'stamp', 'rows': {row: {metric: number}}}} of the evaluation of a step."""
  out = {}
  for path in sorted(pathlib.Path(folder, f'eval_{step}').glob('*/results.json')):
    found = read_stamped(path)
    out[path.parent.name] = {'stamp': found['stamp'], 'rows': found['results']}
  return out


def trained(folder, evals=None):
  """(config, task, weights on the devices) of the newest checkpoint of a run; evals: in place of
  its own section."""
  config = ConfigDict(workdir.read_config(folder))
  if evals is not None:
    config.evals = ConfigDict(evals)
  config = workdir.settings_to_evaluate(config, folder)
  task = tasks.build(config, folder, training=False)
  weights, _ = checkpointing.restore_weights(
    folder, train_state.weight_shapes(task.system, task.example), None, ema=config.ema_decay > 0)
  return config, task, sharding.replicate(weights, sharding.make_mesh())


def add_samples(scores, folder, metric, group_of=None):
  """Adds what a bootstrap needs to `results_of`: the sums of a metric by group of each row, as
  'samples': {row: [[group, numerator, denominator]]}.

  group_of: {group of the samples: the group that is drawn as a whole}, each its own if None.
  """
  for entry, found in scores.items():
    tables = load_samples(os.path.join(folder, entry, 'samples.npz'))
    found['samples'] = {}
    for row, metrics in tables.items():
      table = metrics[metric]
      group = [group_of[g] for g in table.group.tolist()] if group_of else table.group
      names, place = np.unique(group, return_inverse=True)
      sums = (np.bincount(place, column).round(4).tolist() for column in table[1:])
      found['samples'][row] = [list(of) for of in zip(names.tolist(), *sums, strict=True)]


def by_severity(finished, arms, metrics):
  """Text: mean and deviation over seeds of the metrics, by arm, row and severity; 0 is clean."""
  lines = ['| arm, network | seeds | severity | ' + ' | '.join(metrics) + ' |',
           '| --- ' * (3 + len(metrics)) + '|']
  for name in arms:
    found = [cell['results'] for cell in finished if cell['arm'] == name]
    rows = sorted({row for scores in found for row in scores[SEVERITIES[0]]['rows']})
    for row in rows:
      network, view = row.rsplit('/', 1)
      for level, recipe in enumerate(SEVERITIES, 1) if view == 'occluded' else [(0, SEVERITIES[0])]:
        values = ([scores[recipe]['rows'][row].get(metric) for scores in found]
                  for metric in metrics)
        lines.append(f'| {name}, {network} | {len(found)} | {level} | '
                     + ' | '.join(map(mean_of, values)) + ' |')
  return '\n'.join(lines)


def mean_of(values):
  """Mean and deviation of the numbers of seeds; '-' where one has none."""
  if None in values:
    return '-'
  return f'{np.mean(values):.3g}' + (f' ± {np.std(values, ddof=1):.2g}' if len(values) > 1 else '')


def linked(folder, data):
  """Whether a folder was made of a data set and has its pictures. Raises UserError where it was
  made of another, or where there are no pictures."""
  link, pictures = os.path.join(folder, 'images'), os.path.join(os.path.abspath(data), 'images')
  if not os.path.isdir(pictures):
    raise UserError(f"no folder '{pictures}'; --data and --coco name folders with their pictures "
                    'in images/')
  if not os.path.lexists(link):
    return False
  if os.path.realpath(link) != os.path.realpath(pictures):
    raise UserError(f"'{folder}' was made of '{os.path.dirname(os.path.realpath(link))}', not of "
                    f"'{data}': take another --out")
  return True


def link(folder, data):
  """Marks a folder as made of a data set, whose pictures it then has; the last thing to be done.

  Two cells that start at once write the same files and the same mark.
  """
  try:
    os.symlink(os.path.join(os.path.abspath(data), 'images'), os.path.join(folder, 'images'))
  except FileExistsError:
    linked(folder, data)


def newest_step(folder):
  """Of the checkpoints of a run, 0 without any."""
  found = pathlib.Path(folder, 'checkpoints').glob('[0-9]*')
  return max((int(path.name) for path in found if path.name.isdigit()), default=0)


def note_time(folder, cpu, seconds):
  """Adds the time of a session to those of the run."""
  if os.path.isdir(folder):
    own_files.append_line(os.path.join(folder, TIMES), {'cpu_seconds': cpu, 'seconds': seconds})


def about_run(folder):
  """The code, the machine and the hours of all sessions of a run that were not killed."""
  sessions = own_files.read_lines(os.path.join(folder, TIMES), dict[str, float])
  hours = lambda field: round(sum(session[field] for session in sessions) / 3600, 4)
  return {'commit': commit(), 'machine': machine(), 'cpu_hours': hours('cpu_seconds'),
          'hours': hours('seconds')}


def commit():
  """Of the code, with '+' where files that are tracked differ from it."""
  git = lambda *words: subprocess.run(['git', *words], cwd=ROOT, capture_output=True, text=True,
                                      check=True).stdout.strip()
  return git('rev-parse', 'HEAD') + ('+' if git('status', '--porcelain', '-uno') else '')


def machine():
  return f'{platform.machine()}, {os.cpu_count()} cores, {jax.devices()[0].device_kind}, ' \
    f'jax {jax.__version__}'


def chosen(names, arms):
  """The names of arms between commas. Raises UserError for others."""
  out = [name for name in names.split(',') if name]
  for name in out:
    if name not in arms:
      raise UserError(f"there is no arm '{name}'; there are {', '.join(arms)}")
  return out


def run_missing(path_of, names, seeds, cell):
  """Runs each cell whose file is not there; ends the process where a signal stopped one.

  path_of: (arm, seed) -> path of the file. seeds: numbers between commas. cell: (arm, seed) -> what
  is kept of it, or None.
  """
  try:
    numbers = [int(seed) for seed in seeds.split(',')]
  except ValueError:
    raise UserError(f"--seeds: '{seeds}' must be whole numbers between commas, as in 0,1") from None
  for name in names:
    for seed in numbers:
      path = pathlib.Path(path_of(name, seed))
      if path.exists():
        print(f'{path} is there')
        continue
      found = cell(name, seed)
      if found is None:  # stopped by a signal, which is not a success
        sys.exit(1)
      path.parent.mkdir(parents=True, exist_ok=True)
      own_files.write_json(str(path), found)
      print(f'{path} written')


def main(doc, arms, run_cell, table, results):
  """The command line of a script of one data set.

  run_cell: (arm, seed, data, out, duration) -> cell. table: list of cells -> text.
  """
  parser = argparse.ArgumentParser(description=doc,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--arms', default='', help=', '.join(arms))
  parser.add_argument('--seeds', default='0')
  parser.add_argument('--data', default='', help='folder of the data')
  parser.add_argument('--out', default='', help='folder of the runs')
  parser.add_argument('--duration', default='', help="in place of the config's, such as '10 steps'")
  parser.add_argument('--results', default=str(results), help='folder of the finished cells')
  parser.add_argument('--table', action='store_true', help='print the table of the finished cells')
  given = parser.parse_args()
  if given.arms and not (given.data and given.out):
    raise UserError('--arms needs --data and --out')
  run_missing(lambda name, seed: os.path.join(given.results, f'{name}_seed{seed}.json'),
              chosen(given.arms, arms), given.seeds,
              lambda name, seed: run_cell(name, seed, given.data, given.out, given.duration))
  if given.table:
    paths = sorted(pathlib.Path(given.results).glob('*_seed*.json'))
    print(table([own_files.read_json(str(path), dict[str, Any], 'run its cell again')
                 for path in paths]))
