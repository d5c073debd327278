"""The places of joints in their maps."""
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_REACH = 3  # pixels on each side of a peak that move it


class Peaks(NamedTuple):
  """K peaks of each of J maps, in the order of a page, filled up by peaks of the height 0.

  places: (J,K,2) x and y. heights: (J,K). missed: how many more there were.
  """
  places: jax.Array
  heights: jax.Array
  missed: jax.Array


def find_peaks(maps, thresholds, max_peaks) -> Peaks:
  """The local maxima of maps (h,w,J), but for pixels at the border.

  A peak is higher than its eight neighbours, and moves to the centre of mass of what is positive
  in the 7 x 7 pixels about it.
  """
  h, w, count = maps.shape
  inner = maps[1:-1, 1:-1]
  is_peak = inner > thresholds.peak
  for i in range(9):
    other = maps[i // 3:h - 2 + i // 3, i % 3:w - 2 + i % 3]
    if i != 4:
      tie = (inner == other) & (i > 4) & jnp.logical_not(thresholds.strict)
      is_peak &= (inner > other) | tie
  flat = jnp.where(is_peak, inner, -jnp.inf).reshape(-1, count).T
  heights, index = jax.lax.top_k(flat, min(max_peaks, flat.shape[1]))
  found = heights > -jnp.inf
  index, heights = jax.lax.sort((jnp.where(found, index, flat.shape[1]), heights), num_keys=1)
  found = heights > -jnp.inf
  x, y = index % (w - 2) + 1, index // (w - 2) + 1
  steps = np.arange(-_REACH, _REACH + 1)
  near_x, near_y = x[..., None, None] + steps, y[..., None, None] + steps[:, None]  # (J,K,7,7)
  inside = (near_x >= 0) & (near_x < w) & (near_y >= 0) & (near_y < h)
  values = maps.at[jnp.clip(near_y, 0, h - 1), jnp.clip(near_x, 0, w - 1),
                   np.arange(count)[:, None, None, None]].get(mode='promise_in_bounds')
  mass = jnp.where(inside, jnp.maximum(values, 0), 0)
  total = jnp.maximum(mass.sum((-2, -1)), jnp.finfo(jnp.float32).tiny)
  moved = jnp.stack([x + (mass * steps).sum((-2, -1)) / total,
                     y + (mass * steps[:, None]).sum((-2, -1)) / total], -1)
  return Peaks(jnp.where(found[..., None], moved + thresholds.offset, 0),
               jnp.where(found, heights, 0), is_peak.sum(dtype=jnp.int32) - found.sum())
