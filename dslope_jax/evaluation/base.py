"""What an evaluation is made of: the set that is scored, and the numbers that come out."""
import json
import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dslope_jax.errors import UserError


class EvalSet(NamedTuple):
  """An entry of `config.evals`, bound to its data by a task.

  stamp: everything that changes the numbers.
  rows: N, how many samples are scored.
  batches: (**variant) -> iterator over padded batches of this process, with 'row' and 'mask'.
  test: options of `System.predict`.
  score: (outputs, held-out outputs or None, full=True, fits=None) -> Scores. Outputs are those of
    all rows, the batch fields `keep` under 'batch'. Not full: results alone. fits: the
    'calibration.json' of an earlier score, in place of held-out outputs.
  keep: fields of the batches that the score needs.
  held_out: (rows, batches) of people kept from training, to calibrate on; or None.
  variants: {name: arguments of batches}; each is predicted and scored by --stress.
  score_file: (path) -> (Scores, message or ''), of another program's result file.
  pictures: (outputs, rows) -> [{'caption': text, 'pictures': {title: (H,W,3) uint8}}].
  """
  stamp: dict
  rows: int
  batches: Callable
  test: dict
  score: Callable
  keep: tuple[str, ...] = ()
  held_out: tuple[int, Callable] | None = None
  variants: dict = {}
  pictures: Callable | None = None
  score_file: Callable | None = None


class SampleTable(NamedTuple):
  """A ratio by sample: sum(numerator) / sum(denominator) is the metric.

  group: (N,) int, samples of a group (one picture, one person's clips) are resampled together.
  numerator, denominator: (N,) float64; percentages have a numerator times 100.
  """
  group: np.ndarray
  numerator: np.ndarray
  denominator: np.ndarray


class Scores(NamedTuple):
  """Numbers of an evaluation.

  results: {row of the table: {metric: number}}; a row is NETWORK/VIEW or NETWORK/READOUT/VIEW.
  samples: {row: {metric: SampleTable}}, for intervals and paired comparisons.
  files: {name: value} to write beside the results: .json of plain values, .mat of arrays.
  worst: rows of samples, the hardest first, to be shown in a report.
  """
  results: dict[str, dict[str, float]]
  samples: dict[str, dict[str, SampleTable]] = {}
  files: dict[str, object] = {}
  worst: tuple[int, ...] = ()


def save_samples(path, samples):
  """Writes `Scores.samples` as one npz file without pickle."""
  names = [(row, metric) for row, tables in samples.items() for metric in tables]
  columns = {f'{field}_{i}': getattr(samples[row][metric], field)
             for i, (row, metric) in enumerate(names) for field in SampleTable._fields}
  with open(path, 'wb') as f:
    np.savez_compressed(f, names=np.array(names, np.str_).reshape(-1, 2), **columns)


def load_samples(path) -> dict:
  """The tables that `save_samples` wrote. Raises UserError naming the file if it is another."""
  try:
    with np.load(path, allow_pickle=False) as columns:
      out = {}
      for i, (row, metric) in enumerate(columns['names'].tolist()):
        table = SampleTable(*(columns[f'{field}_{i}'] for field in SampleTable._fields))
        if len({len(column) for column in table}) != 1:
          raise UserError(f'the columns of {row}, {metric} differ in length')
        out.setdefault(row, {})[metric] = table
      return out
  except OSError as error:
    raise OSError(f"cannot read '{path}' ({error})") from None
  except Exception as error:  # of zipfile, zlib or NumPy, by where the file is broken
    raise UserError(f"'{path}' is no file of samples of an evaluation ({error}); evaluate "
                    'again') from None


def write_json(path, value):
  """Whole or not at all: a reader never sees half a file. NaN becomes null."""
  with open(path + '.part', 'w', encoding='utf-8') as f:
    json.dump(_plain(value), f)
  os.replace(path + '.part', path)


def _plain(value):
  if isinstance(value, dict):
    return {k: _plain(v) for k, v in value.items()}
  if isinstance(value, (list, tuple)):
    return [_plain(v) for v in value]
  if isinstance(value, float) and value != value:
    return None
  return value
