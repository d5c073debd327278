"""Draws what training sees: its first samples, a person a row, as one picture to look at.

  python tools/browse.py --config configs/ccoco_hrnet.py --config.data.root=COCO
    [--rows 8] [--seed S] [--workdir runs/ccoco_hrnet] [--out FILE.jpg]

For crops: the clean one and its occluded partner, both as they are and with their joints, and the
heatmaps that are the target. A cross marks a joint under a patch, a square one that is annotated as
hidden; the person's left is orange. They are the first samples of the training with this config
and seed, of a curriculum those of each stage. The patch bank is that of --workdir, or one that is
cut for the sheet and removed.
"""
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
if __name__ == '__main__':
  from dslope_jax import commands
  commands.begin()

from absl import flags

from configs.fields import RANGES
from dslope_jax import tasks
from dslope_jax.cli import check_ranges, checked, default_workdir, define_config, start
from dslope_jax.errors import UserError
from dslope_jax.evaluation import drawing


def browse(config, path, rows, folder=None):
  """Writes the sheet of a config; folder: of a run whose patch bank is used. Returns the captions.
  """
  if not path.lower().endswith(('.jpg', '.jpeg', '.png')):
    raise UserError(f"'{path}' is no name of a picture: end it in .jpg or .png")
  if folder and not os.path.exists(os.path.join(folder, 'config.json')):
    raise UserError(f"--workdir '{folder}' is no work folder of a run; leave it out to cut patches "
                    'for the sheet')
  check_ranges(config, RANGES)
  config.evals = {}  # nothing is evaluated
  with tempfile.TemporaryDirectory() as empty:
    task = tasks.build(config, folder or empty)
    if task.show is None:
      raise UserError(f"the task '{config.task}' shows no samples (`Task.show`)")
    cases = task.show(rows)
  os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
  captions = [case['caption'] for case in cases]
  drawing.save(path, drawing.sheet([list(case['pictures'].values()) for case in cases],
                                   cases[0]['pictures'], captions))
  return captions


def main(_):
  flag = flags.FLAGS
  if not flag.config:
    raise UserError('give --config, whose training samples are drawn')
  if flag.seed is not None:
    flag.config.seed = flag.seed
  path = flag.out or os.path.join('browse', f'{os.path.basename(default_workdir())}.jpg')
  print('\n'.join(browse(flag.config, path, flag.rows, flag.workdir)))
  print(f"written to '{path}'")


if __name__ == '__main__':
  define_config()
  flags.DEFINE_integer('rows', 8, 'samples, a row each', lower_bound=1, upper_bound=200)
  flags.DEFINE_integer('seed', None, 'in place of config.seed')
  flags.DEFINE_string('workdir', None, 'folder of a run, whose patch bank is used')
  flags.DEFINE_string('out', None, 'picture to write, default browse/<config name>.jpg')
  start(checked()(main))
