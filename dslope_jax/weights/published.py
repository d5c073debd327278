"""Published folders: what a run's networks need to predict and to be scored, without its data.

config.json and facts.json are those of the run, calibration.json is that of an evaluation of it;
'published' in the config tells the step. model.safetensors has the published PyTorch names of the
one network, or of several with 'NETWORK.' before them; what PyTorch has none for keeps our names.
"""
import filecmp
import os
import shutil

import flax.traverse_util
import jax
import numpy as np
from ml_collections import ConfigDict

from dslope_jax import models, own_files
from dslope_jax.errors import UserError, quoted
from dslope_jax.systems.base import HALVES
from dslope_jax.training import workdir as workdirs
from dslope_jax.visibility import PROBABILITIES
from dslope_jax.weights import files, pytorch

_TEXTS = ('config.json', 'facts.json', 'calibration.json')


def is_published(folder) -> bool:
  """Whether it is a folder that `write` wrote. UserError for one that asks for code elsewhere."""
  if not all(os.path.isfile(os.path.join(folder, name))
             for name in ('model.safetensors', 'facts.json')):
    return False
  config = workdirs.read_config(folder)
  if 'published' in config and '.' in str(config.get('task')):
    raise UserError(f"'{folder}' was trained by a task of its own (config.json), whose code is not "
                    'run for published weights')
  return 'published' in config


def named_networks(folder) -> list[str]:
  """Networks whose names a published folder's weights carry: none where it has only one, or is no
  published folder."""
  networks = list(workdirs.read_config(folder)['optim']) if is_published(folder) else []
  return networks if len(networks) > 1 else []


def write(folder, config: ConfigDict, facts: dict, networks: dict, weights: dict, step: int,
          calibration=None):
  """Writes a published folder, config.json last, which tells the checksum of the weights.

  config, facts: of the run's files; folders of this machine are left out. networks: of the system.
  weights: {'params': {network: tree}, 'batch_stats': ...}. calibration: see `confidences`.
  """
  tensors = {}
  for name, network in networks.items():
    model, _ = models.describe(network)
    own = {kind: jax.device_get(tree[name]) for kind, tree in weights.items()}
    before = _before(name, networks)
    named = _flat(own) if models.trait(model, 'OWN_NAMES') else pytorch.to_state_dict(model, own)
    tensors |= {before + key: value for key, value in named.items()}
  os.makedirs(folder, exist_ok=True)
  pytorch.save_tensors(folder, tensors)
  about = {'step': step, 'sha256': files.sha256(os.path.join(folder, 'model.safetensors'))}
  texts = {'facts.json': facts} | ({'calibration.json': calibration} if calibration else {})
  for name, value in (texts | {'config.json': _portable(config.to_dict()) | {
      'published': about}}).items():
    own_files.write_json(os.path.join(folder, name), value)


def _flat(weights):
  """{'hidden.kernel': array} of the weights of a network; what it does not learn is named
  'batch_stats.NAME'."""
  tree = weights['params'] | ({'batch_stats': weights['batch_stats']} if weights['batch_stats']
                              else {})
  return {key: np.asarray(leaf) for key, leaf in
          flax.traverse_util.flatten_dict(tree, sep='.').items()}


def _nested(named):
  """Inverse of `_flat`."""
  tree = flax.traverse_util.unflatten_dict(named, sep='.')
  return {'batch_stats': tree.pop('batch_stats', {}), 'params': tree}


def of_own_names(path, network: str, fresh: dict) -> dict:
  """The weights of a network whose file has our names, of a published folder or its file.

  network: which of several in it, or ''. fresh: {'params', 'batch_stats'} of this form.
  Raises OSError or UserError, one line, also where the forms differ.
  """
  file = os.path.join(path, 'model.safetensors') if os.path.isdir(path) else path
  found, needed = files.read(file, network), _flat(jax.device_get(fresh))
  for key in sorted({*found, *needed}):
    told = [tuple(table[key].shape) if key in table else 'absent' for table in (found, needed)]
    if told[0] != told[1]:
      raise UserError(f"'{file}': {quoted(key)} is {told[0]}, and {told[1]} in the network of this "
                      'config; take the config that it was trained with')
  return _nested(found)


def _before(name, networks):
  """What is before the keys of a network."""
  return f'{name}.' if len(networks) > 1 else ''


def _portable(tree):
  """A config without folders of the machine that it was used on."""
  out = {}
  for key, value in tree.items():
    if isinstance(value, dict):
      out[key] = _portable(value)
    elif isinstance(value, str) and (key in ('root', 'prepared', 'folder') or os.path.isabs(value)):
      out[key] = '' if key in ('root', 'prepared', 'folder') else os.path.basename(value)
    else:
      out[key] = value
  return out


def read(folder, networks: dict, size):
  """(weights of these networks as `write` got them, step) of a published folder.

  Raises OSError or UserError, one line, where it is broken.
  """
  about, path = workdirs.read_config(folder)['published'], os.path.join(folder, 'model.safetensors')
  if about.get('sha256') != files.sha256(path):
    raise UserError(f"'{path}' is not the file that was published; get the "
                    'folder again')
  out, tensors = {'params': {}, 'batch_stats': {}}, files.read(path)
  for name, network in networks.items():
    model, arguments = models.describe(network)
    before = _before(name, networks)
    own = {key.removeprefix(before): value for key, value in tensors.items()
           if key.startswith(before)}
    if models.trait(model, 'OWN_NAMES'):
      for kind, of_kind in _nested(own).items():
        out[kind][name] = of_kind
      continue
    try:
      converted = pytorch.convert_any(model, arguments, own, size)
    except UserError as error:
      raise UserError(f"'{path}': {error}") from None
    if converted.fresh:
      raise UserError(f"'{folder}': {name} has no head; get it again")
    for kind, of_kind in out.items():
      of_kind[name] = converted.variables.get(kind, {})
  return out, about['step']


def adopt(folder, workdir):
  """Makes a folder a work folder of published weights, to write their evaluation to.

  Raises UserError where it is one of others.
  """
  path, answer = files.split_network(str(folder))
  if answer:
    raise UserError(f"'{folder}': give '{path}' alone; all its networks and mixtures are scored")
  if not is_published(folder):
    raise UserError(f"'{folder}' is no published folder (tools/publish.py makes one); to evaluate "
                    'a run give --workdir')
  os.makedirs(workdir, exist_ok=True)
  for name in _TEXTS:
    own, other = os.path.join(workdir, name), os.path.join(folder, name)
    there, given = os.path.exists(own), os.path.exists(other)
    if there and not (given and filecmp.cmp(own, other, shallow=False)):
      raise UserError(f"'{workdir}' is the work folder of other weights ({name} differs); choose "
                      'another --workdir')
    if given and not there:
      shutil.copyfile(other, own)


def of_half(config: ConfigDict, weights, calibration, half):
  """(config, weights, calibration) of one network of a pair, as of a run of a plain network 'net'.

  half: 'gnet' or 'enet'.
  """
  if half not in HALVES:
    raise UserError(f'{quoted(half)} is no half of a pair, and does not answer alone; publish the '
                    'run as a whole: name no network')
  config, system = ConfigDict(config.to_dict()), config.system.to_dict()
  if system.get('shared'):
    raise UserError("the run has one network 'net' with two heads; publish the pair, and name the "
                    'head where it is used, as in DIR:enet')
  rest = {k: v for k, v in system.items() if k not in ('mutual', 'learner', 'shared', 'model')}
  config.system = ConfigDict(rest | {
    'name': system.get('learner', 'heatmap'), 'view': HALVES[half],
    'model': models.of_network(system['model'], half)})
  if half == 'gnet' and 'covered_weight' in rest:
    config.system.covered_weight = 1.0  # it has seen no patches
  names = {'net': half} | ({'states': f'{half}_states'} if system.get('states') else {})
  for section in ('optim', 'init_from'):
    setattr(config, section, ConfigDict({
      name: config[section][of_pair] for name, of_pair in names.items()}))
  if calibration:
    calibration = calibration | {'gates': {}} | {
      field: {'net': calibration[field][half]} for field in PROBABILITIES
      if half in calibration.get(field, {})}
  return config, {kind: {name: tree[of_pair] for name, of_pair in names.items()}
                  for kind, tree in weights.items()}, calibration
