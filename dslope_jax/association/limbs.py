"""Which peaks are joined by a limb, and how people choose among them."""
import jax
import jax.numpy as jnp
import numpy as np

from dslope_jax.association.parts import BONES, LIMBS, PELVIS, STEPS, STRIDE
from dslope_jax.skeletons import MPI15

_MOST_POINTS = 25  # of a limb's field
_LENGTH_MARGIN = 1.2  # a limb may be so much longer than its bone without a penalty


def limb_scores(fields, places, thresholds):
  """Score (L,K,K) of each limb between each peak of its first joint and each of its second.

  fields: (h,w,2L). places: (J,K,2). The mean of the field along the limb, over the points that
  support it; -1 for a limb that the field does not support.
  """
  h, w, _ = fields.shape
  fields = fields.reshape(-1, 2)
  fields = jax.lax.complex(fields[:, 0], fields[:, 1])  # one reading of a field in place of two
  start, end = places[LIMBS[:, 0], :, None], places[LIMBS[:, 1], None]
  way = end - start
  length = jnp.linalg.norm(way, axis=-1)
  unit = way / jnp.maximum(length, 1e-6)[..., None]
  count = _points(jnp.abs(way).max(-1))
  limb = np.arange(len(LIMBS))[:, None, None]

  def add_point(i, sums):
    share = i / count
    x, y = (jnp.floor(start[..., k] + way[..., k] * share + 0.5).astype(jnp.int32)
            for k in (0, 1))
    pixel = jnp.clip(y, 0, h - 1) * w + jnp.clip(x, 0, w - 1)
    field = fields.at[pixel * len(LIMBS) + limb].get(mode='promise_in_bounds')
    along = field.real * unit[..., 0] + field.imag * unit[..., 1]
    hit = (along > thresholds.point) & (i < count)
    return sums[0] + hit, sums[1] + jnp.where(hit, along, 0)

  # A loop, since the points of all pairs together do not fit into a cache.
  hits, total = jax.lax.fori_loop(0, int(_points(max(h, w), np)), add_point,
                                  (jnp.zeros_like(count), jnp.zeros_like(count)))
  shortest = jnp.maximum(np.sqrt(h * w) / 150, thresholds.shortest)
  short = jnp.where(length < shortest, thresholds.short_limb + 1e-6, -1)
  # The margin is for products that round: 19 of 20 points are not more than 95 %.
  supported = hits > thresholds.support * count + 1e-4
  score = jnp.where(supported, total / jnp.maximum(hits, 1), short)
  return jnp.where(length > 1e-6, score, -1)


def _points(length, xp=jnp):
  """At how many points the field along a limb is read, of its longer side in pixels of the maps."""
  return xp.clip(xp.floor(xp.sqrt(5 * length) + 0.5), 5, _MOST_POINTS)


def grow(pelvis, depth, peaks, scores, thresholds):
  """Rows (P,J) among the peaks of each person's joints, -1 where there is none.

  pelvis: (P,) rows, near to far. depth: (P,) over focal length. Each joint ends one limb, so limbs
  that start at known joints do not compete, and are grown side by side.
  """
  rows = jnp.full((len(pelvis), MPI15.num_keypoints), -1).at[:, PELVIS].set(pelvis)
  for limbs, start, end in (step.T for step in STEPS):
    towards = jnp.where((LIMBS[limbs, 0] == start)[:, None, None], scores[limbs],
                        scores[limbs].swapaxes(1, 2))
    source = rows[:, start].T  # (l,P)
    at = jnp.maximum(source, 0)[..., None]
    score = jnp.take_along_axis(towards, at, 1)  # (l,P,K)
    place = jnp.take_along_axis(peaks.places[start], at, 1)
    length = jnp.linalg.norm(place[:, :, None] - peaks.places[end][:, None], axis=-1) * STRIDE
    expected = _LENGTH_MARGIN * BONES[limbs][:, None] / depth
    excess = jnp.minimum(expected[..., None] / length - 1, 0)
    usable = (source >= 0)[..., None] & (peaks.heights[end] > 0)[:, None] & (score > 0)
    score = jnp.where(usable, score + thresholds.penalty * excess, -1)
    rows = rows.at[:, end].set(_choose(score).T)
  return rows


def _choose(scores):
  """(l,P) peaks that people get who choose one after the other, the best that is left; -1: none.

  scores: (l,P,K), positive where a peak may be chosen. In rounds: everyone asks for the best peak,
  and whoever finds a nearer person there strikes it out. Of stable matchings there is only one
  here, so that the rounds end where the choice one by one does.
  """
  peaks = np.arange(scores.shape[-1])

  def asked(scores):
    best = jnp.where(scores.max(-1) > 0, scores.argmax(-1), -1)
    return best, best[..., None] == peaks

  def lost(scores):
    wish = asked(scores)[1]
    return wish & (jnp.cumsum(wish, 1) > 1)

  final, _ = jax.lax.while_loop(
    lambda state: state[1].any(),
    lambda state: (struck := jnp.where(state[1], -1, state[0]), lost(struck)),
    (scores, lost(scores)))
  return asked(final)[0]
