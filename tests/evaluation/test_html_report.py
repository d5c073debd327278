"""The HTML report: well-formed, escaped, self-contained, whole sections or none, in a browser."""
import html.parser
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import cv2
import numpy as np
import pytest

from dslope_jax.evaluation import charts as svg_charts
from dslope_jax.evaluation import html_report

NAMES = ('gnet/clean', 'enet/clean', 'gnet/occluded', 'enet/occluded')
JOINTS = ('nose', 'left_wrist', 'right_ankle')
EMPTY = ('br', 'hr', 'img', 'input', 'link', 'meta')
SPACE = 'xmlns="http://www.w3.org/2000/svg"'
BROWSER = next(filter(None, map(shutil.which, ('chromium', 'google-chrome', 'chromium-browser'))),
               None)


def row(share, joints=100):
  return {'people': 12, 'joints': joints, 'right': int(share), 'share': share, 'AP': share / 100,
          'AP50': share / 90, 'AP75': None, 'AR': float('nan')}


def report(share):
  bins = {'joint': ('visible', 'hidden'), 'occluded': ('0', '(0,.25]', '(.25,.5]', '(.5,1]'),
          'size': ('small', 'large')}
  kinds = {'good': share, 'jitter': 99 - share, 'inversion': 0.0, 'swap': 1.0, 'miss': None}
  return {'overall': row(share),
          'by': {split: {b: row(share - 7 * i) for i, b in enumerate(names)}
                 for split, names in bins.items()},
          'errors': {k: {'joints': 3, 'share': v} for k, v in kinds.items()},
          'rates': {'neighbours': 9, 'collapsed': 2, 'collapse_rate': 22.2, 'people': 12,
                    'swap_rate': 4.0, 'inversion_rate': None}}


def example():
  shares = dict(zip(NAMES, (81.25, 86.5, 61.0, 72.75), strict=True))
  picture = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
  return {
    'title': 'A title', 'stamp': {'data': 'synthetic', 'weights_step': 30},
    'results': {n: {'AP': s / 100, 'NME': s, 'covered_joints': None} for n, s in shares.items()},
    'report': {n: report(s) for n, s in shares.items()},
    'stress': {n: {'metric': 'AP', 'severity': [[i, 0.8 - i * k] for i in range(6)],
                   'area': 0.5, 'joints': dict.fromkeys(JOINTS, 0.4 + k)}
               for n, k in (('gnet', 0.1), ('enet', 0.08))},
    'reliability': {n: {'ece': 0.0312, 'rows': [[0.2, 0.1, 400], [0.7, 0.6, 390]]} for n in NAMES},
    'per_joint': {n: dict.fromkeys(JOINTS, s) for n, s in shares.items()},
    'worst': [{'caption': f'person {i}', 'pictures': [{'title': 'gnet', 'image': picture}] * 2}
              for i in range(3)]}


class Checker(html.parser.HTMLParser):
  """Collects ids; fails where a tag is closed that is not the last one opened."""

  def __init__(self):
    super().__init__()
    self.open, self.ids, self.sources, self.pictures = [], [], [], 0

  def handle_starttag(self, tag, attrs):
    given = dict(attrs)
    assert tag not in ('script', 'iframe', 'object')
    assert not any(name.startswith('on') for name in given)
    self.ids += [given['id']] if 'id' in given else []
    self.sources += [given[k] for k in ('src', 'href') if k in given]
    self.pictures += tag == 'img'
    if tag not in EMPTY:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.handle_starttag(tag, attrs)
    if tag not in EMPTY:
      self.open.pop()

  def handle_endtag(self, tag):
    assert self.open.pop() == tag


def check(page):
  """The page's ids and the text of its charts; fails if it is malformed or asks for anything."""
  checker = Checker()
  checker.feed(page)
  checker.close()
  assert not checker.open
  assert len(checker.ids) == len(set(checker.ids))
  assert all(s.startswith(('data:', '#')) for s in checker.sources)
  assert {s[1:] for s in checker.sources if s[0] == '#'} <= set(checker.ids)
  bare = re.sub(r'data:[^"]*', '', page).replace(SPACE, '')
  assert 'http' not in bare and '@import' not in bare
  assert set(re.findall(r'url\(([^)]*)', bare)) <= {f'#hatch{i}' for i in range(6)}
  charts = [ET.fromstring(chart) for chart in re.findall(r'<svg .*?</svg>', page, re.S)]
  assert 'nan' not in bare.lower().split() and 'NaN' not in bare and 'inf"' not in bare
  return checker, [' '.join(chart.itertext()) for chart in charts]


def test_page_is_well_formed_and_asks_for_nothing():
  checker, charts = check(html_report.page(example()))
  assert {'results', 'report', 'stress', 'reliability', 'per_joint', 'worst'} < set(checker.ids)
  assert checker.pictures == 6
  assert len(charts) == 1 + 3 + 2 + 2 + 4 + 1  # hatches, splits, errors, stress, diagrams, joints
  assert 'gnet/occluded, hidden: 54.0 (joints right (%))' in charts[1]


def test_numbers_of_the_tables():
  page = html_report.page(example())
  assert '<b><u>' not in page and '<u><b>0.865</b></u>' in page  # best of the column and its kind
  assert '<u>0.728</u>' in page and '<td>0.812</td>' in page
  assert '<u><b>61.0</b></u>' in page  # the lowest NME
  assert 'covered_joints' not in page  # nobody has a number
  assert 'gnet/clean: ECE 0.031' in page and '22.2' in page
  assert '<dt>weights_step</dt><dd>30</dd>' in page


@pytest.mark.parametrize('missing', ('results', 'report', 'stress', 'reliability', 'per_joint',
                                     'worst'))
def test_missing_sections_are_left_out(missing):
  data = example()
  del data[missing]
  ids = check(html_report.page(data))[0].ids
  assert missing not in ids and 'hatch1' in ids
  assert check(html_report.page({'title': 'A', 'stamp': {}, missing: example()[missing]}))


def test_what_files_say_is_escaped():
  bad = '<b onload="x">&\'\x00\ud800'

  def spoil(value):
    if isinstance(value, dict):
      fixed = ('by', 'errors', 'rates', 'overall', 'share', 'joints', 'severity', 'area', 'metric',
               'ece', 'rows', 'caption', 'pictures', 'title', 'image', *example())
      return {k if k in fixed else bad + k: spoil(v) for k, v in value.items()}
    if isinstance(value, list):
      return [spoil(v) for v in value]
    return bad + value if isinstance(value, str) else value

  page = html_report.page(spoil(example()))
  checker, charts = check(page)
  assert '<b onload' not in page and '&lt;b onload' in page
  assert any('<b onload="x">&\'?gnet' in chart for chart in charts)
  page.encode('utf-8')


def test_nothing_where_numbers_are_missing():
  nothing = {'x': None, 'y': float('nan'), 'z': float('inf')}
  data = {'title': '', 'stamp': {}, 'results': {'gnet/clean': nothing},
          'report': {'gnet/clean': {'by': {'size': {'small': {}, 'large': row(50.0)}},
                                    'errors': {'good': {'share': None}}}},
          'stress': {'gnet': {'severity': [[0, None], [1, float('nan')]], 'joints': nothing},
                     'enet': {}},
          'reliability': {'gnet/clean': {'ece': None, 'rows': []},
                          'gnet/occluded': {'rows': [[0.5, float('nan'), 3]]}},
          'per_joint': {'gnet/clean': nothing, 'enet/clean': {}},
          'worst': [{'caption': 'nobody', 'pictures': []}]}
  assert check(html_report.page(data))


@pytest.mark.parametrize('chart', (
  svg_charts.bars([], {}, y_label='y'), svg_charts.bars(['a'], {'n': [-3.0]}, y_label='y'),
  svg_charts.bars(['a', 'b'], {'n': [None, 1e12], 'm': [0, -1e-12]}, y_label='y', counts=['1', '']),
  svg_charts.stacked({}, unit='%'), svg_charts.stacked({'n': {'a': None, 'b': -1}}, unit='%'),
  svg_charts.lines({}, x_label='x', y_label='y'),
  svg_charts.lines({'n': [(0, 5.0), (1, 5.0)], 'm': [(2, None)]}, x_label='x', y_label='y'),
  svg_charts.reliability([]), svg_charts.reliability([[1.0, 1.0, 0]], ink=11)))
def test_charts_bear_any_numbers(chart):
  for element in ET.fromstring(chart).iter():
    for name in ('x', 'y', 'width', 'height', 'cx', 'cy'):
      assert np.isfinite(float(element.get(name, 0)))


def test_names_at_the_end_of_lines_do_not_cover_each_other():
  chart = svg_charts.lines({f'net{i}': [(0, 1.0), (1, 0.2)] for i in range(5)}, x_label='x',
                           y_label='y')
  ends = [float(e.get('y')) for e in ET.fromstring(chart).iter() if (e.text or '')[:3] == 'net'
          and e.tag.endswith('text')]
  assert len(ends) == 5 and (np.diff(sorted(ends)) > 12).all()


def test_written_whole_or_not_at_all(tmp_path):
  path = tmp_path / 'report.html'
  html_report.write(path, example())
  before = path.read_text(encoding='utf-8')
  assert before == html_report.page(example())
  with pytest.raises(KeyError):
    html_report.write(path, {'title': 'no stamp'})
  assert path.read_text(encoding='utf-8') == before
  assert [p.name for p in tmp_path.iterdir()] == ['report.html']
  with pytest.raises(OSError):
    html_report.write(tmp_path / 'none' / 'report.html', example())


@pytest.mark.skipif(not BROWSER, reason='no browser is installed')
def test_browser_shows_it(tmp_path):
  path, picture = tmp_path / 'report.html', tmp_path / 'screen.png'
  html_report.write(path, example())
  found = subprocess.run(
    [BROWSER, '--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking',
     '--no-first-run', '--disable-dev-shm-usage', '--enable-logging=stderr', '--v=0',
     f'--user-data-dir={tmp_path / "profile"}', '--window-size=1280,2000',
     f'--screenshot={picture}', '--dump-dom', path.as_uri()],
    capture_output=True, text=True, timeout=120)
  assert found.returncode == 0, found.stderr
  assert 'CONSOLE' not in found.stderr
  for section in ('results', 'report', 'stress', 'reliability', 'per_joint', 'worst'):
    assert f'<section id="{section}">' in found.stdout
  screen = cv2.imread(str(picture))
  assert screen.shape[1] == 1280
  assert len(np.unique(screen.reshape(-1, 3), axis=0)) > 50  # text, grid and coloured bars
  assert (screen[1000:] != screen[-1, -1]).any(2).mean() > 0.02
