"""How recipes are written: mixtures with odds, and curricula of them."""
import functools

import numpy as np

from dslope_jax.errors import UserError


@functools.cache
def mixture(name: str):
  """Cumulative odds of the alternatives of a mixture 'a:2,b:1', and their texts. UserError."""
  odds, alternatives = [], []
  for alternative in name.split(','):
    names, _, weight = alternative.partition(':')
    try:
      odds.append(float(weight) if weight else 1.0)
    except ValueError:
      raise UserError(f"recipe '{name}': '{weight}' is no number; odds are written "
                      "'published:2,severity3:1'") from None
    alternatives.append(names)
  if not (np.array(odds) >= 0).all() or not 0 < sum(odds) < np.inf:
    raise UserError(f"recipe '{name}': odds must be positive")
  return np.cumsum(odds) / sum(odds), alternatives


def one_of(name: str, rng) -> str:
  """One alternative of a mixture, by its odds."""
  odds, alternatives = mixture(name)
  if len(alternatives) == 1:
    return alternatives[0]
  return alternatives[int(np.searchsorted(odds, rng.random(), 'right'))]


def stages(name: str) -> list[str]:
  """The recipes of a curriculum, 'severity1>severity3>severity5', which share the run evenly."""
  return name.split('>')


def at(name: str, progress: float) -> str:
  """The recipe of a curriculum at this share of the run, 0 to 1."""
  found = stages(name)
  return found[min(int(progress * len(found)), len(found) - 1)]
