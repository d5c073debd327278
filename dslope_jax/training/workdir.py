"""The folder of a run: its lock, its config, and the facts of the data it was trained on."""
import dataclasses
import errno
import fcntl
import os
import pathlib
import sys
from typing import NotRequired, TypedDict

import jax
from ml_collections import ConfigDict

from dslope_jax import own_files, skeletons
from dslope_jax.errors import UserError, quoted
from dslope_jax.systems.base import Facts

# Fields of every run that may differ between its sessions: they change what is reported, never the
# parameters; remat only their rounding.
_FREE = ('version', 'log_every', 'save_every', 'eval_every', 'keep', 'evals.', 'remat')
# What the command line decides; all else is as the run was trained.
_OF_EVALUATION = ('evals.', 'data.name', 'data.root', 'data.loader', 'data.num_workers',
                  'data.patience', 'data.bank.folder')
# Sections of which the fields are not the same in every run.
_OPEN = ('system.', 'optim.', 'init_from.', 'evals.', 'data.loader.', 'data.root')
_MEND = ('give the workdir of a training run; get the file back from a copy, choose another '
         '--workdir, or remove the file if the config is the same as before')
_FORM = 1  # of config.json and facts.json; raised when they change


class _System(TypedDict):
  name: str
  model: NotRequired[dict]


class _Data(TypedDict):
  name: str
  loader: dict
  root: NotRequired[str]
  prepared: NotRequired[str]
  bank: NotRequired[dict]


class _Config(TypedDict):
  data: _Data
  system: _System


class _StoredFacts(TypedDict):
  skeleton: skeletons.Fields | None
  size: tuple[int, int]
  frames: int
  classes: int
  digest: str
  checksum: NotRequired[int]  # of the other fields


def claim(workdir):
  """Makes the folder and locks it against a second run; returns what keeps the lock.

  Raises OSError if it cannot be written, UserError if another run holds it.
  """
  if '://' in str(workdir):
    raise UserError(f"workdir '{workdir}' is an address; a run writes to a folder that all its "
                    'hosts share: mount the bucket, and name the folder')
  try:
    os.makedirs(workdir, exist_ok=True)
    lock = open(os.path.join(workdir, 'lock'), 'a')  # noqa: SIM115 - open as long as the run
  except OSError as error:
    raise OSError(f"cannot write to workdir '{workdir}' ({error.strerror}); choose another with "
                  '--workdir') from None
  if jax.process_index() == 0:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
        print(f"warning: the file system of '{workdir}' has no locks ({error.strerror}); take care "
              'that no other run writes there', file=sys.stderr, flush=True)
        return lock
      lock.close()
      raise UserError(f"another run is writing to '{workdir}'; stop it or choose another "
                      '--workdir') from None
  return lock


def check_config(config, workdir, allow_change, free=(), settled=None):
  """Writes the config to a new workdir; in an old one refuses a config that differs from its own.

  free: beginnings of the task's fields that may differ. settled: {folder of the workdir: beginnings
  of the fields that it was made from}; before the first checkpoint only these must stay, so that a
  run that stopped for a mistake in its config can be started again when the mistake is mended.
  Raises UserError naming the fields that differ.
  """
  path = pathlib.Path(workdir) / 'config.json'
  now = {'version': _FORM} | own_files.as_json(config.to_dict())
  if path.exists():
    old, new = dict(_flat(read_config(workdir))), dict(_flat(now))
    matters = _what_matters(path.parent, settled or {})
    changed = [f'{k}: {old.get(k, "absent")} -> {new.get(k, "absent")}'
               for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k)
               and k.startswith(matters) and not k.startswith((*_FREE, *free))]
    if changed and not allow_change and not _has_checkpoints(path.parent):
      made = ', '.join(f"'{path.parent / folder}'" for folder in settled
                       if (path.parent / folder).exists())
      raise UserError(f"{made} was made with another config ({'; '.join(changed)}), and nothing "
                      'was trained: remove it to have it made anew, or choose another --workdir')
    if changed and not allow_change:
      raise UserError(f"'{workdir}' was made with another config ({'; '.join(changed)}). Choose "
                      'another --workdir, or pass --allow_config_change to go on with this one')
  _write(path, now)


def read_config(workdir) -> dict:
  """The config of the run in this folder. Raises FileNotFoundError or UserError, one line."""
  return own_files.read_json(os.path.join(workdir, 'config.json'), _Config, _MEND, _FORM)


def check_facts(workdir, facts: Facts, digest: str, allow_change=False):
  """Writes what the training data tell to a new workdir; in an old one the data must be the same.

  digest: of all training samples. Raises UserError where annotations changed since.
  """
  path = os.path.join(workdir, 'facts.json')
  now = own_files.as_json({'version': _FORM} | _fields_of(facts) | {'digest': digest})
  if os.path.exists(path):
    before = _stored_facts(path)
    if before != now and not allow_change and _has_checkpoints(pathlib.Path(workdir)):
      raise UserError(f"the training data are not those that '{workdir}' was trained on (digest "
                      f'{quoted(before["digest"])}, now {digest}); get the annotations back, '
                      'choose another --workdir, or pass --allow_config_change to go on with these')
  _write(pathlib.Path(path), now | {'checksum': own_files.checksum(now)})


def _stored_facts(path):
  """The fields of facts.json but the checksum, which must be theirs: a joint that was moved or a
  pair that was exchanged by hand gives poses that look right."""
  fields = own_files.read_json(path, _StoredFacts, _MEND, _FORM)
  with own_files.told(path, f'it was changed since it was written: {_MEND}'):
    stated = fields.pop('checksum', None)
    if stated is not None and stated != own_files.checksum(fields):
      raise ValueError('its checksum is not that of its fields')
  return fields


def write_findings(workdir, found):
  """Keeps `Task.findings`, what looked wrong with the data, in findings.json."""
  _write(pathlib.Path(workdir) / 'findings.json',
         {name: [finding._asdict() for finding in of] for name, of in found.items()})


def read_facts(workdir) -> Facts:
  """The facts of the run in this folder. Raises FileNotFoundError or UserError, one line."""
  path = os.path.join(workdir, 'facts.json')
  fields = _stored_facts(path)
  with own_files.told(path, _MEND):
    skeleton = fields['skeleton'] and skeletons.from_fields(fields['skeleton'])
    size = tuple(fields['size'])
  config = read_config(workdir) if os.path.exists(os.path.join(workdir, 'config.json')) else {}
  trained = config.get('data', {}).get('size')
  if trained and any(size) and size != tuple(trained):
    raise UserError(f"'{path}' tells of crops of {size}, and config.json of {tuple(trained)}; "
                    f'{_MEND}')
  return Facts(skeleton, size, fields['frames'], fields['classes'])


def settings(folder) -> ConfigDict:
  """The config of the run in this folder, as it was trained; raises as `read_config`."""
  return ConfigDict(_with_tuples(read_config(folder)))


def settings_to_evaluate(config, folder, given=None):
  """The config of a run, with the sets that another config evaluates on.

  given: the fields that a command line sets; None where all of `config` is meant. Without a
  data.root among them, and with the run's own data set, root and loader are the run's, too.
  Raises UserError where `given` contradicts the run, and for a config of another task.
  """
  run = read_config(folder)
  if run.get('task') != config.task:
    raise UserError(f"'{folder}' is of the task '{run.get('task')}', and the config of "
                    f"'{config.task}'; give a config of the same task")
  _check_fields(run, config, os.path.join(folder, 'config.json'))
  for field, value in (given or {}).items():
    if not field.startswith(_OF_EVALUATION):
      trained = _field(run, field)
      if trained != (list(value) if isinstance(value, tuple) else value):
        raise UserError(f"{field} is {value}, but the run in '{folder}' was trained with "
                        f'{trained}; leave the field away, it is known')
  data, own = config.data, run['data']
  section = {'name': data.name, 'root': data.get('root', ''), 'loader': data.loader.to_dict()}
  if given is not None and 'data.root' not in given and data.name == own['name']:
    options = {field.rpartition('.')[2]: value for field, value in given.items()
               if field.startswith('data.loader.')}
    section |= {'root': own.get('root') or section['root'], 'loader': own['loader'] | options}
  if data.name == own['name'] and section['root']:
    own['root'] = section['root']  # it may have moved; the held-out people are there, too
  own |= {'num_workers': data.num_workers, 'patience': data.patience}
  if given and 'data.bank.folder' in given:
    own['bank']['folder'] = given['data.bank.folder']
  evals = {}
  for name, entry in config.evals.items():
    entry = entry.to_dict()
    if not entry['data']['name']:
      entry['data'] = {'name': section['name'], 'root': entry['data']['root'] or section['root'],
                       'loader': section['loader'] | entry['data']['loader']}
    evals[name] = entry
  if 'published' in run and 'data.root' not in (given or {}):
    # Published weights do not know where their data are: patches are cut from those beside.
    roots = [entry['data']['root'] for entry in evals.values()
             if entry['data']['name'] == own['name'] and entry['data']['root']]
    own |= {'root': roots[0]} if roots else {}
  return ConfigDict(_with_tuples(run | {'evals': evals}))


def _with_tuples(value):
  """JSON has lists for tuples."""
  if isinstance(value, dict):
    return {k: _with_tuples(v) for k, v in value.items()}
  return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _field(tree, path):
  for part in path.split('.'):
    tree = tree.get(part) if isinstance(tree, dict) else None
  return tree


def _fields_of(facts):
  skeleton = facts.skeleton and dataclasses.asdict(facts.skeleton)
  return facts._asdict() | {'skeleton': skeleton}


def _check_fields(run, config, path):
  """Raises UserError where a stored config lacks a field that every config of its task has, or has
  another kind of value there."""
  stored = dict(_flat(run))
  for field, value in _flat(own_files.as_json(config.to_dict())):
    if field.startswith((*_FREE, *_OPEN)):
      continue
    if field not in stored:
      raise UserError(f"'{path}' is broken (it has no {field}); {_MEND}")
    if _kind(stored[field]) != _kind(value):
      raise UserError(f"'{path}' is broken ({field} is {quoted(stored[field])}); {_MEND}")


def _kind(value):
  return float if type(value) is int else type(value)


def _write(path, value):
  """By process 0."""
  if jax.process_index() == 0:
    own_files.write_json(path, value)


def _has_checkpoints(workdir):
  return (workdir / 'checkpoints').is_dir() and any((workdir / 'checkpoints').iterdir())


def _what_matters(workdir, settled):
  """Beginnings of the fields that what lies in a workdir depends on."""
  if _has_checkpoints(workdir):
    return ('',)
  return tuple(field for folder, fields in settled.items() if (workdir / folder).exists()
               for field in fields)


def _flat(tree, prefix=''):
  for key, value in tree.items():
    if isinstance(value, dict):
      yield from _flat(value, f'{prefix}{key}.')
    else:
      yield prefix + key, value
