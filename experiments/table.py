"""Tables of the cells in experiments/results.

  python experiments/table.py --stage full [--versus plain_clean:net] [--arms a,b]
                              [--sets clean,severity3]
  python experiments/table.py --stage full --mixtures [--sets clean,severity3]
  python experiments/table.py --stage full --joints
  python experiments/table.py --curves

Percent of right joints, PCK@0.2, by network and set: the mean over seeds and half their range. With
--versus also the difference from that network and its 95 % interval, by a paired bootstrap over
pictures and the seeds that both have. --mixtures prints the networks of pairs, the rules that make
one answer of both, and the gate less the better network. --joints prints the percentages among
joints that are labelled as visible, as hidden, and that are covered by a patch. --curves prints
learning curves by CPU minutes of training.
"""
import argparse
import pathlib
import sys
from typing import NamedTuple, TypedDict

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import numpy as np

from dslope_jax import own_files
from dslope_jax.cli import checked
from dslope_jax.errors import UserError
from experiments import coco_part

RESULTS = pathlib.Path(__file__).resolve().parent / 'results'
BOTH = 'clean and severity3'
ANSWERS = 'gnet', 'enet', 'average', 'confidence', 'pick', 'gate'
JOINTS = 'visible_joints', 'hidden_joints', 'covered_joints'


class _Row(TypedDict):
  results: dict[str, float | None]
  right: list[int]
  labelled: list[int]


class _Stamp(TypedDict):
  digest: str
  truth: str
  crops: str
  recipe: str
  bank: str
  metric: str
  benchmark: str
  split: str


class _Entry(TypedDict):
  stamp: _Stamp
  rows: dict[str, _Row]


class _Point(TypedDict):
  cpu_minutes: float
  results: dict[str, float]


class _Cell(TypedDict):
  arm: str
  seed: int
  stage: str
  cpu_hours: float
  parameters: dict[str, int]
  pictures_per_cpu_second: float | None
  curve: list[_Point]
  results: dict[str, _Entry]


class Column(NamedTuple):
  """A network on a set: joints of each picture, right (seeds, pictures), labelled (pictures,)."""
  stamp: _Stamp
  seeds: tuple[int, ...]
  right: np.ndarray
  labelled: np.ndarray


def read_cells(folder=RESULTS, stage='full', arms=()):
  """{arm: [cells by seed]}. Raises UserError for a cell that is there twice, or whose pictures are
  not counted alike."""
  out, seen = {}, {}
  for path in sorted(pathlib.Path(folder).glob('*.json')):
    cell = own_files.read_json(path, _Cell, 'remove it, and run its cell again')
    if cell['stage'] != stage or (arms and cell['arm'] not in arms):
      continue
    other = seen.setdefault((cell['arm'], cell['seed']), path)
    if other != path:
      raise UserError(f"'{path}' and '{other}' are of one arm and seed: remove one")
    for entry in cell['results'].values():
      for row, counts in entry['rows'].items():
        if len(counts['right']) != len(counts['labelled']):
          raise UserError(f"'{path}': row {row} has other pictures in 'right' than in 'labelled': "
                          'remove it, and run its cell again')
    out.setdefault(cell['arm'], []).append(cell)
  return out


def columns(cells):
  """{(network, set): Column} of an arm; sets are called as by `_set_of`, and BOTH is the clean
  pictures and the same under severity 3. Raises UserError where seeds are of other pictures.

  Mixtures are fitted for each recipe anew, so there are as many answers on clean pictures. 'clean'
  has those of `published`, BOTH those of severity 3 on either half: no answer knows which it is.
  """
  found = {}
  for key, seed, stamp, counts in _rows(cells):
    one = Column(stamp, (seed,), np.array([counts['right']]), np.array(counts['labelled']))
    found[key] = _with_seed(found[key], one) if key in found else one
  out = {}
  for (network, name, recipe), column in found.items():
    if (network, name) not in out or recipe == 'published':
      out[network, name] = column
  for network in dict.fromkeys(network for network, _ in out):
    clean, occluded = (found.get((network, name, 'severity3')) for name in ('clean', 'severity3'))
    if clean and occluded:
      out[network, BOTH] = occluded._replace(right=clean.right + occluded.right,
                                             labelled=clean.labelled + occluded.labelled)
  return out


def _with_seed(column, one):
  """The column with one more seed, in the order of their numbers."""
  if column.seeds[-1] == one.seeds[0]:
    return column  # another entry of the same recipe
  if unlike := _unlike(column, one):
    raise UserError(f'seeds {column.seeds[0]} and {one.seeds[0]} of an arm are of different '
                    f'pictures: {", ".join(unlike)} differ')
  return column._replace(seeds=column.seeds + one.seeds, right=np.vstack([column.right, one.right]))


def _rows(cells):
  """(network, set, recipe), seed, stamp and counts of every row of an arm."""
  for cell in sorted(cells, key=lambda cell: cell['seed']):
    for entry in cell['results'].values():
      for row, counts in entry['rows'].items():
        key = row.rpartition('/')[0], _set_of(row, entry['stamp']), entry['stamp']['recipe']
        yield key, cell['seed'], entry['stamp'], counts


def _set_of(row, stamp):
  """'clean' for a row of clean pictures, else the recipe; with COCO before it for its people."""
  name = 'clean' if row.endswith('/clean') else stamp['recipe']
  return f'COCO {name}' if stamp['split'] == coco_part.SPLIT else name


def score(column):
  """(mean, half the range) over seeds, percent."""
  each = 100 * column.right.sum(1) / column.labelled.sum()
  return each.mean(), (each.max() - each.min()) / 2


def difference(one, other, resamples=2000, seed=0):
  """(difference of percentages, low, high) of two columns on the same pictures, by the seeds that
  both have; None without one.

  Seeds and pictures are drawn with replacement, the same for both. Raises UserError for other
  pictures.
  """
  if unlike := _unlike(one, other):
    raise UserError(f'the cells are of different pictures: {", ".join(unlike)} differ')
  common = sorted({*one.seeds} & {*other.seeds})
  if not common:
    return None
  of = lambda column: column.right[[column.seeds.index(seed) for seed in common]]
  gap, labelled = (of(one) - of(other)).astype(float), one.labelled
  (seeds, pictures), rng = gap.shape, np.random.default_rng(seed)
  draws = []
  for _ in range(resamples):
    weights = rng.multinomial(pictures, np.full(pictures, 1 / pictures))
    times = rng.multinomial(seeds, np.full(seeds, 1 / seeds))
    draws.append(100 * (times @ gap @ weights) / (seeds * (labelled @ weights)))
  low, high = np.percentile(draws, (2.5, 97.5))
  return 100 * gap.sum() / (seeds * labelled.sum()), low, high


def _unlike(one, other):
  """Fields of the stamps in which two columns differ."""
  return [field for field in _Stamp.__annotations__ if one.stamp[field] != other.stamp[field]]


def _chosen(columns, chosen):
  """The sets of the arms, or those that are chosen; raises UserError for one that is not there."""
  sets = list(dict.fromkeys(name for found in columns.values() for _, name in found))
  sets.sort(key=lambda name: (name != 'clean', name))
  unknown = [name for name in chosen if name not in sets]
  if unknown:
    raise UserError(f"--sets: there is no result on '{unknown[0]}', only on {', '.join(sets)}")
  return chosen or sets


def table(arms, versus='', chosen=()):
  """Lines of markdown. versus: 'ARM:network'. chosen: the sets, default all."""
  every = {arm: columns(cells) for arm, cells in arms.items()}
  sets = _chosen(every, chosen)
  reference = {}
  if versus:
    arm, _, network = versus.partition(':')
    if arm not in every:
      raise UserError(f"--versus: there is no result of arm '{arm}' in this stage")
    reference = {name: column for (net, name), column in every[arm].items() if net == network}
    if not reference:
      raise UserError(f"--versus: '{arm}' has no network '{network}', only "
                      + ', '.join(dict.fromkeys(net for net, _ in every[arm])))
  lines = ['| arm | network | seeds | CPU hours | ' + ' | '.join(sets) + ' |',
           '| --- ' * (4 + len(sets)) + '|']
  for arm, found in every.items():
    hours = sum(cell['cpu_hours'] for cell in arms[arm])
    for network in dict.fromkeys(network for network, _ in found):
      cells = [text_of(found.get((network, name)), reference.get(name), len(arms[arm]))
               for name in sets]
      lines.append(f'| {arm} | {network} | {len(arms[arm])} | {hours:.2f} | '
                   + ' | '.join(cells) + ' |')
  return lines


def mixtures(arms, chosen=()):
  """Lines of markdown: networks and mixtures of each pair, and the gate less the network that is
  better on that set. chosen: the sets, default all."""
  every = {arm: columns(cells) for arm, cells in arms.items()}
  pairs = {arm: found for arm, found in every.items()
           if 'gate' in {network for network, _ in found}}
  lines = ['| pair | set | seeds | ' + ' | '.join(ANSWERS) + ' | gate less the better network |',
           '| --- ' * (4 + len(ANSWERS)) + '|']
  for arm, found in pairs.items():
    for name in _chosen({arm: found}, chosen):
      row = [found.get((network, name)) for network in ANSWERS]
      gnet, enet, *_, gate = row
      better = max(filter(None, (gnet, enet)), key=lambda column: score(column)[0], default=None)
      gap = difference(gate, better) if gate and better else None
      lines.append(f'| {arm} | {name} | {len(arms[arm])} | '
                   + ' | '.join(text_of(column, None, len(arms[arm])) for column in row)
                   + (' | {:+.1f} [{:.1f}, {:.1f}] |'.format(*gap) if gap else ' | - |'))
  return lines


def text_of(column, reference, seeds):
  """A column in a table, with the difference from a reference if there is one; seeds: of the whole
  row, which the column may lack some of."""
  if column is None or not column.labelled.any():
    return '-'
  mean, spread = score(column)
  text = f'{mean:.1f}' + (f' ±{spread:.1f}' if len(column.seeds) > 1 else '')
  if len(column.seeds) < seeds:
    text += f' of {len(column.seeds)} seeds' if len(column.seeds) > 1 else ' of one seed'
  if reference is None or reference is column:
    return text
  if _unlike(column, reference):
    return text + ' (other pictures)'
  found = difference(column, reference)
  return text + ' ({:+.1f} [{:.1f}, {:.1f}])'.format(*found) if found else text


def joint_means(cells):
  """{(network, set): [percent of right joints of each kind in JOINTS]} of an arm, means over seeds;
  None where there are no such joints."""
  found = {}
  for (network, name, _), seed, _, counts in _rows(cells):
    found.setdefault((network, name), {})[seed] = [counts['results'].get(kind) for kind in JOINTS]
  return {key: [None if None in column else np.mean(column)
                for column in zip(*seeds.values(), strict=True)] for key, seeds in found.items()}


def percent(mean):
  return '-' if mean is None else f'{mean:.1f}'


def joints(arms):
  """Lines of markdown: percentages of right joints by kind of joint, the mean over seeds."""
  lines = ['| arm | network | pictures | ' + ' | '.join(name.replace('_', ' ') for name in JOINTS)
           + ' |', '| --- ' * (3 + len(JOINTS)) + '|']
  for arm, cells in arms.items():
    for (network, name), means in joint_means(cells).items():
      lines.append(f'| {arm} | {network} | {name} | ' + ' | '.join(map(percent, means)) + ' |')
  return lines


def curves(arms):
  """Lines of markdown: (CPU minutes: clean, occluded) of each cell."""
  lines = ['| arm | seed | pictures per CPU second | parameters | CPU minutes: clean, occluded |',
           '| --- | --- | --- | --- | --- |']
  for arm, cells in arms.items():
    for cell in cells:
      points = [f'{point["cpu_minutes"]:.1f}: ' + ', '.join(
        f'{value:.1f}' for value in point['results'].values()) for point in cell['curve']]
      size = '+'.join(f'{count / 1e6:.2f} M' for count in cell['parameters'].values())
      lines.append(f'| {arm} | {cell["seed"]} | {cell["pictures_per_cpu_second"]} | {size} | '
                   + '; '.join(points) + ' |')
  return lines


def main():
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--stage', choices=('screen', 'full'), default='screen')
  parser.add_argument('--arms', default='')
  parser.add_argument('--versus', default='', help='ARM:network to compare with')
  parser.add_argument('--sets', default='', help='columns, default all')
  kind = parser.add_mutually_exclusive_group()
  kind.add_argument('--mixtures', action='store_true')
  kind.add_argument('--joints', action='store_true')
  kind.add_argument('--curves', action='store_true')
  parser.add_argument('--results', default=str(RESULTS))
  given = parser.parse_args()
  listed = lambda text: tuple(filter(None, text.split(',')))
  plain = not (given.mixtures or given.joints or given.curves)
  if given.versus and not plain or given.sets and not (plain or given.mixtures):
    raise UserError('--versus is for the table of networks; --sets for that and --mixtures')
  arms = read_cells(given.results, given.stage, listed(given.arms))
  missing = [name for name in listed(given.arms) if name not in arms]
  if missing or not arms:
    raise UserError(f"--arms: there is no result of '{', '.join(missing)}' in stage {given.stage}")
  sets = listed(given.sets)
  lines = (curves(arms) if given.curves else joints(arms) if given.joints
           else mixtures(arms, sets) if given.mixtures else table(arms, given.versus, sets))
  print('\n'.join(lines))


if __name__ == '__main__':
  with checked():
    main()
