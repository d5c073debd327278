"""Runs the arms of lifting on CMU motion, one after the other, and prints their table.

  python experiments/lifting.py --arms pose_moe,entangled --seeds 0,1,2 --data CMU --out FOLDER
  python experiments/lifting.py --table

Every arm trains `configs/cmu_posemoe.py:small` for as many steps, and is scored on the people of
val, clean and at every severity. A finished cell is experiments/results/lifting/ARM_seedN.json, and
is not run again; one that was interrupted resumes.
"""
import argparse
import os
import pathlib
import sys
import time
from typing import Any, NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
if __name__ == '__main__':
  from dslope_jax import commands
  commands.begin(terminated=commands.STOPPED)

import numpy as np
from ml_collections import ConfigDict

import train
from configs import cmu_posemoe
from dslope_jax import own_files
from dslope_jax.cli import checked
from dslope_jax.errors import UserError
from dslope_jax.evaluation.base import read_stamped
from experiments import run

RESULTS = run.ROOT / 'experiments/results/lifting'
SHOWN = 'MPJPE', 'P-MPJPE', 'MPJVE', 'MPJPE_xy', 'MPJPE_z', 'corr_xy_z', 'router'
RECIPES = tuple(f'severity{level}' for level in range(1, 6))


class Arm(NamedTuple):
  """argument: of configs/cmu_posemoe.py, after 'small'. model: fields of `system.model`.
  weights: of `system.weights`."""
  argument: str = ''
  model: dict = {}
  weights: dict = {}


ARMS = {
  'pose_moe': Arm(),
  'entangled': Arm('entangled'),
  'pair': Arm('pair'),  # GNet sees clean clips, ENet those with hidden joints
  'plain_clean': Arm('clean'),
  # One switch of pose_moe each.
  'no_prior': Arm(model=dict(depth_prior='zero')),
  'prior_alone': Arm(model=dict(depth_init='G_only')),
  'no_router': Arm(model=dict(router='none')),
  'no_exchange': Arm(model=dict(pmd_direction='none')),
  'depth_reads_2d': Arm(model=dict(pmd_direction='2d_to_depth')),
  'supervised': Arm(model=dict(encoder_heads='supervise'), weights=dict(encoder=1.0)),
}


def config_of(name, seed, data, duration=''):
  """The config of a cell; duration: in place of the config's."""
  arm = ARMS[name]
  config = cmu_posemoe.get_config('small' + (f',{arm.argument}' if arm.argument else ''))
  with config.unlocked():
    config.system.model.update(arm.model)
  config.system.weights.update(arm.weights)
  config.seed, config.keep, config.data.root = seed, 1, data
  config.duration = duration or config.duration
  config.eval_every, config.save_every = config.duration, '100 steps'
  entry = config.evals.val.to_dict()
  config.evals = ConfigDict({recipe: entry | {'recipe': recipe} for recipe in RECIPES})
  return config


def run_cell(name, seed, data, out, duration=''):
  """Trains and scores a cell; its result, or None where a signal stopped it."""
  folder = os.path.join(out, f'{name}_seed{seed}')
  config = config_of(name, seed, data, duration)
  cpu, clock = time.process_time(), time.time()
  try:
    train.train(config, folder)  # the last step is evaluated, too
  finally:
    run.note_time(folder, time.process_time() - cpu, time.time() - clock)
  step = run.newest_step(folder)
  scores = results_of(folder, step)
  if f'{step} steps' != config.duration or set(scores) != set(RECIPES):
    return None
  sessions = own_files.read_lines(os.path.join(folder, run.TIMES), dict[str, float])
  return {'arm': name, 'seed': seed, 'commit': run.commit(), 'machine': run.machine(),
          'argument': ARMS[name].argument, 'model': ARMS[name].model,
          'weights': ARMS[name].weights, 'duration': config.duration,
          'batch_size': config.batch_size, 'steps': step,
          'cpu_hours': round(sum(one['cpu_seconds'] for one in sessions) / 3600, 4),
          'hours': round(sum(one['seconds'] for one in sessions) / 3600, 4), 'results': scores}


def results_of(folder, step):
  """{recipe: {'stamp', 'rows': {row: {metric: number}}}} of the evaluation of a step."""
  out = {}
  for recipe in RECIPES:
    path = os.path.join(folder, f'eval_{step}', recipe, 'results.json')
    if os.path.exists(path):
      found = read_stamped(path)
      out[recipe] = {'stamp': found['stamp'], 'rows': found['results']}
  return out


def table(cells):
  """Text: mean and deviation over seeds of `SHOWN`, by arm, row and severity; 0 is clean."""
  lines = ['| arm, network | seeds | severity | ' + ' | '.join(SHOWN) + ' |',
           '| --- ' * (3 + len(SHOWN)) + '|']
  for name in ARMS:
    found = [cell['results'] for cell in cells if cell['arm'] == name]
    rows = sorted({row for scores in found for row in scores[RECIPES[0]]['rows']})
    for row in rows:
      network, view = row.rsplit('/', 1)
      for level, recipe in enumerate(RECIPES, 1) if view == 'occluded' else [(0, RECIPES[0])]:
        values = [[scores[recipe]['rows'][row].get(metric, np.nan) for metric in SHOWN]
                  for scores in found]
        spread = np.std(values, 0, ddof=1) if len(values) > 1 else np.full(len(SHOWN), np.nan)
        lines.append(f'| {name}, {network} | {len(found)} | {level} | ' + ' | '.join(
          f'{mean:.3g} ± {std:.2g}' for mean, std in zip(np.mean(values, 0), spread, strict=True))
          + ' |')
  return '\n'.join(lines)


def main():
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--arms', default='', help=', '.join(ARMS))
  parser.add_argument('--seeds', default='0')
  parser.add_argument('--data', default='', help='folder of the CMU motion')
  parser.add_argument('--out', default='', help='folder of the runs')
  parser.add_argument('--duration', default='', help="in place of the config's, such as '10 steps'")
  parser.add_argument('--results', default=str(RESULTS), help='folder of the finished cells')
  parser.add_argument('--table', action='store_true', help='print the table of the finished cells')
  given = parser.parse_args()
  if given.arms and not (given.data and given.out):
    raise UserError('--arms needs --data and --out')
  for name in filter(None, given.arms.split(',')):
    if name not in ARMS:
      raise UserError(f"there is no arm '{name}'; there are {', '.join(ARMS)}")
    for seed in map(int, given.seeds.split(',')):
      path = pathlib.Path(given.results, f'{name}_seed{seed}.json')
      if path.exists():
        print(f'{path} is there')
        continue
      found = run_cell(name, seed, given.data, given.out, given.duration)
      if found is None:  # stopped by a signal, which is not a success
        sys.exit(1)
      path.parent.mkdir(parents=True, exist_ok=True)
      own_files.write_json(str(path), found)
      print(f'{path} written')
  if given.table:
    paths = sorted(pathlib.Path(given.results).glob('*_seed*.json'))
    print(table([own_files.read_json(str(path), dict[str, Any], 'run its cell again')
                 for path in paths]))


if __name__ == '__main__':
  with checked():
    main()
