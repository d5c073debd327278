"""Reads the reference values in tests/golden; see the README files there."""
import json
import pathlib

import flax.traverse_util
import jax
import numpy as np

from dslope_jax.weights import pytorch
from tests.golden import rule
from tests.golden.dslope import golden_rule

GOLDEN = pathlib.Path(__file__).parent / 'golden/dslope'


def state_dict(keys_file, seed, gain=1.0, dtype=np.float32):
  """The state dict that the golden rule makes for a key listing."""
  entries = json.loads((GOLDEN / keys_file).read_text())['state_dict']
  return {e['key']: golden_rule.weight(seed, e['key'], e['shape'], gain).astype(dtype)
          for e in entries}


def nhwc(array):
  return np.ascontiguousarray(array.transpose(0, 2, 3, 1))


def relative_error(got, want):
  return np.abs(np.asarray(got, np.float64) - want).max() / np.abs(want).max()


def torch_names(tree):
  """Flax tree -> {published key: array in PyTorch's axis order}."""
  return pytorch.to_state_dict('', {'': tree}, prefixed=False)


def published_weights(module, inputs, seed, exception=None) -> dict:
  """The state dict that the rule makes for a module that is called with these inputs."""
  shapes = jax.eval_shape(module.lazy_init, jax.random.key(0), *inputs)
  zeros = pytorch.to_state_dict('', jax.tree.map(
    lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), shapes), prefixed=False)
  return rule.weights([(key, value.shape) for key, value in zeros.items()], seed, exception)


def filled(module, inputs, seed, exception=None) -> dict:
  """Variables of a module of any kind by the rule, see `published_weights`."""
  weights = published_weights(module, inputs, seed, exception)
  shapes = jax.eval_shape(module.lazy_init, jax.random.key(0), *inputs)
  return flax.traverse_util.unflatten_dict({
    path: pytorch._to_flax(path[-1], weights[pytorch.torch_key(path[1:])])
    for path in flax.traverse_util.flatten_dict(shapes)})
