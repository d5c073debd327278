"""Weights of published PyTorch networks in, and ours out again in their layout."""
import collections
import math
import os
import re
from typing import NamedTuple

import cv2
import flax.traverse_util
import jax
import numpy as np

from dslope_jax import models, own_files, systems
from dslope_jax.errors import UserError, quoted
from dslope_jax.files import first_line
from dslope_jax.training import checkpointing
from dslope_jax.training import workdir as workdirs
from dslope_jax.weights import architecture
from dslope_jax.weights import files as weight_files

_NAMES = {'kernel': 'weight', 'transposed_kernel': 'weight', 'scale': 'weight', 'bias': 'bias',
          'mean': 'running_mean', 'var': 'running_var'}
_NO_WEIGHTS = ('num_batches_tracked', 'relative_position_index')  # counted or computed


class Converted(NamedTuple):
  """variables: {'params', 'batch_stats'}, without the leaves that stay fresh. used, dropped: keys
  of the file. fresh: paths that the file does not have. resized: position embeddings. arguments: of
  the network, with the file's number of keypoints."""
  variables: dict
  used: list
  dropped: list
  fresh: list
  resized: list
  arguments: dict


def convert(name: str, state_dict, *, image_size=(64, 64), **kwargs) -> dict:
  """A PyTorch state dict as variables {'params', 'batch_stats'} of `models.build(name, **kwargs)`.

  As `convert_any`, for a whole network.
  """
  return convert_any(name, kwargs, state_dict, image_size).variables


def convert_any(name: str, kwargs: dict, state_dict, image_size, fresh_head=False) -> Converted:
  """A state dict of whatever layout: published, mmpose, Hugging Face, MAE, ImageNet classification.

  kwargs: of `models.build`; without num_keypoints the file's own number is taken. image_size:
  (W, H); position embeddings are interpolated to it. fresh_head: leave the head out, for another
  set of keypoints; so it is where the file has none. Float arrays keep their dtype.
  Raises UserError that names the missing, unexpected and misshapen keys.
  """
  told = models.with_keypoints(name, kwargs, 0) == kwargs
  if not models.trait(name, 'HEAD') and not told:
    raise UserError(f'give num_keypoints of the {name}, or leave its name out: the file tells both')
  wanted = _wanted(name, kwargs, image_size)
  given = canonical(name, state_dict, wanted)
  heads = {key for key, (path, _) in wanted.items()
           if path[1].startswith(models.trait(name, 'HEAD'))}
  last = models.trait(name, 'LAST')
  partial = bool(heads) and (fresh_head or not heads & given.keys())
  if heads and not partial and not told:
    shape = architecture.last_layer(name, lambda key: getattr(given.get(key), 'shape', None))
    kwargs = kwargs | {'num_keypoints': shape[0] if shape else 1}
    wanted = _wanted(name, kwargs, image_size)
  out, problems, fresh, resized = {}, [], [], []
  for key, (path, shape) in wanted.items():
    if partial and key in heads:
      fresh.append('/'.join(path[1:]))
    elif key not in given:
      problems.append(f'missing {"/".join(path)} {shape}')
    else:
      value = _to_flax(path[-1], given[key])
      if path[-1] == 'pos_embed' and value.shape != shape and value.ndim == 3:
        value = _resize_positions(value, shape, image_size)
        resized.append(key)
      out[path] = value
      if value.shape != shape:
        problems.append(f'misshapen {key}: {value.shape} for {shape} (after transposition)'
                        + (_HINT if path[1].startswith(last) else ''))
      elif value.dtype.kind != 'f':
        problems.append(f'{key} holds {value.dtype} in place of floats')
  extra = [key for key in given if key not in wanted]
  problems += [f'unexpected {quoted(key)[1:-1]} {given[key].shape}' for key in extra
               if not partial and not key.endswith(models.trait(name, 'UNUSED'))]
  if problems:
    more = f'; and {len(problems) - 8} more' if len(problems) > 8 else ''
    raise UserError(f'weights do not fit {name} {kwargs}; {len(problems)} keys: '
                    + '; '.join(problems[:8]) + more)
  return Converted(flax.traverse_util.unflatten_dict(out), sorted(given.keys() & wanted.keys()),
                   extra, fresh, resized, kwargs)


_HINT = ': another number of keypoints; fresh_head (--fresh_head) takes all but the head'


def _wanted(name, kwargs, image_size):
  """{published key: (path in the variables, shape)} of a network."""
  module = models.build(name, **models.with_keypoints(name, kwargs, 1))
  try:
    example = module.example() if hasattr(module, 'example') else (
      jax.ShapeDtypeStruct((1, image_size[1], image_size[0], 3), 'float32'),)
    tree = jax.eval_shape(module.lazy_init, jax.random.key(0), *example)
  except (ArithmeticError, LookupError, TypeError, ValueError) as error:
    if isinstance(error, UserError):
      raise
    raise UserError(f'no {name} can be made with {kwargs} for crops of {image_size} '
                    f'({first_line(error)})') from None
  return {torch_key(path[1:]): (path, leaf.shape)
          for path, leaf in flax.traverse_util.flatten_dict(tree).items()}


def canonical(name, state_dict, wanted=()) -> dict[str, np.ndarray]:
  """The state dict under the published key names, without prefixes and without counters.

  wanted: the keys of the network; of the prefixes before the names (`module.`, `model.student.`)
  the one is taken off that leaves most of them.
  """
  given = {key: np.asarray(value) for key, value in state_dict.items()
           if not key.endswith(_NO_WEIGHTS)}
  counts = collections.Counter('.'.join(key.split('.')[:n]) + '.' for key in given
                               for n in range(1, 7) if key.count('.') >= n)
  parts = {}
  for prefix in ['', *(p for p, count in counts.items() if 4 * count >= len(wanted) > 0)]:
    part = {k.removeprefix(prefix): v for k, v in given.items() if k.startswith(prefix)}
    parts[prefix] = architecture.published(name, part)
  scores = {prefix: len(part.keys() & set(wanted)) for prefix, part in parts.items()}
  best = max(scores, key=scores.get)
  rivals = [p for p, score in scores.items() if score > 0.9 * scores[best]
            and not p.startswith(best) and not best.startswith(p)]
  if rivals:
    raise UserError(f'the file holds the networks {", ".join(map(quoted, [best, *rivals]))}; say '
                    'which after a colon, as in FILE:enet')
  return parts[best]


def to_state_dict(name: str, variables: dict, prefixed: bool | None = None) -> dict:
  """The inverse of `convert`: {published key: float array in PyTorch's axis order}.

  prefixed: with `backbone.` and `keypoint_head.`, as mmpose writes; None: as it was published.
  """
  if prefixed is None:
    prefixed = models.trait(name, 'PREFIXED')
  out = {}
  for path, value in flax.traverse_util.flatten_dict(variables).items():
    key = torch_key(path[1:])
    if prefixed:
      key = ('keypoint_head.' if key.startswith(models.trait(name, 'HEAD')) else 'backbone.') + key
    out[key] = _to_torch(path[-1], np.asarray(value))
  return out


def torch_key(path) -> str:
  """('stage2_0', 'branches_1_0', 'conv1', 'kernel') -> 'stage2.0.branches.1.0.conv1.weight'."""
  parts = [re.sub(r'_(\d+)', r'.\1', part) for part in path[:-1]]
  return '.'.join([*parts, _NAMES.get(path[-1], path[-1])])


def _to_flax(leaf, value):
  """A PyTorch array in the axis order of the Flax parameter of this name."""
  if leaf == 'kernel':
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
  return value.transpose(2, 3, 0, 1) if leaf == 'transposed_kernel' and value.ndim == 4 else value


def _to_torch(leaf, value):
  if leaf == 'kernel':
    value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
  elif leaf == 'transposed_kernel':
    value = value.transpose(2, 3, 0, 1)
  return np.ascontiguousarray(value)


def _resize_positions(value, shape, size):
  """Position embeddings (1,1+n,C) of another picture size, bicubic; the first is no place."""
  count = value.shape[1] - 1
  if count < 1 or value.shape[::2] != shape[::2] or value.dtype.kind != 'f':
    return value
  rows, columns = architecture.grid_of(count)
  if rows * columns != count:
    return value
  grid = np.ascontiguousarray(value[0, 1:].reshape(rows, columns, -1), np.float32)
  width = round(math.sqrt((shape[1] - 1) * size[0] / size[1]))
  height = (shape[1] - 1) // width
  layers = [cv2.resize(grid[..., i:i + 4], (width, height), interpolation=cv2.INTER_CUBIC)
            .reshape(height, width, -1) for i in range(0, grid.shape[2], 4)]
  places = np.concatenate(layers, -1).reshape(1, height * width, -1)
  return np.concatenate([value[:, :1], places], 1).astype(value.dtype)


def load_file(path, name: str, kwargs: dict, image_size, network='', fresh_head=False):
  """(Converted, certificate) of a weight file, or of a folder with model.safetensors.

  name, kwargs: the architecture; with a name of '' both are told by the folder's config.json or,
  without, by the file's keys, and kwargs are set over them. image_size: None for what the weights
  were published for, see `architecture.crop_size`; it is in the certificate then. network: see
  `weight_files.read`; the rest is as for `convert_any`.
  """
  written = {}
  if os.path.isdir(path):
    written = _read_config(path)
    path = os.path.join(path, 'model.safetensors')
  state_dict = weight_files.read(path, network)
  try:
    if not name:
      name, own = written or architecture.identify(state_dict)
      kwargs = own | kwargs
    image_size = image_size or architecture.crop_size(name, state_dict)
    converted = convert_any(name, kwargs, state_dict, image_size, fresh_head)
  except UserError as error:
    raise UserError(f"'{path}': {error}{_other_model(name, kwargs, state_dict)}") from None
  return converted, {
    'source': os.path.basename(path), 'sha256': weight_files.sha256(path), 'network': network,
    'model': name, 'arguments': converted.arguments, 'image_size': list(image_size),
    'keys_used': len(converted.used), 'keys_dropped': converted.dropped, 'fresh': converted.fresh,
    'resized': converted.resized}


def _other_model(name, kwargs, state_dict):
  """What to say of weights that do not fit: which network they are, if it is another."""
  try:
    found, told = architecture.identify(state_dict)
    _, own = models.describe(models.build(name, **models.with_keypoints(name, kwargs, 1)))
  except UserError:
    return ''
  same = lambda key, value: found == name and own[key] in (None, value)  # None: of the size
  differing = {key: value for key, value in told.items()
               if key != 'num_keypoints' and not same(key, value)}
  return f'; its keys are those of {found} with {differing}' if differing else ''


def _read_config(folder):
  """(name, arguments) that `save` wrote to a folder; None where another program wrote it."""
  path = os.path.join(folder, 'config.json')
  if not os.path.exists(path):
    return None
  found = own_files.read_json(path, dict, 'get it again, or remove it')
  name = found.pop('name', None)
  return (name, found) if isinstance(name, str) else None


def save(folder, name: str, kwargs: dict, variables: dict, prefixed=None, certificate=None):
  """Writes model.safetensors, config.json and perhaps certificate.json to a folder."""
  os.makedirs(folder, exist_ok=True)
  save_tensors(folder, to_state_dict(name, variables, prefixed))
  texts = {'config.json': {'name': name} | kwargs}
  if certificate:
    texts['certificate.json'] = certificate
  for file, value in texts.items():
    own_files.write_json(os.path.join(folder, file), value)


def save_tensors(folder, tensors: dict):
  """Writes model.safetensors to a folder, whole or not at all."""
  from safetensors.numpy import save_file
  path = os.path.join(folder, 'model.safetensors')
  save_file(tensors, path + '.part')
  os.chmod(path + '.part', 0o644)  # the library makes it private
  os.replace(path + '.part', path)


def export(workdir, network: str, step=None):
  """(name, arguments, variables) of a network of a run, its moving average where one is kept."""
  shapes, has_ema = checkpointing.stored_weights(workdir, step)
  if network not in shapes['params']:
    raise UserError(f"'{workdir}' has the networks {sorted(shapes['params'])}, not '{network}'")
  wanted = {kind: {network: tree.get(network, {})} for kind, tree in shapes.items()}
  weights, _ = checkpointing.restore_weights(workdir, wanted, step, ema=has_ema)
  system = systems.build(workdirs.read_facts(workdir),
                         **workdirs.settings(workdir).system.to_dict())
  model, arguments = models.describe(system.networks[network])
  if models.trait(model, 'OWN_NAMES'):
    raise UserError(f"'{workdir}': PyTorch code has no names for {model}; pass it on by "
                    'tools/publish.py')
  return model, arguments, {
    kind: jax.device_get(tree[network]) for kind, tree in weights.items()}
