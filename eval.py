"""Evaluates the networks of a run on clean and on occluded pictures.

  python eval.py --config configs/ccoco_hrnet.py --workdir runs/ccoco_hrnet [--checkpoint STEP]
                 [--config.data.root=FOLDER] [--config.evals.val.boxes=DETECTIONS.json]

Prints one table per entry of `config.evals` and writes results, predictions in COCO's format and
a sheet of pictures to WORKDIR/eval_STEP/<entry>.
"""
import functools
import os

import jax
from absl import flags
from ml_collections import config_flags

import input_pipeline
from dslope_jax import checkpointing, evaluation, heatmaps, sharding, systems, train_state
from input_pipeline import detections
from input_pipeline.from_config import load_bank, load_source, unbiased_crops
from startup import checked, default_workdir, say, start


def build_system(config, skeleton):
  return systems.build(**config.system.to_dict(), num_keypoints=skeleton.num_keypoints)


def make_evaluators(config, system, mesh, bank):
  """{name: Evaluator} of the entries of `config.evals`."""
  return {name: _make_evaluator(config, entry.to_dict(), system, mesh, bank)
          for name, entry in config.evals.items()}


def _make_evaluator(config, entry, system, mesh, bank):
  codec = config.system.codec
  rule = heatmaps.codec(codec)
  entry['shift'] &= not rule.unbiased
  split, boxes, batch_size, recipe = (entry.pop(k) for k in
                                      ('split', 'boxes', 'batch_size', 'recipe'))
  source, box_stamp = load_source(config, split, **entry.pop('loader')), 'ground truth'
  if boxes != 'gt':
    source, elsewhere = detections.with_detections(source, boxes, aspect=config.data.size[0] /
                                             config.data.size[1])
    box_stamp = os.path.basename(boxes)
    print(f"{split}: {len(source)} boxes of '{boxes}'; {elsewhere} more are on pictures outside "
          'this split')
  size = tuple(config.data.size)
  maker = input_pipeline.PairMaker(source, size, bank, recipe, seed=0,
                                   unbiased=unbiased_crops(config))
  processes = jax.process_count()
  local = max(1, batch_size // jax.device_count()) * jax.local_device_count()
  batches = functools.partial(
    input_pipeline.eval_dataset, maker, batch_size=local, num_workers=config.data.num_workers,
    process=jax.process_index(), processes=processes)
  stamp = {'data': source.name, 'split': split, 'people': len(source), 'digest': source.digest,
           'boxes': box_stamp, 'size': f'{size[0]}x{size[1]}', 'flip': entry['flip'],
           'shift': entry['shift'], 'decoder': rule.stamp, 'recipe': recipe,
           'benchmark': input_pipeline.BENCHMARK, 'bank': bank.digest if bank else 'none',
           'ema': config.ema_decay > 0}
  return evaluation.Evaluator(system, mesh, source, batches, size=size, stamp=stamp,
                              sigma=config.system.sigma, codec=codec, **entry)


def evaluate(config, workdir, checkpoint=None):
  """Evaluates a checkpoint of a run; returns {entry: {'network/kind': {metric: number}}}."""
  if not config.evals:
    raise ValueError('config.evals has no entry; there is nothing to evaluate')
  mesh = sharding.make_mesh()
  step = checkpointing.find_step(workdir, checkpoint)  # before anything slow, and before a bank
  bank = load_bank(config, workdir)
  first = next(iter(config.evals.values()))
  skeleton = load_source(config, first.split, **first.loader).skeleton
  system = build_system(config, skeleton)
  evaluators = make_evaluators(config, system, mesh, bank)
  shapes = train_state.weight_shapes(system, tuple(config.data.size))
  weights, _ = checkpointing.restore_weights(workdir, shapes, step, ema=config.ema_decay > 0)
  weights = sharding.replicate(weights, mesh)
  return run_evaluators(evaluators, weights, step, workdir)


def run_evaluators(evaluators, weights, step, workdir):
  """Runs them one after the other, prints their tables, and returns {entry: results}."""
  out = {}
  for name, evaluator in evaluators.items():
    folder = os.path.join(workdir, f'eval_{step}', name)
    out[name], stamp = evaluator.run(weights, step, folder)
    say(f'{name}: {evaluation.table(out[name], stamp)}\nwritten to {folder}')
  return out


def main(_):
  flag = flags.FLAGS
  with checked():
    evaluate(flag.config, flag.workdir or default_workdir(), flag.checkpoint)


if __name__ == '__main__':
  config_flags.DEFINE_config_file('config', None, 'a file of configs/', lock_config=True)
  flags.DEFINE_string('workdir', None, 'of the training run; default runs/<config name>')
  flags.DEFINE_integer('checkpoint', None, 'step; default the newest')
  flags.mark_flag_as_required('config')
  start(main)
