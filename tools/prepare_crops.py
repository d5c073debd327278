"""Cuts person crops once, so that training reads small records instead of whole pictures.

  python tools/prepare_crops.py --config configs/ccoco_hrnet.py --config.data.root=COCO \\
    --out DIR [--split train2017] [--num_workers 4] [--quality 95] [--detail 2]
  python tools/prepare_crops.py --verify DIR
  python train.py --config configs/ccoco_hrnet.py --config.data.root=COCO \\
    --config.data.prepared=DIR

DIR/<split>/ is a data set of TensorFlow Datasets, DIR/patches the patch bank; see
`input_pipeline/prepared/reading.py`. It appears when it is complete: an interrupted preparation
starts again. --verify reads every record and says which are broken.

Keypoints, visibilities, placements and covered joints of a pair are those from the originals, to
the bit; the pictures are the same up to encoding.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
if __name__ == '__main__':
  from dslope_jax import commands
  commands.begin()

from absl import flags

from configs.fields import RANGES
from dslope_jax.cli import check_ranges, checked, define_config, start
from dslope_jax.errors import UserError
from dslope_jax.tasks.people import prepare
from input_pipeline.prepared import reading


def main(_):
  flag = flags.FLAGS
  if flag.verify:
    print('\n'.join(reading.verify(flag.verify)))
    return
  if not flag.config or not flag.out:
    raise UserError('give --config and --out to prepare crops, or --verify to check some')
  check_ranges(flag.config, RANGES)
  prepare(flag.config, flag.out, flag.split, num_workers=flag.num_workers,
          quality=flag.quality, detail=flag.detail)


if __name__ == '__main__':
  define_config()
  flags.DEFINE_string('out', None, 'folder to write to; a split gets a folder of its own in it')
  flags.DEFINE_string('split', None, 'default config.data.train_split')
  flags.DEFINE_integer('num_workers', 0, 'processes', lower_bound=0)
  flags.DEFINE_integer('quality', 95, 'of JPEG', lower_bound=1, upper_bound=100)
  flags.DEFINE_float('detail', 2.0, 'stored pixels per crop pixel that large people must keep',
                     lower_bound=0)
  flags.DEFINE_string('verify', None, 'a folder to check instead')
  start(checked()(main))
