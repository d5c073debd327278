"""Networks with their weights, by a run of ours: loaded, and called with a few fixed sizes."""
import os
from typing import NamedTuple

import flax.errors
import jax
import numpy as np

from dslope_jax import tasks
from dslope_jax.errors import UserError, quoted
from dslope_jax.evaluation import confidences
from dslope_jax.files import first_line
from dslope_jax.systems.base import Facts, Forward, join, without_view
from dslope_jax.tasks.base import BOXES, Serving
from dslope_jax.training import checkpointing
from dslope_jax.training import workdir as workdirs
from dslope_jax.weights import published
from dslope_jax.weights.files import is_weights, split_network
from dslope_jax.weights.hub import local_weights

BUCKETS = (1, 4, 16, 64)  # samples in a call of the compiled function; each size compiles once


class Loaded(NamedTuple):
  """What weights are: see the attributes of `Networks`. asked: name of an answer, or ''."""
  codec: str
  serving: Serving
  weights: dict
  facts: Facts
  asked: str
  fits: dict
  about: str


def located(weights) -> tuple[str, str, bool]:
  """(path, name of the answer or '', whether it is a run or a published folder) of what names
  weights; those of the hub are downloaded."""
  path, name = split_network(local_weights(os.fspath(weights)))
  return path, name, published.is_published(path) or os.path.isdir(path) and not is_weights(path)


def takes(weights) -> str:
  """What the networks of these weights take, see `Serving`; a file is of one that takes boxes."""
  path, _, is_run = located(weights)
  if not is_run:
    return BOXES
  return tasks.serve(workdirs.settings(path), workdirs.read_facts(path)).takes


def of_run(folder, asked, takes) -> Loaded:
  """The newest weights of a run, or those of a published folder, and what calibrates them.

  takes: as in `Serving`. Raises OSError or UserError, one line; also for networks that take
  something else.
  """
  config, facts = workdirs.settings(folder), workdirs.read_facts(folder)
  serving, ema = tasks.serve(config, facts), config.get('ema_decay', 0) > 0
  if serving.takes != takes:
    raise UserError(f"the networks in '{folder}' (task '{config.task}') take {serving.takes}, not "
                    f'{takes}; give a run of another task')
  if published.is_published(folder):
    weights, step = published.read(folder, serving.system.networks, facts.size)
  else:
    weights, step = checkpointing.restore_networks(folder, ema=ema)
  stored = confidences.stored(folder, step)
  about = f"'{folder}', step {step}" + (', moving average' if ema else '')
  return Loaded(config.system.get('codec', ''), serving, weights, facts, asked,
                stored[1] if stored else {},
                about + (f", calibrated by '{os.path.relpath(stored[0], folder)}'" if stored
                         else ''))


def of_task(weights, task, takes) -> tuple[str, Loaded]:
  """(path, `of_run`) of weights that must be of a run of this task, whose networks take `takes`;
  UserError for a file of weights."""
  path, name, is_run = located(weights)
  if not is_run:
    raise UserError(f"'{path}' is no run of the task {task}, nor what tools/publish.py made of "
                    'one; give the folder of such a run')
  return path, of_run(path, name, takes)


class Networks:
  """Networks of a `Serving` with their weights, one answer of which is asked for.

  path: of the weights, for messages. preferred: answers, the first of which that there is is taken
  where none is asked for. flip: average with the mirrored sample. dtype: in which the networks
  compute; None: as they were trained. A subclass has `_nobody(count)`, which gives so many empty
  samples, and may have other `buckets`, sizes of a call.

  Attributes: serving, the system and the way to its samples and back. weights: {'params',
  'batch_stats'}. facts. answer: the output, or the mixture of outputs, that is given; answers: all
  names that it may have. members: the outputs that it needs. test: of `System.predict`. fits: the
  calibration or {}. about: a line for the user that says all this.
  """

  buckets = BUCKETS

  def __init__(self, path, found: Loaded, preferred: tuple[str, ...], *, flip=True, dtype=None):
    self.serving, self.facts, self.fits = found.serving, found.facts, found.fits
    if dtype:
      system = self.serving.system
      networks = {name: net.clone(dtype=dtype) if hasattr(net, 'dtype') else net
                  for name, net in system.networks.items()}
      self.serving = self.serving._replace(system=system._replace(networks=networks))
    self.weights = jax.device_put(found.weights)
    self.test = {'flip': flip}
    try:
      self._shapes = jax.eval_shape(self._predict, self.weights, self._inputs(self._nobody(1)))
    except flax.errors.FlaxError as error:
      raise UserError(f"the weights in '{path}' are not of the network that its config.json names "
                      f'({first_line(error)}); get the file back from a copy') from None
    answers, system = self._answers(), self.serving.system
    final = {name: join(name, system.readouts[-1]) for name in (*preferred, *system.networks)}
    asked = found.asked or next(name for name in final.values() if name in answers)
    asked = asked if asked in answers else final.get(asked, asked)
    if asked not in answers:
      raise UserError(f"'{path}' gives {', '.join(answers)}, not {quoted(found.asked)}")
    self.answer, self.answers, self.members = asked, tuple(answers), answers[asked]
    of = f' of {" and ".join(map(without_view, self.members))}' if len(self.members) > 1 else ''
    self.about = found.about + (f'; answer: {asked}{of}' if len(answers) > 1 else '')
    # Outputs that are not asked for are not computed.
    self._run = jax.jit(lambda weights, batch: {
      name: fields for name, fields in self._predict(weights, batch).items()
      if name in self.members})

  def _answers(self):
    """{name: the outputs that it needs}; a name is one of an output, without view."""
    return {without_view(output): (output,) for output in self._shapes}

  def _predict(self, weights, batch):
    system = self.serving.system
    return system.predict(Forward(system.networks, weights['params'], weights['batch_stats']),
                          batch, **self.test)

  def _inputs(self, samples):
    return {name: samples[name] for name in self.serving.system.fields['predict']
            if name in samples}

  def _outputs(self, samples):
    """{output: fields} of all samples, by calls of a few fixed sizes."""
    inputs = self._inputs(samples)
    pieces, results = _pieces(len(next(iter(inputs.values()))), self.buckets), []
    for start, stop, size in pieces:
      results.append(self._run(self.weights, {
        name: _padded(values[start:stop], size) for name, values in inputs.items()}))
    shapes = {name: self._shapes[name] for name in self.members}
    empty = jax.tree.map(lambda leaf: np.zeros((0, *leaf.shape[1:]), leaf.dtype), shapes)
    kept = [jax.tree.map(lambda leaf, n=stop - start: np.asarray(leaf)[:n], result)
            for result, (start, stop, _) in zip(results, pieces, strict=True)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), empty, *kept)


def _pieces(count, buckets):
  """[(start, stop, size of the call)] for so many samples, few calls with little padding: a call
  is filled by more than half."""
  out, start = [], 0
  while start < count:
    left = count - start
    size = next((size for size in buckets if left <= size < 2 * left),
                max(size for size in buckets if size <= left))
    out.append((start, min(start + size, count), size))
    start += size
  return out


def _padded(values, size):
  return np.concatenate([values, np.repeat(values[:1], size - len(values), 0)])
