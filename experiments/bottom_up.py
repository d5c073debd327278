"""Runs the arms of HUPOR, one after the other, and prints their tables.

  python experiments/bottom_up.py --arms pairs_hupor,pairs_smap --seeds 0,1,2 --data CMU --out RUNS
  python experiments/bottom_up.py --table

World arms are configs/quickstart_hupor.py on scenes of two to four rendered people, pairs arms
configs/cmu_hupor.py, on recorded ones. All take as many steps. One run of HUPOR has three answers:
of the detector, of the reasoner and of the refiner. From which height on a peak is a joint is
chosen for each of them on rendered scenes of their own (split 'tune'); then they are scored on the
test scenes, clean and under things. HUPOR is also scored with the true maps in place of those of
the detector and of the reasoner, which shows what each stage loses. A finished cell is
experiments/results/bottom_up/ARM_seedN.json, and is not run again; an interrupted one resumes.
"""
import os
import pathlib
import sys
import time
from typing import NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
if __name__ == '__main__':
  from dslope_jax import commands
  commands.begin(terminated=commands.STOPPED)

import jax.numpy as jnp
from ml_collections import ConfigDict

import eval as evaluation
from configs import cmu_hupor, quickstart_hupor
from dslope_jax import part_maps
from dslope_jax.cli import checked
from dslope_jax.evaluation.engine import Engine
from dslope_jax.systems import hupor_people
from dslope_jax.training import sharding
from experiments import cells

RESULTS = cells.RESULTS / 'bottom_up'
SHOWN = ('PCK_rel', 'PCK_visible', 'PCK_hidden', 'PCK_abs', 'PCOD', 'recall', 'MPJPE_all')
PEAKS = 0.03, 0.06, 0.1, 0.2  # that are tried
CHOSEN_BY = 'PCK_rel'
RECIPES = 'severity1', 'severity3', 'severity5'
SCALE = 2  # of the true maps, of 0 to 4, coarse to fine


class Arm(NamedTuple):
  """people: 'world' or 'pairs'. argument: of the config."""
  people: str
  argument: str


ARMS = {
  'world_hupor': Arm('world', ''),
  'world_smap': Arm('world', 'smap'),  # a detector of all joints, hidden ones too, and no more
  'pairs_hupor': Arm('pairs', ''),
  'pairs_smap': Arm('pairs', 'smap'),
}
_CONFIGS = {'world': quickstart_hupor, 'pairs': cmu_hupor}
_PEOPLE = {'world': '2-4', 'pairs': '2'}


def config_of(name, seed, data, duration=''):
  """The config of a cell's training, which ends with the scores of the tuning scenes; duration: in
  place of the config's."""
  arm = ARMS[name]
  config = _CONFIGS[arm.people].get_config(arm.argument)
  config.seed, config.keep = seed, 1
  if arm.people == 'pairs':
    config.data.root = data
  else:
    config.data.loader.people = _PEOPLE['world']
  config.duration = duration or config.duration
  config.eval_every, config.save_every = config.duration, '50 steps'
  scenes = dict(name='synthetic', root='', loader=dict(
    count=150, size=config.data.size, seed=0, people=_PEOPLE[arm.people], activities=()))
  entry = config.evals.val.to_dict() | dict(split='tune', recipe='none', data=scenes)
  config.evals = ConfigDict({f'peak{i}': entry | {'peak': peak} for i, peak in enumerate(PEAKS)})
  return config


def entry_of_tests(name):
  """The entry of `evals` of the test scenes of an arm."""
  return _CONFIGS[ARMS[name].people].get_config(ARMS[name].argument).evals.val.to_dict()


def with_tests(config, name, peaks):
  """The config that scores the test scenes, clean and by every recipe, with these peaks."""
  config = config.copy_and_resolve_references()
  config.evals = ConfigDict({
    f'{recipe}_{PEAKS.index(peak)}': entry_of_tests(name) | {'recipe': recipe, 'peak': peak}
    for recipe in RECIPES for peak in sorted(set(peaks.values()))})
  return config


def run_cell(name, seed, data, out, duration=''):
  """Trains and scores a cell; its result, or None where a signal stopped it."""
  config, folder = config_of(name, seed, data, duration), os.path.join(out, f'{name}_seed{seed}')
  cell = cells.run(config, folder, {'arm': name, 'argument': ARMS[name].argument})
  if cell is None:
    return None
  peaks = chosen(cell['results'])
  cpu, clock = time.process_time(), time.time()
  evaluation.evaluate(with_tests(config, name, peaks), folder)
  parts = [part for part in ('detector', 'reasoner') if part in config.optim]
  true_maps = {part: of_true_maps(name, folder, part) for part in parts} if len(parts) > 1 else {}
  cells.note_time(folder, time.process_time() - cpu, time.time() - clock)
  return cell | cells.about_run(folder) | {
    'peaks': peaks, 'tuning': cell['results'], 'true_maps': true_maps,
    'results': of_peaks(cells.results_of(folder, cell['steps']), peaks)}


def chosen(scores):
  """{network: the peak with its best score} on the tuning scenes."""
  rows = scores['peak0']['rows']
  score = lambda row, i: scores[f'peak{i}']['rows'][row][CHOSEN_BY]
  return {row.rsplit('/', 1)[0]: PEAKS[max(range(len(PEAKS)), key=lambda i, row=row: score(row, i))]
          for row in rows}


def of_peaks(scores, peaks):
  """{recipe: {'stamps', 'rows'}} of the entries of `with_tests`: each row with its own peak."""
  out = {}
  for recipe in RECIPES:
    entries = {network: scores[f'{recipe}_{PEAKS.index(peak)}'] for network, peak in peaks.items()}
    out[recipe] = {
      'stamps': {network: entry['stamp'] for network, entry in entries.items()},
      'rows': {row: numbers for network, entry in entries.items()
               for row, numbers in entry['rows'].items() if row.rsplit('/', 1)[0] == network}}
  return out


def of_true_maps(name, folder, part):
  """{row: {metric: number}} of clean test scenes if the true maps stand in place of a network's: of
  the visible joints for 'detector', of all for 'reasoner'. Depths of anchors are as detected."""
  _, task, weights = cells.trained(folder, {'val': entry_of_tests(name) | {'recipe': 'none'}})
  given = 'image', 'camera'

  def predict(forward, batch, **test):
    people = hupor_people.people_of(batch | {'has_depth': jnp.ones(len(batch['camera']))})
    labels = part_maps.encode(people, task.facts.size, scales=(SCALE,),
                              visible_only=part == 'detector')
    true = {maps: labels[maps][:, 0] for maps in ('maps', 'relative_depth')}

    def told(network, *inputs, train=True):
      found = forward(network, *inputs, train=train)
      return found | true if network == part else found

    return task.system.predict(told, {field: batch[field] for field in given},
                               **test | {'flip': False})

  system = task.system._replace(predict=predict, fields=task.system.fields | {
    'predict': (*given, 'people', 'valid')})
  entry = task.evals['val']
  outputs = Engine(system, entry, sharding.make_mesh()).predict(weights, entry.rows,
                                                                entry.batches())
  return entry.score(outputs, None).results


def table(finished):
  """Text: mean and deviation over seeds of `SHOWN`, by arm, row and recipe, then with true maps."""
  head = '| seeds | ' + ' | '.join(SHOWN) + ' |'
  lines = ['| arm, network, pictures ' + head, '| --- ' * (2 + len(SHOWN)) + '|']
  for name in ARMS:
    own = [cell for cell in finished if cell['arm'] == name]
    rows = own[0]['results'][RECIPES[0]]['rows'] if own else ()
    for network in (row.removesuffix('/clean') for row in rows if row.endswith('/clean')):
      for shown, recipe, view in (('clean', RECIPES[0], 'clean'), *(
          (recipe, recipe, 'occluded') for recipe in RECIPES)):
        lines.append(_line(f'{name}, {network}, {shown}', [
          cell['results'][recipe]['rows'][f'{network}/{view}'] for cell in own]))
  lines += ['', '| arm, network, true maps of ' + head, '| --- ' * (2 + len(SHOWN)) + '|']
  for name in ARMS:
    own = [cell['true_maps'] for cell in finished if cell['arm'] == name]
    for part in own[0] if own else ():
      lines += [_line(f"{name}, {row.removesuffix('/clean')}, {part}",
                      [true[part][row] for true in own]) for row in own[0][part]]
  return '\n'.join(lines)


def _line(what, numbers):
  return f'| {what} | {len(numbers)} | ' + ' | '.join(
    cells.mean_of([of.get(metric) for of in numbers]) for metric in SHOWN) + ' |'


if __name__ == '__main__':
  with checked():
    cells.main(__doc__, ARMS, run_cell, table, RESULTS)
