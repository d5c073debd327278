"""Weights of published PyTorch networks in, and ours out again in their layout."""
import json
import math
import os
import re
from typing import NamedTuple

import cv2
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from dslope_jax import models
from dslope_jax.errors import UserError
from dslope_jax.training import checkpointing
from dslope_jax.weights import files as weight_files

_NAMES = {'kernel': 'weight', 'transposed_kernel': 'weight', 'scale': 'weight', 'bias': 'bias',
          'mean': 'running_mean', 'var': 'running_var'}
_HEAD = ('final_layer', 'deconv_layers')  # modules that are no part of the backbone
_PREFIXES = ('backbone.', 'keypoint_head.', 'head.')
# Keys that only a classification network has: its classifier, and HRNet's layers before it.
_CLASSIFIER = ('classifier.', 'fc.', 'head.weight', 'head.bias', 'incre_modules.')
_NO_WEIGHTS = ('num_batches_tracked', 'relative_position_index')  # counted or computed


class Converted(NamedTuple):
  """variables: {'params', 'batch_stats'}, without the leaves that stay fresh. used, dropped: keys
  of the file. fresh: paths that the file does not have. resized: position embeddings."""
  variables: dict
  used: list
  dropped: list
  fresh: list
  resized: list


def convert(name: str, state_dict, *, image_size=(64, 64), **kwargs) -> dict:
  """A PyTorch state dict as variables {'params', 'batch_stats'} of `models.build(name, **kwargs)`.

  As `convert_any`, for a whole network.
  """
  return convert_any(name, kwargs, state_dict, image_size).variables


def convert_any(name: str, kwargs: dict, state_dict, image_size, fresh_head=False) -> Converted:
  """A state dict of whatever layout: published, mmpose, Hugging Face, ImageNet classification.

  kwargs: of `models.build`. image_size: (W, H); position embeddings are interpolated to it.
  fresh_head: leave the head out, for another set of keypoints. A classification network gives its
  backbone only. Arrays keep their dtype.
  Raises UserError that lists every missing, unexpected and misshapen key.
  """
  module = models.build(name, **kwargs)
  given = canonical(name, state_dict)
  classifier = any(key.startswith(_CLASSIFIER) for key in given)
  partial = classifier or fresh_head
  wanted = jax.eval_shape(module.lazy_init, jax.random.key(0),
                          jax.ShapeDtypeStruct((1, image_size[1], image_size[0], 3), 'float32'))
  sources = {_flax_path(key): key for key in given}
  out, problems, used, fresh, resized = {}, [], set(), [], []
  for path, leaf in flax.traverse_util.flatten_dict(wanted).items():
    is_head = path[1].startswith(_HEAD)
    key = sources.get(path[1:-1] + (_NAMES.get(path[-1], path[-1]),))
    if is_head and partial:
      fresh.append('/'.join(path[1:]))
      used.update([key] if key else [])
      continue
    if key is None:
      problems.append(f'missing {"/".join(path)} {leaf.shape}')
      continue
    used.add(key)
    value = _to_flax(path[-1], given[key])
    if path[-1] == 'pos_embed' and value.shape != leaf.shape and value.ndim == 3:
      value = _resize_positions(value, leaf.shape, image_size)
      resized.append(key)
    if value.shape != leaf.shape:
      problems.append(f'misshapen {key}: {value.shape} for {leaf.shape} (after transposition)'
                      + (_HINT if path[1].startswith('final_layer') else ''))
    out[path] = value
  extra = [key for key in given if key not in used]
  problems += [] if partial else [f'unexpected {key} {given[key].shape}' for key in extra]
  if problems:
    raise UserError(f'weights do not fit {name} {kwargs}; {len(problems)} keys: '
                    + '; '.join(problems))
  return Converted(flax.traverse_util.unflatten_dict(out), sorted(used), extra, fresh, resized)


_HINT = ': another number of keypoints; fresh_head (--fresh_head) takes all but the head'


def canonical(name, state_dict) -> dict[str, np.ndarray]:
  """The state dict under the published key names, without prefixes and without counters."""
  module = models.module(name)
  given = {key: np.asarray(value) for key, value in state_dict.items()
           if not key.endswith(_NO_WEIGHTS)}
  if hasattr(module, 'from_other_layouts'):
    given = module.from_other_layouts(given)
  out = {}
  for key, value in given.items():
    prefix = next((p for p in _PREFIXES if key.startswith(p) and key not in
                   ('head.weight', 'head.bias')), '')
    out[key.removeprefix(prefix)] = value
  return out


def to_state_dict(name: str, variables: dict, prefixed: bool | None = None) -> dict:
  """The inverse of `convert`: {published key: float array in PyTorch's axis order}.

  prefixed: with `backbone.` and `keypoint_head.`, as mmpose writes; None: as it was published.
  """
  if prefixed is None:
    prefixed = getattr(models.module(name), 'PREFIXED', False)
  out = {}
  for path, value in flax.traverse_util.flatten_dict(variables).items():
    key = torch_key(path[1:])
    if prefixed:
      key = ('keypoint_head.' if key.startswith(_HEAD) else 'backbone.') + key
    out[key] = _to_torch(path[-1], np.asarray(value))
  return out


def torch_key(path) -> str:
  """('stage2_0', 'branches_1_0', 'conv1', 'kernel') -> 'stage2.0.branches.1.0.conv1.weight'."""
  parts = [re.sub(r'_(\d+)', r'.\1', part) for part in path[:-1]]
  return '.'.join([*parts, _NAMES.get(path[-1], path[-1])])


def _flax_path(key):
  """'stage2.0.branches.1.0.conv1.weight' -> ('stage2_0', 'branches_1_0', 'conv1', 'weight')."""
  return tuple(re.sub(r'\.(\d+)', r'_\1', key).split('.'))


def _to_flax(leaf, value):
  """A PyTorch array in the axis order of the Flax parameter of this name."""
  if leaf == 'kernel':
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
  return value.transpose(2, 3, 0, 1) if leaf == 'transposed_kernel' else value


def _to_torch(leaf, value):
  if leaf == 'kernel':
    value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
  elif leaf == 'transposed_kernel':
    value = value.transpose(2, 3, 0, 1)
  return np.ascontiguousarray(value)


def _resize_positions(value, shape, size):
  """Position embeddings (1,1+n,C) of another picture size, bicubic; the first is no place."""
  count = value.shape[1] - 1
  side = math.isqrt(count)
  # Square pictures of ImageNet, else those of people, 4 to 3.
  rows = side if side * side == count else round(math.sqrt(count * 4 / 3))
  if count % rows or value.shape[2] != shape[2]:
    return value
  grid = np.ascontiguousarray(value[0, 1:].reshape(rows, count // rows, -1), np.float32)
  width = round(math.sqrt((shape[1] - 1) * size[0] / size[1]))
  height = (shape[1] - 1) // width
  layers = [cv2.resize(grid[..., i:i + 4], (width, height), interpolation=cv2.INTER_CUBIC)
            .reshape(height, width, -1) for i in range(0, grid.shape[2], 4)]
  places = np.concatenate(layers, -1).reshape(1, height * width, -1)
  return np.concatenate([value[:, :1], places], 1).astype(value.dtype)


def compare(torch_module, name: str, kwargs: dict, variables, size=(192, 256), seed=0) -> float:
  """Largest difference of the heatmaps, relative to the largest value, from those of the original
  PyTorch module (in evaluation mode, weights loaded) on a random image of size (W, H)."""
  import torch
  image = np.random.default_rng(seed).standard_normal((1, size[1], size[0], 3)).astype(np.float32)
  with torch.no_grad():
    theirs = torch_module(torch.from_numpy(image.transpose(0, 3, 1, 2).copy())).numpy()
  ours = models.build(name, **kwargs).apply(variables, jnp.asarray(image))['heatmaps']
  theirs = theirs.transpose(0, 2, 3, 1)
  return float(np.abs(np.asarray(ours) - theirs).max() / max(np.abs(theirs).max(), 1e-30))


def load_file(path, name: str, kwargs: dict, image_size, network='', fresh_head=False,
              original=None):
  """(Converted, certificate) of a weight file, or of a folder with model.safetensors.

  kwargs may lack num_keypoints: the file's own number is taken. original: the PyTorch module that
  the file belongs to, with its weights; the certificate then says how far our heatmaps are from
  its own (`compare`). The rest is as for `convert_any`.
  """
  if os.path.isdir(path):
    path = os.path.join(path, 'model.safetensors')
  state_dict = weight_files.read(path, network)
  head = canonical(name, state_dict).get('final_layer.weight')
  if head is not None:
    kwargs = {'num_keypoints': head.shape[0]} | kwargs
  converted = convert_any(name, kwargs, state_dict, image_size, fresh_head)
  certificate = {
    'source': os.path.basename(path), 'sha256': weight_files.sha256(path), 'network': network,
    'model': name, 'arguments': kwargs, 'image_size': list(image_size),
    'keys_used': len(converted.used), 'keys_dropped': converted.dropped, 'fresh': converted.fresh,
    'resized': converted.resized, 'max_relative_heatmap_difference': None}
  if original is not None:
    certificate['max_relative_heatmap_difference'] = compare(original, name, kwargs,
                                                             converted.variables, image_size)
  return converted, certificate


def save(folder, name: str, kwargs: dict, variables: dict, prefixed=None, certificate=None):
  """Writes model.safetensors, config.json and perhaps certificate.json to a folder."""
  from safetensors.numpy import save_file
  os.makedirs(folder, exist_ok=True)
  path = os.path.join(folder, 'model.safetensors')
  save_file(to_state_dict(name, variables, prefixed), path)
  os.chmod(path, 0o644)  # the library makes it private
  texts = {'config.json': {'name': name} | kwargs}
  if certificate:
    texts['certificate.json'] = certificate
  for file, value in texts.items():
    with open(os.path.join(folder, file), 'w', encoding='utf-8') as f:
      json.dump(value, f, indent=1)


def export(workdir, network: str, step=None):
  """(name, arguments, variables) of a network of a run, its moving average where one is kept."""
  shapes, has_ema = checkpointing.stored_weights(workdir, step)
  if network not in shapes['params']:
    raise UserError(f"'{workdir}' has the networks {sorted(shapes['params'])}, not '{network}'")
  wanted = {kind: {network: tree.get(network, {})} for kind, tree in shapes.items()}
  weights, _ = checkpointing.restore_weights(workdir, wanted, step, ema=has_ema)
  with open(os.path.join(workdir, 'config.json'), encoding='utf-8') as f:
    arguments = json.load(f)['system']['model']
  arguments = models.of_network(arguments, network)
  head = shapes['params'][network]['final_layer']['kernel'].shape[-1]
  name = arguments.pop('name')
  return name, arguments | {'num_keypoints': head}, {
    kind: jax.device_get(tree[network]) for kind, tree in weights.items()}
