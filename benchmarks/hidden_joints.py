"""How well the ray test tells who is hidden, against the embedded world, which knows it exactly.

  python benchmarks/hidden_joints.py [--quick]

Of all joints of people in pictures of one to four: the share on which both agree; of the joints
that the test calls hidden, those that are (precision), and of those that are hidden, those that it
finds (recall). Once for all that hides in the world, once without its things, which the test of a
published set cannot know of. Then the agreement on each joint, without things.
"""
import pathlib
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from benchmarks import shared
from dslope_jax.skeletons import MPI15
from input_pipeline.pictures import picture
from input_pipeline.world import scenes, truth
from input_pipeline.world.rendering import Solids

SIZE, PICTURES = (384, 256), 1000


def rows(quick=False):
  """(what, value, unit, reference, target) of all that is measured here."""
  count, seconds = 30 if quick else PICTURES, 0.0
  guessed, exact, alone = [], [], []
  for number in range(count):
    scene = scenes.draw(0, 'val', number, SIZE, (1, 4), ())
    true = truth.of(scene, SIZE, truth.OF_MPI15)
    start = time.process_time()
    guessed.append(picture.hidden_by_rays(true.keypoints_3d / 10, true.visibility))
    seconds += time.process_time() - start
    exact.append(true.visibility)
    alone.append(truth.of(without_things(scene), SIZE, truth.OF_MPI15).visibility)
  guessed, exact, alone = (np.concatenate(v) for v in (guessed, exact, alone))
  for words, known in (('everything hides', exact), ('people alone hide', alone)):
    yield from scores(words, guessed, known)
  for joint, name in enumerate(MPI15.names):
    agreement = (guessed == alone)[alone[:, joint] > 0, joint]
    yield f'agreement on {name}', 100 * agreement.mean(), '%', '', ''
  yield 'ray test', 1e3 * seconds / count, 'ms a picture', '', ''


def scores(words, guessed, known):
  """Rows of one way to know who is hidden; arrays (N,15) of 0 outside, 1 hidden, 2 visible."""
  labelled = known > 0
  hidden, found = (v[labelled] == 1 for v in (known, guessed))
  yield f'{words}: agreement', 100 * (hidden == found).mean(), '%', f'{labelled.sum()} joints', ''
  yield (f'{words}: precision of hidden', 100 * hidden[found].mean(), '%',
         f'{100 * found.mean():.1f} % are called hidden', '')
  yield (f'{words}: recall of hidden', 100 * found[hidden].mean(), '%',
         f'{100 * hidden.mean():.1f} % are hidden', '')


def without_things(scene):
  """The scene with people alone."""
  count = len(scene.radii) * scenes.CAPSULES
  solids = scene.solids
  return scene._replace(solids=Solids(solids.ends[:count], solids.radii[:count], np.zeros((0, 3)),
                                      np.zeros((0, 3)), np.zeros((0, 3, 3))))


if __name__ == '__main__':
  shared.show(rows(shared.parser(__doc__).parse_args().quick))
