"""Weights and inputs of the golden files outside `dslope/`: the rule of the root README there."""
import zlib

import numpy as np

_SKIPPED = ('num_batches_tracked', 'relative_position_index')  # integer buffers


def stream(seed, name):
  """The generator that every random value called `name` is drawn from."""
  return np.random.RandomState(zlib.crc32(f'{seed}/{name}'.encode()) & 0xFFFFFFFF)


def normal(seed, name, shape):
  """A network input or target: standard normal, float32, PyTorch's axis order."""
  return stream(seed, name).randn(*shape).astype(np.float32)


def weights(entries, seed, exception=None) -> dict:
  """State dict {name: float32 array, PyTorch's axis order}; integer buffers are left out.

  entries: lists [name, shape, kind] of a key listing.
  exception: a folder's own rule, (random, name, shape) -> array, or None where it does not apply.
    `random` is the weight's stream.
  """
  out = {}
  for name, shape, *_ in entries:
    if name.endswith(_SKIPPED):
      continue
    value = exception and exception(stream(seed, name), name, shape)
    if value is None:
      value = _general(stream(seed, name), name, shape)
    out[name] = np.asarray(value, np.float32)
  return out


def _general(random, name, shape):
  if name.endswith('running_var') or (name.endswith('weight') and len(shape) == 1):
    return random.uniform(0.5, 1.5, shape)
  if name.endswith(('running_mean', 'bias')):
    return 0.1 * random.randn(*shape)
  return random.randn(*shape) * np.sqrt(1 / np.prod(shape[1:]))
