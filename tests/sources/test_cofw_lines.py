"""The lines of docs/faces.md that convert COFW's own files, on files in their form."""
import pathlib
import re
import sys
import types

import numpy as np

from input_pipeline import sources

DOCS = pathlib.Path(__file__).parents[2] / 'docs/faces.md'
RNG = np.random.default_rng(0)
PICTURES = {'a': RNG.integers(0, 255, (80, 90, 3), np.uint8),
            'b': RNG.integers(0, 255, (60, 70), np.uint8)}
POINTS = np.round(RNG.uniform(10, 50, (2, 58)), 2)
HIDDEN = RNG.integers(0, 2, (2, 29))


class File(dict):
  """What h5py makes of such a file: MATLAB's arrays, each with its axes turned round."""

  def __init__(self, path):
    end = 'Tr' if 'train' in path.name else 'T'
    super().__init__({name: pixels.T for name, pixels in PICTURES.items()} | {
      f'Is{end}': np.array([['a', 'b']]), f'phis{end}': np.hstack([POINTS, HIDDEN]).T,
      f'bboxes{end}': np.array([[5.0, 6, 50, 40]] * 2).T})

  def __enter__(self):
    return self

  def __exit__(self, *_):
    pass


def test_points_pictures_and_what_is_hidden(tmp_path, monkeypatch):
  (tmp_path / 'COFW').mkdir()
  monkeypatch.chdir(tmp_path)
  monkeypatch.setitem(sys.modules, 'h5py', types.SimpleNamespace(File=File))
  exec(re.search(r'```python\n(import json.*?)```', DOCS.read_text(), re.DOTALL)[1], {})
  for split in ('train', 'test'):
    source = sources.load('faces', split, root='COFW', faces_of='cofw')
    np.testing.assert_allclose(
      source.keypoints, np.moveaxis(POINTS.reshape(2, 2, 29), 1, 2), rtol=1e-6)
    np.testing.assert_array_equal(source.visibility, 2 - HIDDEN)
    np.testing.assert_array_equal(source.read(0), PICTURES['a'])
    np.testing.assert_array_equal(source.read(1), np.stack([PICTURES['b']] * 3, -1))
