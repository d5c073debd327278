"""Looks up faces under a block among clean ones of people who were never trained on.

  python experiments/gallery.py --arms identity_pair --seeds 0,1,2 --data ORL --out RUNS
  python experiments/gallery.py --table

ORL is a folder of pictures for each person. The networks are those of finished cells of
experiments/faces.py, whose runs are in RUNS. The pictures of each person are divided into five
parts; those of one part are looked up among those of the others, and so for each part, with a black
square at a random place over 0 to 50 % of the crop. A picture whose person has no other one does
not count. A finished cell is experiments/results/gallery/ARM_seedN.json.
"""
import dataclasses
import math
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
if __name__ == '__main__':
  from dslope_jax import commands
  commands.begin()

import numpy as np

from dslope_jax.cli import checked
from dslope_jax.errors import UserError
from dslope_jax.evaluation.engine import Engine
from dslope_jax.metrics import verification
from dslope_jax.tasks.base import eval_batches
from dslope_jax.training import sharding, workdir
from experiments import cells, faces
from input_pipeline import identities
from input_pipeline.face_crops import FaceMaker

RESULTS = cells.RESULTS / 'gallery'
ARMS = {name: arm for name, arm in faces.ARMS.items() if arm.kind == faces.IDENTITY}
SHARES = 0, 10, 20, 30, 40, 50  # percent of the crop
PARTS = 5
VIEW, METRIC = 'covered', 'rank1'


@dataclasses.dataclass(frozen=True)
class BlockMaker(FaceMaker):
  """Crops whose occluded partner has a black square over `share` of its area."""
  share: float = 0.0

  def evaluate(self, row):
    sample = super().evaluate(row)
    side, size = round(math.sqrt(self.share) * self.size[0]), self.size[0]
    x, y = np.random.default_rng(int(self.people.key[row])).integers(0, size - side + 1, 2)
    covered = sample['image'].copy()
    covered[y:y + side, x:x + side] = 0
    return sample | {'occluded_image': covered}


def run_cell(name, seed, data, out, duration=''):
  """What the networks of a finished cell find, in the form of the results of experiments/faces.py:
  shares in place of recipes."""
  if duration:
    raise UserError('nothing is trained here: leave --duration away')
  folder = finished_run(os.path.join(out, f'{name}_seed{seed}'))
  people = identities.load('face_folders', 'all', root=data, folder='.')
  part = parts(people.identity)
  found = {str(share): scores(people.identity, part, seen)
           for share, seen in embeddings(folder, people).items()}
  return {'arm': name, 'seed': seed, 'commit': cells.commit(), 'data': people.name,
          'digest': people.digest, 'pictures': len(people), 'identities': len(people.names),
          'results': found}


def finished_run(folder):
  """The folder, of a run that is trained to its end; UserError for another."""
  if not os.path.isdir(folder):
    raise UserError(f"there is no run '{folder}'; make it by experiments/faces.py")
  step, wanted = cells.newest_step(folder), workdir.read_config(folder)['duration']
  if f'{step} steps' != wanted:
    raise UserError(f"'{folder}' is at step {step} of {wanted}; finish it by experiments/faces.py")
  return folder


def scores(identity, part, seen):
  """{'rows', 'samples'} as of `cells.add_samples`, of {network: (clean, covered)}, (N,D) each."""
  rows, samples = {}, {}
  for network, views in seen.items():
    right, sought = rank1(identity, part, *views)
    rows[f'{network}/{VIEW}'] = {METRIC: 100 * float(right.sum() / sought.sum())}
    samples[f'{network}/{VIEW}'] = [
      [number, *(float(np.sum(of[identity == number])) for of in (100 * right, sought))]
      for number in np.unique(identity).tolist()]
  return {'rows': rows, 'samples': samples}


def embeddings(folder, people):
  """{share: {network: (clean, covered)}}, (N,D) each, of the newest checkpoint of a run."""
  config, task, weights = cells.trained(folder)
  entry, out = next(iter(config.evals.values())), {}
  engine = Engine(task.system, next(iter(task.evals.values())), sharding.make_mesh())
  for share in SHARES:
    maker = BlockMaker(people, tuple(config.data.size), None, 'none', 0, crop=config.data.crop,
                       padding=config.data.padding, fields=('image', 'occluded_image', 'identity'),
                       share=share / 100)
    seen = engine.predict(weights, len(people), eval_batches(config, entry, maker))
    out[share] = {row.removesuffix('/clean'): tuple(
      seen[row.replace('clean', view)]['embedding'] for view in ('clean', 'occluded'))
      for row in seen if row.endswith('/clean')}
  return out


def parts(identity):
  """(N,) number of the part of each picture: those of a person take turns."""
  before = [np.count_nonzero(identity[:row] == one) for row, one in enumerate(identity)]
  return np.array(before) % PARTS


def rank1(identity, part, clean, covered):
  """((N,) bool of the covered pictures that find their person among the clean ones of other parts,
  (N,) bool of those whose person is there)."""
  right, sought = np.zeros(len(identity), bool), np.zeros(len(identity), bool)
  for p in range(PARTS):
    of, others = part == p, part != p
    right[of], sought[of] = verification.identified(covered[of], identity[of], clean[others],
                                                    identity[others])
  return right, sought


def table(finished):
  """Text: rank 1 in percent by network and share of the block, as in experiments/faces.py."""
  head = [f'rank 1, percent, by the share under the block ({faces.OPEN_SET})',
          '| network | seeds | ' + ' | '.join(f'{share} %' for share in SHARES) + ' |',
          '| --- ' * (2 + len(SHARES)) + '|']
  columns = [(str(share), VIEW) for share in SHARES]
  return '\n'.join(head + faces.lines(finished, faces.IDENTITY, columns, METRIC, True))


if __name__ == '__main__':
  with checked():
    cells.main(__doc__, ARMS, run_cell, table, RESULTS)
