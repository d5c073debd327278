"""Reads the reference values in tests/golden/hupor for networks, maps and losses."""
import json
import os
import pathlib

import numpy as np
import pytest

from tests.golden import rule
from tests.golden_data import nhwc, relative_error

GOLDEN = pathlib.Path(__file__).parent / 'golden/hupor'
# The published order of 57 channels, heatmaps and x, y, depth of each limb, in ours.
ORDER = np.concatenate([np.arange(15), np.arange(15, 57).reshape(14, 3)[:, :2].ravel(),
                        np.arange(17, 57, 3)])
NAMES = {'maps': 'maps2d', 'relative_depth': 'rel_depth', 'anchor_depth': 'root_depth'}
large = pytest.mark.skipif(not os.environ.get('DSLOPE_LARGE'),
                           reason='takes minutes; set DSLOPE_LARGE=1')


def golden(name):
  """(arrays, meta) of a file."""
  arrays = np.load(GOLDEN / f'{name}.npz')
  return arrays, json.loads(str(arrays['meta']))


def split(stack):
  """57 published channels, the last axis, as our maps and relative depths."""
  stack = stack[..., ORDER]
  return {'maps': stack[..., :43], 'relative_depth': stack[..., 43:]}


def noise(seed, name, shape):
  """A random input (B,C,h,w) of the rule, with the channels last."""
  return nhwc(rule.normal(seed, name, shape))


def labels(arrays, meta, shape):
  """Random labels of the rule for maps of this shape (h,w)."""
  stack = rule.stream(meta['seed'], 'labels').randn(meta['B'], 5, 57, *shape).astype(np.float32)
  out = split(stack.transpose(0, 1, 3, 4, 2))
  return out | ({'anchors': arrays['depth_targets_in']} if 'depth_targets_in' in arrays else {})


def check_outputs(out, arrays, meta, tolerance=1e-4):
  """Compares outputs of an evaluation, and their statistics."""
  step = meta['spatial_subsample']
  for name, published in NAMES.items():
    if name in out:
      value = np.asarray(out[name], np.float64).transpose(0, 3, 1, 2)
      assert relative_error(value[:, :, ::step, ::step], arrays[published]) < tolerance, name
      stats = [value.mean(), value.std(), np.linalg.norm(value)]
      np.testing.assert_allclose(stats, arrays[f'{published}_stats_f64'], rtol=tolerance)
