"""Reads the reference values in tests/golden; see the README files there."""
import json
import pathlib

import numpy as np

from dslope_jax.weights import pytorch
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
