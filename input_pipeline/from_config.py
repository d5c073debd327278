"""The data that a config names; the only place here that knows a config."""
import json
import os
import zlib

import numpy as np

import input_pipeline
from input_pipeline import occlusion, patches
from input_pipeline.source import Source


def load_source(config, split, **options) -> Source:
  """The people of a split, as `config.data` says where and how; options go before its loader's."""
  data = config.data
  if len(data.size) != 2 or min(data.size) < 1:
    raise ValueError(f'data.size is {data.size}, must be (width, height) in pixels')
  root = {'root': data.root} if 'root' in data else {}
  return input_pipeline.load(data.name, split, aspect=data.size[0] / data.size[1],
                             **(root | data.loader.to_dict() | options))


def unbiased_crops(config) -> bool:
  """Whether crops are cut as the config's codec asks for: see `top_down.udp_affine`."""
  return config.system.codec == 'udp'


def load_train(config):
  """(people to train on, people held out for calibration) of the training split.

  `config.data.holdout` is the share held out; who is, depends on the annotation id alone.
  """
  source, share = load_source(config, config.data.train_split), config.data.holdout
  if not 0 <= share < 1:
    raise ValueError(f'data.holdout is {share}, must be a share of the people, 0 to below 1')
  drawn = np.array([zlib.crc32(b'holdout%d' % i) for i in source.annotation_id.tolist()]) / 2 ** 32
  rows = np.flatnonzero(drawn >= share), np.flatnonzero(drawn < share)
  return (source.subset(rows[0]), source.subset(rows[1])) if share else (source, None)


def load_bank(config, workdir, train_source=None):
  """The patch bank of a run, cut from the training people if it is not there yet; None where no
  recipe of the config needs one. Raises ValueError for an unknown recipe."""
  recipes = [config.data.recipe, *(entry.recipe for entry in config.evals.values())]
  if not any([occlusion.needs_bank(name) for name in recipes]):  # a list: all names are checked
    return None
  folder = (config.data.bank.folder or _recorded_bank(workdir)
            or os.path.join(workdir, 'patches'))
  if not os.path.exists(folder):
    print(f'cutting a patch bank into {folder}', flush=True)
    train_source = train_source or load_train(config)[0]
  return patches.load_or_build(folder, train_source, num_people=config.data.bank.num_people,
                               seed=config.data.bank.seed)


def _recorded_bank(workdir):
  """The bank that the run in this folder was told to use; '' where there is none."""
  path = os.path.join(workdir, 'config.json')
  if not os.path.exists(path):
    return ''
  try:
    with open(path, encoding='utf-8') as f:
      return json.load(f)['data']['bank']['folder']
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(f"'{path}' is broken ({error}); say which bank with "
                     '--config.data.bank.folder=BANK') from None
