"""Runs the arms of HUPOR, one after the other, and prints their table.

  python experiments/bottom_up.py --arms pairs_hupor,pairs_smap --seeds 0,1,2 --data CMU --out RUNS
  python experiments/bottom_up.py --table

World arms are configs/quickstart_hupor.py, on rendered people; pairs arms configs/cmu_hupor.py, on
recorded ones. All take as many steps, and are scored clean and at every severity; one run of HUPOR
has three answers: of the detector, of the reasoner and of the refiner. A finished cell is
experiments/results/bottom_up/ARM_seedN.json, and is not run again; an interrupted one resumes.
"""
import os
import pathlib
import sys
from typing import NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
if __name__ == '__main__':
  from dslope_jax import commands
  commands.begin(terminated=commands.STOPPED)

from ml_collections import ConfigDict

from configs import cmu_hupor, quickstart_hupor
from dslope_jax.cli import checked
from experiments import cells

RESULTS = cells.RESULTS / 'bottom_up'
SHOWN = ('PCK_rel', 'PCK_visible', 'PCK_hidden', 'PCK_abs', 'PCOD', 'recall', 'MPJPE_all')


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


def config_of(name, seed, data, duration=''):
  """The config of a cell; duration: in place of the config's."""
  arm = ARMS[name]
  config = _CONFIGS[arm.people].get_config(arm.argument)
  config.seed, config.keep = seed, 1
  if arm.people == 'pairs':
    config.data.root = data
  config.duration = duration or config.duration
  config.eval_every, config.save_every = config.duration, '50 steps'
  entry = config.evals.val.to_dict()
  config.evals = ConfigDict({recipe: entry | {'recipe': recipe} for recipe in cells.SEVERITIES})
  return config


def run_cell(name, seed, data, out, duration=''):
  """Trains and scores a cell; its result, or None where a signal stopped it."""
  config = config_of(name, seed, data, duration)
  return cells.run(config, os.path.join(out, f'{name}_seed{seed}'), {
    'arm': name, 'argument': ARMS[name].argument})


def table(finished):
  """Text: mean and deviation over seeds of `SHOWN`, by arm, row and severity; 0 is clean."""
  return cells.by_severity(finished, ARMS, SHOWN)


if __name__ == '__main__':
  with checked():
    cells.main(__doc__, ARMS, run_cell, table, RESULTS)
