"""Trains the networks of a system.

  python train.py --config FILE [--workdir DIR] [--profile] [--config.x.y=VALUE ...]

The same command resumes an interrupted run, from its newest checkpoint. WORKDIR (default
runs/<config name>) gets checkpoints/, metrics.jsonl, learning_curve.png, tensorboard/, config.json,
facts.json and eval_STEP/ with results, predictions and pictures of each evaluation.
"""
import os
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import optax
from absl import flags
from ml_collections import config_flags

from dslope_jax import models, tasks
from dslope_jax.cli import (
  StopSignal,
  checked,
  default_workdir,
  define_process_flags,
  reached_stop,
  say,
  start,
)
from dslope_jax.evaluation.engine import Engine
from dslope_jax.tasks.base import Task
from dslope_jax.training import (
  checkpointing,
  init_from,
  optimizers,
  profiling,
  sharding,
  train_state,
  workdir,
)
from dslope_jax.training.metric_writer import MetricWriter
from dslope_jax.training.train_step import make_train_step


def train(config, folder, allow_config_change=False, profile=False):
  """Trains until `config.duration`, from the newest checkpoint if there is one.

  profile: see `profiling.Profile`; the trace goes to WORKDIR/profile.
  Returns the state and, if the run came to its end, the results of the last evaluation.
  """
  with workdir.claim(folder):
    kind = tasks.module(config.task)
    workdir.check_config(config, folder, allow_config_change, kind.FREE, kind.SETTLED)
    return _train(_set_up(config, folder, allow_config_change), profile)


class _Run(NamedTuple):
  """What a run is made of, besides its state."""
  config: object
  folder: str
  mesh: jax.sharding.Mesh
  task: Task
  optimizer: optax.GradientTransformation
  schedules: dict
  engines: dict
  total: int  # steps
  due: Callable  # (step, 'log_every' ...) -> bool


def _set_up(config, folder, allow_change):
  _check_batch(config)
  mesh = sharding.make_mesh()
  task = tasks.build(config, folder)
  workdir.check_facts(folder, task.facts, task.digest, allow_change)
  per_epoch = task.samples / config.batch_size
  total = optimizers.to_steps(config.duration, per_epoch)
  if total < 1:
    raise ValueError(f"duration '{config.duration}' is less than one step of {config.batch_size} "
                     f'of {task.samples} samples')
  due = _due_steps(config, per_epoch, total)
  depths = {name: models.layer_counter(net) for name, net in task.system.networks.items()}
  optimizer, schedules = optimizers.build(config.optim.to_dict(), task.system.networks, total,
                                          per_epoch, depths)
  engines = {name: Engine(task.system, entry, mesh) for name, entry in task.evals.items()}
  return _Run(config, folder, mesh, task, optimizer, schedules, engines, total, due)


def _train(run, profile):
  checkpoints = checkpointing.Checkpoints(run.folder, run.config.keep)
  state = _first_state(run, checkpoints)
  first = int(state.step)
  stream, waits = run.task.stream(first), profiling.Waits()
  trace = profiling.Profile(os.path.join(run.folder, 'profile') if profile else '', waits, say)
  writer = MetricWriter(run.folder, run.total, first, run.config.batch_size, waits)
  step_fn, results = None, {}
  try:
    with StopSignal() as stopped:
      for step in trace.steps(range(first + 1, run.total + 1)):
        with waits.of('data'):
          batch = sharding.to_global(next(stream), run.mesh)
        if step_fn is None:
          step_fn = _compile(run, state, batch)
          writer.start()
        state, terms = waits.run(step_fn, state, batch)
        writer.step(step, terms)
        if run.due(step, 'log_every'):
          writer.log()
        leave = reached_stop(stopped, step)
        if run.due(step, 'eval_every') and not leave:
          with waits.away():
            writer.flush()
            results = _evaluate(run, state, step, writer)
          writer.resume_clock()
        if run.due(step, 'save_every') or leave:
          writer.flush()  # a state after a loss that is not finite is never saved
          checkpoints.save(state, step)
          writer.resume_clock()
        if leave:
          checkpoints.wait()
          say(f'stopped by a signal; step {step} is saved, the same command resumes from there')
          break
  finally:
    _close_all(trace.close, stream.close, writer.close, checkpoints.close)
  if results:
    say('look at\n' + '\n'.join(_to_look_at(run)))
  return state, results


def _close_all(*closers):
  """Calls each of them, whatever the others do; raises the first error after the last."""
  errors = []
  for close in closers:
    try:
      close()
    except Exception as error:
      errors.append(error)
  if errors:
    raise errors[0]


def _to_look_at(run):
  """Names of the files that show how a finished run went."""
  folders = [os.path.join(run.folder, f'eval_{run.total}', name) for name in run.engines]
  files = [os.path.join(folder, file) for folder in folders
           for file in ('results.json', 'pictures.jpg')]
  files += [os.path.join(run.folder, 'learning_curve.png'), *run.task.look_at]
  return [file for file in files if os.path.exists(file)]


def _check_batch(config):
  size, accumulate, devices = config.batch_size, config.accumulate, jax.device_count()
  if size < 1 or accumulate < 1 or size % (devices * accumulate):
    raise ValueError(f'batch_size {size} is not a multiple of {devices} device(s) x accumulate '
                     f'{accumulate}')


def _first_state(run, checkpoints):
  """The state to start from: the newest checkpoint, else fresh weights and those of init_from."""
  config, steps = run.config, checkpoints.steps()
  for spec in config.init_from.values() if not steps else ():
    if spec:  # a wrong one is told before networks are made
      init_from.check(spec)
  state = train_state.create(run.task.system, run.optimizer, seed=config.seed,
                             example=run.task.example, ema=config.ema_decay > 0)
  if not steps:
    state = init_from.apply(state, config.init_from.to_dict(), run.task.system.networks,
                            run.task.facts.size, config.fresh_head, say)
  state = sharding.replicate(state, run.mesh)
  if steps:
    restored = checkpoints.restore(state)
    say(f'resuming from step {int(restored.step)} of {checkpoints.folder}')
    return restored
  say('starting from step 0')
  return state


def _compile(run, state, batch):
  """The step, compiled once for the whole run: another shape would be an error, not a stall."""
  config = run.config
  step = make_train_step(run.task.system, run.optimizer, trainable=run.schedules, seed=config.seed,
                         accumulate=config.accumulate, ema_decay=config.ema_decay,
                         remat=config.remat, total=run.total)
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
    per_step += f' in {config.accumulate} micro-batches'
  return (f'{len(devices)} x {devices[0].device_kind} ({devices[0].platform}), '
          f'{jax.process_count()} process(es)\n'
          f'parameters: ' + ', '.join(f'{n} {c}' for n, c in counts.items()) + '\n'
          f'global batch {config.batch_size}, {per_step}')


def _due_steps(config, per_epoch, total):
  """(step, field) -> whether a duration field such as 'save_every' falls due, also at the end."""
  every = {f: optimizers.to_interval(config[f], per_epoch)
           for f in ('log_every', 'eval_every', 'save_every')}
  for field, interval in every.items():
    if interval <= 0:
      raise ValueError(f"{field} is '{config[field]}', must be longer than nothing; for never give "
                       f"more than the run's duration, '{config.duration}'")
  return lambda step, field: step == total or (step // max(1.0, every[field])
                                               > (step - 1) // max(1.0, every[field]))


def _evaluate(run, state, step, writer):
  """{entry: results} of all sets."""
  writer.say_doing('evaluating')
  out = {}
  for name, engine in run.engines.items():
    out[name], text = engine.run(state.weights(), step, run.folder, name)
    say(text)
    writer.metrics(step, name, out[name])
    if engine.picture is not None:
      writer.picture(step, f'{name}/pictures', engine.picture)
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
  flags.DEFINE_bool('allow_config_change', False, 'resume in a workdir made with another config')
  flags.DEFINE_bool('profile', False, 'record a few steps for xprof and say what bounds the speed')
  define_process_flags()
  flags.mark_flag_as_required('config')
  start(main)
