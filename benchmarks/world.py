"""Speed of the embedded world on one core. Command: python benchmarks/world.py [--quick]

For three picture sizes and one to four people: pictures per second, and milliseconds a picture for
the scene, for its truth (what `load` computes), for ray casting and for colouring.
"""
import pathlib
import sys
import time

import cv2
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from benchmarks import shared
from input_pipeline.sources import synthetic
from input_pipeline.world import painting, rendering, truth

SIZES = (96, 128), (160, 192), (384, 256)
PICTURES, ROUNDS = 60, 5


def rows(quick=False):
  """(what, value, unit, reference, target) of all that is measured here."""
  cv2.setNumThreads(1)
  for size in SIZES:
    scene, true, cast, colour = measure(size, *((5, 1) if quick else (PICTURES, ROUNDS)))
    yield (f'pictures of {size[1]}x{size[0]}', 1e3 / (scene + cast + colour), '/s/core',
           f'scene {scene:.2f}, cast {cast:.2f}, colour {colour:.2f} ms', '')
    yield f'truth of {size[1]}x{size[0]}', true, 'ms', '', ''


def measure(size, pictures=PICTURES, rounds=ROUNDS):
  """Milliseconds of CPU a picture of each stage: the best of some rounds, as others use the
  machine too."""
  world = synthetic.World(0, 'train', size)
  passed = []
  for _ in range(rounds):
    marks = [time.process_time()]
    drawn = [world.scene(number) for number in range(pictures)]
    marks.append(time.process_time())
    for scene in drawn:
      truth.of(scene, size, truth.OF_COCO)
    marks.append(time.process_time())
    views = [rendering.cast(scene.solids, scene.camera, size) for scene in drawn]
    marks.append(time.process_time())
    for scene, view in zip(drawn, views, strict=True):
      painting.paint(scene, view, size)
    marks.append(time.process_time())
    passed.append(np.diff(marks) / pictures * 1e3)
  return np.min(passed, 0)


if __name__ == '__main__':
  shared.show(rows(shared.parser(__doc__).parse_args().quick))
