"""What a detector's maps have that drawn ones have not: weak, moved, missing and false peaks.

Nothing in the rates was fitted to a detector; they are the ranges of the default `Noise`.
"""
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dslope_jax import part_maps
from dslope_jax.association.parts import STRIDE
from dslope_jax.visibility import HIDDEN, VISIBLE


class Noise(NamedTuple):
  """How much of what is added.

  peak: lowest height of a peak; heights are between it and 1. dropped: lowest and highest share of
  visible joints that are missing in a picture. jitter: pixels of the maps that a joint moves at
  most, in x and y. false_peaks: of each joint in a picture, the mean of their number.
  false_height: the highest of them. lost_limbs: share of limbs without a field. maps: deviation
  that is added to each pixel of heatmaps and fields; depth: the same of relative depths, cm.
  """
  peak: float = 0.4
  dropped: tuple[float, float] = (0.05, 0.1)
  jitter: float = 1.0
  false_peaks: float = 0.3
  false_height: float = 0.3
  lost_limbs: float = 0.05
  maps: float = 0.02
  depth: float = 1.0


_MOST_FALSE = 3  # peaks of a joint


def draw(key, people, size, noise: Noise | None, reference=False) -> dict:
  """Maps of the visible joints as a detector might see them.

  key: of the random draws. people, size, reference: as for `part_maps.encode`; the scale of each
  picture is drawn. noise: None for none. Returns maps (B,h,w,K+2L) and relative_depth (B,h,w,L).
  """
  keys = jax.random.split(key, 5)
  count, limbs = len(people['joints']), len(part_maps.MPI15.limbs)
  scales = jax.random.randint(keys[0], (count, 1), 0, len(part_maps.KERNELS))
  if noise is not None:
    people = noisy(keys[1], people, limbs, noise)
  drawn = part_maps.encode(people, size, scales=scales, reference=reference)
  maps, depth = drawn['maps'][:, 0], drawn['relative_depth'][:, 0]
  if noise is None:
    return {'maps': maps, 'relative_depth': depth}
  joints = people['joints'].shape[2]
  false = false_peaks(keys[2], (count, *maps.shape[1:3], joints), scales, noise)
  maps = jnp.concatenate([jnp.maximum(maps[..., :joints], false), maps[..., joints:]], -1)
  add = lambda key, values, deviation: values + deviation * jax.random.normal(key, values.shape)
  return {'maps': add(keys[3], maps, noise.maps),
          'relative_depth': add(keys[4], depth, noise.depth)}


def noisy(key, people, limbs: int, noise: Noise) -> dict:
  """The people whose visible joints are moved, dropped (then hidden) and of different `heights`,
  and whose limbs are `lost`; see `part_maps.encode`."""
  places, share, drop, height, limb = jax.random.split(key, 5)
  joints, shape = people['joints'], people['visibility'].shape
  low, high = noise.dropped
  share = jax.random.uniform(share, (shape[0], 1, 1), minval=low, maxval=high)
  reach = noise.jitter * STRIDE
  moved = jax.random.truncated_normal(places, -2, 2, joints.shape) * reach / 2
  dropped = (jax.random.uniform(drop, shape) < share) & (people['visibility'] == VISIBLE)
  return people | {
    'joints': joints + moved,
    'visibility': jnp.where(dropped, HIDDEN, people['visibility']),
    'heights': jax.random.uniform(height, shape, minval=noise.peak, maxval=1.0),
    'lost': jax.random.bernoulli(limb, noise.lost_limbs, (*shape[:2], limbs))}


def false_peaks(key, shape, scales, noise: Noise):
  """Heatmaps (B,h,w,K), the shape, of low peaks anywhere. scales: (B,1)."""
  place, there, height = jax.random.split(key, 3)
  batch, h, w, joints = shape
  many = batch, _MOST_FALSE, joints
  points = jax.random.uniform(place, (*many, 2)) * jnp.array([w, h])
  heights = jax.random.uniform(height, many, maxval=noise.false_height)
  heights = heights * jax.random.bernoulli(there, noise.false_peaks / _MOST_FALSE, many)
  return part_maps.bells(points, heights, (h, w), scales)[:, 0]
