"""Which of the people that were found are which of those that were labelled, inside of a step."""
import jax
import jax.numpy as jnp


def match(truth, found, near):
  """(B,Q) row of the true place that each found one gets, or -1.

  truth: (B,P,2) and found: (B,Q,2) places in one unit, infinite where there is nobody. The closest
  two of all are a pair, then the closest two of the rest, as long as they are less than `near`
  apart; as `metrics.panoptic.match`, with static shapes.
  """
  return jax.vmap(lambda a, b: _match(a, b, near))(truth, found)


def _match(truth, found, near):
  there = jnp.isfinite(truth).all(-1)[:, None] & jnp.isfinite(found).all(-1)
  gap = jnp.where(there[..., None], truth[:, None] - found, jnp.inf)
  distance = jnp.sqrt(jnp.square(gap).sum(-1))
  distance = jnp.where(distance < near, distance, jnp.inf)

  def pair(_, state):
    distance, rows = state
    i, j = jnp.unravel_index(distance.argmin(), distance.shape)
    rows = rows.at[j].set(jnp.where(jnp.isfinite(distance[i, j]), i, rows[j]))
    return distance.at[i].set(jnp.inf).at[:, j].set(jnp.inf), rows

  rows = jnp.full(len(found), -1, jnp.int32)
  return jax.lax.fori_loop(0, min(distance.shape), pair, (distance, rows))[1]
