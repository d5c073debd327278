"""What a training clip of lifting costs, with and without hidden joints.

  python benchmarks/clips.py [--quick]

Samples of people of the embedded world, by CPU time of one thread; medians over rounds in which all
take turns. The first round, which computes what each body hides of itself for each sequence and
camera, is told apart: it is kept afterwards.
"""
import pathlib
import statistics
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from benchmarks import shared
from input_pipeline import sequences, windows
from input_pipeline.clips import EXACT, ClipMaker

RECIPES = EXACT, 'none', 'severity3', 'severity5'
PLAIN = 'keypoints_2d', 'keypoints_3d'  # what a plain lifter without confidence needs


def rows(quick=False):
  """(what, value, unit, reference, target) of all that is measured here."""
  people = sequences.load('synthetic', 'train', num_sequences=4 if quick else 20, frames=243)
  for frames in (27,) if quick else (27, 81, 243):
    table = windows.of(people, frames, max(1, frames // 3), 'drop')
    makers = {recipe: ClipMaker(people, table, recipe, 0, flip_prob=0.5) for recipe in RECIPES}
    makers['plain'] = ClipMaker(people, table, EXACT, 0, flip_prob=0.5, fields=PLAIN)
    drawn = np.random.default_rng(0).integers(len(table), size=(540 if quick else 5400) // frames)
    first, later = _seconds(makers, drawn.tolist(), 2 if quick else 6)
    target = '>= 2000' if frames == 81 else ''
    yield f'T = {frames}, exact, without confidence', 1 / later['plain'], 'clips/s/core', '', target
    for recipe in RECIPES:
      begins = f'{1 / first[recipe]:.0f} at first'
      yield f'T = {frames}, {recipe}, all fields', 1 / later[recipe], 'clips/s/core', begins, ''


def _seconds(makers, drawn, rounds):
  """({maker: seconds a clip in the first round}, {maker: median of the others})."""
  found = {name: [] for name in makers}
  for _ in range(rounds):
    for name, maker in makers.items():
      before = time.process_time()
      for row in drawn:
        maker.train(row, row)
      found[name].append((time.process_time() - before) / len(drawn))
  return ({name: values[0] for name, values in found.items()},
          {name: statistics.median(values[1:]) for name, values in found.items()})


if __name__ == '__main__':
  shared.show(rows(shared.parser(__doc__).parse_args().quick))
