"""Speed of the embedded world on one core. Command: python benchmarks/world.py

Prints, for two picture sizes and one to four people: milliseconds a picture for the scene, for its
truth (what `load` computes), for ray casting and for colouring, and pictures per second.
"""
import pathlib
import sys
import time

import cv2
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from input_pipeline import rendering, synthetic

SIZES = (96, 128), (160, 192)
PICTURES, ROUNDS = 60, 5


def measure(size):
  """Milliseconds of CPU a picture of each stage: the best of some rounds, as others use the
  machine too."""
  world = synthetic.World(0, 'train', size)
  rounds = []
  for _ in range(ROUNDS):
    marks = [time.process_time()]
    drawn = [world.scene(number) for number in range(PICTURES)]
    marks.append(time.process_time())
    for scene in drawn:
      synthetic._truth(scene, size)
    marks.append(time.process_time())
    views = [rendering.cast(scene.solids, scene.camera, size) for scene in drawn]
    marks.append(time.process_time())
    for scene, view in zip(drawn, views, strict=True):
      synthetic._draw(scene, view, size)
    marks.append(time.process_time())
    rounds.append(np.diff(marks) / PICTURES * 1e3)
  return np.min(rounds, 0)


def main():
  cv2.setNumThreads(1)
  print(' H x W    scene    truth     cast    colour  ms      read   pictures/s/core')
  for size in SIZES:
    scene, truth, cast, colour = measure(size)
    total = scene + cast + colour
    print(f'{size[1]}x{size[0]:<4} {scene:7.2f}  {truth:7.2f}  {cast:7.2f}  {colour:8.2f}  '
          f'{total:10.2f}  {1e3 / total:10.0f}')


if __name__ == '__main__':
  main()
