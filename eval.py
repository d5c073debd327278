"""Evaluates the networks of a run, published weights, or another program's result file.

  python eval.py --config configs/ccoco_hrnet.py --workdir runs/ccoco_hrnet [--checkpoint STEP]
                 [--stress] [--report]
                 [--config.data.root=FOLDER] [--config.evals.val.boxes=DETECTIONS.json]

  python eval.py --config configs/ccoco_hrnet.py --weights FOLDER [--workdir runs/published] [...]

  python eval.py --config configs/protocols.py:crowdpose --config.data.root=FOLDER
                 --predictions RESULTS.json [--report]

  python eval.py --config FILE --explain[=evals]

What to evaluate on comes from the config: `evals`, and `data.name`, `data.root`, `data.loader` for
entries without data of their own; without --config.data.root the data are where the run found them.
All else is the run's own, or that of published weights (a folder of tools/publish.py, or
hf://OWNER/NAME), which do not know where their data are. Prints one table per entry of
`config.evals` and writes it, the predictions and a sheet of pictures to WORKDIR/eval_STEP/<entry>.
"""
if __name__ == '__main__':
  from dslope_jax import commands
  commands.begin()

import os

from absl import flags

from configs.fields import FIELDS, RANGES
from dslope_jax import explain, tasks
from dslope_jax.cli import (
  check_ranges,
  checked,
  default_workdir,
  define_config,
  define_process_flags,
  overrides,
  say,
  start,
)
from dslope_jax.errors import UserError
from dslope_jax.evaluation import engine
from dslope_jax.training import checkpointing, processes, sharding, train_state, workdir
from dslope_jax.weights import published
from dslope_jax.weights.hub import local_weights


def evaluate(config, folder, checkpoint=None, stress=False, report=False, given=None, weights=''):
  """Evaluates a checkpoint of a run; returns {entry: {row: {metric: number}}}.

  stress: also every variant of each set. report: write report.html. given: see
  `workdir.settings_to_evaluate`. weights: a published folder, instead of a run in `folder`.
  """
  if not config.evals:
    raise UserError('config.evals has no entry; there is nothing to evaluate')
  check_ranges(config, RANGES)
  mesh = sharding.make_mesh()
  if weights:  # before anything slow
    published.adopt(weights, folder)
  else:
    checkpointing.find_step(folder, checkpoint)
  config = workdir.settings_to_evaluate(config, folder, given)
  task = tasks.build(config, folder, training=False)
  if weights:
    loaded, step = published.read(weights, task.system.networks, task.facts.size)
  else:
    shapes = train_state.weight_shapes(task.system, task.example)
    loaded, step = checkpointing.restore_weights(folder, shapes, checkpoint,
                                                 ema=config.ema_decay > 0)
  loaded = sharding.replicate(loaded, mesh)
  out = {}
  for name, entry in task.evals.items():
    out[name], text = engine.Engine(task.system, entry, mesh).run(
      loaded, step, folder, name, stress=stress, with_report=report)
    say(text)
  return out


def evaluate_file(config, path, report=False, folder=None):
  """Scores a result file of any program by every entry of `config.evals`.

  Writes to FOLDER/ENTRY, by default PATH_eval/ENTRY; returns {entry: {row: {metric: number}}}.
  """
  check_ranges(config, RANGES)
  out = {}
  for name, entry in tasks.file_evals(config).items():
    base = os.path.join(folder or os.path.splitext(path)[0] + '_eval', name)
    out[name], text = engine.score_file(entry, path, base, name, with_report=report)
    say(text)
  return out


def main(_):
  flag = flags.FLAGS
  with checked():
    if flag.explain:
      print(explain.text(flag.explain, flag.config, FIELDS))
      return
    processes.join(flag.coordinator, flag.processes, flag.process, trains=False)
    for other, unfit in (('predictions', ('stress', 'checkpoint', 'weights')),
                         ('weights', ('checkpoint',))):
      for name in unfit if getattr(flag, other) else ():
        if getattr(flag, name) not in (None, False):
          raise UserError(f'--{name} is of a run; with --{other} there is none')
    if flag.predictions:
      evaluate_file(flag.config, flag.predictions, flag.report, flag.workdir)
      return
    weights = local_weights(flag.weights or '')
    folder = flag.workdir or (os.path.join('runs', os.path.basename(os.path.normpath(weights)))
                              + '_eval' if weights else default_workdir())
    evaluate(flag.config, folder, flag.checkpoint, flag.stress, flag.report, overrides(), weights)


if __name__ == '__main__':
  define_config()
  flags.DEFINE_string('workdir', None, 'of the training run, default runs/<config name>; with '
                      '--predictions: what is written goes there')
  flags.DEFINE_string('weights', None, 'published folder, or hf://OWNER/NAME, instead of a run; '
                      'what is written goes to --workdir, default runs/<its name>_eval')
  flags.DEFINE_integer('checkpoint', None, 'step; default the newest that can be read')
  flags.DEFINE_bool('stress', False, 'also score every variant of a set, such as each severity')
  flags.DEFINE_string('predictions', None, 'score this result file instead of a run')
  explain.define_flag()
  flags.DEFINE_bool('report', False, 'write report.html')
  define_process_flags()
  flags.mark_flag_as_required('config')
  start(main)
