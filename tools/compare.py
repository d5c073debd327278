"""Evaluations side by side, with intervals for how much better one is.

  python tools/compare.py A B ... [--metric NAME] [--resamples 1000] [--seed 0] [--force]

A, B: folders WORKDIR/eval_STEP/ENTRY, or the results.json in them; one alone compares its networks.
Metrics that are ratios over samples (samples.npz in the folder) have 95 % intervals from
resampling whole groups (the people of a picture, the clips of a subject): on clean views, on
occluded ones, and on the union of both. Differences, on the same resampled groups, are those of a
row of B from the same row of A, and within A from its best single network. Evaluations whose stamps
differ in more than the network, its weights and the people calibrated on measure different things
and are refused; --force compares them all the same.
"""
import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
if __name__ == '__main__':
  from dslope_jax import commands
  commands.begin()

from dslope_jax.errors import UserError
from dslope_jax.evaluation.compare import compare
from dslope_jax.files import local_path


def main():
  """Prints the comparison; ends with one line on standard error where it refuses."""
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('evaluations', nargs='+', metavar='A')
  parser.add_argument('--metric', help='only this number')
  parser.add_argument('--resamples', type=int, default=1000)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--force', action='store_true', help='compare in spite of the stamps')
  given = parser.parse_args()
  try:
    print(compare(list(map(local_path, given.evaluations)), metric=given.metric, force=given.force,
                  resamples=given.resamples, seed=given.seed))
  except (OSError, UserError) as error:
    sys.exit(f'error: {error}')


if __name__ == '__main__':
  commands.imported()
  main()
