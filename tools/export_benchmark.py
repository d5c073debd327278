"""Writes an occluded benchmark as files that every framework reads, and checks one.

  python tools/export_benchmark.py --config configs/ccoco_hrnet.py --config.data.root=COCO \\
    --workdir runs/ccoco_hrnet --out C-COCO [--entry val] [--format png] [--workers 4]
  python tools/export_benchmark.py --verify C-COCO

The folder holds the clean pictures, one occluded picture for each labelled person (full pictures,
not crops), and COCO annotations of both. In `annotations/occluded.json` a picture has the number of
its person's annotation; the person carries `covered` (one flag a joint) and `placements` (what was
drawn where); the others in the picture are marked iscrowd, so that COCO's metric ignores them.
`MANIFEST.json` holds counts, statistics and the hash of all draws: equal hashes mean equal pairs.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
if __name__ == '__main__':
  from dslope_jax import commands
  commands.begin()

from absl import flags

from configs.fields import RANGES
from dslope_jax.cli import check_ranges, checked, default_workdir, define_config, start
from dslope_jax.errors import UserError
from dslope_jax.tasks.people import load_bank, load_source, unbiased_crops
from input_pipeline.occlusion.benchmark import FORMATS, export, verify


def main(_):
  flag = flags.FLAGS
  if flag.verify:
    manifest = verify(flag.verify)
    _report(manifest)
    print(f"verified: {manifest['pictures']} clean and {manifest['pairs']} occluded pictures and "
          'their annotations are as exported')
    return
  if not flag.config or not flag.out:
    raise UserError('give --config and --out to write a benchmark, or --verify to check one')
  config, name = flag.config, flag.entry or next(iter(flag.config.evals), '')
  check_ranges(config, RANGES)
  if name not in config.evals:
    raise UserError(f"--entry '{name}' is none of the config's evals: {list(config.evals)}")
  entry = config.evals[name]
  source = load_source(config, entry.split, entry.data)
  _report(export(source, load_bank(config, flag.workdir or default_workdir(),
                                   recipe_names=[entry.recipe]), entry.recipe,
                 config.data.size, flag.out, picture_format=flag.format, num_workers=flag.workers,
                 unbiased=unbiased_crops(config)))


def _report(manifest):
  print('\n'.join(f'{k}: {v}' for k, v in manifest.items()))


if __name__ == '__main__':
  define_config()
  flags.DEFINE_string('workdir', None, 'where the patch bank is or goes; default runs/<config>')
  flags.DEFINE_string('out', None, 'folder to write the benchmark to')
  flags.DEFINE_string('entry', None, 'which of config.evals; default the first')
  flags.DEFINE_enum('format', 'jpg', sorted(FORMATS), 'of the pictures')
  flags.DEFINE_integer('workers', 0, 'processes')
  flags.DEFINE_string('verify', None, 'a folder to check instead')
  start(checked()(main))
