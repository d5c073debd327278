"""Cost of a pair beside a plain crop, one process, milliseconds.

  python benchmarks/pairs.py [--people 60] [--repeats 5]

JPEG pictures of 640x480 with drawn people are written to a temporary folder; crops are 256x192. A
pair is the clean crop, the occluded one and the flags. Medians over repeats, all in one run.
"""
import argparse
import dataclasses
import pathlib
import platform
import statistics
import sys
import tempfile
import time

import cv2
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
import input_pipeline
from input_pipeline import coco, patches, top_down

SIZE = (192, 256)
RECIPES = ('none', 'published', 'mask_joints', 'instance_paste',
           *(f'severity{level}' for level in range(1, 6)))


def main():
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--people', type=int, default=60)
  parser.add_argument('--repeats', type=int, default=5)
  given = parser.parse_args()
  cv2.setNumThreads(1)
  with tempfile.TemporaryDirectory() as folder:
    source = _as_files(input_pipeline.load('synthetic', 'train', num_people=given.people,
                                           size=(160, 120)), folder)
    bank = patches.load_or_build(f'{folder}/bank', source, num_people=given.people, seed=0)
    rows = range(len(source))
    work = {'decode': source.read, 'decode + crop': lambda row: _crop(source, row)}
    for name in RECIPES:
      maker = input_pipeline.PairMaker(source, SIZE, bank, name, 0, top_down.Augmentation())
      work[f'pair, {name}'] = lambda row, maker=maker: maker.train(row, row)
    seconds = {name: [] for name in work}
    for _ in range(given.repeats):
      for name, function in work.items():
        before = time.perf_counter()
        for row in rows:
          function(row)
        seconds[name].append((time.perf_counter() - before) / len(rows))
  _print({name: 1e3 * statistics.median(values) for name, values in seconds.items()})


def _as_files(source, folder):
  """The source enlarged four times, its pictures JPEG files as photos are."""
  files = []
  for row in range(len(source)):
    path = f'{folder}/{row}.jpg'
    picture = cv2.resize(source.read(row), (640, 480), interpolation=cv2.INTER_CUBIC)
    grain = np.random.default_rng(row).normal(0, 6, picture.shape)
    cv2.imwrite(path, np.clip(picture + grain, 0, 255).astype(np.uint8))
    files.append(path)
  center, scale = zip(*(top_down.box_to_center_scale(4 * b, 0.75) for b in source.box), strict=True)
  return dataclasses.replace(
    source, box=4 * source.box, keypoints=4 * source.keypoints, center=np.array(center),
    scale=np.array(scale), read=lambda row: coco.read_picture(files[row]),
    mask=lambda row: None, parts=lambda row: {})


def _crop(source, row):
  matrix, _ = top_down.draw_crop(
    np.random.default_rng(row), top_down.Augmentation(), source.center[row], source.scale[row],
    source.keypoints[row], source.visibility[row], source.skeleton.lower_body, 640, SIZE)
  return top_down.warp(source.read(row), matrix, SIZE)


def _print(table):
  plain, decode = table['decode + crop'], table['decode']
  print(f'{platform.machine()}, one process, Python {platform.python_version()}, NumPy '
        f'{np.__version__}, OpenCV {cv2.__version__}')
  print(f'{"":<22}{"ms":>8}{"x decode + crop":>18}{"x without decoding":>20}')
  for name, ms in table.items():
    without = f'{(ms - decode) / (plain - decode):20.2f}' if name != 'decode' else ''
    print(f'{name:<22}{ms:8.2f}{ms / plain:18.2f}{without}')


if __name__ == '__main__':
  main()
