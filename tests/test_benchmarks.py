"""The benchmarks give rows that can be read; nothing is compiled twice or fetched between logs."""
import math

import pytest

from benchmarks import compile as compilation
from benchmarks import evaluation, loop, report, run_all

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
  if name == 'compile':  # or nothing was counted
    assert values['programs compiled in a run'] > 1


@pytest.mark.parametrize('value, target, verdict', [
  (300, '>= 300', 'met'), (299, '>= 300', 'missed'), (2.9, '< 3', 'met'), (3, '< 3', 'missed'),
  (1.304, '<= 1.3', 'met'), (1.31, '<= 1.3', 'missed'), (0.004, '0', 'met'), (1, '0', 'missed'),
  (1.9, '>= 1.8 on 2 free cores', 'met'), (7, '', '')])
def test_verdict(value, target, verdict):
  assert report.verdict(value, target) == verdict


def test_a_part_that_fails_is_told_with_its_rows():
  failed = run_all.run('no_such_part', quick=True)
  assert failed['error'] == "ModuleNotFoundError: No module named 'benchmarks.no_such_part'"
  failed['rows'] = [('a|b', 1234.5, 's', 'floor 1', '<= 60')]
  text = run_all.page({'broken': failed, 'good': {'rows': [], 'device': 'a chip'}}, quick=True)
  assert '**Failed**' in text and 'a chip' in text and 'mean nothing' in text
  assert r'| a\|b | 1,234.50 s | floor 1 | <= 60 | missed |' in text
