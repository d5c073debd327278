"""Weights to start a network with: of another run, or of a file that somebody else trained."""
import os

import flax.traverse_util
import jax
import numpy as np

from dslope_jax import models
from dslope_jax.errors import UserError, quoted
from dslope_jax.files import check_file
from dslope_jax.training import checkpointing
from dslope_jax.weights import published, pytorch
from dslope_jax.weights.files import is_weights, split_network


def check(spec: str):
  """Raises FileNotFoundError where `spec` names nothing; before anything slow is done."""
  path, _ = split_network(spec)
  if not is_weights(path):
    if os.path.lexists(path) and not os.path.isdir(path):
      check_file(path)  # a link to nothing, a pipe: told as what it is
    if not os.path.isdir(path):
      raise FileNotFoundError(f"init_from: there is no run and no weight file '{path}'; check the "
                              'path')
    checkpointing.find_step(path)


def apply(state, specs: dict, networks: dict, image_size, fresh_head: bool, say):
  """The state with the weights that `config.init_from` names.

  specs: {network: spec or ''}, see `load`. networks: of the system. say: told where they are from.
  """
  for name, spec in specs.items():
    if not spec:
      continue
    if name not in state.params:
      raise UserError(f"init_from names '{name}', but the networks are {sorted(state.params)}")
    fresh = {'params': state.params[name], 'batch_stats': state.batch_stats[name]}
    weights, source = load(spec, name, fresh, networks[name], image_size, fresh_head)
    say(f'{name} starts from {source}')
    state = state.replace(params=state.params | {name: weights['params']},
                          batch_stats=state.batch_stats | {name: weights['batch_stats']})
    if state.ema:
      state = state.replace(ema={kind: state.ema[kind] | {name: weights[kind]}
                                 for kind in weights})
  return state


def load(spec: str, name: str, fresh: dict, network, image_size, fresh_head=False):
  """(weights of one network, a line that says where from).

  spec: 'WORKDIR' or 'WORKDIR:its network' (its moving average, if it kept one); without a name the
  one that is called `name`, or the only one; a folder with model.safetensors, likewise; a
  .safetensors or PyTorch file, 'FILE:enet' for one of a pair.
  fresh: its new {'params', 'batch_stats'}; leaves that a file lacks (the head, where the file has
  none, or any with fresh_head) stay as they are there. network: the Linen module.
  Raises FileNotFoundError or UserError, one line a problem.
  """
  path, stored_name = split_network(spec)
  if not is_weights(path):
    stored, has_ema = checkpointing.stored_weights(path)
    names, last = list(stored['params']), models.trait(network, 'LAST')
    stored_name = stored_name or (names[0] if len(names) == 1 else name)
    wanted = {kind: {stored_name: {k: v for k, v in tree.items()
                                   if not (fresh_head and k.startswith(last))}}
              for kind, tree in fresh.items()}
    if stored_name not in stored['params']:
      raise UserError(f"init_from: '{path}' has the networks {sorted(stored['params'])}, not "
                      f"'{stored_name}'; say which after a colon")
    weights, step = checkpointing.restore_weights(path, wanted, ema=has_ema)
    text = f"'{stored_name}' of '{path}', step {step}" + (', moving average' if has_ema else '')
    return (_merge(fresh, {kind: tree[stored_name] for kind, tree in weights.items()}),
            text + (f'; stays fresh: {", ".join(last)}' if fresh_head and last else ''))
  if not stored_name and name in published.named_networks(path):
    stored_name = name
  if models.trait(network, 'OWN_NAMES'):
    return _merge(fresh, published.of_own_names(path, stored_name, fresh)), f"'{path}'"
  model, arguments = models.describe(network)
  converted, certificate = pytorch.load_file(path, model, arguments, image_size, stored_name,
                                             fresh_head)
  text = (f"'{stored_name}' of " if stored_name else '') + (
    f"'{path}' ({len(converted.used)} keys, sha256 {certificate['sha256'][:12]})")
  if converted.fresh:
    modules = sorted({leaf.split('/')[0] for leaf in converted.fresh})
    text += f'; stays fresh: {", ".join(modules)}'
  if converted.dropped:
    text += f'; not used: {len(converted.dropped)} keys such as {quoted(converted.dropped[0])}'
  if converted.resized:
    text += f'; resized: {", ".join(converted.resized)}'
  return _merge(fresh, converted.variables), text


def _merge(fresh, given):
  flat = flax.traverse_util.flatten_dict(fresh, keep_empty_nodes=True)
  for path, value in flax.traverse_util.flatten_dict(given).items():
    flat[path] = jax.numpy.asarray(np.asarray(value, flat[path].dtype))
  return flax.traverse_util.unflatten_dict(flat)
