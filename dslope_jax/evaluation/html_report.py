"""One HTML file that shows an evaluation: tables, charts and pictures, nothing fetched, no script.

Everything that came from files is escaped; the page works from a disk, in the dark and on paper.
"""
import base64
import os
import re

import cv2
import numpy as np

from dslope_jax.evaluation import charts
from dslope_jax.evaluation.charts import finite, number, text

_LIGHT = ('1f5fa8 8db8e6 b9530a f2ae6b 1f7a4a 8fcfa6 7a3b9e c8a3e0 0c7489 84cbd8 5c5346 b9ae9c',
          'paper:#fff;--ink:#1c2126;--quiet:#5b646d;--grid:#dfe3e8;--panel:#f5f7f9')
_DARK = ('7db4f0 3a669c f0a35a 94561c 79c999 37764f c79be6 754c94 6cc5d6 2b7482 c4b8a4 756a58',
         'paper:#14181c;--ink:#e6e9ec;--quiet:#9aa4ae;--grid:#30373e;--panel:#1d2329')
_variables = lambda shades, rest: ''.join(
  f'--c{i}:#{c};' for i, c in enumerate(shades.split())) + f'--{rest}'
_THEME = (f':root{{color-scheme:light dark;{_variables(*_LIGHT)}}}'
          f'@media screen and (prefers-color-scheme:dark){{:root{{{_variables(*_DARK)}}}}}')
_STYLE = '''
*{box-sizing:border-box}
body{margin:0 auto;max-width:1240px;padding:20px;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}
h1{margin:0 0 12px;font-size:26px;overflow-wrap:anywhere}h2{margin:44px 0 6px;padding-top:10px;
font-size:20px;border-top:1px solid var(--grid)}h3{margin:20px 0 6px;font-size:16px}
p{margin:6px 0 12px;max-width:75ch;color:var(--quiet)}a{color:inherit}
.stamp{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(45%,210px),1fr));
gap:6px 18px;margin:0;padding:12px 14px;background:var(--panel);border-radius:8px}
dt{font-size:12px;color:var(--quiet)}dd{margin:0;overflow-wrap:anywhere}
nav ul{display:flex;flex-wrap:wrap;gap:4px 18px;margin:14px 0 0;padding:0;list-style:none}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,500px),1fr));gap:14px 28px}
.grid.slim{grid-template-columns:repeat(auto-fill,minmax(min(100%,270px),1fr))}
.wide{grid-column:1/-1}figure{margin:0;min-width:0;break-inside:avoid}
figcaption{margin:8px 0 4px;font-weight:600;overflow-wrap:anywhere}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:4px 10px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--grid)}
thead th{font-size:13px;font-weight:600;color:var(--quiet)}
th:first-child{position:sticky;left:0;text-align:left;background:var(--paper)}
tbody th{font-weight:400}summary{cursor:pointer;font-size:13px;color:var(--quiet)}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));gap:16px}
.card{padding:10px;background:var(--panel);border-radius:8px;break-inside:avoid}
.card figcaption{margin:0 0 6px;font-size:14px;font-weight:400}
.row{display:flex;gap:6px}.row div{flex:1;min-width:0}
.row img{display:block;width:100%;border-radius:4px}.row span{font-size:12px;color:var(--quiet)}
@media(max-width:600px){body{padding:12px}th,td{padding:4px 7px}}
@media print{body{max-width:none;padding:0;font-size:11px}nav{display:none}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}h2,h3,figcaption{break-after:avoid}
.scroll{overflow:visible}th,td,thead th{padding:2px 3px;font-size:7.5px}
.grid,.cards{grid-template-columns:1fr 1fr}.grid.slim{grid-template-columns:1fr 1fr 1fr}
svg.chart{min-width:0!important}details::details-content{content-visibility:visible;block-size:auto}}
'''
_SPLITS = {
  'joint': ('Joints in sight, hidden and covered', 'labelled joints'),
  'occluded': ('Share of the person that is hidden', 'hidden or covered share of their joints'),
  'crowd_index': ('Crowding of the picture', 'crowd index'),
  'neighbour': ('Closest neighbour', 'largest IoU with another box'),
  'truncated': ('Cut off by the border', 'box touches the border'),
  'size': ('Size of the person', 'COCO area'),
}
_LESS_IS_BETTER = re.compile(r'^(nme|fr@|ece|brier|nll|epe)|loss|error|(^|_)rate', re.I)
_LONGEST, _PICTURES = 512, 50  # pixels of an embedded picture, cards


def page(data: dict) -> str:
  """An evaluation as one self-contained HTML page.

  data: all but 'title' and 'stamp' may be absent, and so is their section then. Shares are in
  percent, other metrics in their own units, None or NaN where there is none.
  'title': str; 'stamp': {field: value}; 'results': {'network/kind': {metric: number}};
  'report': {'network/kind': of `occlusion_report.report`};
  'stress': {network: {'severity': [[level, value], ...], 'area': number, 'joints': {joint: value},
  'metric': str}}; 'reliability': {'network/kind': {'ece': 0..1, 'rows': [[confidence 0..1,
  accuracy 0..1, joints], ...]}}; 'per_joint': {'network/kind': {joint: share}};
  'worst': up to 50 of {'caption': str, 'pictures': [{'title': str, 'image': (H,W,3) uint8 RGB}]}.
  """
  inks = _inks([name for key in ('results', 'report', 'reliability', 'per_joint', 'stress')
                for name in data.get(key) or {}])
  found = [(key, title, build(data[key], inks)) for key, title, build in _SECTIONS
           if data.get(key)]
  links = ''.join(f'<li><a href="#{key}">{title}</a></li>' for key, title, _ in found)
  body = ''.join(f'<section id="{key}"><h2>{title}</h2>{content}</section>'
                 for key, title, content in found)
  stamp = ''.join(f'<div><dt>{text(k)}</dt><dd>{text(v)}</dd></div>'
                  for k, v in data['stamp'].items())
  return ('<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
          '<meta name="viewport" content="width=device-width,initial-scale=1">'
          f'<link rel="icon" href="data:,"><title>{text(data["title"])}</title>'
          f'<style>{_THEME}{charts.STYLE}{_STYLE}</style></head><body>{charts.hatches()}'
          f'<header><h1>{text(data["title"])}</h1><dl class="stamp">{stamp}</dl>'
          f'<nav aria-label="Contents"><ul>{links}</ul></nav></header>'
          f'<main>{body}</main></body></html>\n')


def write(path, data: dict):
  """Writes `page(data)` to `path`, whole or not at all; raises OSError if it cannot."""
  content = page(data)
  with open(f'{path}.part', 'w', encoding='utf-8') as f:
    f.write(content)
  os.replace(f'{path}.part', path)


def _inks(names):
  """{name: ink}, the same all over the page: a colour per network, a shade per kind.

  A network alone looks as its first kind.
  """
  kinds = list(dict.fromkeys(n.split('/', 1)[1] for n in names if '/' in n))
  networks = list(dict.fromkeys(n.split('/', 1)[0] for n in names))
  if len(kinds) > 2 or len(networks) > charts.INKS // 2:
    return {n: i % charts.INKS for i, n in enumerate(dict.fromkeys(names))}
  out = {}
  for name in names:
    network, _, kind = name.partition('/')
    out[name] = 2 * networks.index(network) + (kinds.index(kind) if kind else 0)
  return out


def _results(results, inks):
  columns = [c for c in _union(results.values())
             if any(finite(row.get(c)) is not None for row in results.values())]
  rows = {name: [row.get(c) for c in columns] for name, row in results.items()}
  kinds = {name: name.partition('/')[2] for name in rows}
  marks = {}
  for c, column in enumerate(columns):
    best = _best(rows, c, column)
    marks |= dict.fromkeys(((name, c) for name in best), '<b>{}</b>')
    for kind in set(kinds.values()) if len(set(kinds.values())) > 1 else ():
      for name in _best({n: row for n, row in rows.items() if kinds[n] == kind}, c, column):
        marks[name, c] = '<u>' + marks.get((name, c), '{}') + '</u>'
  return ('<p>Bold: best of the column. Underlined: best on that kind of pictures.</p>'
          + _table(columns, rows, marks))


def _best(rows, column, metric):
  """Names of the rows with the best number, none where there is nothing to choose from."""
  values = {name: finite(row[column]) for name, row in rows.items()}
  known = [v for v in values.values() if v is not None]
  if len(known) < 2 or max(known) == min(known):
    return []
  best = min(known) if _LESS_IS_BETTER.search(metric) else max(known)
  return [name for name, value in values.items() if value == best]


def _report(report, inks):
  out = ['<p>A joint is right if its own object keypoint similarity is at least 0.5. '
         'Numbers under the bars are joints.</p><div class="grid">']
  overall = {name: r['overall'] for name, r in report.items() if r.get('overall')}
  out.append(_figure('Overall', _table_of(overall), 'wide') if overall else '')
  for split in _union(r.get('by') or {} for r in report.values()):
    title, label = _SPLITS.get(split, (split, split))
    rows = {name: (r.get('by') or {}).get(split) or {} for name, r in report.items()}
    bins = _union(rows.values())
    series = {name: [row.get(b, {}).get('share') for b in bins] for name, row in rows.items()}
    counts = [_range([row.get(b, {}).get('joints') for row in rows.values()]) for b in bins]
    chart = charts.bars(bins, series, y_label='joints right (%)', x_label=label, top=100,
                            counts=counts, inks=inks)
    out.append(_figure(title, chart + _numbers(rows)))
  wrong = {name: r['errors'] for name, r in report.items() if r.get('errors')}
  if wrong:
    shares = {n: {k: v.get('share') for k, v in e.items()} for n, e in wrong.items()}
    shades = dict(zip(_union(wrong.values()), (1, 0, 2, 7, 10, 5), strict=False))
    zoom = {n: {k: v for k, v in e.items() if k != 'good'} for n, e in shares.items()}
    numbers = _fold(_table(_union(wrong.values()), {n: [*e.values()] for n, e in shares.items()}))
    for title, parts, extra in (('Kinds of errors', shares, numbers),
                                ('Kinds of errors, without the good ones', zoom, '')):
      chart = charts.stacked(parts, unit='% of the labelled joints', inks=shades)
      out.append(_figure(title, chart + extra))
  rates = {name: r['rates'] for name, r in report.items() if r.get('rates')}
  title = 'Two people in one pose, swapped and turned joints; rates in %'
  out.append(_figure(title, _table_of(rates), 'wide') if rates else '')
  return ''.join(out) + '</div>'


def _numbers(rows):
  """Every number of a split, bin by bin, to fold out."""
  flat = {f'{name} {b}': row for name, bins in rows.items() for b, row in bins.items()}
  return _fold(_table_of(flat))


def _stress(stress, inks):
  out = ['<p>The metric as more and more of each person is covered; area is its mean over the '
         'severities.</p><div class="grid">']
  metric = next((s['metric'] for s in stress.values() if s.get('metric')), 'metric')
  curves = {name: s['severity'] for name, s in stress.items() if s.get('severity')}
  if curves:
    chart = charts.lines(curves, x_label='severity', y_label=metric, inks=inks)
    levels = dict.fromkeys(level for row in curves.values() for level, _ in row)
    rows = {name: [*map({a: b for a, b in row}.get, levels), stress[name].get('area')]
            for name, row in curves.items()}
    table = _table([*(f'{level:g}' for level in levels), 'area'], rows)
    out += [_figure(f'{metric} against severity', chart), _figure(f'{metric} by severity', table)]
  joints = {name: s['joints'] for name, s in stress.items() if s.get('joints')}
  if joints:
    out.append(_figure(f'{metric} with one joint hidden', _bars_of(joints, metric, inks), 'wide'))
  return ''.join(out) + '</div>'


def _reliability(entries, inks):
  figures = [_figure(f'{name}: ECE {number(entry.get("ece"))}',
                     charts.reliability(entry.get('rows') or [], ink=inks[name]))
             for name, entry in entries.items()]
  return ('<p>How often joints are right, by how sure the network is of them. On the dashed line '
          f'confidence is honest, below it too high.</p><div class="grid slim">{"".join(figures)}'
          '</div>')


def _per_joint(shares, inks):
  return _figure('', _bars_of(shares, 'joints right (%)', inks, 100))


def _bars_of(values, label, inks, top=None):
  """Bars and numbers of {name: {group: value}}."""
  groups = _union(values.values())
  series = {name: [row.get(g) for g in groups] for name, row in values.items()}
  return (charts.bars(groups, series, y_label=label, inks=inks, top=top)
          + _fold(_table([*values], {g: [row.get(g) for row in values.values()] for g in groups})))


def _worst(cards, inks):
  out = []
  for card in cards[:_PICTURES]:
    pictures = ''.join(
      f'<div><img alt="{text(p["title"])}" src="{_jpeg(p["image"])}"><span>{text(p["title"])}'
      '</span></div>' for p in card['pictures'])
    out.append(f'<figure class="card"><figcaption>{text(card["caption"])}</figcaption>'
               f'<div class="row">{pictures}</div></figure>')
  return f'<div class="cards">{"".join(out)}</div>'


def _jpeg(image):
  """A (H,W,3) uint8 RGB picture as the address of itself."""
  image = np.ascontiguousarray(image)
  factor = _LONGEST / max(image.shape[:2])
  if factor < 1:
    image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
  coded = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
  return 'data:image/jpeg;base64,' + base64.b64encode(coded).decode()


def _table_of(rows):
  columns = _union(rows.values())
  return _table(columns, {name: [row.get(c) for c in columns] for name, row in rows.items()})


def _table(columns, rows, marks=None):
  """columns: C names; rows: {name: C numbers}; marks: {(name, column index): format}."""
  sizes = [max((abs(finite(row[c]) or 0) for row in rows.values()), default=0)
           for c in range(len(columns))]
  head = ''.join(f'<th scope="col">{text(c)}</th>' for c in columns)
  body = ''
  for name, row in rows.items():
    cells = ''.join('<td>' + (marks or {}).get((name, c), '{}').format(number(v, sizes[c]))
                    + '</td>' for c, v in enumerate(row))
    body += f'<tr><th scope="row">{text(name)}</th>{cells}</tr>'
  return (f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead>'
          f'<tbody>{body}</tbody></table></div>')


def _fold(content):
  return f'<details><summary>Numbers</summary>{content}</details>'


def _figure(title, content, kind=''):
  caption = f'<figcaption>{text(title)}</figcaption>' if title else ''
  return f'<figure class="{kind}">{caption}<div class="scroll">{content}</div></figure>'


def _range(counts):
  known = sorted({c for c in counts if finite(c) is not None})
  return ' to '.join(number(c) for c in dict.fromkeys([known[0], known[-1]])) if known else ''


def _union(rows):
  """Keys of all rows in the order in which they are met."""
  return list(dict.fromkeys(key for row in rows for key in row))


_SECTIONS = (('results', 'Results', _results), ('report', 'By circumstances', _report),
             ('stress', 'Under stress', _stress), ('reliability', 'Confidence', _reliability),
             ('per_joint', 'Joint by joint', _per_joint), ('worst', 'Worst cases', _worst))
