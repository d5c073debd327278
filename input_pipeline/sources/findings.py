"""What looks wrong with a set of annotated people: one line for each kind of fault."""
from typing import NamedTuple


class Finding(NamedTuple):
  """One kind of fault of a set.

  kind: a short name, as in docs/data.md. severity: 'error' stops, 'warning' is printed once.
  text: what is seen, one line. count: how many entries are affected; ids: of the first three.
  mend: what the user can do about it.
  """
  kind: str
  severity: str
  text: str
  count: int
  ids: tuple
  mend: str
