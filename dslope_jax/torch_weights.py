"""Weights of the published PyTorch networks, in."""
import re

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from dslope_jax import models

_NAMES = {'kernel': 'weight', 'transposed_kernel': 'weight', 'scale': 'weight', 'bias': 'bias',
          'mean': 'running_mean', 'var': 'running_var'}


def convert(name: str, state_dict: dict[str, np.ndarray], **kwargs) -> dict:
  """A PyTorch state dict as variables of `models.build(name, **kwargs)`.

  state_dict: published key names; convolution kernels OIHW.
  Returns {'params', 'batch_stats'} of NumPy arrays, in the dtype they came in.
  Raises ValueError that lists every missing, unexpected and misshapen key.
  """
  module = models.build(name, **kwargs)
  wanted = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
  given = {key: np.asarray(value) for key, value in state_dict.items()
           if not key.endswith('num_batches_tracked')}  # counts forward passes; no effect
  sources = {_flax_path(key): key for key in given}
  out, problems, used = {}, [], set()
  for path, leaf in flax.traverse_util.flatten_dict(wanted).items():
    key = sources.get(path[1:-1] + (_NAMES.get(path[-1], path[-1]),))
    if key is None:
      problems.append(f'missing {"/".join(path)} {leaf.shape}')
      continue
    used.add(key)
    value = _to_flax(path[-1], given[key])
    if value.shape != leaf.shape:
      problems.append(f'misshapen {key}: {value.shape} for {leaf.shape} (after transposition)')
    out[path] = value
  problems += [f'unexpected {key} {given[key].shape}' for key in given if key not in used]
  if problems:
    raise ValueError(f'weights do not fit {name} {kwargs}; {len(problems)} keys:\n  '
                     + '\n  '.join(problems))
  return flax.traverse_util.unflatten_dict(out)


def _to_flax(leaf, value):
  """A PyTorch array in the axis order of the Flax parameter of this name."""
  if leaf == 'kernel':
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
  return value.transpose(2, 3, 0, 1) if leaf == 'transposed_kernel' else value


def _flax_path(key):
  """'stage2.0.branches.1.0.conv1.weight' -> ('stage2_0', 'branches_1_0', 'conv1', 'weight')."""
  return tuple(re.sub(r'\.(\d+)', r'_\1', key).split('.'))
