"""The people that a config names: to train on, held out, to evaluate; and their patch bank."""
import concurrent.futures
import dataclasses
import functools
import os

import numpy as np

from dslope_jax import own_files, plausibility
from dslope_jax.errors import UserError
from dslope_jax.tasks.base import data_set, describe_loader
from dslope_jax.training import workdir as workdirs
from input_pipeline import geometry, sources
from input_pipeline.occlusion import bank as patch_bank
from input_pipeline.occlusion import mixtures, recipes
from input_pipeline.prepared import area, writing
from input_pipeline.prepared import reading as prepared
from input_pipeline.sources import findings, held_out
from input_pipeline.sources.source import Source


def load_source(config, split, data=None) -> Source:
  """The people of a split; what looks wrong with them is printed. data: as for `read_source`."""
  return told(read_source(config, split, data))


def read_source(config, split, data=None) -> Source:
  """The people of a split.

  data: section `evals.NAME.data`; its empty fields are those of `config.data`.
  """
  name, root, loader = _where(config, data)
  return sources.load(name, split, aspect=_aspect(config), **({'root': root} if root else {}),
                      **loader)


def told(source: Source) -> Source:
  """The same source; its findings are printed, each once in a process."""
  for found in source.findings:
    _print_once(f'warning: {source.name} {source.split}: {plausibility.line(found)}')
  return source


@functools.cache
def _print_once(text):
  print(text, flush=True)


def _aspect(config):
  size = config.data.size
  if len(size) != 2 or min(size) < 1:
    raise UserError(f'data.size is {size}, must be (width, height) in pixels')
  return size[0] / size[1]


def _where(config, data):
  """See `data_set`; how the originals are read was settled when crops were prepared."""
  name, root, options = data_set(config, data)
  return name, root, {} if name == 'prepared' else options


def loader_of(config, data) -> str:
  """How an evaluation's people are read, for its stamp."""
  return describe_loader(_where(config, data)[2])


def padding_of(config, data) -> float:
  """By how much boxes of this data set are enlarged."""
  return _where(config, data)[2].get('padding', 1.25)


def unbiased_crops(config) -> bool:
  """Whether crops are cut as the config's codec asks for: see `geometry.udp_affine`."""
  return config.system.codec == 'udp'


def load_train(config):
  """(people to train on, people held out for calibration or None) of the training split; see
  `held_out.split`."""
  return held_out.split(_training_people(config), config.data.holdout)


def load_held_out(config):
  """The people that a run held out, by its own config; None if it held out nobody."""
  return load_train(config)[1] if config.data.holdout else None


def without(source: Source | None, scored: Source) -> Source | None:
  """People who are not on any picture of another set: nobody who is scored is calibrated on.

  Picture files of one number and name are the same, in whatever folder.
  """
  if source is None:
    return None
  name = lambda file: os.path.basename(file) if os.path.splitext(file)[1] else file
  pictures = lambda people: zip(people.image_id.tolist(), map(name, people.file.tolist()),
                                strict=True)
  seen = set(pictures(scored))
  rows = [i for i, picture in enumerate(pictures(source)) if picture not in seen]
  return source.subset(rows) if rows else None


def with_unreadable(source: Source) -> Source:
  """The source with a finding of the picture files that cannot be read, if there are any: an
  evaluation of it would be refused, hours after the start. Reads every file once."""
  files, rows = np.unique(source.file, return_index=True)
  rows = [row for file, row in zip(files.tolist(), rows.tolist(), strict=True)
          if os.path.isfile(file)]

  def reason(row):  # pictures that wait for their turn would fill the memory
    try:
      source.read(row)
    except OSError as error:
      return str(error)

  with concurrent.futures.ThreadPoolExecutor() as pool:
    broken = {row: text for row, text in zip(rows, pool.map(reason, rows), strict=True) if text}
  found = plausibility.findings(
    'unreadable-pictures', 'warning', '{} pictures cannot be read, so the evaluation will be '
    f'refused; the first: {next(iter(broken.values()), None)}', np.array(list(broken), int),
    source.image_id, 'get them again while the networks train (the ids are of pictures)')
  return told(dataclasses.replace(source, findings=(*source.findings, *found)))


def _training_people(config):
  """Everybody in the training split: the originals, or the crops that `data.prepared` names."""
  data = config.data
  if data.name == 'prepared':
    raise UserError("data.name 'prepared' is for evaluation; to train on prepared crops name the "
                    'data set they are from and pass --config.data.prepared=DIR')
  if not data.train_split:
    raise UserError(f'this config has no training split (data.train_split): {data.name} is for '
                    'testing; train with another config, such as configs/ccoco_hrnet.py, and '
                    'evaluate that run with this one and --workdir')
  if not data.prepared:
    return load_source(config, data.train_split)
  aspect, meta = _aspect(config), prepared.read_meta(data.prepared, data.train_split)
  prepared.check_fit(meta, crops_asked(config), data.prepared)
  return told(findings.checked(prepared.load(
    data.train_split, root=data.prepared, aspect=aspect, ground_truth=data.holdout > 0)))


def crops_asked(config) -> dict:
  """What a config asks of prepared crops and of the bank beside them, as JSON has it."""
  data = config.data
  return own_files.as_json({
    'name': data.name, 'loader': data.loader.to_dict(), 'size': tuple(data.size),
    'unbiased': unbiased_crops(config), 'augmentation': data.augmentation.to_dict(),
    'bank': {'num_people': data.bank.num_people, 'seed': data.bank.seed},
    'holdout': data.holdout})


def load_bank(config, workdir, train_source=None, recipe_names=(), scored=None):
  """`bank_of` the training people, which are loaded where they are not given.

  scored: the people that are evaluated, whose patches stand in where published weights meet a
  folder without a training split. Published weights meet several folders: each has its own bank.
  """
  @functools.cache
  def people():
    if train_source is not None:
      return train_source
    if config.data.get('root') == '':  # of published weights
      raise UserError('a recipe needs patches, and these weights do not know where the pictures '
                      'are that they were trained on; pass --config.data.bank.folder=BANK, which '
                      'tools/cut_bank.py makes')
    if 'published' not in config:
      return load_train(config)[0]
    try:
      return _lenders(config)
    except FileNotFoundError as error:
      if scored is None:
        raise
      print(f"no patches from the split '{config.data.train_split}' ({error}): they are cut from "
            'the people that are scored. To take others, pass --config.data.bank.folder=BANK')
      return scored

  of_people = lambda: f'patches_{people().split}_{people().digest}'
  return bank_of(config, workdir, people, recipe_names,
                 of_people if 'published' in config else lambda: 'patches')


def _lenders(config):
  """The training people of a folder that published weights meet, whose patches they are tested
  with; all where they are too few to hold out as many as in training."""
  source = _training_people(config)
  try:
    return held_out.split(source, config.data.holdout)[0]
  except UserError:
    return source


def bank_of(config, workdir, people, recipe_names=(), name=lambda: 'patches'):
  """The patch bank of a run, cut from people if it is not there yet; None where no recipe needs
  one. Raises UserError for an unknown recipe.

  people: function () -> their `Source`. recipe_names: of what will be drawn; default all of the
  config. name: function () -> that of a bank of its own in workdir.
  """
  names = recipe_names or [*mixtures.stages(config.data.recipe),
                           *(e.recipe for e in config.evals.values())]
  if not any([recipes.needs_bank(name) for name in names]):  # a list: all names are checked
    return None
  folder = (config.data.bank.folder or _prepared_bank(config) or recorded_bank(workdir)
            or os.path.join(workdir, name()))
  if not os.path.exists(folder):
    source = people()
    print(f'cutting a patch bank into {folder}', flush=True)
    patch_bank.build(folder, [source], num_people=config.data.bank.num_people,
                     seed=config.data.bank.seed)
  bank = patch_bank.PatchBank(folder)
  for name in names:
    recipes.check_bank(name, bank)
  return bank


def _prepared_bank(config):
  """The bank beside the prepared crops that the config names; '' where it names none."""
  root = config.data.get('prepared')
  if not root:
    return ''
  folder = os.path.join(root, 'patches')
  if not os.path.exists(folder):
    raise UserError(f"'{root}' has no patch bank, which a recipe of this config needs; "
                    'prepare again with this config, which adds it, or pass '
                    '--config.data.bank.folder=BANK')
  prepared.check_bank(prepared.read_meta(root, config.data.train_split), crops_asked(config),
                      folder)
  return folder


def recorded_bank(workdir):
  """The bank that the run in this folder was told to use; '' where there is none."""
  if not os.path.exists(os.path.join(workdir, 'config.json')):
    return ''
  data = workdirs.read_config(workdir)['data']
  bank = data.get('bank')
  beside = data.get('prepared') and os.path.join(data['prepared'], 'patches')
  return (bank.get('folder') if isinstance(bank, dict) else '') or beside or ''


def prepare(config, out, split=None, *, num_workers=0, quality=95, detail=2.0):
  """Prepares a split of a config (that for training unless said), and the patch bank if the
  config needs one and names none."""
  if config.data.prepared:
    raise UserError('data.prepared is set; crops are prepared from the originals, leave it empty')
  split = split or config.data.train_split
  source, asked = load_source(config, split), crops_asked(config)
  settings = area.Settings(
    tuple(asked['size']), geometry.Augmentation(**asked['augmentation']),
    asked['unbiased'], detail, quality)
  rest = {name: asked[name] for name in ('name', 'loader', 'bank', 'holdout')}
  print(writing.write(source, out, settings, num_workers=num_workers, **rest))
  if split == config.data.train_split and not config.data.bank.folder:
    load_bank(config, out)
