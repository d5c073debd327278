"""The data that a config names; the only place here that knows a config."""
import json
import os
import zlib

import numpy as np

from input_pipeline import geometry, sources
from input_pipeline.occlusion import bank as patches
from input_pipeline.occlusion import recipes as occlusion
from input_pipeline.prepared import area, writing
from input_pipeline.prepared import reading as prepared
from input_pipeline.sources.source import Source


def load_source(config, split, **options) -> Source:
  """The people of a split, as `config.data` says where and how; options go before its loader's."""
  data = config.data
  _check_size(data.size)
  root = {'root': data.root} if 'root' in data else {}
  # How the originals are read was settled when crops were prepared.
  loader = {} if data.name == 'prepared' else data.loader.to_dict()
  return sources.load(data.name, split, aspect=data.size[0] / data.size[1],
                             **(root | loader | options))


def _check_size(size):
  if len(size) != 2 or min(size) < 1:
    raise ValueError(f'data.size is {size}, must be (width, height) in pixels')


def unbiased_crops(config) -> bool:
  """Whether crops are cut as the config's codec asks for: see `top_down.udp_affine`."""
  return config.system.codec == 'udp'


def load_train(config):
  """(people to train on, people held out for calibration) of the training split.

  `config.data.holdout` is the share held out; who is, depends on the annotation id alone.
  """
  source, share = _training_people(config), config.data.holdout
  if not 0 <= share < 1:
    raise ValueError(f'data.holdout is {share}, must be a share of the people, 0 to below 1')
  drawn = np.array([zlib.crc32(b'holdout%d' % i) for i in source.annotation_id.tolist()]) / 2 ** 32
  rows = np.flatnonzero(drawn >= share), np.flatnonzero(drawn < share)
  return (source.subset(rows[0]), source.subset(rows[1])) if share else (source, None)


def _training_people(config):
  """Everybody in the training split: the originals, or the crops that `data.prepared` names."""
  data = config.data
  if data.name == 'prepared':
    raise ValueError("data.name 'prepared' is for evaluation; to train on prepared crops name the "
                     'data set they are from and pass --config.data.prepared=DIR')
  if not data.prepared:
    return load_source(config, data.train_split)
  meta = prepared.read_meta(data.prepared, data.train_split)
  prepared.check_fit(meta, crops_asked(config), data.prepared)
  return prepared.load(data.train_split, root=data.prepared, aspect=data.size[0] / data.size[1],
                       ground_truth=data.holdout > 0)


def crops_asked(config) -> dict:
  """What a config asks of prepared crops and of the bank beside them, as JSON has it."""
  data = config.data
  _check_size(data.size)
  return json.loads(json.dumps({
    'name': data.name, 'loader': data.loader.to_dict(), 'size': tuple(data.size),
    'unbiased': unbiased_crops(config), 'augmentation': data.augmentation.to_dict(),
    'bank': {'num_people': data.bank.num_people, 'seed': data.bank.seed},
    'holdout': data.holdout}))


def load_bank(config, workdir, train_source=None):
  """The patch bank of a run, cut from the training people if it is not there yet; None where no
  recipe of the config needs one. Raises ValueError for an unknown recipe."""
  recipes = [config.data.recipe, *(entry.recipe for entry in config.evals.values())]
  if not any([occlusion.needs_bank(name) for name in recipes]):  # a list: all names are checked
    return None
  folder = (config.data.bank.folder or _prepared_bank(config) or _recorded_bank(workdir)
            or os.path.join(workdir, 'patches'))
  if not os.path.exists(folder):
    print(f'cutting a patch bank into {folder}', flush=True)
    train_source = train_source or load_train(config)[0]
  return patches.load_or_build(folder, train_source, num_people=config.data.bank.num_people,
                               seed=config.data.bank.seed)


def _prepared_bank(config):
  """The bank beside the prepared crops that the config names; '' where it names none."""
  root = config.data.prepared
  if not root:
    return ''
  folder = os.path.join(root, 'patches')
  if not os.path.exists(folder):
    raise ValueError(f"'{root}' has no patch bank, which a recipe of this config needs; "
                     'prepare again with this config, which adds it, or pass '
                     '--config.data.bank.folder=BANK')
  prepared.check_bank(prepared.read_meta(root, config.data.train_split), crops_asked(config),
                      folder)
  return folder


def recorded_holdout(config, workdir) -> float:
  """The share that the run in this folder held out, which is what to calibrate on.

  0 where the config names prepared crops to evaluate, since those to train on are not known then.
  Raises ValueError where the config asks for another one: people it trained on would be in it.
  """
  if config.data.name == 'prepared':
    return 0.0
  share = _recorded(workdir).get('holdout', config.data.holdout)
  if config.data.holdout not in (0, share):
    raise ValueError(f"data.holdout is {config.data.holdout}, but the run in '{workdir}' held out "
                     f'{share} of its people; leave the field away, it is known')
  return share


def _recorded_bank(workdir):
  """The bank that the run in this folder was told to use; '' where there is none."""
  data = _recorded(workdir)
  beside = data.get('prepared') and os.path.join(data['prepared'], 'patches')
  return data.get('bank', {}).get('folder') or beside or ''


def _recorded(workdir) -> dict:
  """The section `data` of the config of the run in this folder; empty where there is none."""
  path = os.path.join(workdir, 'config.json')
  if not os.path.exists(path):
    return {}
  try:
    with open(path, encoding='utf-8') as f:
      data = json.load(f)['data']
    if not isinstance(data, dict) or not isinstance(data.get('bank', {}), dict):
      raise TypeError("its section 'data' has another form")
    return data
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(f"'{path}' is broken ({error}); get it back from a copy, or remove it and say "
                     'which bank with --config.data.bank.folder=BANK') from None


def prepare(config, out, split=None, *, num_workers=0, quality=95, detail=2.0):
  """Prepares a split of a config (that for training unless said), and the patch bank if the
  config needs one and names none."""
  if config.data.prepared:
    raise ValueError('data.prepared is set; crops are prepared from the originals, leave it empty')
  split = split or config.data.train_split
  source, asked = load_source(config, split), crops_asked(config)
  settings = area.Settings(
    tuple(asked['size']), geometry.Augmentation(**asked['augmentation']),
    asked['unbiased'], detail, quality)
  rest = {name: asked[name] for name in ('name', 'loader', 'bank', 'holdout')}
  print(writing.write(source, out, settings, num_workers=num_workers, **rest))
  if split == config.data.train_split and not config.data.bank.folder:
    load_bank(config, out)
