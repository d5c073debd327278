"""Evaluates the networks of a run on clean and on occluded pictures.

  python eval.py --config configs/ccoco_hrnet.py --workdir runs/ccoco_hrnet [--checkpoint STEP]
                 [--stress] [--report]
                 [--config.data.root=FOLDER] [--config.evals.val.boxes=DETECTIONS.json]

  python eval.py --config configs/protocols.py:crowdpose --config.data.root=FOLDER
                 --predictions RESULTS.json [--report]

Prints one table per entry of `config.evals` and writes results, predictions in COCO's format and
a sheet of pictures to WORKDIR/eval_STEP/<entry>.
"""
import functools
import itertools
import json
import os
import re

import jax
from absl import flags
from ml_collections import config_flags

from dslope_jax import heatmaps, systems
from dslope_jax.cli import checked, default_workdir, say, start
from dslope_jax.evaluation import (
  engine as evaluation,
)
from dslope_jax.evaluation import (
  report as evaluation_report,
)
from dslope_jax.evaluation import (
  scoring,
)
from dslope_jax.evaluation import (
  stress as stress_test,
)
from dslope_jax.metrics import occlusion_report
from dslope_jax.tasks.from_config import (
  load_bank,
  load_source,
  load_train,
  recorded_holdout,
  unbiased_crops,
)
from dslope_jax.training import checkpointing, sharding, train_state
from dslope_jax.weights import files as weight_files
from input_pipeline import pairs, stream
from input_pipeline.pairs import PairMaker
from input_pipeline.sources import checks as entries
from input_pipeline.sources import detections


def build_system(config, skeleton):
  return systems.build(**config.system.to_dict(), num_keypoints=skeleton.num_keypoints)


def make_evaluators(config, system, mesh, bank, held=None):
  """{name: Evaluator} of the entries of `config.evals`; held: people to calibrate on, or None."""
  return {name: _make_evaluator(config, entry.to_dict(), system, mesh, bank, held)
          for name, entry in config.evals.items()}


def _make_evaluator(config, entry, system, mesh, bank, held):
  split, boxes, batch_size, recipe = (entry.pop(k) for k in
                                      ('split', 'boxes', 'batch_size', 'recipe'))
  source, box_stamp = load_source(config, split, **entry.pop('loader')), 'ground truth'
  if boxes != 'gt':
    source, elsewhere = detections.with_detections(source, boxes, aspect=config.data.size[0] /
                                             config.data.size[1])
    box_stamp = os.path.basename(boxes)
    print(f"{split}: {len(source)} boxes of '{boxes}'; {elsewhere} more are on pictures outside "
          'this split')
  if not len(source):
    raise ValueError(f"{source.name} {split} has no annotated people; give a detector's boxes with "
                     '--config.evals.NAME.boxes=DETECTIONS.json')
  size, rule = tuple(config.data.size), heatmaps.codec(config.system.codec)
  entry['shift'] &= not rule.unbiased
  stamp = {'data': source.name, 'split': split, 'people': len(source), 'digest': source.digest,
           'boxes': box_stamp, 'size': f'{size[0]}x{size[1]}', 'flip': entry['flip'],
           'shift': entry['shift'], 'decoder': rule.stamp, 'recipe': recipe,
           'benchmark': pairs.BENCHMARK, 'bank': bank.digest if bank else 'none',
           'ema': config.ema_decay > 0, 'metric': entry['metric']}
  batches = functools.partial(make_batches, config, source, bank, batch_size)
  return evaluation.Evaluator(
    system, mesh, source, batches, size=size, stamp=stamp, sigma=config.system.sigma,
    codec=config.system.codec, recipe=recipe, **entry,
    held=held and (held, functools.partial(make_batches, config, held, bank, batch_size)))


def make_batches(config, source, bank, batch_size, recipe):
  """Iterator over padded batches of this process, occluded by a recipe."""
  maker = PairMaker(source, tuple(config.data.size), bank, recipe, seed=0,
                                   unbiased=unbiased_crops(config))
  local = max(1, batch_size // jax.device_count()) * jax.local_device_count()
  return stream.eval_stream(
    maker, batch_size=local, num_workers=config.data.num_workers, process=jax.process_index(),
    processes=jax.process_count())


def evaluate(config, workdir, checkpoint=None, stress=False, report=False):
  """Evaluates a checkpoint of a run; returns {entry: {'network/kind': {metric: number}}}.

  stress: also at every severity, and with every joint hidden alone. report: write report.html.
  """
  if not config.evals:
    raise ValueError('config.evals has no entry; there is nothing to evaluate')
  mesh = sharding.make_mesh()
  step = checkpointing.find_step(workdir, checkpoint)  # before anything slow, and before a bank
  bank = load_bank(config, workdir)
  first = next(iter(config.evals.values()))
  skeleton = load_source(config, first.split, **first.loader).skeleton
  system = build_system(config, skeleton)
  config = config.copy_and_resolve_references()
  config.data.holdout = recorded_holdout(config, workdir)
  held = load_train(config)[1] if config.data.holdout else None
  evaluators = make_evaluators(config, system, mesh, bank, held)
  shapes = train_state.weight_shapes(system, tuple(config.data.size))
  weights, _ = checkpointing.restore_weights(workdir, shapes, step, ema=config.ema_decay > 0)
  weights = sharding.replicate(weights, mesh)
  out = run_evaluators(evaluators, weights, step, workdir)
  for name, evaluator in evaluators.items():
    folder = evaluation_folder(workdir, step, name, evaluator.stamp)
    if stress:
      say(stress_test.text(stress_test.run(evaluator, weights, folder)))
    if report:
      say(f'the report is {evaluation_report.write(folder, evaluator.worst(50))}')
  return out


def evaluate_file(config, path, report=False, workdir=None):
  """Scores a COCO result file of any program by every entry of `config.evals`.

  Writes to WORKDIR/ENTRY, by default PATH_eval/ENTRY; returns {entry: {metric: number}}.
  """
  out = {}
  for name, entry in config.evals.items():
    if entry.metric == 'none':
      raise ValueError(f"evals.{name}.metric is 'none': nothing can be scored without annotations")
    with entries.without_pictures():
      source = load_source(config, entry.split, **entry.loader)
    scoring.check_fit(entry.metric, source)
    out[name], found, missed, right = scoring.score_file(source, path, entry.metric)
    if missed:
      say(f'{name}: {missed} of {len(source)} people have no pose in the file that is like them; '
          'their joints count as wrong')
    stamp = {'data': source.name, 'split': entry.split, 'people': len(source),
             'digest': source.digest, 'predictions': os.path.basename(path),
             'sha256': weight_files.sha256(path)[:12], 'metric': entry.metric}
    base = os.path.join(workdir or os.path.splitext(path)[0] + '_eval', name)
    folder = own_folder(base, stamp, stamp['metric'])
    os.makedirs(folder, exist_ok=True)
    covered = any('covered' in a for a in source.as_coco()['annotations'])
    row = 'file/occluded' if covered else 'file/clean'
    results = {row: out[name]}
    occlusion_report.save_joint_table(
      os.path.join(folder, f"joints_{row.replace('/', '_')}.npz"), source.image_id, right,
      source.visibility > 0)
    evaluation.write_json(os.path.join(folder, 'results.json'),
                          {'stamp': stamp, 'results': results})
    evaluation.write_json(os.path.join(folder, 'report.json'),
                          {'stamp': stamp, 'report': {row: found}})
    say(f'{name}: {evaluation.table(results, stamp)}\nwritten to {folder}')
    if report:
      say(f'the report is {evaluation_report.write(folder)}')
  return out


def evaluation_folder(workdir, step, name, stamp):
  """EVAL_STEP/NAME, or NAME_RECIPE, NAME_RECIPE_2 ... where another evaluation lies there."""
  return own_folder(os.path.join(workdir, f'eval_{step}', name), stamp, stamp['recipe'])


def own_folder(base, stamp, word):
  """The folder `base`, or BASE_WORD, BASE_WORD_2 ... where what has another stamp lies there."""
  named = f"{base}_{re.sub('[^a-z0-9_]+', '-', word)}"
  for folder in itertools.chain((base, named), (f'{named}_{i}' for i in itertools.count(2))):
    path = os.path.join(folder, 'results.json')
    if not os.path.exists(path):
      return folder
    with open(path, encoding='utf-8') as f:
      before = json.load(f)['stamp']
    if all(before.get(k) == v for k, v in stamp.items()):
      return folder


def run_evaluators(evaluators, weights, step, workdir):
  """Runs them one after the other, prints their tables, and returns {entry: results}."""
  out = {}
  for name, evaluator in evaluators.items():
    folder = evaluation_folder(workdir, step, name, evaluator.stamp)
    out[name], stamp = evaluator.run(weights, step, folder)
    say(f'{name}: {evaluation.table(out[name], stamp)}\nwritten to {folder}')
  return out


def main(_):
  flag = flags.FLAGS
  with checked():
    if flag.predictions:
      for name in ('stress', 'checkpoint'):
        if getattr(flag, name) not in (None, False):
          raise ValueError(f'--{name} is of a run; with --predictions there is none')
      evaluate_file(flag.config, flag.predictions, flag.report, flag.workdir)
      return
    evaluate(flag.config, flag.workdir or default_workdir(), flag.checkpoint, flag.stress,
             flag.report)


if __name__ == '__main__':
  config_flags.DEFINE_config_file('config', None, 'a file of configs/', lock_config=True)
  flags.DEFINE_string('workdir', None, 'of the training run, default runs/<config name>; with '
                      '--predictions: what is written goes there')
  flags.DEFINE_integer('checkpoint', None, 'step; default the newest')
  flags.DEFINE_bool('stress', False, 'also score every severity and every joint hidden alone')
  flags.DEFINE_string('predictions', None, 'score this COCO result file instead of a run')
  flags.DEFINE_bool('report', False, 'write report.html')
  flags.mark_flag_as_required('config')
  start(main)
