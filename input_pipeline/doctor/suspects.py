"""What a check hands on: a finding, and the people to look at."""
from typing import NamedTuple

import numpy as np

from dslope_jax.plausibility import Finding, findings


class Suspects(NamedTuple):
  """A finding and the rows (M,) of a Source that show it, all of them."""
  finding: Finding
  rows: np.ndarray


def suspects(kind, text, rows, source, mend, *, severity='warning', ids=None):
  """[Suspects] of rows, (M,) numbers or (N,) bool; [] without any. '{}' becomes their number.

  ids: (N,) of what is counted, default the annotations; of these a number is counted once.
  """
  rows = np.flatnonzero(rows) if rows.dtype == bool else rows
  ids = source.annotation_id if ids is None else ids
  rows = rows[np.sort(np.unique(ids[rows], return_index=True)[1])]
  return [Suspects(f, rows) for f in findings(kind, severity, text, rows, ids, mend)]
