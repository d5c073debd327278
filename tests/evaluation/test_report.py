"""The HTML report: well-formed, escaped, self-contained, whole sections or none, in a browser."""
import base64
import html.parser
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import cv2
import numpy as np
import pytest

from dslope_jax import own_files
from dslope_jax.evaluation import charts, report
from tests.refusals import fails

ROWS = ('gnet/clean', 'enet/refined/clean', 'gnet/occluded', 'enet/refined/occluded')
JOINTS = ('nose', 'left_wrist', 'right_ankle')
STAMP = {'data': 'synthetic', 'split': 'val', 'recipe': 'severity3', 'weights_step': 30}
SECTIONS = ('results', 'report', 'stress', 'reliability', 'per_joint', 'worst')
EMPTY = ('br', 'link', 'meta', 'img')
PICTURE = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
CASES = [{'caption': f'person {i}', 'pictures': {'truth': PICTURE, 'gnet': PICTURE}}
         for i in range(3)]
BROWSER = next(filter(None, map(shutil.which, ('chromium', 'google-chrome', 'chromium-browser'))),
               None)


def counted(share, joints=1200):
  return {'people': 12, 'joints': joints, 'right': int(share), 'share': share}


def circumstances(share):
  bins = {'joint': ('visible', 'hidden'), 'occluded': ('0', '(0,.25]', '(.25,.5]', '(.5,1]'),
          'unknown': ('a', 'b')}
  kinds = {'good': share, 'jitter': 99 - share, 'inversion': 0.0, 'swap': 1.0, 'miss': None}
  return {'overall': counted(share),
          'by': {split: {b: counted(share - 7 * i) for i, b in enumerate(names)}
                 for split, names in bins.items()},
          'errors': {k: {'joints': 3, 'share': v} for k, v in kinds.items()},
          'rates': {'collapsed': 2, 'collapse_rate': 22.25, 'inversion_rate': None}}


def files():
  shares = dict(zip(ROWS, (81.25, 86.5, 61.0, 72.75), strict=True))
  right = {'ece': 3.125, 'brier': 0.1, 'rows': [
    {'confidence': c, 'accuracy': c / 2, 'count': 400} for c in (0.2, 0.7)]}
  return {
    'results': {'stamp': STAMP, 'results': {
      row: {'AP': s, 'NME': s, 'people': 1200, 'covered_joints': None}
      for row, s in shares.items()}},
    'report': {'stamp': STAMP, 'report': {row: circumstances(s) for row, s in shares.items()},
               'reliability': {row: {'right': right} for row in ROWS},
               'per_joint': {row: dict.fromkeys(JOINTS, s) for row, s in shares.items()}},
    'stress': {'stamp': {'data': 'synthetic'}, 'stress': {
      n: {'metric': 'AP', 'severity': [[i, 80 - i * k] for i in range(6)], 'area': 55.5,
          'others': {f'joint={j}': 40.0 + k for j in JOINTS}}
      for n, k in (('gnet', 10), ('enet/refined', 8))}}}


def written(folder, contents, cases=()):
  for name, content in contents.items():
    own_files.write_json(folder / f'{name}.json', content)
  with open(report.write(str(folder), cases), encoding='utf-8') as f:
    return f.read()


class Page(html.parser.HTMLParser):
  """Ids, sources and table cells; fails where a tag is closed that is not the last one opened."""

  def __init__(self, page):
    super().__init__()
    self.open, self.ids, self.sources, self.rows = [], [], [], []
    self.feed(page)
    self.close()
    assert not self.open and len(self.ids) == len(set(self.ids))

  def handle_starttag(self, tag, attrs):
    given = dict(attrs)
    assert tag not in ('script', 'iframe', 'object')
    assert not any(name.startswith('on') for name in given)
    self.ids += [given['id']] if 'id' in given else []
    self.sources += [given[k] for k in ('src', 'href') if k in given]
    self.rows += [[]] if tag == 'tr' else []
    if tag not in EMPTY:
      self.open.append(tag)
      if tag in ('td', 'th'):
        self.rows[-1].append('*' if given.get('class') == 'best' else '')

  def handle_data(self, data):
    if self.open and self.open[-1] in ('td', 'th'):
      self.rows[-1][-1] += data

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def charts(self):
    """The texts of each chart: matplotlib draws them as outlines, with the text as a comment."""
    coded = [s.partition('base64,')[2] for s in self.sources if s.startswith('data:image/svg')]
    decoded = [base64.b64decode(c).decode() for c in coded]
    for chart in decoded:
      ET.fromstring(chart)
    return [re.findall('<!-- (.*?) -->', chart) for chart in decoded]


def test_page_is_well_formed_and_asks_for_nothing(tmp_path):
  text = written(tmp_path, files(), CASES)
  page = Page(text)
  assert tuple(page.ids) == SECTIONS and '<h1>synthetic val severity3</h1>' in text
  assert all(s.startswith(('data:', '#')) for s in page.sources)
  assert {s[1:] for s in page.sources if s[0] == '#'} == set(page.ids)
  assert 'http' not in text and '@import' not in text and 'url(' not in text
  assert sum(s.startswith('data:image/jpeg') for s in page.sources) == 6
  splits, errors, curves, others, diagrams, joints = page.charts()
  assert {'Occlusion', '(0,.25]', '1,200', 'unknown', *ROWS} <= set(splits)
  assert {'good', 'miss', *ROWS} <= set(errors)
  assert {'AP', 'severity', 'gnet', 'enet/refined'} <= set(curves)
  assert {'joint=left wrist', 'gnet'} <= set(others)
  assert {'gnet/clean: ECE 3.12', 'ideal', 'confidence'} <= set(diagrams)
  assert {'left_wrist', *ROWS} <= set(joints)


def test_numbers_of_the_tables(tmp_path):
  rows = Page(written(tmp_path, files())).rows
  # The best of each column and view; a lower NME is better; counts and ties have no best.
  assert rows[:5] == [['', 'AP', 'NME', 'people'],
                      ['gnet/clean', '81.25', '*81.25', '1,200'],
                      ['enet/refined/clean', '*86.50', '86.50', '1,200'],
                      ['gnet/occluded', '61.00', '*61.00', '1,200'],
                      ['enet/refined/occluded', '*72.75', '72.75', '1,200']]
  assert ['gnet/clean, hidden', '12', '1,200', '74', '74.25'] in rows
  assert ['gnet/clean', '2', '22.25', '\u2013'] in rows
  assert ['gnet', '80', '70', '60', '50', '40', '30', '55.50'] in rows
  assert ['nose', '81.25', '86.50', '61.00', '72.75'] in rows


def test_missing_parts_are_left_out(tmp_path):
  contents = files()
  for key in ('report', 'reliability', 'per_joint'):
    folder = tmp_path / key
    folder.mkdir()
    part = {k: v for k, v in contents['report'].items() if k != key}
    assert set(Page(written(folder, contents | {'report': part})).ids) == {*SECTIONS} - {key,
                                                                                        'worst'}
  (tmp_path / 'alone').mkdir()
  assert Page(written(tmp_path / 'alone', {'results': contents['results']})).ids == ['results']
  fails(lambda: report.write(str(tmp_path)), 'results.json', str(tmp_path), kind=OSError)
  (tmp_path / 'alone/stress.json').write_text('{')
  fails(lambda: report.write(str(tmp_path / 'alone')), 'stress.json', 'is broken')


def test_a_file_of_another_evaluation_is_left_out_and_named(tmp_path):
  contents = files()
  contents['stress']['stamp'] = STAMP | {'recipe': 'none', 'weights_step': 20}
  text = written(tmp_path, contents)
  assert 'stress' not in Page(text).ids
  assert 'stress.json is left out: it is of another evaluation (recipe, weights_step' in text


def test_what_files_say_is_escaped(tmp_path):
  bad = '<b onload="x">&\''
  contents = json.loads(json.dumps(files()).replace('gnet/', json.dumps(bad)[1:-1] + '/'))
  contents['results']['stamp'] = STAMP | {bad: bad}
  text = written(tmp_path, contents, [{'caption': bad, 'pictures': {bad: PICTURE}}])
  page = Page(text)
  assert '<b onload' not in text and text.count('&lt;b onload=&#34;x&#34;&gt;&amp;&#39;') > 10
  assert page.rows[1][0] == f'{bad}/clean' and len(page.charts()) == 6


def test_nothing_where_numbers_are_missing(tmp_path):
  nothing = {'x': None, 'y': float('nan'), 'z': float('inf')}
  text = written(tmp_path, {
    'results': {'stamp': {}, 'results': {'gnet/clean': nothing, 'gnet/occluded': {}}},
    'report': {'stamp': {}, 'report': {
      'gnet/clean': {'by': {'size': {'small': {}, 'large': counted(50.0)}},
                     'errors': {'good': {'share': None}}}, 'enet/clean': {}},
      'reliability': {'gnet/clean': {'right': {'ece': None, 'rows': []}}, 'enet/clean': {}},
      'per_joint': {'gnet/clean': nothing, 'enet/clean': {}}},
    'stress': {'stamp': {}, 'stress': {'gnet': {'severity': [[0, None], [1, float('nan')]],
                                                'area': None, 'others': nothing}, 'enet': {}}}})
  page = Page(text)
  assert len(page.charts()) == 6 and '<h1>Evaluation</h1>' in text
  assert not {'nan', 'inf', 'None'} & {cell for row in page.rows for cell in row}


def test_written_whole_or_not_at_all(tmp_path):
  before = written(tmp_path, files())
  with pytest.raises(AttributeError):
    report.write(str(tmp_path), [{'caption': '', 'pictures': {'no picture': None}}])
  assert (tmp_path / 'report.html').read_text(encoding='utf-8') == before
  assert not list(tmp_path.glob('*.part'))


def test_many_networks_look_different():
  rows = [f'net{i}/{view}' for i in range(20) for view in ('clean', 'occluded')]
  looks = charts.styles(rows)
  assert len({str(looks[row]) for row in rows}) == len(rows)
  assert looks['net3'] == looks['net3/clean'] and looks['net3/clean']['color'] == 'C3'


def test_matplotlib_is_imported_when_a_chart_is_drawn():
  code = ('import sys; from dslope_jax.evaluation import charts, report; '
          'assert "matplotlib" not in sys.modules; charts.stacked({"a": {"b": 1}}, "%"); '
          'assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules')
  subprocess.run([sys.executable, '-c', code], check=True)


@pytest.mark.skipif(not BROWSER, reason='no browser is installed')
def test_browser_shows_it(tmp_path):
  written(tmp_path, files(), CASES)
  picture = tmp_path / 'screen.png'
  found = subprocess.run(
    [BROWSER, '--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking',
     '--no-first-run', '--disable-dev-shm-usage', '--enable-logging=stderr', '--v=0',
     f'--user-data-dir={tmp_path / "profile"}', '--window-size=1280,2000',
     f'--screenshot={picture}', '--dump-dom', (tmp_path / 'report.html').as_uri()],
    capture_output=True, text=True, timeout=120)
  assert found.returncode == 0, found.stderr
  assert 'CONSOLE' not in found.stderr
  for section in SECTIONS:
    assert f'<section id="{section}">' in found.stdout
  screen = cv2.imread(str(picture))
  assert screen.shape[1] == 1280
  assert len(np.unique(screen.reshape(-1, 3), axis=0)) > 50  # text, grid and coloured lines
