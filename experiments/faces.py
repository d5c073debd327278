"""Runs the arms of faces in videos, one after the other, and prints their tables.

  python experiments/faces.py --arms points_pair,identity_pair --seeds 0,1 --data FOLDER --out RUNS
  python experiments/faces.py --table

FOLDER is that of configs/youtube_faces_hrnet.py. Every arm trains on all identities of train, for
as many steps, and is scored on those of val, clean and at every severity. A finished cell is
experiments/results/faces/ARM_seedN.json, and is not run again; one that was interrupted resumes.
"""
import os
import pathlib
import sys
from typing import NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
if __name__ == '__main__':
  from dslope_jax import commands
  commands.begin(terminated=commands.STOPPED)

import numpy as np
from ml_collections import ConfigDict

from configs import youtube_faces_hrnet, youtube_faces_recognition
from dslope_jax.cli import checked
from dslope_jax.errors import UserError
from dslope_jax.evaluation.base import SampleTable
from dslope_jax.evaluation.compare import bootstrap
from experiments import cells
from input_pipeline.sources import coco

RESULTS = cells.RESULTS / 'faces'
RECIPES = tuple(f'face_severity{level}' for level in range(1, 6))
POINTS, IDENTITY = 'points', 'identity'  # landmarks, and who a face is of
METRICS = {POINTS: ('NME', 'FR@0.10', 'AUC@0.10'),
           IDENTITY: ('EER', 'accuracy', 'TAR@0.01', 'rank1')}
OPEN_SET = 'small open set, not the official protocol'
VIEWS = {POINTS: (('clean', 'occluded'),),
         IDENTITY: (('clean-clean', 'clean-occluded'), ('clean-clean', 'occluded-occluded'))}


class Arm(NamedTuple):
  """kind: `POINTS` or `IDENTITY`. argument: of the config of that kind."""
  kind: str
  argument: str


ARMS = {
  'points_clean': Arm(POINTS, 'plain,clean'),
  'points_occluded': Arm(POINTS, 'plain,occluded'),
  'points_pair': Arm(POINTS, ''),  # GNet sees clean faces, ENet occluded ones
  'identity_clean': Arm(IDENTITY, 'clean'),
  'identity_occluded': Arm(IDENTITY, 'occluded'),
  'identity_pair': Arm(IDENTITY, ''),
}
_CONFIGS = {POINTS: youtube_faces_hrnet, IDENTITY: youtube_faces_recognition}
# What a network of a pair is to be compared with: the plain one that sees the same pictures.
_PLAIN = {'gnet': 'clean', 'enet': 'occluded'}


def config_of(name, seed, data, duration=''):
  """The config of a cell; duration: in place of the config's."""
  arm = ARMS[name]
  config = _CONFIGS[arm.kind].get_config(arm.argument)
  config.seed, config.keep, config.data.root = seed, 1, data
  config.duration = duration or config.duration
  config.eval_every, config.save_every = config.duration, '100 steps'
  entry = config.evals.val.to_dict()
  config.evals = ConfigDict({recipe: entry | {'recipe': recipe} for recipe in RECIPES})
  return config


def run_cell(name, seed, data, out, duration=''):
  """Trains and scores a cell; its result, or None where a signal stopped it."""
  arm, folder = ARMS[name], os.path.join(out, f'{name}_seed{seed}')
  found = cells.run(config_of(name, seed, data, duration), folder, {
    'arm': name, 'argument': arm.argument})
  if found:
    truth = coco.read_json(os.path.join(data, 'val.json'), coco.COCO_LISTS)
    of_picture = {a['image_id']: a['identity'] for a in truth['annotations']}
    cells.add_samples(found['results'], os.path.join(folder, f"eval_{found['steps']}"),
                      METRICS[arm.kind][0], of_picture if arm.kind == POINTS else None)
  return found


def table(finished):
  """Text: means and deviations over seeds by severity, 0 is clean; of the first metric of a kind
  also the interval over identities, and the difference from the plain network. Raises UserError
  for cells of a kind that were not trained alike."""
  out = []
  for kind, metrics in METRICS.items():
    alike = {(cell['steps'], cell['batch_size']) for cell in finished
             if ARMS[cell['arm']].kind == kind}
    if len(alike) > 1:
      raise UserError(f'cells of {kind} are of {" and of ".join(map(_of_steps, sorted(alike)))}, '
                      'and not comparable; remove those that are not of the experiment')
    for clean, occluded in VIEWS[kind]:
      columns = [(RECIPES[0], clean), *((recipe, occluded) for recipe in RECIPES)]
      for metric in metrics:
        out += ['', f'{kind}: {metric}, percent, {occluded} ({OPEN_SET})',
                '| network | seeds | clean | 1 | 2 | 3 | 4 | 5 |', '| --- ' * 8 + '|']
        out += lines(finished, kind, columns, metric, metric == metrics[0])
  return '\n'.join(out[1:])


def _of_steps(trained):
  return '{} steps of {} samples'.format(*trained)


def lines(finished, kind, columns, metric, intervals):
  """Lines of the networks of the arms of a kind. columns: (entry, view) of the results, all views
  of one network; intervals: also show those over identities, and differences from the plain one."""
  out = []
  for name in (name for name, arm in ARMS.items() if arm.kind == kind):
    own, (entry, last) = _by_seed(finished, name), columns[-1]
    rows = next(iter(own.values()))[entry]['rows'] if own else ()
    for network in (row.rsplit('/', 1)[0] for row in rows if row.endswith(f'/{last}')):
      cells_of = [(entry, f'{network}/{view}') for entry, view in columns]
      numbers = (_number(list(own.values()), *cell, metric, intervals) for cell in cells_of)
      out.append(f'| {name}, {network} | {len(own)} | ' + ' | '.join(numbers) + ' |')
      plain = _by_seed(finished, f'{kind}_{_PLAIN[network]}') if network in _PLAIN else {}
      seeds = sorted(own.keys() & plain.keys())
      if intervals and seeds:
        gaps = (_difference([own[s] for s in seeds], [plain[s] for s in seeds], *cell, metric)
                for cell in cells_of)
        out.append(f'| less the plain one | {len(seeds)} | ' + ' | '.join(gaps) + ' |')
  return out


def _by_seed(finished, name):
  return {cell['seed']: cell['results'] for cell in finished if cell['arm'] == name}


def _number(results, entry, row, metric, interval):
  values = [found[entry]['rows'][row].get(metric) for found in results]
  if None in values:
    return '-'
  spread = f' ± {np.std(values, ddof=1):.2f}' if len(values) > 1 else ''
  if not interval:
    return f'{np.mean(values):.2f}{spread}'
  low, high = np.percentile(_resampled(results, entry, row), (2.5, 97.5))
  return f'{np.mean(values):.2f}{spread} [{low:.2f}, {high:.2f}]'


def _difference(results, others, entry, row, metric):
  plain = f"net/{row.split('/')[1]}"
  gap = _resampled(results, entry, row) - _resampled(others, entry, plain)
  low, high = np.percentile(gap, (2.5, 97.5))
  mean = lambda of, name: np.mean([found[entry]['rows'][name][metric] for found in of])
  return f'{mean(results, row) - mean(others, plain):+.2f} [{low:+.2f}, {high:+.2f}]'


def _resampled(results, entry, row):
  """The mean over seeds of a row's first metric, on resampled identities; the same ones for all."""
  tables = [SampleTable(*map(np.array, zip(*found[entry]['samples'][row], strict=True)))
            for found in results]
  return bootstrap(tables).mean(0)


if __name__ == '__main__':
  with checked():
    cells.main(__doc__, ARMS, run_cell, table, RESULTS)
