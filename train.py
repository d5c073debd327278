"""Trains the networks of a system.

  python train.py --config FILE [--workdir DIR] [--profile] [--config.x.y=VALUE ...]
  python train.py --config FILE --explain[=optim]

The same command resumes an interrupted run, from its newest checkpoint. SIGTERM and Ctrl-C save
first and end it with exit code 75. WORKDIR (default
runs/<config name>) gets checkpoints/, metrics.jsonl, learning_curve.png, tensorboard/, config.json,
facts.json, findings.json and eval_STEP/ with results, predictions and pictures of each evaluation.
"""
if __name__ == '__main__':
  from dslope_jax import commands
  commands.begin(terminated=commands.STOPPED)

import contextlib
import functools
import os
import sys
from collections.abc import Callable
from typing import NamedTuple

import jax
import optax
from absl import flags

from configs.fields import FIELDS, RANGES
from dslope_jax import explain, models, tasks
from dslope_jax.cli import (
  check_ranges,
  checked,
  default_workdir,
  define_config,
  define_process_flags,
  reached_stop,
  say,
  start,
)
from dslope_jax.commands import STOPPED, Stopped, StopSignal, end_now, saved
from dslope_jax.errors import UserError
from dslope_jax.evaluation.engine import Engine
from dslope_jax.evaluation.rounds import Rounds
from dslope_jax.tasks.base import Task
from dslope_jax.training import (
  checkpointing,
  init_from,
  optimizers,
  processes,
  profiling,
  sharding,
  train_state,
  workdir,
)
from dslope_jax.training.metric_writer import MetricWriter
from dslope_jax.training.train_step import make_train_step

_EVERY = ('log_every', 'eval_every', 'save_every')
_NOTHING = 'stopped by a signal before the first step; nothing is to be saved'


def train(config, folder, allow_config_change=False, profile=False):
  """Trains until `config.duration`, from the newest checkpoint if there is one.

  profile: see `profiling.Profile`; the trace goes to WORKDIR/profile.
  Returns the state and the results of the last evaluation, {} if it was done before; None in their
  place if a signal stopped the run.
  """
  check_ranges(config, RANGES)
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
  sharding.check_batch_size(config.batch_size, config.accumulate)
  mesh = sharding.make_mesh()
  task = tasks.build(config, folder)
  workdir.check_facts(folder, task.facts, task.digest, allow_change)
  workdir.write_findings(folder, task.findings)
  per_epoch = task.samples / config.batch_size
  total = optimizers.to_steps(config.duration, per_epoch)
  if total < 1:
    raise UserError(f"duration '{config.duration}' is less than one step of {config.batch_size} "
                    f'of {task.samples} samples')
  due = optimizers.due_steps({field: config[field] for field in _EVERY}, per_epoch, total)
  depths = {name: models.trait(net, 'depth_of') for name, net in task.system.networks.items()}
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
  step_fn = None
  with contextlib.ExitStack() as closing:  # each of them closes whatever the others do
    for part in (checkpoints, writer, stream, trace):
      closing.callback(part.close)
    closing.push(functools.partial(_leave_open, closing))
    with StopSignal(several=jax.process_count() > 1) as stopped:
      rounds = Rounds(run.engines, run.folder, run.total, run.due, writer, say, stopped)
      results = rounds.owed(state)
      leave = results is None
      for step in trace.steps(range(first + 1, run.total + 1) if not leave else ()):
        with waits.of('data'):
          batch = sharding.to_global(_next(stream, state, writer, checkpoints, stopped), run.mesh)
        if step_fn is None:
          with stopped.at_once(saved(first) if first else _NOTHING):
            step_fn = _compile(run, state, batch)
          writer.start()
        state, terms = waits.run(step_fn, state, batch)
        writer.step(step, terms)
        if run.due(step, 'log_every'):
          writer.log()
        leave = reached_stop(stopped, step)
        evaluate = run.due(step, 'eval_every')
        if leave or evaluate or run.due(step, 'save_every'):
          writer.flush()  # a state after a loss that is not finite is never saved
          checkpoints.save(state, step)  # before the evaluation, which may fail
          writer.resume_clock()
        if evaluate and not leave:
          checkpoints.wait()  # a signal leaves the evaluation at once
          results = rounds.run(state, step)
          leave = results is None
        if leave:
          break
      if leave:
        checkpoints.wait()
        say(saved(int(state.step)))
        return state, None
  if results:
    files = [*rounds.look_at(run.total), os.path.join(run.folder, 'learning_curve.png'),
             *run.task.look_at]
    say('look at\n' + '\n'.join(filter(os.path.exists, files)))
  elif first >= run.total:
    say(f'the run is finished (step {first}); results are in '
        + os.path.join(run.folder, f'eval_{first}' if run.engines else ''))
  return state, results


def _leave_open(closing, kind, *_):
  """After an error on one of several processes nothing is closed: that may wait for the others."""
  if kind and jax.process_count() > 1:
    closing.pop_all()


def _first_state(run, checkpoints):
  """The state to start from: the newest checkpoint, else fresh weights and those of init_from."""
  config, resumes = run.config, sharding.agreed(bool(checkpoints.steps()))
  for name, spec in config.init_from.items() if not resumes else ():
    if spec:  # a wrong one is told before networks are made
      init_from.check(spec)
    elif name in config.optim and config.optim[name].frozen:
      raise UserError(f"optim.{name}.frozen keeps the weights that '{name}' starts from, which are "
                      f'random: set init_from.{name}, or leave it to learn')
  state = train_state.create(run.task.system, run.optimizer, seed=config.seed,
                             example=run.task.example, ema=config.ema_decay > 0)
  if not resumes:
    state = init_from.apply(state, config.init_from.to_dict(), run.task.system.networks,
                            run.task.facts.size, config.fresh_head, say)
  state = sharding.replicate(state, run.mesh)
  if resumes:
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
  say(sharding.describe(state.params, config.batch_size, config.accumulate)
      + '\ncompiling the step, which takes a while the first time')
  compiled, text = sharding.compile_for(step, run.mesh, state, batch)
  say(text)
  return compiled


def _next(stream, state, writer, checkpoints, stopped):
  """The next batch; where there is none, or a signal comes first, the state is saved before the
  reason is told."""
  try:
    with stopped.at_once('stopped by a signal'):
      return next(stream)
  except (Exception, Stopped) as reason:
    step = int(state.step)
    if jax.process_count() == 1 and step and step not in checkpoints.steps():
      writer.flush()
      checkpoints.save(state, step)
      checkpoints.wait()
      if not isinstance(reason, Stopped):
        say(f'step {step} is saved')
    if isinstance(reason, Stopped):
      raise Stopped(saved(step) if step else _NOTHING, STOPPED) from None
    raise


def main(_):
  flag = flags.FLAGS
  with checked():
    if flag.explain:
      print(explain.text(flag.explain, flag.config, FIELDS))
      return
    processes.join(flag.coordinator, flag.processes, flag.process)
    _, results = train(flag.config, flag.workdir or default_workdir(), flag.allow_config_change,
                       flag.profile)
  if results is None:
    # All is closed. What JAX still compiles for an evaluation can crash an interpreter that ends;
    # several processes part in JAX's own way.
    (sys.exit if jax.process_count() > 1 else end_now)(STOPPED)


if __name__ == '__main__':
  define_config()
  flags.DEFINE_string('workdir', None, 'folder of the run, default runs/<config name>')
  flags.DEFINE_bool('allow_config_change', False, 'resume in a workdir made with another config')
  explain.define_flag()
  flags.DEFINE_bool('profile', False, 'record a few steps for xprof and say what bounds the speed')
  define_process_flags()
  flags.mark_flag_as_required('config')
  start(main)
