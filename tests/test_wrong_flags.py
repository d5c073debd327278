"""What is wrong with a command line is one line with the mend."""
import sys

import pytest
from absl import flags
from ml_collections import config_flags

from dslope_jax import cli

_CONFIG = '--config=configs/quickstart.py'


@pytest.mark.filterwarnings('ignore:.*load_module:DeprecationWarning')  # of ml_collections
@pytest.mark.parametrize(('arguments', 'message'), [
  ([], 'give --config FILE, such as configs/quickstart.py'),
  (['--config=ccoco_hrne.py'],
   "no config file 'ccoco_hrne.py'; did you mean 'configs/ccoco_hrnet.py'? Any file"),
  (['--config=configs/ccoco_hrnet.py:w49'], "config argument 'w49' is none of w32, w48, "),
  ([_CONFIG, '--batch_size=3'], "Unknown command line flag 'batch_size'; did you mean "
   '--config.batch_size, --config.evals.val.batch_size?'),
  ([_CONFIG, '--explain', 'optim'], "'optim' is no --flag; write --explain=optim"),
  ([_CONFIG, 'more'], "'more' is no --flag"),
  ([_CONFIG, '--config.optim.lr=3'],
   "config.optim has no field 'lr'; it has enet.lr, gnet.lr, enet, gnet"),
  (['--config=configs/ccoco_hrnet.py', '--config.evals.val.data.loader.padding=2'],
   "config.evals.val.data.loader has no field 'padding'; it has none: set it in a config of your"),
  ([_CONFIG, '--config.seed.x=3'], "config.seed is a value, it has no field 'x'"),
  ([_CONFIG, '--config.batch_size=abc'], "config.batch_size: 'abc' is no whole number"),
  ([_CONFIG, '--config.optim.gnet.lr=abc'], "config.optim.gnet.lr: 'abc' is no number"),
  ([_CONFIG, '--config.evals.val.flip=maybe'],
   "config.evals.val.flip: 'maybe' is neither True nor False"),
])
def test_wrong_flags(arguments, message, monkeypatch, capsys):
  """In this process, on flags of their own."""
  values = flags.FlagValues()
  config_flags.DEFINE_config_file('config', None, lock_config=True, flag_values=values)
  flags.DEFINE_bool('explain', False, '', values)
  flags.mark_flag_as_required('config', values)
  monkeypatch.setattr(sys, 'argv', ['train.py', *arguments])
  monkeypatch.setattr(flags, 'FLAGS', values)
  with pytest.raises(SystemExit):
    cli._parse(sys.argv)
  error, hint = capsys.readouterr().err.splitlines()
  assert error.startswith(f'error: {message}') and 'DSLOPE_TRACEBACK=1' in hint
