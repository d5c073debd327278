"""--explain: every field of every config has a text, and every text a field."""
import fnmatch
import importlib
import pathlib
import subprocess
import sys

import pytest
from absl import flags

from configs import common
from configs.fields import FIELDS
from dslope_jax import explain
from dslope_jax.errors import UserError
from input_pipeline import sources
from tests.refusals import fails

ROOT = pathlib.Path(__file__).parent.parent
NAMES = sorted(p.stem for p in (ROOT / 'configs').glob('*.py')
               if p.stem not in ('__init__', 'common', 'fields'))


def words(get_config, before=''):
  """The words that may stand after the colon, as the refusal of another one lists them."""
  try:
    get_config(f'{before}no-such-word')
  except UserError as error:
    return str(error).split(' is none of ')[1].split(', ')
  except TypeError:
    return []  # takes no words


def configs(name):
  """{argument: config} with each word alone; of protocols.py, after the first protocol."""
  get_config = importlib.import_module(f'configs.{name}').get_config
  first = words(get_config)
  second = [f'{first[0]},{word}' for word in words(get_config, f'{first[0]},')
            ] if name == 'protocols' else []
  return {'': get_config()} | {word: get_config(word) for word in [*first, *second]}


@pytest.mark.parametrize('name', NAMES)
def test_every_field_has_a_text(name):
  found = configs(name)
  assert len(found) > 1
  for argument, config in found.items():
    missing = [field for field, _, meaning in explain.fields(config, FIELDS)
               if len(meaning) < 6]
    assert not missing, f'{name}:{argument}'
    assert not [field for field, _, meaning in explain.fields(config, FIELDS)
                if 'of `attention_blocks.Form`' in meaning or 'of `entangled.Model`' in meaning]


def test_every_text_has_a_field():
  fields = {field for name in NAMES for config in configs(name).values()
            for field, _, _ in explain.fields(config, FIELDS)}
  assert not [pattern for pattern in FIELDS if not fnmatch.filter(fields, pattern)]


def test_texts_come_from_the_docstring_that_the_config_names():
  meanings = {field: meaning for field, _, meaning in explain.fields(
    importlib.import_module('configs.quickstart').get_config(), FIELDS)}
  assert meanings['optim.enet.lr'] == FIELDS['optim.*.lr']
  assert meanings['system.mutual.temperature'] == "of the softmax in 'kl'"
  assert "GNet's loss" in meanings['system.mutual.weights.gnet']
  assert "ENet's loss" in meanings['system.mutual.weights.enet']
  assert 'highest-resolution branch' in meanings['system.model.width']
  assert meanings['data.loader.size'] == '(W, H) of each picture in pixels'
  assert meanings['evals.val.data.loader.num_people'] == 'how many, one a row'
  assert explain.arguments(sources.loader('crowdpose'))['annotations'].startswith('json file')


def test_only_what_begins_so():
  config = common.dslope()
  shown = explain.text('optim.enet.w', config, FIELDS).splitlines()[1:]
  assert [line.split(' = ')[0] for line in shown if not line.startswith(' ')] == [
    'optim.enet.warmup', 'optim.enet.warmup_from', 'optim.enet.weight_decay']
  assert "optim.enet.warmup = '0 steps'" in shown and max(map(len, shown)) <= 100
  everything = explain.text('true', config, FIELDS)
  assert len(everything) > 5000 and explain.text('config.', config, FIELDS) == everything
  fails(lambda: explain.text('opitm', config, FIELDS), 'opitm', 'optim')


def test_a_command_without_config_has_its_flags(monkeypatch):
  own = flags.FlagValues()
  for name, module in (('out', sys.argv[0]), ('coordinator', 'dslope_jax.cli'), ('port', 'absl')):
    flags.DEFINE_string(name, None, f'the {name}', flag_values=own, module_name=module)
  monkeypatch.setattr(flags, 'FLAGS', own)
  assert explain.text('true').splitlines() == ['--out = None', '    the out',
                                               '--coordinator = None', '    the coordinator']
  fails(lambda: explain.text('x'), "'x'", '--out', '--coordinator')


def test_the_command_prints_and_leaves(tmp_path):
  def run(script, *options):
    command = [sys.executable, ROOT / script, '--config', f'{ROOT}/configs/quickstart.py', *options]
    out = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    return out.returncode, out.stdout + out.stderr

  code, text = run('train.py', '--explain=optim.enet.l', '--config.optim.enet.lr=0.5')
  assert code == 0 and 'optim.enet.lr = 0.5\n    learning rate of Adam after the warm-up' in text
  assert 'optim.gnet' not in text and not list(tmp_path.iterdir())
  code, text = run('eval.py', '--explain')
  assert code == 0 and 'evals.val.metric = ' in text and '--workdir = None\n' in text
