"""The extension interface: a Learner is a method on one view of a sample, a System what is trained.

`single` makes a system of a learner on one view, `pair` the paired system (D-Slope) of any two.
"""
import collections
import zlib
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from dslope_jax.errors import UserError
from dslope_jax.skeletons import Skeleton

Batch = dict[str, jax.Array]  # B first
# {'enet/occluded': {'keypoints': (B,K,2), 'scores': (B,K)}}: names are NETWORK/VIEW or
# NETWORK/READOUT/VIEW; coordinates are in the frame of the batch. 'embedding' (B,C) may describe
# the picture, for mixtures.
Outputs = dict[str, dict[str, jax.Array]]

# ImageNet statistics in RGB order, of images in [0, 1].
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
HALVES = {'gnet': 'clean', 'enet': 'occluded'}  # the two networks of a pair, and what they see


def join(network: str, readout: str) -> str:
  """Name of an output without its view, see `Outputs`."""
  return f'{network}/{readout}' if readout else network


def without_view(output: str) -> str:
  """NETWORK or NETWORK/READOUT of the name of an output, see `Outputs`."""
  return output.rsplit('/', 1)[0]


class Facts(NamedTuple):
  """What the training data tell a system; unused fields stay as they are.

  skeleton: the keypoints. size: (W, H) of what networks see. frames: of a clip. classes: such as
  identities.
  """
  skeleton: Skeleton | None = None
  size: tuple[int, int] = (0, 0)
  frames: int = 0
  classes: int = 0


class Learner(NamedTuple):
  """One method on one view.

  networks: by name, the main one 'net'.
  views: {view: the batch fields that are its inputs}, 'clean' and 'occluded' for pairs.
  truth: further batch fields that `fit` and `compare` read.
  shapes: (shapes of the inputs) -> {network: shapes of its arguments}, for initialisation.
  run: (forward, inputs) -> outputs of the networks.
  fit: (outputs, batch) -> {term: scalar}; their sum is the loss.
  compare: (own outputs, detached ones of the partner, batch) -> {term: scalar}, for pairs.
  predict: (forward, inputs, **test) -> {readout: fields}; the only readout is called ''.
  readouts: the names that `predict` gives, the final answer last.
  stride: crop pixels of a heatmap pixel, for pictures of targets.
  """
  networks: dict[str, nn.Module]
  views: dict[str, tuple[str, ...]]
  truth: tuple[str, ...]
  shapes: Callable
  run: Callable
  fit: Callable
  compare: Callable
  predict: Callable
  readouts: tuple[str, ...] = ('',)
  stride: int = 4


class System(NamedTuple):
  """What the loop and the evaluation need to know of a method.

  networks: by name; the names are the keys of every parameter tree, optimizer and result.
  fields: {'loss': batch fields, 'predict': batch fields}; only these go to the device.
  inputs: (batch of shapes, B = 1) -> {network: shapes of its arguments}, for initialisation.
  loss: (forward, batch) -> (scalar, {term: scalar}).
  predict: (forward, batch, **test) -> Outputs. Flips, merges, decodes and refines itself; views
    whose fields the batch lacks are left out.
  mixes: pairs of outputs, without their view, that may answer together.
  readouts, stride: those of the learners.
  """
  networks: dict[str, nn.Module]
  fields: dict[str, tuple[str, ...]]
  inputs: Callable
  loss: Callable
  predict: Callable
  mixes: tuple[tuple[str, str], ...] = ()
  readouts: tuple[str, ...] = ('',)
  stride: int = 4


class Forward:
  """Runs networks by name and collects their batch statistics; a system never sees parameters.

  A network outside `trainable` always runs with train=False, so that a frozen network keeps its
  statistics. Every call draws its dropout from a key of its own.

  step: of the training. progress: share of the run that is done, 0 to 1.
  average: {'params', 'batch_stats'} of the networks' moving averages, or empty.
  """

  def __init__(self, networks, params, batch_stats, trainable=(), rng=None, *, step=0,
               progress=0.0, average=None):
    self.networks, self.params, self.batch_stats = networks, params, dict(batch_stats)
    self.trainable, self.rng, self.step, self.progress = trainable, rng, step, progress
    self._average, self._calls = average, collections.Counter()

  def __call__(self, name, *inputs, train=True, average=False):
    """Outputs of a network; average: of its moving average, which never learns."""
    if average and not self._average:
      raise UserError(f"the loss asks for the moving average of '{name}': set ema_decay above 0")
    weights = self._average if average else {'params': self.params,
                                             'batch_stats': self.batch_stats}
    variables = {kind: weights[kind][name] for kind in ('params', 'batch_stats')}
    if average or not (train and name in self.trainable):
      return self.networks[name].apply(variables, *inputs, train=False)
    out, updates = self.networks[name].apply(
      variables, *inputs, train=True, mutable=['batch_stats'], rngs={'dropout': self.key(name)})
    self.batch_stats[name] = updates.get('batch_stats', {})
    return out

  def key(self, name: str = '') -> jax.Array:
    """A random key that depends on seed, step and name; never the same twice in a step."""
    number = self._calls[name]
    self._calls[name] += 1
    key = jax.random.fold_in(self.rng, zlib.crc32(name.encode()))
    return jax.random.fold_in(key, number) if number else key


class Renamed:
  """A Forward for a learner whose networks have other names in the system."""

  def __init__(self, forward: Forward, names: dict[str, str], **options):
    """options: of every call, such as average=True."""
    self._forward, self._names, self._options = forward, names, options

  def __call__(self, name, *inputs, **options):
    return self._forward(self._names[name], *inputs, **options, **self._options)

  def key(self, name: str = '') -> jax.Array:
    return self._forward.key(f"{self._names['net']}/{name}")

  @property
  def step(self):
    return self._forward.step

  @property
  def progress(self):
    return self._forward.progress


def single(learner: Learner, view: str) -> System:
  """A system that trains one learner on one view, and predicts on all views."""
  if view not in learner.views:
    raise UserError(f"system.view is one of {', '.join(learner.views)}, not '{view}'")

  def loss(forward, batch):
    terms = learner.fit(learner.run(forward, _inputs(learner, batch, view)), batch)
    return sum(terms.values()), {f'net/{term}': value for term, value in terms.items()}

  def predict(forward, batch, **test):
    return _predict(learner, forward, batch, 'net', test)

  fields = {'loss': learner.views[view] + learner.truth, 'predict': _all_fields(learner)}
  shapes = lambda example: learner.shapes(_inputs(learner, example, view))
  return System(learner.networks, fields, shapes, loss, predict, (), learner.readouts,
                learner.stride)


def pair(learners: dict[str, Learner], weights: dict[str, float], taught=('gnet', 'enet'),
         average=False, shared=False):
  """The paired system: 'gnet' sees the clean view, 'enet' the occluded one; each learns from the
  truth and from its detached partner (mutual learning).

  learners: {'gnet', 'enet'}. A learner's network 'net' is called by the half's name, any other
  gets it before its own ('enet_gcn'). weights: of the comparison with the partner, by half.
  taught: the halves that learn; the networks of the other must be frozen.
  average: the partner is its moving average (mean teacher). shared: both halves run the same
  networks, which keep their own names.
  Source: MoEPose / D-Slope, mutual training loop; Deep Mutual Learning (Zhang et al., 2018).
  """
  partner = {'gnet': 'enet', 'enet': 'gnet'}
  own_name = lambda half, name: half if name == 'net' else f'{half}_{name}'
  names = {half: {name: name if shared else own_name(half, name) for name in learner.networks}
           for half, learner in learners.items()}
  inputs = lambda half, batch: _inputs(learners[half], batch, HALVES[half])

  def loss(forward, batch):
    for half in learners:
      learning = set(names[half].values()) & set(forward.trainable) if half not in taught else ()
      if learning:
        fields = [f'{section}.{name}{value}' for name in sorted(learning)
                  for section, value in (('optim', '.frozen=True'), ('init_from', ''))]
        raise UserError(f"'{half}' teaches and does not learn: set {', '.join(fields)}")
    run = lambda half, **options: learners[half].run(Renamed(forward, names[half], **options),
                                                     inputs(half, batch))
    outputs = {half: run(half) for half in learners}
    teachers = {half: run(half, average=True) for half in learners} if average else outputs
    total, terms = 0.0, {}
    for half in taught:
      fit = learners[half].fit(outputs[half], batch)
      mutual = learners[half].compare(outputs[half],
                                      jax.lax.stop_gradient(teachers[partner[half]]), batch)
      total += sum(fit.values()) + weights[half] * sum(mutual.values())
      terms |= {f'{half}/{term}': value for term, value in fit.items()}
      terms |= {f'{half}/mutual_{term}': value for term, value in mutual.items()}
    return total, terms

  def predict(forward, batch, **test):
    out = {}
    for half, learner in learners.items():
      out |= _predict(learner, Renamed(forward, names[half]), batch, half, test)
    return out

  def shapes(example):
    return {names[half][name]: found for half, learner in learners.items()
            for name, found in learner.shapes(inputs(half, example)).items()}

  seen = [field for half, learner in learners.items()
          for field in (*learner.views[HALVES[half]], *learner.truth)]
  shown = [field for learner in learners.values() for field in _all_fields(learner)]
  networks = {names[half][name]: network for half, learner in learners.items()
              for name, network in learner.networks.items()}
  readouts = learners['gnet'].readouts
  mixes = tuple((join('gnet', readout), join('enet', readout)) for readout in readouts)
  return System(networks, {'loss': _once(seen), 'predict': _once(shown)}, shapes, loss, predict,
                mixes, readouts, learners['gnet'].stride)


def _inputs(learner, batch, view):
  return tuple(batch[field] for field in learner.views[view])


def _predict(learner, forward, batch, name, test):
  out = {}
  for view, fields in learner.views.items():
    if all(field in batch for field in fields):
      for readout, values in learner.predict(forward, _inputs(learner, batch, view),
                                             **test).items():
        out[f'{join(name, readout)}/{view}'] = values
  return out


def _all_fields(learner):
  return _once(field for fields in learner.views.values() for field in fields)


def _once(names):
  return tuple(dict.fromkeys(names))


def normalise(images):
  """(B,H,W,3) uint8 RGB -> float32, ImageNet mean and deviation; floats pass as they are."""
  if images.dtype != jnp.uint8:
    return images
  scale = jnp.array([1 / (255 * s) for s in _STD], jnp.float32)
  shift = jnp.array([m / s for m, s in zip(_MEAN, _STD, strict=True)], jnp.float32)
  return images * scale - shift
