"""Reads files in which others pass data sets on; what is in them is checked before it is used."""
import numpy as np

from dslope_jax import plain_pickle
from dslope_jax.errors import UserError, quoted

_MEND = 'give the file as its authors distribute it'


class Table:
  """A dict of such a file. where: the file, and the place in it, for messages.

  Raises UserError for what is no dict.
  """

  def __init__(self, value, where: str):
    if not isinstance(value, dict):
      raise UserError(f'{where} is no dict; {_MEND}')
    self._entries, self.where = value, where

  def __contains__(self, name):
    return name in self._entries

  def __iter__(self):
    return iter(self._entries)

  def place(self, name) -> str:
    return f'{self.where}: {quoted(name)}'

  def value(self, name):
    """The entry of this name; UserError without."""
    if name not in self._entries:
      raise UserError(f'{self.where} has no {quoted(name)}; {_MEND}')
    return self._entries[name]

  def table(self, name) -> 'Table':
    return Table(self.value(name), self.place(name))

  def numbers(self, name, *shape, wider=False) -> np.ndarray:
    """See `numbers`."""
    return numbers(self.value(name), shape, self.place(name), wider)

  def texts(self, name, count: int) -> np.ndarray:
    """(count,) texts; UserError for another number of them."""
    found = np.array([*map(str, listed(self.value(name)))])
    if found.shape != (count,):
      raise UserError(f'{self.place(name)} has {len(found)} texts for {count} frames; {_MEND}')
    return found


def load_npz(path, name: str) -> Table:
  """The dict in an array of no axes of an npz file; it is not unpickled.

  Raises OSError or UserError.
  """
  found = Table(plain_pickle.load_npz(path), f"'{path}'")
  value = found.value(name)
  return Table(value.item() if value.shape == () else None, found.place(name))


def listed(value) -> list:
  """The parts of a list, a tuple or an array; none of anything else."""
  parts = isinstance(value, (list, tuple)) or isinstance(value, np.ndarray) and value.ndim
  return list(value) if parts else []


def numbers(value, shape: tuple, where: str, wider: bool = False) -> np.ndarray:
  """float32 of this shape, in which None is any length. wider: a longer last axis is cut.

  Raises UserError for another shape, and where there are no numbers.
  """
  try:
    found = np.asarray(value)
    if found.dtype.kind not in 'biufO':
      raise TypeError
    with np.errstate(over='ignore'):  # infinity is told with its place
      found = found.astype(np.float32)
  except (OverflowError, TypeError, ValueError):
    raise UserError(f'{where} is no array of numbers; {_MEND}') from None
  cut = found[..., :shape[-1]] if wider and found.ndim else found
  if cut.ndim != len(shape) or any(
      want not in (None, size) for want, size in zip(shape, cut.shape, strict=True)):
    wanted = str(tuple('F' if size is None else size for size in shape)).replace("'F'", 'F')
    raise UserError(f'{where} has the shape {found.shape}, not {wanted}; {_MEND}')
  return cut
