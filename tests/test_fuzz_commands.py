"""Odd values on the command line: taken, or refused in one line."""
import contextlib
import io
import sys

import pytest
from absl import flags
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from configs import quickstart
from dslope_jax import cli
from tests.conftest import ROOT


def fields(config, prefix='config'):
  for key, value in config.items():
    yield f'{prefix}.{key}'
    if hasattr(value, 'items'):
      yield from fields(value, f'{prefix}.{key}')


FIELDS = sorted(fields(quickstart.get_config()))
TEXTS = st.text(max_size=12) | st.sampled_from(
  ['', '1', '-1', '1e400', 'nan', 'None', 'True', '[]', '()', '(1,', '{}', "''", '~', '~nobody/x',
   'gs://b', '1 steps', '9' * 5000, '(' * 300, '\x1b[2J', '%s', '{x}', 'C:\\a'])


@pytest.mark.filterwarnings('ignore:the load_module')  # as ml_collections loads config files
@settings(deadline=None, max_examples=120, database=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FIELDS), TEXTS, st.sampled_from(['', '.x', '[0]', '.__class__']))
@example('config.seed', '1', '')
@example('config.seed', '\x1b[2J', '')
@example('config.init_from.gnet', 'gs://bucket/a.pth', '')
def test_config_fields(field, text, more):
  values = flags.FlagValues()
  command = ['train.py', f'--config={ROOT}/configs/quickstart.py', f'--{field}{more}={text}']
  err, refused = io.StringIO(), False
  with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(err):
    patch.setattr(flags, 'FLAGS', values)
    patch.setattr(sys, 'argv', command)  # where the flags of fields are looked for
    cli.define_config(values)
    try:
      cli._parse(command)
    except SystemExit as stopped:
      refused = stopped.code == 1
  lines = err.getvalue().splitlines()
  assert len(lines) == 2 * refused and all(line.isprintable() for line in lines)
  if field == 'config.seed' and text == '1' and not more:
    assert not lines and values.config.seed == 1
