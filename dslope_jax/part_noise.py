"""What a detector's maps have that drawn ones have not: weak, moved, missing and false peaks.

Nothing in the rates was fitted to a detector; they are the ranges of the default `Noise`.
"""
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dslope_jax import part_maps
from dslope_jax.association.parts import STRIDE
from dslope_jax.skeletons import MPI15
from dslope_jax.visibility import HIDDEN, VISIBLE


class Noise(NamedTuple):
  """How much of what is added.

  peak: lowest height of a peak; heights are between it and 1. dropped: lowest and highest share of
  visible joints that are missing in a picture. jitter: pixels of the maps that a joint moves at
  most, in x and in y. false_peaks: of each joint in a picture, the mean of their number.
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
  scale, person, false, pixel = jax.random.split(key, 4)
  scales = jax.random.randint(scale, (len(people['joints']), 1), 0, len(part_maps.KERNELS))
  if noise is not None:
    people = noisy(person, people, noise)
  drawn = part_maps.encode(people, size, scales=scales, reference=reference)
  maps, depth = drawn['maps'][:, 0], drawn['relative_depth'][:, 0]
  if noise is not None:
    joints = people['joints'].shape[2]
    low = false_peaks(false, (*maps.shape[:3], joints), scales, noise)
    maps = jnp.concatenate([jnp.maximum(maps[..., :joints], low), maps[..., joints:]], -1)
    added = jax.random.normal(pixel, (*maps.shape[:3], maps.shape[-1] + depth.shape[-1]))
    maps += noise.maps * added[..., :maps.shape[-1]]
    depth += noise.depth * added[..., maps.shape[-1]:]
  return {'maps': maps, 'relative_depth': depth}


def noisy(key, people, noise: Noise) -> dict:
  """The people whose visible joints are moved, dropped (then hidden) and of different `heights`,
  and whose limbs are `lost`; see `part_maps.encode`."""
  of_joints, of_limbs, of_pictures = jax.random.split(key, 3)
  visibility = people['visibility']
  draws = jax.random.uniform(of_joints, (*visibility.shape, 4))  # x, y, is it dropped, height
  limbs = jax.random.uniform(of_limbs, (*visibility.shape[:2], len(MPI15.limbs)))
  low, high = noise.dropped
  share = jax.random.uniform(of_pictures, (len(visibility), 1, 1), minval=low, maxval=high)
  dropped = (draws[..., 2] < share) & (visibility == VISIBLE)
  return people | {
    'joints': people['joints'] + STRIDE * noise.jitter * (2 * draws[..., :2] - 1),
    'visibility': jnp.where(dropped, HIDDEN, visibility),
    'heights': noise.peak + (1 - noise.peak) * draws[..., 3],
    'lost': limbs < noise.lost_limbs}


def false_peaks(key, shape, scales, noise: Noise):
  """Heatmaps (B,h,w,K), the shape, of low peaks anywhere. scales: (B,1)."""
  batch, h, w, joints = shape
  draws = jax.random.uniform(key, (batch, _MOST_FALSE, joints, 4))  # x, y, is it there, height
  there = draws[..., 2] < noise.false_peaks / _MOST_FALSE
  return part_maps.bells(draws[..., :2] * jnp.array([w, h]),
                         there * noise.false_height * draws[..., 3], (h, w), scales)[:, 0]
