"""Several people in 3D: pictures a second of the whole chain, the share of the grouping in it, and
a training step beside its networks alone.

  python benchmarks/bottom_up.py [--full] [--batch N] [--quick]

Networks and size of the pictures are those of configs/quickstart_hupor.py, or with --full those of
the paper, 832x512. All take turns in one process, so that other jobs hit all; figures are medians
of the rounds.
"""
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from benchmarks import shared
from configs import panoptic_hupor, quickstart_hupor
from dslope_jax import systems
from dslope_jax.systems import hupor_people
from dslope_jax.systems.base import Facts, Forward, normalise
from dslope_jax.tasks import bottom_up
from dslope_jax.training import optimizers, train_state
from dslope_jax.training.train_step import make_train_step
from input_pipeline import pictures
from input_pipeline.whole_pictures import FIELDS, PictureMaker


def rows(quick=False, full=False, batch=None):
  """(what, value, unit, reference, target) of all that is measured here."""
  config = (panoptic_hupor if full else quickstart_hupor).get_config()
  if quick:
    for name in ('detector', 'reasoner'):
      config.system[name].update(dict(stages=1, decoder_width=8, widths=(8,) * len(
        config.system[name].widths)))
    config.data.size = 96, 64
  chain = Chain(config, batch or (2 if quick or full else 8))
  sides = {'chain': chain.predict, 'flipped': chain.predict_flipped, 'grouping': chain.group,
           'step': chain.train, 'networks': chain.run_networks}
  clock, _ = shared.take_turns(sides, 2 if quick else 7)
  rate = lambda side: chain.batch / clock[side]
  size = 'x'.join(map(str, config.data.size))
  yield 'pictures to people, flip test', rate('flipped'), 'pictures/s', f'{size}, three rows', ''
  yield 'pictures to people', rate('chain'), 'pictures/s', '', ''
  yield '  of it grouping', 100 * clock['grouping'] / clock['chain'], '%', '', '<= 10'
  yield 'programs for 0 to all people in a picture', chain.programs(), '', '', '1'
  yield 'training step', rate('step'), 'pictures/s', '', ''
  yield '  in times of its networks alone', clock['step'] / clock['networks'], 'x', '', ''


class Chain:
  """The system of a config on a batch of rendered people, with fresh weights."""

  def __init__(self, config, batch):
    size, self.batch = tuple(config.data.size), batch
    facts = Facts(pictures.picture.SKELETON, size)
    self._system = systems.build(facts, **config.system.to_dict())
    example = bottom_up.example_of(size, config.data.max_people)
    optimizer, schedules = optimizers.build(config.optim.to_dict(), self._system.networks, 1000,
                                            100.0)
    self._state = train_state.create(self._system, optimizer, seed=0, example=example)
    self._step = jax.jit(make_train_step(self._system, optimizer, trainable=tuple(schedules),
                                         seed=0))
    world = pictures.load('synthetic', 'train', count=batch, size=size, people='1-3')
    maker = PictureMaker(world, size, None, 'none', 0, fields=FIELDS,
                         max_people=config.data.max_people)
    samples = [maker.evaluate(row) for row in range(batch)]
    self._data = {name: jnp.asarray(np.stack([s[name] for s in samples])) for name in samples[0]
                  if not name.startswith('occluded')}
    self._limits = dict(max_people=config.system.max_people, max_peaks=config.system.max_peaks)
    self._predict = {flip: jax.jit(lambda w, data, flip=flip: self._system.predict(
      self._forward(w), data, flip=flip)) for flip in (False, True)}
    self._given = {name: self._data[name] for name in ('image', 'camera')}
    self._rows = 2 if 'reasoner' in self._system.networks else 1
    self._maps = self._detected()
    self._group = jax.jit(self._grouped)
    self._networks = jax.jit(jax.grad(self._of_networks))

  def _forward(self, weights, train=False):
    names = tuple(self._system.networks) if train else ()
    return Forward(self._system.networks, weights['params'], weights['batch_stats'], names,
                   jax.random.key(0))

  @property
  def _weights(self):
    return {'params': self._state.params, 'batch_stats': self._state.batch_stats}

  def _detected(self):
    found = jax.jit(lambda w: self._forward(w)('detector', normalise(self._data['image']),
                                               train=False))(self._weights)
    return {name: jnp.concatenate([found[name]] * self._rows)
            for name in ('maps', 'relative_depth', 'anchor_depth')}

  def predict(self):
    jax.block_until_ready(self._predict[False](self._weights, self._given))

  def predict_flipped(self):
    jax.block_until_ready(self._predict[True](self._weights, self._given))

  def _grouped(self, maps, camera):
    """Maps of all rows to poses in space, as the system does it."""
    size = self._data['image'].shape[2], self._data['image'].shape[1]
    return hupor_people.Settings(size, **self._limits).located(maps, camera)[1]

  def group(self):
    camera = jnp.tile(hupor_people.network_camera(self._data['camera']), (self._rows, 1))
    jax.block_until_ready(self._group(self._maps, camera))

  def programs(self):
    """How many programs predictions of pictures of nobody, and of these, take."""
    self.predict()
    before = self._predict[False]._cache_size()
    self._predict[False](self._weights, self._given | {
      'image': jnp.zeros_like(self._given['image'])})
    return 1 + self._predict[False]._cache_size() - before

  def train(self):
    self._state, terms = self._step(self._state, {
      name: self._data[name] for name in self._system.fields['loss']})
    jax.block_until_ready(terms)

  def _of_networks(self, params, batch_stats, image, maps):
    """A number of all that the networks put out in a step, as often as they run in one."""
    forward = self._forward({'params': params, 'batch_stats': batch_stats}, train=True)
    out = [forward('detector', normalise(image))]
    out += [forward('reasoner', maps, maps), forward('reasoner', maps)]
    out.append(forward('refiner', jnp.ones((len(image) * self._limits['max_people'], 15, 5))))
    return sum(jnp.square(x).sum() for x in jax.tree.leaves(out))

  def run_networks(self):
    maps = {name: self._maps[name][:self.batch] for name in ('maps', 'relative_depth')}
    jax.block_until_ready(self._networks(self._state.params, self._state.batch_stats,
                                         self._data['image'], maps))


def main():
  parser = shared.parser(__doc__)
  parser.add_argument('--full', action='store_true', help='networks of the paper, 832x512')
  parser.add_argument('--batch', type=int)
  given = parser.parse_args()
  shared.show(rows(given.quick, given.full, given.batch))


if __name__ == '__main__':
  main()
