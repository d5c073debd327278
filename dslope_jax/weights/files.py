"""Reads weight files that somebody else made, without running anything that is in them."""
import hashlib
import os

import numpy as np

from dslope_jax.errors import UserError

_TORCH = ('.pth', '.pt', '.bin', '.tar', '.ckpt')
_WRAPPERS = ('state_dict', 'model', 'model_state_dict', 'net', 'module')
_EXPERT = {'gnet': ('gnet', 'g_net', 'general'), 'enet': ('enet', 'e_net', 'expert')}


def read(path, network: str = '') -> dict[str, np.ndarray]:
  """{published key: array} of a .safetensors or PyTorch file; floats become float32.

  network: 'gnet' or 'enet', which of two networks of a D-Slope checkpoint; '' for a file of one.
  Wrappers (`state_dict`, `model`) and the prefix `module.` are taken off.
  Raises FileNotFoundError or UserError, one line: not there, broken, not only tensors, NaN.
  """
  path = str(path)
  if not os.path.isfile(path):
    raise FileNotFoundError(f"no weight file '{path}'; check the path")
  suffix = os.path.splitext(path)[1]
  if suffix == '.safetensors':
    tensors = _read_safetensors(path)
  elif suffix in _TORCH:
    tensors = _unwrap(_read_torch(path), path, network)
  else:
    raise UserError(f"'{path}': weight files end in .safetensors or {', '.join(_TORCH)}")
  tensors = _of_network({_bare(k): v for k, v in tensors.items()}, path, network)
  for key, value in tensors.items():
    if value.dtype.kind == 'f' and not np.isfinite(value).all():
      raise UserError(f"'{path}': {key} holds values that are not finite; the training that wrote "
                       'it had failed, take another file')
  return tensors


def sha256(path) -> str:
  """Checksum of a file."""
  with open(path, 'rb') as f:
    return hashlib.file_digest(f, 'sha256').hexdigest()


def _read_safetensors(path):
  import safetensors
  from safetensors.flax import load_file  # knows bfloat16, which NumPy's reader does not
  try:
    return {k: _float32(np.asarray(v)) for k, v in load_file(path).items()}
  except (safetensors.SafetensorError, KeyError, OSError, ValueError) as error:
    raise UserError(f"'{path}' is not a readable safetensors file ({_line(error)}); get it "
                     'again') from None


def _read_torch(path):
  try:
    import torch
  except ImportError:
    raise UserError(f"'{path}' needs PyTorch to be read: pip install 'dslope_jax[torch]', or "
                     'convert it to .safetensors elsewhere') from None
  try:
    # weights_only: an unpickler that builds tensors and plain containers and calls nothing else.
    return torch.load(path, map_location='cpu', weights_only=True)
  except Exception as error:  # of many types, none of them documented
    if type(error).__name__ == 'UnpicklingError':
      raise UserError(f"'{path}' holds more than tensors ({_line(error)}); loading that could run "
                       'code, so it is refused. If you trust it, save its state_dict alone with '
                       'PyTorch first') from None
    raise UserError(f"'{path}' is not a readable PyTorch file ({_line(error)}); get it "
                     'again') from None


def _line(error):
  return (str(error).strip() or type(error).__name__).splitlines()[0][:160]


def _float32(value):
  return value.astype(np.float32) if value.dtype.kind in 'fV' else value


def _unwrap(tree, path, network):
  """The state dict in what a training script saved."""
  import torch
  while isinstance(tree, dict) and not any(isinstance(v, torch.Tensor) for v in tree.values()):
    inner = next((tree[k] for k in _names(tree, network) if isinstance(tree[k], dict)), None)
    if inner is None:
      break
    tree = inner
  if not isinstance(tree, dict) or not any(isinstance(v, torch.Tensor) for v in tree.values()):
    raise UserError(f"'{path}' holds no state dict of tensors, under {', '.join(_WRAPPERS)} or "
                     'bare')
  return {str(k): _float32(v.float().numpy() if v.is_floating_point() else v.numpy())
          for k, v in tree.items() if isinstance(v, torch.Tensor)}


def _names(tree, network):
  """Keys under which the state dict may lie, those that name the network first."""
  own = [k for k in tree if any(word in str(k).lower() for word in _EXPERT.get(network, ()))]
  return own + [k for k in _WRAPPERS if k in tree]


def _bare(key):
  while key.startswith(('module.', '_orig_mod.')):  # of data-parallel and compiled networks
    key = key.partition('.')[2]
  return key


def _of_network(tensors, path, network):
  """The part of one network, where keys begin with the names of two."""
  heads = {key.partition('.')[0] for key in tensors}
  found = {name: head for name, words in _EXPERT.items() for head in heads
           if any(head.lower() == word for word in words)}
  if not found:
    return tensors
  if network not in found:
    raise UserError(f"'{path}' holds the networks {sorted(found)}; say which after a colon, as in "
                     f"'{path}:enet'")
  head = found[network] + '.'
  return {_bare(k.removeprefix(head)): v for k, v in tensors.items() if k.startswith(head)}
