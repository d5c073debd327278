"""Cuts a patch bank, `input_pipeline/occlusion/bank.py`, out of any annotated sets.

  python tools/cut_bank.py --out BANK --data coco,root=COCO,split=train2017
    [--data coco_objects,root=COCO,split=train2017 ...] [--num_people 2000] [--seed 0]
"""
import argparse
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
if __name__ == '__main__':
  from dslope_jax import commands
  commands.begin()

from dslope_jax.errors import UserError
from dslope_jax.files import local_path
from input_pipeline import sources
from input_pipeline.occlusion.bank import PARTS, PatchBank, build
from input_pipeline.sources.source import Source


def parse_source(text: str) -> Source:
  """The source that 'NAME,option=value,...' names; split is 'train' unless given."""
  name, *options = text.split(',')
  pairs = dict(option.partition('=')[::2] for option in options)
  split = pairs.pop('split', 'train')
  return sources.load(name, split, **{k: _number(local_path(v)) for k, v in pairs.items()})


def _number(text):
  for kind in (int, float):
    try:
      return kind(text)
    except ValueError:
      pass
  return text


def main():
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--data', action='append', required=True, metavar='NAME,option=value,...',
                      help='a loader of input_pipeline/sources/ and its options; may be repeated')
  parser.add_argument('--out', required=True, help='folder that becomes the bank')
  parser.add_argument('--num_people', type=int, default=2000, help='rows cut of each set')
  parser.add_argument('--seed', type=int, default=0, help='of the choice of rows')
  given = parser.parse_args()
  try:
    given.out = local_path(given.out)
    if os.path.exists(given.out):
      raise UserError(f"'{given.out}' exists; remove it or choose another --out")
    rejected = build(given.out, [parse_source(text) for text in given.data],
                     num_people=given.num_people, seed=given.seed, progress=True)
    bank = PatchBank(given.out)
  except (OSError, UserError) as error:
    sys.exit(f'error: {error}')
  counts = {part: int((bank.part == part).sum()) for part in PARTS if part in bank.parts}
  print(f'{len(bank)} patches: ' + ', '.join(f'{n} {part}' for part, n in counts.items()))
  print('refused: ' + (', '.join(f'{n} {why}' for why, n in sorted(rejected.items())) or 'none'))
  print(f'digest {bank.digest}; look at {os.path.join(given.out, "contact_sheet.jpg")}')


if __name__ == '__main__':
  commands.imported()
  main()
