"""Writes the tables of full length in docs/evidence.md from the cells in experiments/results.

  python experiments/evidence.py [--check]

A table stands between comments with its name. --check writes nothing, and fails where the page has
other numbers than the cells.
"""
import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from dslope_jax.cli import checked
from dslope_jax.errors import UserError
from experiments import table

PAGE = pathlib.Path(__file__).resolve().parent.parent / 'docs' / 'evidence.md'
# question, arm, its networks; of a pair those that are no other row.
ROWS = (
  ('a', 'plain_clean', 'net'), ('b', 'plain_occluded', 'net'), ('c', 'plain_half', 'net'),
  ('d', 'two_networks', 'gate'), ('e', 'pair_mse', 'gnet enet gate'),
  ('e', 'pair_mse_published', 'gnet enet gate'), ('f', 'pair_kl', 'gnet enet gate'),
  ('g', 'distill', 'enet gate'), ('g', 'distill_kl', 'enet gate'),
  ('g, h', 'distill_kl_half_from_clean', 'enet gate'), ('h', 'none_half_from_clean', 'enet gate'),
  ('h', 'plain_clean_then_half', 'net'), ('h, l', 'plain_clean_then_thirds', 'net'),
  ('h', 'clean_from_clean', 'net'),
  ('h', 'plain_clean_long', 'net'), ('h', 'plain_half_long', 'net'),
  ('i', 'mean_teacher', 'gnet enet gate'), ('j', 'one_trunk', 'gnet enet gate'),
  ('j', 'one_trunk_kl', 'gnet enet gate'), ('k', 'two_from_clean', 'gate'),
  ('k', 'two_long', 'gate'), ('k', 'pair_long', 'gnet enet gate'),
  ('l', 'plain_published', 'net'), ('l', 'plain_curriculum', 'net'),
  ('l', 'plain_covered', 'net'), ('l', 'plain_quarter', 'net'),
  ('l', 'pair_kl_quarter', 'gnet enet gate'))
REFERENCE = 'plain_clean', 'net'
SETS = 'clean', 'published', 'severity3', 'severity5', 'COCO clean', 'COCO severity3'
MIXED = table.BOTH, 'clean', 'severity3'
JOINTS = (('visible_joints', 'COCO clean'), ('hidden_joints', 'COCO clean'),
          ('covered_joints', 'severity3'), ('covered_joints', 'severity5'))


def arms(cells):
  """Lines of markdown: the networks of all arms on all sets, and what was not run."""
  found = {arm: table.columns(of_arm) for arm, of_arm in cells.items()}
  arm, network = REFERENCE
  reference = {name: found[arm][network, name] for name in SETS}
  lines = _head('question', 'arm', 'network', 'seeds', *SETS)
  for question, arm, networks in ROWS:
    if arm not in found:
      lines.append(_row(f'({question})', f'`{arm}`', '', 'not run', *[''] * len(SETS)))
      continue
    for network in networks.split():
      seeds = len(cells[arm])
      lines.append(_row(f'({question})', f'`{arm}`', network, seeds, *(
        table.text_of(found[arm].get((network, name)), reference[name], seeds) for name in SETS)))
  shown = [cell for _, arm, _ in ROWS for cell in cells.get(arm, ())]
  hours = sum(cell['cpu_hours'] for cell in shown)
  return [*lines, '', f'{len(shown)} cells, {hours:.1f} CPU hours.']


def joints(cells):
  """Lines of markdown: percentages of right joints by kind; of pairs ENet's."""
  lines = _head('arm', 'network', *(f'{kind.removesuffix("_joints")}, {name}'
                                    for kind, name in JOINTS))
  for _, arm, networks in ROWS:
    network = 'enet' if 'enet' in networks.split() else networks
    if arm in cells and network != 'gate':
      means = table.joint_means(cells[arm])
      lines.append(_row(f'`{arm}`', network, *(
        table.percent(means[network, name][table.JOINTS.index(kind)]) for kind, name in JOINTS)))
  return lines


def mixtures(cells):
  """Lines of markdown: what both networks of each pair say as one."""
  return table.mixtures({arm: cells[arm] for _, arm, networks in ROWS
                         if 'gate' in networks.split() and arm in cells}, MIXED)


TABLES = {'arms': arms, 'joints': joints, 'mixtures': mixtures}


def written(page, cells):
  """The text of the page with its tables made anew; raises UserError where one has no place."""
  for name, lines in TABLES.items():
    begin, end = f'<!-- {name} -->\n', f'<!-- end of {name} -->'
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
      raise UserError(f"'{PAGE}' lacks the comments around the table {name}: {begin.strip()} and, "
                      f'below it, {end}')
    before, after = page.split(begin)[0], page.split(end)[1]
    page = before + begin + '\n'.join(lines(cells)) + '\n' + end + after
  return page


def _head(*names):
  return [_row(*names), '| --- ' * len(names) + '|']


def _row(*texts):
  return f'| {" | ".join(map(str, texts))} |'


def main():
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--check', action='store_true', help='write nothing')
  check = parser.parse_args().check
  page = PAGE.read_text(encoding='utf-8')
  new = written(page, table.read_cells())
  if check and new != page:
    raise UserError(f"'{PAGE}' is not what the cells say: write it anew without --check")
  if new != page:
    PAGE.write_text(new, encoding='utf-8')
  print(f'{PAGE}: {"its tables are those of the cells" if new == page else "written"}')


if __name__ == '__main__':
  with checked():
    main()
