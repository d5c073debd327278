"""Trains the networks of a system.

  python train.py --config FILE [--workdir DIR] [--profile] [--config.x.y=VALUE ...]

The same command goes on with an interrupted run, from its newest checkpoint. WORKDIR (default
runs/<config name>) gets checkpoints/, metrics.jsonl, learning_curve.png, tensorboard/, config.json,
patches/ (the bank) and eval_STEP/ with results, predictions and pictures of each evaluation.
"""
import os
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import optax
from absl import flags
from ml_collections import config_flags

from dslope_jax import models
from dslope_jax.cli import (
  StopSignal,
  check_config,
  checked,
  claim_workdir,
  default_workdir,
  define_process_flags,
  reached_stop,
  say,
  start,
)
from dslope_jax.systems.base import System
from dslope_jax.tasks.from_config import load_bank, load_train, unbiased_crops
from dslope_jax.training import (
  checkpointing,
  init_from,
  optimizers,
  profiling,
  sharding,
  train_state,
)
from dslope_jax.training.metric_writer import MetricWriter
from dslope_jax.training.train_step import make_train_step
from eval import build_system, make_evaluators, run_evaluators
from input_pipeline import stream
from input_pipeline.geometry import Augmentation
from input_pipeline.occlusion.bank import PatchBank
from input_pipeline.pairs import PairMaker
from input_pipeline.sources.source import Source


def train(config, workdir, allow_config_change=False, profile=False):
  """Trains until `config.duration`, from the newest checkpoint if there is one.

  profile: see `profiling.Profile`; the trace goes to WORKDIR/profile.
  Returns the state and, if the run came to its end, the results of the last evaluation.
  """
  with claim_workdir(workdir):
    check_config(config, workdir, allow_config_change)
    return _train(config, workdir, os.path.join(workdir, 'profile') if profile else '')


class _Run(NamedTuple):
  """What a run is made of, besides its state."""
  mesh: jax.sharding.Mesh
  source: Source
  bank: PatchBank | None
  system: System
  optimizer: optax.GradientTransformation
  schedules: dict
  evaluators: dict
  total: int  # steps
  due: Callable  # (step, 'log_every' ...) -> bool


def _set_up(config, workdir):
  _check_batch(config)
  mesh = sharding.make_mesh()
  source, held = load_train(config)
  bank = load_bank(config, workdir, source)
  system = build_system(config, source.skeleton)
  per_epoch = len(source) / config.batch_size
  total = optimizers.to_steps(config.duration, per_epoch)
  if total < 1:
    raise ValueError(f"duration '{config.duration}' is less than one step of {config.batch_size} "
                     f'of {len(source)} people')
  model = config.system.model.to_dict()
  depths = {name: models.layer_counter(model, name) for name in system.networks}
  optimizer, schedules = optimizers.build(config.optim.to_dict(), system.networks, total, per_epoch,
                                          depths)
  evaluators = make_evaluators(config, system, mesh, bank, held)
  return _Run(mesh, source, bank, system, optimizer, schedules, evaluators, total,
              _due_steps(config, per_epoch, total))


def _train(config, workdir, profile_folder):
  run = _set_up(config, workdir)
  checkpoints = checkpointing.Checkpoints(workdir, config.keep)
  state = _first_state(config, run.system, run.optimizer, run.mesh, checkpoints)
  start = int(state.step)
  stream = _data_stream(config, run.source, run.bank, start)
  waits = profiling.Waits()
  profile = profiling.Profile(profile_folder, waits, say)
  writer = MetricWriter(workdir, run.total, start, config.batch_size, waits)
  step_fn, results, unreadable = None, {}, set()
  try:
    with StopSignal() as stopped:
      for step in profile.steps(range(start + 1, run.total + 1)):
        with waits.of('data'):
          batch = next(stream)
          _count_unreadable(batch, run.source, unreadable, config.data.max_unreadable)
          batch = sharding.to_global(_device_fields(batch), run.mesh)
        if step_fn is None:
          step_fn = _compile(config, run, state, batch)
          writer.start()
        state, terms = waits.run(step_fn, state, batch)
        writer.step(step, terms)
        if run.due(step, 'log_every'):
          writer.log()
        leave = reached_stop(stopped, step)
        if run.due(step, 'eval_every') and not leave:
          with waits.away():
            writer.flush()
            results = _evaluate(run.evaluators, state, step, workdir, writer)
          writer.resume_clock()
        if run.due(step, 'save_every') or leave:
          writer.flush()  # a state after a loss that is not finite is never saved
          checkpoints.save(state, step)
          writer.resume_clock()
        if leave:
          checkpoints.wait()
          say(f'stopped by a signal; step {step} is saved, the same command goes on from there')
          break
  finally:
    profile.close()
    stream.close()
    writer.close()
    checkpoints.close()
  if results:
    say('look at\n' + '\n'.join(_to_look_at(workdir, run)))
  return state, results


def _to_look_at(workdir, run):
  """Names of the files that show how a finished run went."""
  folders = [os.path.join(workdir, f'eval_{run.total}', name) for name in run.evaluators]
  files = [os.path.join(folder, file) for folder in folders
           for file in ('results.json', 'pictures.jpg')]
  bank = [os.path.join(run.bank.folder, 'contact_sheet.jpg')] if run.bank else []
  return [*files, os.path.join(workdir, 'learning_curve.png'), *bank]


def _check_batch(config):
  size, accumulate, devices = config.batch_size, config.accumulate, jax.device_count()
  if size < 1 or accumulate < 1 or size % (devices * accumulate):
    raise ValueError(f'batch_size {size} is not a multiple of {devices} device(s) x accumulate '
                     f'{accumulate}')


def _first_state(config, system, optimizer, mesh, checkpoints):
  """The state to go on with: the newest checkpoint, else fresh weights and those of init_from."""
  size, steps = tuple(config.data.size), checkpoints.steps()
  for spec in config.init_from.values() if not steps else ():
    if spec:  # a wrong one is told before networks are made
      init_from.check(spec)
  state = train_state.create(system, optimizer, seed=config.seed, size=size,
                             ema=config.ema_decay > 0)
  if not steps:
    state = _init_from(config, state)
  state = sharding.replicate(state, mesh)
  if steps:
    restored = checkpoints.restore(state)
    say(f'resuming from step {int(restored.step)} of {checkpoints.folder}')
    return restored
  say('starting from step 0')
  return state


def _init_from(config, state):
  """The state with the weights that `config.init_from` names."""
  for name, spec in config.init_from.items():
    if not spec:
      continue
    if name not in state.params:
      raise ValueError(f"init_from names '{name}', but the networks are {sorted(state.params)}")
    fresh = {'params': state.params[name], 'batch_stats': state.batch_stats[name]}
    weights, source = init_from.load(spec, name, fresh, config.system.model.to_dict(),
                                     tuple(config.data.size), config.fresh_head)
    say(f'{name} starts from {source}')
    state = state.replace(params=state.params | {name: weights['params']},
                          batch_stats=state.batch_stats | {name: weights['batch_stats']})
    if state.ema:
      state = state.replace(ema={kind: state.ema[kind] | {name: weights[kind]}
                                 for kind in weights})
  return state


def _data_stream(config, source, bank, start):
  processes = jax.process_count()
  maker = PairMaker(source, tuple(config.data.size), bank, config.data.recipe,
                                   config.seed, Augmentation(**config.data.augmentation),
                                   unbiased_crops(config))
  return stream.train_stream(
    maker, batch_size=config.batch_size // processes, start_step=start,
    num_workers=config.data.num_workers, process=jax.process_index(), processes=processes)


def _device_fields(batch):
  return {k: v for k, v in batch.items() if k not in ('row', 'unreadable')}


def _count_unreadable(batch, source, unreadable, limit):
  """Names each unreadable picture once; raises OSError when there are too many."""
  new = {str(source.file[row]) for row in batch['row'][batch['unreadable']]} - unreadable
  for file in sorted(new):
    unreadable.add(file)
    print(f"picture '{file}' cannot be read; it counts as without labels ({len(unreadable)} so "
          'far)', flush=True)
  if len(unreadable) > limit:
    raise OSError(f'{len(unreadable)} pictures cannot be read, more than data.max_unreadable='
                  f'{limit}; mend the files named above')


def _compile(config, run, state, batch):
  """The step, compiled once for the whole run: another shape would be an error, not a stall."""
  step = make_train_step(run.system, run.optimizer, trainable=run.schedules, seed=config.seed,
                         accumulate=config.accumulate, ema_decay=config.ema_decay,
                         remat=config.remat)
  say(_describe(config, state) + '\ncompiling the step, which takes a while the first time')
  before = time.perf_counter()
  compiled = sharding.jit_step(step, run.mesh).lower(state, batch).compile()
  sharding.wait_for_all()
  found = compiled.memory_analysis()
  needed = (found.argument_size_in_bytes + found.temp_size_in_bytes) / 2**30 if found else 0
  seconds = time.perf_counter() - before
  say(f'compiled in {seconds:.0f} s; the step needs {needed:.2f} GiB a device')
  return compiled


def _describe(config, state):
  devices = jax.devices()
  counts = {n: f'{sum(x.size for x in jax.tree.leaves(p)) / 1e6:.2f} M'
            for n, p in state.params.items()}
  per_step = f'{config.batch_size // len(devices)} a device'
  if config.accumulate > 1:
    per_step += f' in {config.accumulate} parts'
  return (f'{len(devices)} x {devices[0].device_kind} ({devices[0].platform}), '
          f'{jax.process_count()} process(es)\n'
          f'parameters: ' + ', '.join(f'{n} {c}' for n, c in counts.items()) + '\n'
          f'global batch {config.batch_size}, {per_step}')


def _due_steps(config, per_epoch, total):
  """(step, field) -> whether a duration field such as 'save_every' falls due, also at the end."""
  every = {f: max(1.0, optimizers.to_interval(config[f], per_epoch))
           for f in ('log_every', 'eval_every', 'save_every')}
  return lambda step, field: step // every[field] > (step - 1) // every[field] or step == total


def _evaluate(evaluators, state, step, workdir, writer):
  writer.say_doing('evaluating')
  out = run_evaluators(evaluators, state.weights(), step, workdir)
  for name, evaluator in evaluators.items():
    writer.scalars(step, {f'{name}/{row}/{k}': v for row, values in out[name].items()
                          for k, v in values.items() if isinstance(v, float)})
    writer.picture(step, f'{name}/pairs', evaluator.last_sheet)
  writer.say_doing('')
  return out


def main(_):
  flag = flags.FLAGS
  with checked():
    sharding.start(flag.coordinator, flag.processes, flag.process)
    train(flag.config, flag.workdir or default_workdir(), flag.allow_config_change, flag.profile)


if __name__ == '__main__':
  config_flags.DEFINE_config_file('config', None, 'a file of configs/', lock_config=True)
  flags.DEFINE_string('workdir', None, 'default runs/<config name>')
  flags.DEFINE_bool('allow_config_change', False, 'go on in a workdir made with another config')
  flags.DEFINE_bool('profile', False, 'record a few steps for xprof and say what bounds the speed')
  define_process_flags()
  flags.mark_flag_as_required('config')
  start(main)
