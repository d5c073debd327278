"""The one extension interface: a System names its networks, its loss and its prediction."""
import zlib
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

# ImageNet statistics in RGB order, of images in [0, 1].
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class System(NamedTuple):
  """What the loop needs to know of a method.

  networks: by name; the names are the keys of every parameter tree, optimizer and result.
  inputs: size (W, H) of the crop -> {network: shapes of its arguments}, for initialisation.
  loss: (forward, batch, step) -> (scalar, {term: scalar}).
  predict: (forward, images (B,H,W,3)) -> {network: heatmaps (B,h,w,K)}.
  """
  networks: dict[str, nn.Module]
  inputs: Callable
  loss: Callable
  predict: Callable


class Forward:
  """Runs networks by name and collects their batch statistics.

  A system never sees parameters. A network outside `trainable` always runs with train=False, so
  that a frozen network keeps its statistics; each network draws its dropout from its own key.
  """

  def __init__(self, networks, params, batch_stats, trainable=(), rng=None):
    self.networks, self.params, self.batch_stats = networks, params, dict(batch_stats)
    self.trainable, self.rng = trainable, rng

  def __call__(self, name, *inputs, train=True):
    variables = {'params': self.params[name], 'batch_stats': self.batch_stats[name]}
    if not (train and name in self.trainable):
      return self.networks[name].apply(variables, *inputs, train=False)
    key = jax.random.fold_in(self.rng, zlib.crc32(name.encode()))
    out, updates = self.networks[name].apply(
      variables, *inputs, train=True, mutable=['batch_stats'], rngs={'dropout': key})
    self.batch_stats[name] = updates.get('batch_stats', {})
    return out


def normalise(images):
  """(B,H,W,3) uint8 RGB -> float32, ImageNet mean and deviation; floats pass as they are."""
  if images.dtype != jnp.uint8:
    return images
  scale = jnp.array([1 / (255 * s) for s in _STD], jnp.float32)
  shift = jnp.array([m / s for m, s in zip(_MEAN, _STD, strict=True)], jnp.float32)
  return images * scale - shift
