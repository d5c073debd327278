"""The benchmarks give rows that can be read; nothing is compiled twice or fetched between logs."""
import math
import random
import types

import numpy as np
import pytest

from benchmarks import association, bottom_up, clips, damage, evaluation, hidden_joints, loop
from benchmarks import compile as compilation
from dslope_jax.errors import UserError

NEVER = {'compile': ('compilations of the step after step 1',
                     'compilations of anything after step 5'),
         'loop': ('fetches between log points', 'waits for one of the newest two steps')}


@pytest.mark.slow
@pytest.mark.parametrize('name, give', [
  ('association', lambda: association.rows(quick=True)),
  ('bottom_up', lambda: bottom_up.rows(quick=True)),
  ('clips', lambda: clips.rows(quick=True)),
  ('compile', lambda: compilation.rows(quick=True, processes=False)),
  ('evaluation', lambda: evaluation.rows(quick=True)),
  ('hidden_joints', lambda: hidden_joints.rows(quick=True)),
  ('loop', lambda: loop.rows(quick=True))])
def test_rows(name, give):
  rows = list(give())
  for what, value, *texts in rows:
    assert math.isfinite(value) and what and len(texts) == 3
    assert all(isinstance(text, str) for text in (what, *texts))
  values = {what: value for what, value, *_ in rows}
  assert {what: values[what] for what in NEVER.get(name, ())} == \
    dict.fromkeys(NEVER.get(name, ()), 0)
  if name == 'association':
    share = lambda rule: values[f'48x32: joints by {rule}']
    assert share('the default') > 20 + share('the published rule of short limbs')
  # Or nothing was counted.
  if name == 'compile':
    assert values['programs compiled in a run'] > 1
  if name == 'bottom_up':
    assert values['programs for 0 to all people in a picture'] == 1
  if name == 'loop':
    assert not rows[1][3].startswith('0 waits') and not rows[2][3].startswith('0 fetches')


@pytest.mark.parametrize('kind', damage.DAMAGES)
def test_a_damage_is_of_one_place(tmp_path, kind):
  for name in ('a/one', 'a/two', 'b/three'):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b'x' * 30_000)
  read = lambda: {f.relative_to(tmp_path).as_posix(): f.read_bytes() for f in tmp_path.rglob('*')
                  if f.is_file()}
  before = read()
  name = damage.damage(tmp_path, kind, random.Random(1))
  after = read()
  changed = {f for f in before if before[f] != after.get(f)}
  assert all(name in f for f in changed) and 1 <= len(changed) <= 2
  assert len(changed) == 1 or kind == 'folder emptied'


def test_what_counts_as_right_after_a_damage():
  truth = {step: {'params': np.full(3, step)} for step in (35, 40)}

  def outcome(step, numbers, said='', error=None):
    def read(_):
      if error:
        raise error
      return {'params': np.full(3, numbers)}, step, said
    return damage._outcome(read, None, {s: types.SimpleNamespace(**t) for s, t in truth.items()})

  told = "checkpoint 40 in 'x' cannot be read; checkpoint 35 is used"
  assert outcome(40, 40) == ('right numbers of step 40', True)
  assert outcome(35, 35, told)[1] and not outcome(35, 35)[1] and not outcome(40, 35)[1]
  assert outcome(40, 40, error=KeyError('x'))[0].startswith('TRACEBACK: KeyError')
  assert outcome(40, 40, error=UserError('no such step')) == ('refused: no such step', False)
