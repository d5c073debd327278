"""What the depth maps say at the joints of people."""
import jax
import jax.numpy as jnp
import numpy as np

from dslope_jax.association.parts import ANCHORS, LIMBS, PATHS, PELVIS, STRIDE

_READINGS = 10  # of a limb's relative depth
_PELVIS_MAP = int(np.flatnonzero(ANCHORS == PELVIS)[0])


def at_pelvis(maps, places):
  """Values of the pelvis' map among maps (h,w,7) at places (...,2)."""
  return _read(maps[..., _PELVIS_MAP], places)


def relative(maps, places, there, thresholds):
  """Depths (P,J) relative to the pelvis, cm, of joints at places (P,J,2); 0 of missing ones.

  maps: (h,w,L). A limb's value is the mean of 10 readings from end to end, clipped to the range
  between their 10th and 90th percentile.
  """
  start, end = places[:, LIMBS[:, 0]], places[:, LIMBS[:, 1]]  # (P,L,2)
  share = np.linspace(0, 1, _READINGS, dtype=np.float32)[:, None]
  points = start[:, :, None] + (end - start)[:, :, None] * share
  whole = jnp.round((points + 0.5) * STRIDE) / STRIDE - 0.5
  points = jnp.where(thresholds.whole_pixels, whole, points)
  values = jax.vmap(_read, (2, 1), 1)(maps, points)  # (P,L,10)
  low, high = jnp.percentile(values, np.array([10, 90]), axis=-1, keepdims=True)
  means = jnp.clip(values, low, high).mean(-1)
  means = jnp.where(there[:, LIMBS].all(-1), means, 0)
  return jnp.where(there, jnp.matmul(means, PATHS.T, precision='highest'), 0)


def root(maps, places, heights, behind, thresholds):
  """Depth (P,) of the pelvis over focal length, of people with joints at places (P,J,2).

  maps: (h,w,7). behind: (P,J) how far joints are behind the pelvis, in the same unit.
  """
  depth = jax.vmap(_read, (2, 1), 1)(maps, places[:, ANCHORS])  # (P,7)
  own = depth[:, _PELVIS_MAP]
  weights = heights[:, ANCHORS]
  weights = jnp.where(weights > thresholds.usable_anchor, weights, 0)
  total = weights.sum(-1)
  mean = (weights * (depth - behind[:, ANCHORS])).sum(-1) / jnp.where(total > 0, total, 1)
  sure = (heights[:, PELVIS] > thresholds.sure_pelvis) | (total <= 0)
  return jnp.where(sure, own, mean)


def _read(maps, places):
  """Values of maps (h,w) at the pixels nearest to places (...,2)."""
  h, w = maps.shape
  x, y = (jnp.clip(jnp.floor(places[..., i] + 0.5).astype(jnp.int32), 0, n - 1)
          for i, n in enumerate((w, h)))
  return maps.at[y, x].get(mode='promise_in_bounds')
