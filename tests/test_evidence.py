"""The page of evidence: its tables are those of the cells."""
import pytest

from experiments import evidence, table
from experiments.arms import ARMS
from tests.refusals import fails
from tests.test_experiments import cell_of

EMPTY = ''.join(f'<!-- {name} -->\nold\n<!-- end of {name} -->\nprose of {name}\n'
                for name in evidence.TABLES)


def cells():
  """Seeds 0 and 1 of `plain_clean` and seed 0 of `plain_half`, on all sets of the page."""
  out = {}
  for arm, seed, right in (('plain_clean', 0, [4, 2, 0]), ('plain_clean', 1, [4, 4, 1]),
                           ('plain_half', 0, [4, 3, 0])):
    cell = cell_of(arm, seed, right)
    cell['results'] = {
      f'{split}_{recipe}': cell_of(arm, seed, right, recipe, split)['results']['val']
      for split in ('val', 'coco') for recipe in ('published', 'severity3', 'severity5')}
    out.setdefault(arm, []).append(cell)
  return out


def test_tables_are_replaced_and_prose_stays():
  page = evidence.written(EMPTY, cells())
  assert 'old' not in page and page.count('prose of') == 3
  assert evidence.written(page, cells()) == page
  assert '| (a) | `plain_clean` | net | 2 | 75.0 ±15.0 | 75.0' in page
  assert '| (c) | `plain_half` | net | 1 | 70.0 (+10.0 [' in page  # on the seed that both have
  assert '| (e) | `pair_mse` |  | not run |' in page
  assert '| `plain_half` | net | - | - | 10.0 | 10.0 |' in page
  assert '3 cells, 1.5 CPU hours.' in page


def test_a_page_without_a_place_is_refused():
  for page in (EMPTY.replace('<!-- joints -->\n', ''), EMPTY + EMPTY,
               EMPTY.replace('<!-- end of joints -->', '')):
    fails(lambda page=page: evidence.written(page, cells()), 'evidence.md', 'comments around')


def test_rows_are_arms():
  assert {arm for _, arm, _ in evidence.ROWS} <= {*ARMS}
  missing = {*table.read_cells()} - {arm for _, arm, _ in evidence.ROWS}
  assert all(name.startswith(('lspet_', 'world_')) for name in missing)  # of DAG's page


@pytest.mark.slow
def test_the_page_is_what_the_cells_say():
  page = evidence.PAGE.read_text(encoding='utf-8')
  assert evidence.written(page, table.read_cells()) == page
