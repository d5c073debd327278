"""Runs cells, each an arm of `experiments/arms.py` with a seed, one after the other.

  python experiments/run.py --arms a,b --seeds 0,1 --data LSPET --out FOLDER --stage screen

screen: trains on 4,700 of the training pictures for two thirds of the steps, and scores the other
500; FOLDER/screen, the only data that it reads, has no validation annotations. full: trains on all
training pictures but 5 %, which mixtures of pairs are fitted on, and scores the validation ones,
clean and under every recipe; with --coco also people of COCO, of whom no network has seen any.
A finished cell is a file experiments/results/ARM_STAGE_seedN.json, and is not run again; one that
was interrupted resumes. Arms that start from another arm's network need that cell in FOLDER.
"""
import argparse
import importlib
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
if __name__ == '__main__':
  from dslope_jax import commands
  commands.begin(terminated=commands.STOPPED)

import jax
import numpy as np
from ml_collections import ConfigDict

import eval as evaluation
import train
from dslope_jax import own_files
from dslope_jax.cli import checked
from dslope_jax.errors import UserError
from dslope_jax.evaluation.base import load_samples, read_stamped
from dslope_jax.tasks import people
from dslope_jax.training import checkpointing, optimizers
from experiments import cells, coco_part
from experiments.arms import ARMS, PAIRS, SINGLES
from input_pipeline.sources import coco

RECIPES = ('published', *(f'severity{level}' for level in range(1, 6)))
TUNING, TUNING_SEED = 500, 0  # pictures of the training part that are scored while screening
HOLDOUT = 0.05  # share of the training pictures that mixtures are fitted on, in the full stage
METRIC, CELL = 'PCK@0.2', 'cell.json'


def split_tuning_part(data, out):
  """OUT/screen, a data set without the validation part: 'train' without TUNING pictures, which are
  'tune'. Drawn by picture."""
  folder = pathlib.Path(out) / 'screen'
  if not cells.linked(folder, data):
    truth = coco.read_json(os.path.join(data, 'lspet_train.json'), coco.COCO_LISTS)
    numbers = sorted(image['id'] for image in truth['images'])
    drawn = set(np.random.default_rng(TUNING_SEED).permutation(numbers)[:TUNING].tolist())
    folder.mkdir(parents=True, exist_ok=True)
    for name, wanted in (('train', set(numbers) - drawn), ('tune', drawn)):
      part = truth | {'images': [i for i in truth['images'] if i['id'] in wanted],
                      'annotations': [a for a in truth['annotations'] if a['image_id'] in wanted]}
      own_files.write_json(str(folder / f'lspet_{name}.json'), part)
    cells.link(folder, data)
  return folder


def config_of(name, seed, stage, data, out, length, bank=''):
  """The config of a cell. length: factor of the arm's duration. bank: of arms on LSPET, '' for one
  cut from it."""
  arm = ARMS[name]
  file, _, argument = arm.config.partition(':')
  module = importlib.import_module(f'configs.{file.removesuffix(".py")}')
  config = module.get_config(argument) if argument else module.get_config()
  for field, value in arm.fields.items():
    *path, last = field.split('.')
    node = config
    for part in path:
      node = node[part]
    if last not in node:
      raise UserError(f"arm '{name}' sets {field}, which {arm.config} has not")
    node[last] = ConfigDict(value) if isinstance(value, dict) else value
  config.seed, config.keep = seed, 1
  count, unit = config.duration.split()
  config.duration = f'{float(count) * length:g} {unit}'
  config.log_every, config.save_every = '20 steps', '100 steps'
  for network, start in arm.start.items():
    other, _, theirs = start.partition(':')
    config.init_from[network] = os.path.join(out, cell_name(other, seed, stage)) + f':{theirs}'
  if arm.data:
    config.data.root = str(split_tuning_part(data, out) if stage == 'screen' else data)
    config.evals.val.split = 'tune' if stage == 'screen' else 'val'
    config.data.bank.folder = bank or os.path.join(out, f'bank_{stage}')
    config.evals.val.recipe = 'severity3' if stage == 'screen' else 'published'
    if stage == 'full' and name in SINGLES | PAIRS:
      config.data.holdout = HOLDOUT
  return config


def cell_name(name, seed, stage):
  return f'{name}_{stage}_seed{seed}'


def run_cell(name, seed, stage, data, out, length, bank='', others=''):
  """Trains and scores a cell; its result, or None where a signal stopped it. others: a folder of
  COCO's form, whose people the full stage scores too."""
  folder = os.path.join(out, cell_name(name, seed, stage))
  config = config_of(name, seed, stage, data, out, length, bank)
  for start in config.init_from.values():
    if start and not os.path.exists(os.path.join(start.rpartition(':')[0], CELL)):
      raise FileNotFoundError(f"'{name}' needs '{start}': run the arm that it starts from first")
  whole = config
  if stage == 'full':
    whole = with_all_recipes(config, coco_part.write(others, out) if others else '')
  samples = len(people.load_train(config)[0])
  total = optimizers.to_steps(config.duration, samples / config.batch_size)
  config.eval_every = f'{-(-total // 6)} steps'
  wanted = set(config.evals) | set(whole.evals)
  cpu, clock = time.process_time(), time.time()
  try:
    train.train(config, folder)  # and what an interruption has left of its last evaluation
    if set(config.evals) <= set(results_of(folder, total)) and whole is not config:
      evaluation.evaluate(whole, folder)
  finally:
    cells.note_time(folder, time.process_time() - cpu, time.time() - clock)
  if wanted - set(results_of(folder, total)):
    return None
  found = describe(name, seed, stage, config, folder, total, samples)
  own_files.write_json(os.path.join(folder, CELL), found)
  return found


def with_all_recipes(config, others=''):
  """The config with an entry of `evals` for every recipe, and one for the data set in the folder
  `others`; each scores clean pictures too."""
  config = config.copy_and_resolve_references()
  entry = config.evals.val.to_dict()
  entries = {recipe: entry | {'recipe': recipe} for recipe in RECIPES}
  if others:
    entries[coco_part.SPLIT] = entry | {'recipe': 'severity3', 'split': coco_part.SPLIT,
                                        'data': entry['data'] | {'root': str(others)}}
  config.evals = ConfigDict(entries)
  return config


def describe(name, seed, stage, config, folder, total, samples):
  """All that is kept of a finished cell."""
  arm = ARMS[name]
  speed, curve = learning_curve(os.path.join(folder, 'metrics.jsonl'), config.batch_size)
  weights, _ = checkpointing.stored_weights(folder)
  sizes = {network: sum(int(np.prod(x.shape)) for x in jax.tree.leaves(tree))
           for network, tree in weights['params'].items()}
  return {
    'arm': name, 'seed': seed, 'stage': stage, **cells.about_run(folder),
    'config': arm.config, 'overrides': arm.fields, 'start': arm.start,
    'duration': config.duration, 'steps': total, 'pictures': samples,
    'epochs': total * config.batch_size / samples, 'parameters': sizes,
    'pictures_per_cpu_second': speed,
    'curve': curve, 'results': results_of(folder, total)}


def learning_curve(path, batch_size):
  """(pictures per CPU second, [{'step', 'cpu_minutes', 'results': {row: METRIC}}]) of a run; both
  are of training alone, minutes at its median."""
  lines = own_files.read_lines(path, dict)
  speeds = [line['samples_per_cpu_second'] for line in lines if 'samples_per_cpu_second' in line]
  speed = float(np.median(speeds)) if speeds else float('nan')
  curve = [{'step': line['step'], 'cpu_minutes': round(line['step'] * batch_size / speed / 60, 2),
            'results': {row: round(values[METRIC], 2) for row, values in line['results'].items()}}
           for line in lines if 'entry' in line]
  return round(speed, 1), curve


def results_of(folder, step):
  """{entry: {row: {'results': numbers, 'right', 'labelled': joints of each picture}}}."""
  out = {}
  for path in sorted(pathlib.Path(folder, f'eval_{step}').glob('*/results.json')):
    found, samples = read_stamped(path), load_samples(path.parent / 'samples.npz')
    out[path.parent.name] = {
      'stamp': found['stamp'],
      'rows': {row: {'results': values, **_counts(samples[row][METRIC])}
               for row, values in found['results'].items()}}
  return out


def _counts(table):
  return {'right': (table.numerator / 100).round().astype(int).tolist(),
          'labelled': table.denominator.astype(int).tolist()}


def main():
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--arms', required=True, help=', '.join(ARMS))
  parser.add_argument('--seeds', default='0')
  parser.add_argument('--data', required=True, help='folder of LSPET')
  parser.add_argument('--out', required=True, help='folder of the runs')
  parser.add_argument('--bank', default='', help='patch bank of the arms on LSPET; default: cut '
                      'from LSPET, which has no people to paste')
  parser.add_argument('--coco', default='', help='folder whose people are scored too: annotations/'
                      'person_keypoints_{train,val}.json of COCO, and images/')
  parser.add_argument('--stage', choices=('screen', 'full'), default='screen')
  parser.add_argument('--length', type=float, help="factor of the arms' duration; default 2/3 "
                      'to screen, else 1')
  parser.add_argument('--results', default=str(cells.RESULTS))
  given = parser.parse_args()
  if given.length is not None and not given.length > 0:
    raise UserError(f'--length {given.length:g} must be above 0')
  if given.coco and given.stage == 'screen':
    raise UserError('--coco is for the full stage; screening scores the tuning part alone')
  length = given.length or (2 / 3 if given.stage == 'screen' else 1.0)
  cells.run_missing(
    lambda name, seed: os.path.join(given.results, cell_name(name, seed, given.stage) + '.json'),
    cells.chosen(given.arms, ARMS), given.seeds,
    lambda name, seed: run_cell(name, seed, given.stage, given.data, given.out, length, given.bank,
                                given.coco))


if __name__ == '__main__':
  if jax.config.jax_compilation_cache_dir is None:
    jax.config.update('jax_compilation_cache_dir',
                      os.path.expanduser('~/.cache/dslope_jax/compiled'))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
  with checked():
    main()
