"""Reads weight files that somebody else made, without running anything that is in them."""
import hashlib
import os
import re

import jax
import numpy as np

from dslope_jax.errors import UserError, quoted
from dslope_jax.files import check_file, first_line, likely_kind
from dslope_jax.plain_pickle import Placeholder
from dslope_jax.weights import torch_files
from dslope_jax.weights.torch_files import Tensor

# Keys under which training scripts save a state dict.
_WRAPPERS = ('state_dict', 'model', 'model_state_dict', 'net', 'module')
_EXPERT = {'gnet': ('gnet', 'g_net', 'general'), 'enet': ('enet', 'e_net', 'expert')}
_FLOATS = {'F64', 'F32', 'F16', 'BF16'}
_OTHERS = {'I64', 'I32', 'I16', 'I8', 'U8', 'BOOL'}  # counters and indices


def split_network(text: str) -> tuple[str, str]:
  """(path, network) of 'PATH' or 'PATH:NETWORK'; a path that exists may have colons."""
  path, colon, network = text.rpartition(':')
  return (path, network) if colon and not os.path.exists(text) and os.path.exists(path) else (
    text, '')


def is_weights(path) -> bool:
  """Whether a path is a file, or a folder with model.safetensors, and no run."""
  return os.path.isfile(path) or os.path.isfile(os.path.join(path, 'model.safetensors'))


def read(path, network: str = '') -> dict[str, np.ndarray]:
  """{key: array} of a .safetensors or PyTorch file, of whatever name; floats become float32.

  network: name of one of several networks, such as 'gnet' or 'enet' of a D-Slope checkpoint: keys
  lose it and what is before it. Wrappers (`state_dict`, `model`) are taken off.
  Raises FileNotFoundError or UserError, one line: not there, something else, broken, NaN.
  """
  path = str(path)
  size = check_file(path)
  with open(path, 'rb') as f:
    beginning = f.read(600)
  if beginning[6:9] == b'\0\0{':  # the length of a JSON header, and its first letter
    tensors, found = _read_safetensors(path), False
  elif beginning[:4] in (b'PK\3\4', b'PK\5\6') or re.match(rb'\x80[\x02-\x05]', beginning):
    tensors, found = _read_torch(path, size, network, beginning[:2] == b'PK')
  else:
    kind = likely_kind(beginning) or f'a file that begins with {quoted(beginning[:12])}'
    raise UserError(f"'{path}' is no weight file of PyTorch or safetensors, but {kind}")
  if network and not found:
    tensors = _of_network(tensors, path, network)
  for key, value in tensors.items():
    if value.dtype.kind == 'f' and not np.isfinite(value).all():
      raise UserError(f"'{path}': {quoted(key)} holds values that are not finite; the training "
                      'that wrote it had failed, take another file')
  return tensors


def sha256(path) -> str:
  """Checksum of a file."""
  with open(path, 'rb') as f:
    return hashlib.file_digest(f, 'sha256').hexdigest()


def digest(weights) -> str:
  """Checksum of a tree of arrays: of their names, shapes and numbers."""
  found = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(weights):
    leaf = np.asarray(leaf)
    found.update(f'{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}'.encode())
    found.update(leaf.tobytes())
  return found.hexdigest()


def _read_safetensors(path):
  import safetensors
  out = {}
  try:
    # That for NumPy lacks bfloat16, that for Flax makes int32 of int64.
    with (safetensors.safe_open(path, framework='np') as file,
          safetensors.safe_open(path, framework='flax') as flax_file):
      for key in file.keys():  # noqa: SIM118 - it is no dict
        kind = file.get_slice(key).get_dtype()
        if kind not in _FLOATS | _OTHERS:
          raise UserError(f"'{path}': {quoted(key)} holds {kind} numbers, which are not read; save "
                          'it as float32')
        reader = flax_file if kind == 'BF16' else file
        out[key] = _float32(np.asarray(reader.get_tensor(key)))
  except UserError:
    raise
  except (safetensors.SafetensorError, KeyError, OSError, ValueError) as error:
    raise UserError(f"'{path}' is not a readable safetensors file ({first_line(error)}); get it "
                    'again') from None
  return out


def _read_torch(path, size, network, is_zip):
  """(tensors, whether the network was found among their wrappers)."""
  with torch_files.opened(path, is_zip) as tree:
    state, found = _state_dict(tree, path, network)
    bad = next((k for k, v in state.items() if not isinstance(v, Tensor)), None)
    if bad is not None:
      raise UserError(f"'{path}': {quoted(bad)} is no dense tensor ({quoted(state[bad].name)}); "
                      'save it as one with PyTorch')
    if sum(tensor.nbytes for tensor in state.values()) > 4 * size + 2**24:
      raise UserError(f"'{path}' has {size} bytes and asks for many times more; it is refused")
    out = {}
    for key, tensor in state.items():
      try:
        out[str(key)] = _float32(tensor.array())
      except ValueError as error:
        raise UserError(f"'{path}': {quoted(key)} cannot be read ({first_line(error)}); get the "
                        'file again, or save it as float32 with PyTorch') from None
  return out, found


def _float32(value):
  if value.dtype.kind not in 'fV':
    return value
  with np.errstate(over='ignore'):  # told as not finite
    return value.astype(np.float32, copy=False)


def _state_dict(tree, path, network):
  """(the state dict in what a training script saved, whether the network's name led to it)."""
  seen, found = [], False
  while isinstance(tree, dict) and id(tree) not in seen:
    seen.append(id(tree))
    own = [] if found else _named(network, tree)
    inner = [k for k in (*own, *_WRAPPERS) if isinstance(tree.get(k), dict)]
    several = [k for k, v in tree.items() if isinstance(v, dict) and _tensors(v)]
    if not inner and not _tensors(tree):
      if len(several) > 1:
        raise UserError(f"'{path}' holds the networks {', '.join(map(quoted, several[:6]))}; say "
                        f"which after a colon, as in '{path}:enet'")
      inner = several
    if not inner:
      break
    found = found or inner[0] in own
    tree = tree[inner[0]]
  state = _tensors(tree) if isinstance(tree, dict) else {}
  if not state:
    what = f' but an object of {quoted(tree.name)}' if isinstance(tree, Placeholder) else ''
    raise UserError(f"'{path}' holds no state dict of tensors, under {', '.join(_WRAPPERS)} or "
                    f'bare,{what or " but other values"}; save the state_dict of the network')
  return state, found


def _words(network):
  return _EXPERT.get(network, (network.lower(),)) if network else ()


def _named(network, tree):
  """Keys that name the network, those first that are nothing but its name."""
  words = _words(network)
  keys = [k for k in tree if isinstance(k, str) and any(word in k.lower() for word in words)]
  return sorted(keys, key=lambda k: k.lower() not in words)


def _tensors(tree):
  """The entries that are tensors, of whatever kind."""
  return {k: v for k, v in tree.items() if isinstance(v, Tensor)
          or isinstance(v, Placeholder) and v.name.startswith('torch._utils._rebuild')}


def _of_network(tensors, path, network):
  """The part of one network, where its name is a part of the keys."""
  out = {}
  for key, value in tensors.items():
    parts = key.split('.')
    place = next((i for i, p in enumerate(parts[:4]) if p.lower() in _words(network)), None)
    if place is not None:
      out['.'.join(parts[place + 1:])] = value
  if not out:
    heads = sorted({key.partition('.')[0] for key in tensors})
    raise UserError(f"'{path}' has no network {quoted(network)}; its keys begin with "
                    f'{", ".join(map(quoted, heads[:6]))}')
  return out
