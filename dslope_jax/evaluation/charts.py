"""Charts as SVG text for pages without scripts: bars, stacked bars, lines, reliability.

A page has `STYLE` and `hatches()` once, and the colours as CSS variables: --c0 to --c11 for the
inks, --ink, --quiet, --grid and --paper. An ink is a number 0..11: pairs of a strong and a pale
shade of one colour, the pairs told apart by hatch or dash as well.
"""
import html
import math
import numbers
import re

INKS, _SPACE = 12, 'xmlns="http://www.w3.org/2000/svg"'
STYLE = ('svg.chart{display:block;width:100%;height:auto;font:12px system-ui,sans-serif}'
         'svg.chart text{fill:var(--ink)}svg.chart .quiet{fill:var(--quiet)}'
         'svg.chart .small{font-size:11px}svg.chart .end{text-anchor:end}'
         'svg.chart .mid{text-anchor:middle}svg.chart .grid{stroke:var(--grid);fill:none}'
         'svg.chart .axis{stroke:var(--quiet);fill:none}svg.chart .on{fill:var(--paper)}'
         + ''.join(f'.f{i}{{fill:var(--c{i})}}.s{i}{{stroke:var(--c{i});fill:none}}'
                   for i in range(INKS)))
_HATCHES = ('', 'M-1 1l2-2M0 6l6-6M5 7l2-2', 'M0 3h6', 'M3 0v6M0 3h6', 'M-1 5l2 2M0 0l6 6M5-1l2 2',
            'M3 0v6')
_DASHES = ('none', '7 3', '2 3', '9 3 2 3', '12 4', '4 4 1 4')


def hatches() -> str:
  """The patterns that bars refer to, as an SVG without extent."""
  body = ''.join(
    f'<pattern id="hatch{i}" width="6" height="6" patternUnits="userSpaceOnUse">'
    f'<path d="{path}" style="stroke:var(--paper)" stroke-width="1.3" fill="none"/></pattern>'
    for i, path in enumerate(_HATCHES) if path)
  return (f'<svg {_SPACE} width="0" height="0" aria-hidden="true" style="position:absolute">'
          f'<defs>{body}</defs></svg>')


def text(value) -> str:
  """Anything as text for HTML or SVG: escaped, without what neither can hold."""
  clean = re.sub('[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]', '', str(value))
  return html.escape(clean.encode('utf-8', 'replace').decode())


def finite(value):
  """The number as float, or None if it is none, NaN or infinite."""
  if isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value):
    return float(value)
  return None


def number(value, largest=None) -> str:
  """A number with as many digits as its size needs, an en dash for none; counts stay whole.

  largest: of the numbers that it stands with, so that all of them have the same decimals.
  """
  if finite(value) is None or isinstance(value, numbers.Integral):
    return '\u2013' if finite(value) is None else f'{value:,}'
  size = abs(value if largest is None else largest)
  if size >= 1e6 or 0 < size < 1e-3:
    return f'{value:.3g}'
  return f'{value:,.{5 if 0 < size < 0.01 else 3 if size <= 1 else 1 if size < 1000 else 0}f}'


def bars(groups, series, *, y_label, x_label='', counts=(), top=None, inks=None) -> str:
  """Bars side by side in groups.

  groups: G names. series: {name: G values}, None or NaN where there is none. counts: G texts
  under the names. top: of the axis, in units of the values. inks: {name: 0..11}.
  """
  inks = inks or _in_order(series)
  values = {name: [finite(v) for v in row] for name, row in series.items()}
  known = [v for row in values.values() for v in row if v is not None]
  low, high = _span(min([0, *known]), max([0, *known]) if top is None else top)
  longest = max((len(_short(g)) for g in groups), default=0)
  each = max(len(series) * 8 + 14, 34, 7 * max(map(len, counts), default=0))
  width = max(520, 70 + each * len(groups))
  turned = longest * 6.8 + 6 > (width - 70) / max(len(groups), 1)
  legend, head = _legend(inks, series, width)
  box = (58, head + 12, width - 12, head + 222)
  foot = box[3] + (longest * 4.7 + 22 if turned else 22)
  y = _scale(low, high, box[3], box[1])
  marks = [_y_axis(box, y, low, high, y_label)]
  step = (box[2] - box[0]) / max(len(groups), 1)
  thick = min((step - 10) / max(len(series), 1), 46)
  for g, group in enumerate(groups):
    middle = box[0] + step * (g + 0.5)
    marks.append(_group_name(group, middle, box[3] + 16, turned))
    start = middle - thick * len(series) / 2
    for i, (name, row) in enumerate(values.items()):
      if row[g] is not None:
        label = number(row[g], max(map(abs, known)))
        marks.append(_bar(start + i * thick, y(min(max(row[g], low), high)), thick, y(0),
                          inks[name], f'{name}, {group}: {label} ({y_label})', label))
    if counts:
      marks.append(_write(counts[g], middle, foot + 9, 'small quiet mid'))
  marks += [_line(box[0], y(0), box[2], y(0), 'axis'),
            _write(x_label, (box[0] + box[2]) / 2, foot + 30, 'quiet mid')]
  height = foot + (38 if x_label else 14 if counts else 0)
  return _svg(width, height, legend + ''.join(marks), f'bars of {y_label}')


def stacked(rows, *, unit, inks=None) -> str:
  """One horizontal bar per row, of parts end to end.

  rows: {name: {part: value}}; None and NaN are left out. unit: of the values. inks: {part: 0..11}.
  """
  parts = list(dict.fromkeys(p for row in rows.values() for p in row))
  inks = inks or _in_order(parts)
  sizes = {name: {p: max(finite(v) or 0, 0) for p, v in row.items()} for name, row in rows.items()}
  whole = max([1e-9, *(sum(row.values()) for row in sizes.values())])
  width, left = 540, 24 + 6.8 * max((len(_short(n)) for n in rows), default=0)
  legend, head = _legend(inks, parts, width)
  x, bottom = _scale(0, whole, left, width - 16), head + 8 + 30 * len(rows)
  marks = _x_axis(_ticks(0, whole), x, head + 4, bottom, bottom + 14)
  for r, (name, row) in enumerate(sizes.items()):
    start, middle = 0, head + 8 + 30 * r + 15
    marks.append(_write(_short(name), left - 8, middle + 4, 'end'))
    for part, value in row.items():
      a, b = x(start), x(start + value)
      start += value
      label = number(value, whole)
      marks.append(_rect(a, middle - 10, b - a, 20, inks[part], f'{name}, {part}: {label} {unit}'))
      if b - a > 7 * len(label) + 8:
        marks.append(_plate(label, (a + b) / 2, middle + 4))
  marks.append(_write(unit, (left + width - 16) / 2, bottom + 31, 'quiet mid'))
  return _svg(width, bottom + 38, legend + ''.join(marks), f'parts in {unit}')


def lines(series, *, x_label, y_label, inks=None) -> str:
  """Lines over a common axis, each named at its end.

  series: {name: [(x, y), ...]}; points with None or NaN are left out.
  """
  inks = inks or _in_order(series)
  points = {name: sorted((finite(a), finite(b)) for a, b in row
                         if None not in (finite(a), finite(b))) for name, row in series.items()}
  points = {name: row for name, row in points.items() if row}
  xs, ys = ([p[i] for row in points.values() for p in row] or [0] for i in (0, 1))
  low, high = _span(0 if 0 <= min(ys) < 0.6 * max(ys) else min(ys), max(ys))
  right = 26 + 6.8 * max((len(_short(n)) for n in points), default=0)
  width, height = max(520, 300 + right), 290
  box = (58, 12, width - right, height - 42)
  x, y = _scale(min(xs), max(xs), box[0] + 8, box[2]), _scale(low, high, box[3], box[1])
  steps = sorted(set(xs)) if len(set(xs)) <= 8 else _ticks(min(xs), max(xs))
  marks = [_y_axis(box, y, low, high, y_label), _line(box[0], box[3], box[2], box[3], 'axis'),
           *_x_axis(steps, x, box[3], box[3] + 4, box[3] + 17),
           _write(x_label, (box[0] + box[2]) / 2, height - 8, 'quiet mid')]
  ends = _apart({name: y(row[-1][1]) for name, row in points.items()}, box[3])
  for name, row in points.items():
    marks.append(_polyline([(x(a), y(b)) for a, b in row], inks[name], 2.2))
    for a, b in row:
      tip = f'{name}, {x_label} {a:g}: {number(b)} ({y_label})'
      marks.append(_dot(x(a), y(b), inks[name], tip))
    marks.append(_line(x(row[-1][0]) + 5, y(row[-1][1]), box[2] + 14, ends[name], 'grid'))
    marks.append(_write(_short(name), box[2] + 17, ends[name] + 4))
  return _svg(width, height, ''.join(marks), f'{y_label} against {x_label}')


def reliability(rows, *, ink=0) -> str:
  """Accuracy against confidence, and below it how many joints each point is made of.

  rows: [confidence 0..1, accuracy 0..1, count] each; those with None or NaN are left out.
  """
  rows = [r for r in ([finite(v) for v in row] for row in rows) if None not in r]
  box, floor, most = (52, 12, 292, 252), 326, max([1, *(r[2] for r in rows)])
  x, y = _scale(0, 1, box[0], box[2]), _scale(0, 1, box[3], box[1])
  marks = [_y_axis(box, y, 0, 1, 'accuracy (share right)'),
           *_x_axis(_ticks(0, 1), x, box[1], box[3], floor + 15)]
  marks.append(f'<path class="axis" stroke-dasharray="4 4" d="M{x(0)} {y(0)}L{x(1)} {y(1)}"/>')
  marks.append(_write('ideal', x(0.1) - 2, y(0.2), 'small quiet'))
  marks.append(_polyline([(x(r[0]), y(r[1])) for r in rows], ink, 1.6))
  for confidence, accuracy, count in rows:
    tip = f'confidence {confidence:.3f}, accuracy {accuracy:.3f}, {count:,.0f} joints'
    tall = 46 * count / most
    marks.append(_rect(x(confidence) - 3, floor - tall, 6, tall, ink, tip))
    marks.append(_dot(x(confidence), y(accuracy), ink, tip))
  marks.append(_line(box[0], floor, box[2], floor, 'axis'))
  marks += [_write(f'{most:,.0f}', box[0] - 6, floor - 40, 'small quiet end'),
            _write('joints', box[0] - 6, floor - 2, 'small quiet end'),
            _write('confidence', x(0.5), floor + 32, 'quiet mid')]
  return _svg(304, floor + 40, ''.join(marks), 'reliability diagram')


def _in_order(names):
  """Inks by place: the strong ones first, then the pale ones."""
  return {name: (2 * i + 2 * i // INKS) % INKS for i, name in enumerate(names)}


def _short(name, length=22):
  return str(name) if len(str(name)) <= length else str(name)[:length - 1] + '\u2026'


def _span(low, high):
  """Bounds that the data fit into, with something between them."""
  if high <= low:
    return low, low + 1
  step = _step(low, high)
  return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def _ticks(low, high):
  step = _step(low, high)
  return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _step(low, high):
  """The round number that fits about five times between the bounds."""
  rough = max(high - low, abs(high) * 1e-9, 1e-99) / 5
  power = 10.0 ** math.floor(math.log10(rough))
  return next((m * power for m in (1, 2, 2.5, 5) if m * power >= rough * 0.999), 10 * power)


def _scale(low, high, start, stop):
  return lambda value: start + (value - low) / ((high - low) or 1) * (stop - start)


def _apart(places, bottom, gap=14):
  """The places, in pixels down, moved until labels there do not cover each other."""
  order, free, out = sorted(places, key=places.get), -math.inf, {}
  for name in order:
    out[name] = free = max(places[name], free + gap)
  for name in order[::-1]:
    out[name] = min(out[name], bottom)
    bottom = out[name] - gap
  return out


def _y_axis(box, y, low, high, label):
  marks = [_line(box[0], y(v), box[2], y(v), 'grid')
           + _write(f'{v:.5g}', box[0] - 6, y(v) + 4, 'quiet end') for v in _ticks(low, high)]
  middle = (box[1] + box[3]) / 2
  return ''.join(marks) + _write(label, 13, middle, 'quiet mid', f'rotate(-90 13 {middle:.0f})')


def _x_axis(steps, x, top, bottom, below):
  return [_line(x(v), top, x(v), bottom, 'grid') + _write(f'{v:.5g}', x(v), below, 'quiet mid')
          for v in steps]


def _legend(inks, names, width):
  """SVG of swatches with names in as many rows as they need, and the height that it takes."""
  x, row, out = 8, 0, []
  for name in names:
    size = 36 + 6.8 * len(_short(name, 40))
    if x > 8 and x + size > width:
      x, row = 8, row + 1
    out.append(_rect(x, row * 18 + 5, 18, 11, inks[name], str(name)))
    out.append(_write(_short(name, 40), x + 24, row * 18 + 15))
    x += size
  return ''.join(out), 18 * (row + 1) + 4


def _group_name(name, x, y, turned):
  turn = f'rotate(-40 {x:.1f} {y:.1f})' if turned else ''
  return _write(_short(name), x, y, 'end' if turned else 'mid', turn)


def _bar(x, y, thick, zero, ink, tip, label):
  gap, high, low = min(1, thick / 8), min(y, zero), max(y, zero)
  above = _write(label, x + thick / 2, high - 3 if y <= zero else low + 10, 'small mid')
  return (_rect(x + gap, high, thick - 2 * gap, max(low - high, 0.8), ink, tip)
          + (above if thick > 6.3 * len(label) + 1 else ''))


def _rect(x, y, width, height, ink, tip):
  place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
  hatch = f'<rect {place} fill="url(#hatch{ink // 2}) none"/>' if ink // 2 else ''
  return f'<g><title>{text(tip)}</title><rect class="f{ink}" {place}/>{hatch}</g>'


def _plate(label, x, y):
  """Text on a patch of paper, to be read on any hatch."""
  wide = 6.6 * len(label) + 6
  return (f'<rect class="on" x="{x - wide / 2:.1f}" y="{y - 11:.1f}" width="{wide:.1f}" '
          f'height="14" rx="2" opacity=".88"/>{_write(label, x, y, "mid")}')


def _dot(x, y, ink, tip):
  circle = f'<circle class="f{ink}" cx="{x:.1f}" cy="{y:.1f}" r="3.6"/>'
  return f'<g><title>{text(tip)}</title>{circle}</g>'


def _polyline(points, ink, thick):
  path = 'L'.join(f'{x:.1f} {y:.1f}' for x, y in points)
  return (f'<path class="s{ink}" stroke-width="{thick}" stroke-dasharray="{_DASHES[ink // 2]}" '
          f'd="M{path}"/>' if path else '')


def _line(x1, y1, x2, y2, kind):
  return f'<path class="{kind}" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>'


def _write(label, x, y, kind='', turn=''):
  extra = f' transform="{turn}"' if turn else ''
  return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}"{extra}>{text(label)}</text>'


def _svg(width, height, body, label):
  return (f'<svg {_SPACE} class="chart" role="img" aria-label="{text(label)}" '
          f'viewBox="0 0 {math.ceil(width)} {math.ceil(height)}" '
          f'style="min-width:{0.66 * width:.0f}px;max-width:{1.3 * width:.0f}px">{body}</svg>')
