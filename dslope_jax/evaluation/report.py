"""One HTML page of everything that an evaluation left in its folder."""
import base64
import numbers
import os
from typing import Any, TypedDict

import cv2
import jinja2
import numpy as np

from dslope_jax.evaluation import charts
from dslope_jax.evaluation.base import Results, read_stamped
from dslope_jax.evaluation.compare import less_is_better
from dslope_jax.visibility import PROBABILITIES

_SPLITS = {
  'joint': ('Joints in sight, hidden and covered', 'labelled joints'),
  'occluded': ('Occlusion', "hidden or covered share of a person's joints"),
  'crowd_index': ('Crowding of the picture', 'crowd index'),
  'neighbour': ('Closest neighbour', 'largest IoU with another box'),
  'truncated': ('Truncation', 'box touches the border'),
  'size': ('Size of the person', 'COCO area'),
  'action': ('Action', ''), 'family': ('Kind of skeleton', ''), 'subject': ('Person', ''),
}
# Texts that depend on the metric; a task's report.json may have its own under 'words'.
_WORDS = {'share': 'Right joints in %', 'report': 'A joint is right if its own object keypoint '
          'similarity is at least 0.5.'}
_BINS = 'joints, in bins of equal numbers'
_LONGEST = 512  # pixels of an embedded picture


def write(folder, cases=()) -> str:
  """Writes report.html, one file that needs no other, to an evaluation's folder; returns its path.

  Reads results.json and, where they exist, report.json and stress.json; one of another evaluation
  than results.json is left out, and the page says so.
  cases: the worst ones, [{'caption': text, 'pictures': {title: (H,W,3) uint8 RGB}}].
  Raises OSError or UserError naming a file that is not there, or is broken.
  """
  files = {name: _read(os.path.join(folder, f'{name}.json'), form)
           for name, form in (('results', Results), ('report', _Report), ('stress', _Stress))}
  stamp, notes = files['results']['stamp'], []
  for name, content in files.items():
    other = [k for k, v in content.get('stamp', {}).items() if k in stamp and stamp[k] != v]
    if other:
      files[name] = {}
      notes.append(f'{name}.json is left out: it is of another evaluation ({", ".join(other)} '
                   'differ). Evaluate again to renew it.')
  title = ' '.join(str(stamp[k]) for k in ('data', 'split', 'recipe') if k in stamp)
  page = _template().render(title=title or 'Evaluation', stamp=stamp, notes=notes,
                            sections=_sections(files, cases))
  path = os.path.join(folder, 'report.html')
  with open(f'{path}.part', 'w', encoding='utf-8') as f:
    f.write(page)
  os.replace(f'{path}.part', path)
  return path


_Numbers = dict[str, float | None]


class _Circumstances(TypedDict, total=False):
  overall: _Numbers
  by: dict[str, dict[str, _Numbers]]
  errors: dict[str, _Numbers]
  rates: _Numbers


class _Reliability(TypedDict, total=False):
  ece: float | None
  brier: float | None
  rows: list[dict[str, float | None]]


class _Report(TypedDict, total=False):
  stamp: dict[str, Any]
  words: dict[str, str]
  report: dict[str, _Circumstances]
  reliability: dict[str, dict[str, _Reliability]]
  per_joint: dict[str, _Numbers]


class _Curve(TypedDict, total=False):
  metric: str
  severity: list[tuple[float, float | None]]
  interval: list[tuple[float, float | None, float | None]]
  area: float | None
  others: _Numbers


class _Stress(TypedDict, total=False):
  stamp: dict[str, Any]
  stress: dict[str, _Curve]


def _read(path, form):
  if form is not Results and not os.path.exists(path):
    return {}
  return read_stamped(path, form, 'give a folder that an evaluation wrote, or evaluate again')


def _template():
  environment = jinja2.Environment(loader=jinja2.FileSystemLoader(os.path.dirname(__file__)),
                                   autoescape=True, trim_blocks=True, lstrip_blocks=True)
  environment.filters |= {'number': _number, 'jpeg': _jpeg, 'columns': _columns}
  return environment.get_template('report.html.jinja')


def _sections(files, cases):
  """[{'id', 'title', 'text', 'blocks'}]; a block is {'title'} and a 'chart', 'table' or 'cases'."""
  results, stress = files['results']['results'], files['stress'].get('stress') or {}
  kept = {key: {row: found for row, found in (files['report'].get(key) or {}).items() if found}
          for key in ('report', 'reliability', 'per_joint')}
  rows = list(dict.fromkeys(row for table in (results, *kept.values()) for row in table))
  styles, words = charts.styles(rows), _WORDS | (files['report'].get('words') or {})
  of_file = dict(results=results, stress=stress, **kept)
  found = [(key, title, words.get(key, text), list(build(of_file[key], styles, words)))
           for key, title, text, build in _SECTIONS if of_file[key]]
  if cases:
    found.append(('worst', 'Worst cases', '', [{'cases': cases}]))
  return [dict(zip(('id', 'title', 'text', 'blocks'), section, strict=True)) for section in found]


def _results(results, styles, words):
  known = [k for k in _columns(results) if any(_finite(row.get(k)) for row in results.values())]
  table = {row: {k: values.get(k) for k in known} for row, values in results.items()}
  yield {'table': table, 'best': _best(table)}


def _best(results):
  """{(row, metric)} of the best number of each column among the rows of one view."""
  best = set()
  for metric in _columns(results):
    of_view = {}
    for row, values in results.items():
      if _finite(values.get(metric)):
        of_view.setdefault(row.rpartition('/')[2], {})[row] = values[metric]
    for values in of_view.values():
      first = (min if less_is_better(metric) else max)(values.values())
      if min(values.values()) < max(values.values()):
        best |= {(row, metric) for row, value in values.items() if value == first}
  return best


def _report(report, styles, words):
  yield {'title': 'Overall', 'table': _part(report, 'overall')}
  by = _part(report, 'by')
  splits = _columns(by)
  if splits:
    bins = {split: {row: found.get(split) or {} for row, found in by.items()} for split in splits}
    panels = [_split(*_SPLITS.get(split, (split, '')), bins[split]) for split in splits]
    yield {'title': f"{words['share']}; under each bin the number of joints",
           'chart': charts.svg(charts.lines(panels, styles, size=(4.6, 3.3)))}
    for split, of_row in bins.items():
      flat = {f'{row}, {b}': values for row, found in of_row.items() for b, values in found.items()}
      yield {'title': f'Numbers: {_SPLITS.get(split, (split,))[0]}', 'fold': True, 'table': flat}
  errors = _part(report, 'errors')
  if errors:
    shares = {row: {kind: value.get('share') for kind, value in found.items()}
              for row, found in errors.items()}
    yield {'title': 'Kinds of errors',
           'chart': charts.svg(charts.stacked(shares, '% of the labelled joints'))}
    yield {'title': 'Numbers: kinds of errors, in %', 'fold': True, 'table': shares}
  yield {'title': 'Two people in one pose, swapped and turned joints; rates in %',
         'table': _part(report, 'rates')}


def _part(report, key):
  return {row: found[key] for row, found in report.items() if found.get(key)}


def _split(title, label, rows):
  """The panel of {row: {bin: {'joints', 'share'}}}."""
  bins = _columns(rows)
  counts = [sorted({row[b]['joints'] for row in rows.values() if b in row and 'joints' in row[b]})
            for b in bins]
  ticks = tuple(b + '\n' + ' to '.join(f'{c:,}' for c in dict.fromkeys(count[:1] + count[-1:]))
                for b, count in zip(bins, counts, strict=True))
  series = {row: [(i, found.get(b, {}).get('share')) for i, b in enumerate(bins)]
            for row, found in rows.items()}
  return charts.Panel(title, series, label, ticks=ticks)


def _stress(stress, styles, words):
  metric = next((found['metric'] for found in stress.values() if found.get('metric')), 'metric')
  curves = {network: found['severity'] for network, found in stress.items()
            if found.get('severity')}
  if curves:
    panel = charts.Panel('', curves, 'severity', metric)
    yield {'title': f'{metric} by severity', 'chart': charts.svg(
      charts.lines([panel], styles, size=(7, 3.6)))}
    yield {'title': '', 'table': {
      network: {f'{level:g}': value for level, value in curve} | {'mean': stress[network]['area']}
      for network, curve in curves.items()}}
  others = _part(stress, 'others')
  if others:
    yield from _points({network: {name.replace('_', ' '): value for name, value in found.items()}
                        for network, found in others.items()},
                       f'{metric} under the other variants', styles)


def _reliability(entries, styles, words):
  ideal = [(0, 0), (1, 1)]
  panels = [charts.Panel(f'{row}: ECE {_number(found.get("ece"))}',
                         {'ideal': ideal, _BINS: [
                           (r['confidence'], r['accuracy']) for r in found['rows']]},
                         'confidence', f'share {field}')
            for field in PROBABILITIES for row, of in entries.items() if (found := of.get(field))]
  if panels:
    looks = {'ideal': dict(color='0.6', linestyle='--'), _BINS: dict(marker='o', markersize=4)}
    yield {'title': '', 'chart': charts.svg(charts.lines(panels, looks, 4, (3.4, 3)))}


def _per_joint(shares, styles, words):
  yield from _points(shares, words['share'], styles)


def _points(values, label, styles):
  """Chart and table of {row: {name: number}}."""
  names = _columns(values)
  series = {row: [(i, found.get(name)) for i, name in enumerate(names)]
            for row, found in values.items()}
  panel = charts.Panel('', series, y_label=label, ticks=tuple(names), joined=False)
  yield {'title': label, 'chart': charts.svg(charts.lines([panel], styles, size=(13, 4)))}
  yield {'title': 'Numbers', 'fold': True, 'table': {
    name: {row: found.get(name) for row, found in values.items()} for name in names}}


def _columns(rows):
  """Keys of all rows in the order in which they are met."""
  return list(dict.fromkeys(key for row in rows.values() for key in row))


def _finite(value):
  return isinstance(value, numbers.Real) and not isinstance(value, bool) and np.isfinite(value)


def _number(value):
  """Counts whole, other numbers with two decimals or, if small, three digits; a dash for none."""
  if not _finite(value):
    return '\u2013'
  if isinstance(value, numbers.Integral):
    return f'{value:,}'
  return f'{value:,.2f}' if abs(value) >= 0.1 or not value else f'{value:.3g}'


def _jpeg(image):
  """A (H,W,3) uint8 RGB picture as the source of an image."""
  factor = _LONGEST / max(image.shape[:2])
  if factor < 1:
    image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
  coded = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
  return 'data:image/jpeg;base64,' + base64.b64encode(coded).decode()


_SECTIONS = (
  ('results', 'Results', 'Bold: the best of its column among the rows of one view.', _results),
  ('report', 'By circumstances', '', _report),
  ('stress', 'Stress test', 'The metric as more and more of each person is covered.', _stress),
  ('reliability', 'Confidence', 'How often joints are right, in sight and in the picture, by what '
   'is said of them. Points below the dashed line: the network is too sure.', _reliability),
  ('per_joint', 'Joint by joint', '', _per_joint))
