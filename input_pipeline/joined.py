"""Several makers of one kind of sample as one, as where a training mixes data sets."""
import dataclasses

from dslope_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class JoinedMaker:
  """The rows of several `stream.Maker`s, one after the other. A `stream.Maker`.

  makers: their samples have the same fields and shapes, and their `length`, which curricula go by,
  is that of the whole training. times: how often an epoch has the rows of each, whole numbers; so
  odds are set. seed: of the order.
  """
  makers: tuple
  times: tuple[int, ...]
  seed: int

  def __post_init__(self):
    if len(self.makers) != len(self.times) or not self.makers or min(self.times) < 1:
      raise UserError(f'times is {self.times}; give a whole number of 1 or more for each of '
                      f'{len(self.makers)} sets')

  def __len__(self):
    return sum(len(maker) * times for maker, times in zip(self.makers, self.times, strict=True))

  def train(self, index: int, row: int) -> dict:
    # A maker counts its own epochs by the index: two views of a row differ, unless the shuffle sets
    # them closer to each other than the maker has rows.
    maker, own = self._place(row)
    return maker.train(index, own)

  def evaluate(self, row: int) -> dict:
    maker, own = self._place(row)
    return maker.evaluate(own)

  def blank(self, row: int) -> dict:
    maker, own = self._place(row)
    return maker.blank(own)

  def name(self, row: int) -> str:
    maker, own = self._place(row)
    return maker.name(own)

  def _place(self, row):
    """The maker of a row, and its own row."""
    for maker, times in zip(self.makers, self.times, strict=True):
      if row < len(maker) * times:
        return maker, int(row) % len(maker)
      row -= len(maker) * times
    raise IndexError(row)
