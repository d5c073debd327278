"""The evaluations of a training run: each is done once, also where the run was interrupted."""
import os

import jax

from dslope_jax.commands import Stopped, saved
from dslope_jax.errors import UserError
from dslope_jax.training import sharding


class Rounds:
  """Evaluates a state on all sets of a run.

  engines: {entry of config.evals: its Engine}. total: the last step.
  due: (step, 'eval_every') -> bool. say: prints.
  stopped: the `StopSignal` of the run. Its state was saved, so a signal leaves at once.
  """

  def __init__(self, engines, folder, total, due, writer, say, stopped):
    self.engines, self.folder, self.total, self.due = engines, folder, total, due
    self.writer, self.say, self.stopped = writer, say, stopped

  def owed(self, state):
    """Makes up for the evaluation of the step that a run resumes from, if it broke off or was not
    done: its results, {} if there is none to do, None if it was left."""
    step = int(state.step)
    done = all(os.path.exists(os.path.join(self.folder, f'eval_{step}', name, 'results.json'))
               for name in self.engines)
    if not step or not self.due(step, 'eval_every') or sharding.agreed(done):
      return {}
    return self.run(state, step)

  def run(self, state, step):
    """{entry: results}; None if it was left."""
    self.writer.say_doing('evaluating')
    out = {}
    with self.writer.waits.away():
      for name, engine in self.engines.items():
        try:
          with self.stopped.at_once(saved(step)):
            out[name], text = engine.run(state.weights(), step, self.folder, name)
        except Stopped:
          return None
        except (OSError, UserError) as error:
          if step == self.total or jax.process_count() > 1:  # others may wait for this process
            raise
          self.say(f'warning: step {step} could not be evaluated on {name} ({error}); the training '
                   'goes on')
          continue
        self.say(text)
        self.writer.metrics(step, name, out[name])
        if engine.picture is not None:
          self.writer.picture(step, f'{name}/pictures', engine.picture)
    self.writer.say_doing('')
    self.writer.resume_clock()
    return out

  def look_at(self, step):
    """Names of files that show what the evaluation of a step found."""
    return [os.path.join(self.folder, f'eval_{step}', name, file) for name in self.engines
            for file in ('results.json', 'pictures.jpg')]
