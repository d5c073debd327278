"""Runs the arms of lifting on CMU motion, one after the other, and prints their table.

  python experiments/lifting.py --arms pose_moe,entangled --seeds 0,1,2 --data CMU --out FOLDER
  python experiments/lifting.py --table

Every arm trains `configs/cmu_posemoe.py:small` for as many steps, and is scored on the people of
val, clean and at every severity. A finished cell is experiments/results/lifting/ARM_seedN.json, and
is not run again; one that was interrupted resumes.
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

from configs import cmu_posemoe
from dslope_jax.cli import checked
from experiments import cells

RESULTS = cells.RESULTS / 'lifting'
SHOWN = 'MPJPE', 'P-MPJPE', 'MPJVE', 'MPJPE_xy', 'MPJPE_z', 'corr_xy_z', 'router'


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
  config.evals = ConfigDict({recipe: entry | {'recipe': recipe} for recipe in cells.SEVERITIES})
  return config


def run_cell(name, seed, data, out, duration=''):
  """Trains and scores a cell; its result, or None where a signal stopped it."""
  arm, config = ARMS[name], config_of(name, seed, data, duration)
  return cells.run(config, os.path.join(out, f'{name}_seed{seed}'), {
    'arm': name, 'argument': arm.argument, 'model': arm.model, 'weights': arm.weights})


def table(finished):
  """Text: mean and deviation over seeds of `SHOWN`, by arm, row and severity; 0 is clean."""
  return cells.by_severity(finished, ARMS, SHOWN)


if __name__ == '__main__':
  with checked():
    cells.main(__doc__, ARMS, run_cell, table, RESULTS)
