"""What an evaluation is made of: the set that is scored, and the numbers that come out."""
from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict

import numpy as np

from dslope_jax import own_files
from dslope_jax.own_files import Column


class EvalSet(NamedTuple):
  """An entry of `config.evals`, bound to its data by a task.

  stamp: everything that changes the numbers.
  rows: N, how many samples are scored.
  batches: (**variant) -> iterator over padded batches of this process, with 'row' and 'mask'.
  test: options of `System.predict`.
  score: (outputs, held-out outputs or None, full=True, fits=None) -> Scores. Outputs are those of
    all rows, the batch fields `keep` under 'batch'. Not full: results alone. fits: the
    'calibration.json' of an earlier score, in place of held-out outputs.
  keep: fields of the batches that the score needs, where they have them.
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
  files: {name: value} to write beside the results: .json of plain values, .mat and .npz of arrays.
  worst: rows of samples, the hardest first, to be shown in a report.
  """
  results: dict[str, dict[str, float]]
  samples: dict[str, dict[str, SampleTable]] = {}
  files: dict[str, object] = {}
  worst: tuple[int, ...] = ()


_AGAIN = 'evaluate again'
_FORM = 1  # of the files of an evaluation; raised when they change


class _Stamped(TypedDict):
  stamp: dict[str, Any]


class Results(_Stamped):
  """What results.json holds; see `Scores`."""
  results: dict[str, dict[str, Any]]


def write_stamped(path, stamp, content):
  """Writes a file of an evaluation: what it found, and what was measured."""
  own_files.write_json(path, {'version': _FORM, 'stamp': stamp} | content)


def read_stamped(path, form=Results, mend=_AGAIN) -> dict:
  """What `write_stamped` wrote. Raises FileNotFoundError or UserError, one line."""
  return own_files.read_json(path, form, mend, _FORM)


def save_samples(path, samples):
  """Writes `Scores.samples` as one npz file without pickle."""
  names = [(row, metric) for row, tables in samples.items() for metric in tables]
  columns = {f'{field}_{i}': np.asarray(getattr(samples[row][metric], field))
             for i, (row, metric) in enumerate(names) for field in SampleTable._fields}
  columns['names'] = np.array(names, np.str_).reshape(-1, 2)
  own_files.write_npz(path, columns, _sample_columns(columns), compressed=True)


def load_samples(path) -> dict:
  """The tables that `save_samples` wrote. Raises UserError naming the file if it is another."""
  columns, out = own_files.read_npz(path, _sample_columns, _AGAIN), {}
  for i, (row, metric) in enumerate(columns['names'].tolist()):
    table = SampleTable(*(columns[f'{field}_{i}'] for field in SampleTable._fields))
    out.setdefault(row, {})[metric] = table
  return out


def _sample_columns(columns):
  """The form of a file of samples: three columns for each of its names."""
  names = columns.get('names', np.zeros(0))
  kinds = dict(zip(SampleTable._fields, ('iu', 'biuf', 'biuf'), strict=True))
  return {'names': Column('U', ('M', 2))} | {
    f'{field}_{i}': Column(kind, (f'N{i}',)) for i in range(len(np.atleast_1d(names)))
    for field, kind in kinds.items()}
