"""The benchmarks give rows that can be read; nothing is compiled twice or fetched between logs."""
import math

import pytest

from benchmarks import compile as compilation
from benchmarks import evaluation, loop

NEVER = {'compile': ('compilations of the step after step 1',
                     'compilations of anything after step 5'),
         'loop': ('fetches between log points', 'waits for one of the newest two steps')}


@pytest.mark.parametrize('name, give', [
  ('compile', lambda: compilation.rows(quick=True, processes=False)),
  ('evaluation', lambda: evaluation.rows(quick=True)),
  ('loop', lambda: loop.rows(quick=True))])
def test_rows(name, give):
  rows = list(give())
  for what, value, *texts in rows:
    assert math.isfinite(value) and what and len(texts) == 3
    assert all(isinstance(text, str) for text in (what, *texts))
  values = {what: value for what, value, *_ in rows}
  assert {what: values[what] for what in NEVER.get(name, ())} == \
    dict.fromkeys(NEVER.get(name, ()), 0)
  # Or nothing was counted.
  if name == 'compile':
    assert values['programs compiled in a run'] > 1
  if name == 'loop':
    assert not rows[1][3].startswith('0 waits') and not rows[2][3].startswith('0 fetches')
