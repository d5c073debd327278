"""What is wrong with a command line is one line with the mend."""
import sys

import pytest
from absl import flags
from ml_collections import ConfigDict

from dslope_jax import cli
from input_pipeline import options
from input_pipeline.pictures import panoptic
from tests.refusals import fails

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
  ([_CONFIG, '--config.dta.loader.x=3'], "the config has no field 'dta'; it has data, "),
  ([_CONFIG, '--config.data.loader.a.b=3'], "config.data.loader has no field 'a'; it has "),
  ([_CONFIG, '--config.seed.x=3'], "config.seed is a value, it has no field 'x'"),
  ([_CONFIG, '--config.batch_size=abc'], "config.batch_size: 'abc' is no whole number"),
  ([_CONFIG, '--config.init_from=w.pth'],
   'config.init_from is a section with enet, gnet; write --config.init_from.enet=...'),
  ([_CONFIG, '--config.optim.gnet.lr=abc'], "config.optim.gnet.lr: 'abc' is no number"),
  ([_CONFIG, '--config.evals.val.flip=maybe'],
   "config.evals.val.flip: 'maybe' is neither True nor False"),
])
def test_wrong_flags(arguments, message, monkeypatch, capsys):
  """In this process, on flags of their own."""
  values = flags.FlagValues()
  cli.define_config(values)
  flags.DEFINE_bool('explain', False, '', values)
  flags.mark_flag_as_required('config', values)
  monkeypatch.setattr(sys, 'argv', ['train.py', *arguments])
  monkeypatch.setattr(flags, 'FLAGS', values)
  with pytest.raises(SystemExit):
    cli._parse(sys.argv)
  error, hint = capsys.readouterr().err.splitlines()
  assert error.startswith(f'error: {message}') and 'DSLOPE_TRACEBACK=1' in hint


@pytest.mark.filterwarnings('ignore:.*load_module:DeprecationWarning')
def test_options_that_a_config_lacks_are_taken(monkeypatch):
  values = flags.FlagValues()
  cli.define_config(values)
  path = 'configs/panoptic_hupor.py'
  monkeypatch.setattr(sys, 'argv', [
    'train.py', f'--config={path}', '--config.data.loader.every=3',
    '--config.evals.val.data.loader.cameras=16,30', '--config.system.thresholds.peak=0.2'])
  monkeypatch.setattr(flags, 'FLAGS', values)
  cli._parse(sys.argv)
  config = values.config
  assert config.data.loader.to_dict() == {'visibility': 'proxy', 'every': 3}
  assert config.system.thresholds.peak == 0.2 and config.is_locked
  assert options.checked('panoptic', panoptic.load, {
    'root': 'x', **config.evals.val.data.loader.to_dict()})['cameras'] == '16,30'


def test_ranges_are_of_numbers_and_of_those_in_lists():
  ranges = {'above 0': (lambda x: x > 0, ('a.b', 'a.c[]'))}
  cli.check_ranges(ConfigDict({'a': {'b': 1, 'c': (0.1, 2), 'd': (0,)}}), ranges)
  for wrong in {'b': -1}, {'c': (1, 0)}, {'c': [float('nan')]}:
    (name, value), = wrong.items()
    fails(lambda wrong=wrong: cli.check_ranges(ConfigDict({'a': wrong}), ranges),
          f'config.a.{name} is ', 'must be above 0')
