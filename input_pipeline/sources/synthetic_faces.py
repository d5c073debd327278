"""Faces drawn without any file: 68 points as 300W has them; hair and glasses hide some."""
import dataclasses

import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.skeletons import FACE_300W
from input_pipeline.geometry import box_to_center_scale
from input_pipeline.sources.source import Source
from input_pipeline.world import faces, kept

_MIN_LABELLED = 60  # of 68 points; a face with fewer in the picture is left out


@dataclasses.dataclass(frozen=True)
class Pictures:
  """Draws the pictures of rows; small, so that it travels to data workers. numbers: (N,)."""
  seed: int
  split: str
  size: tuple[int, int]
  numbers: np.ndarray

  def read(self, row) -> np.ndarray:
    number = int(self.numbers[row])

    def draw():
      rng = _generator(self.seed, self.split, number)
      return faces.paint(faces.face(rng, self.size), rng, self.size)

    return kept.picture(('faces', self.seed, self.split, self.size, number), draw)


def _generator(seed, split, number):
  return np.random.default_rng([seed, 0xFACE, *split.encode(), number])


def load(split, *, num_people=2000, size=(96, 96), seed=0, aspect=1.0, padding=1.25) -> Source:
  """Faces of an endless drawn world, one a picture; splits differ in all pictures.

  num_people: how many. size: (W, H) of each picture in pixels. seed: of the world. aspect: width /
  height of the crops. padding: the box around the labelled points is enlarged by this factor.

  A picture is a function of seed, split, its number and its size; only points are computed here,
  pictures are drawn when read. Raises UserError naming the option and what it must be.
  """
  size = tuple(map(int, size))
  if num_people < 1:
    raise UserError(f'synthetic_faces: num_people is {num_people}, must be at least 1')
  if len(size) != 2 or min(size) < 32:
    raise UserError(f'synthetic_faces: size is {size}, must be (width, height), 32 pixels or more')
  numbers, points, visibility, number = [], [], [], 0
  while len(numbers) < num_people:
    found = faces.face(_generator(int(seed), split, number), size)
    if (found.visibility > 0).sum() >= _MIN_LABELLED:
      numbers.append(number)
      points.append(found.keypoints)
      visibility.append(found.visibility)
    number += 1
  pictures = Pictures(int(seed), split, size, np.array(numbers, np.int64))
  return _source(pictures, aspect, padding, np.array(points), np.array(visibility))


def _source(pictures, aspect, padding, points, visibility):
  labelled = visibility[..., None] > 0
  low = np.where(labelled, points, np.inf).min(1)
  box = np.concatenate([low, np.where(labelled, points, -np.inf).max(1) - low], 1)
  center, scale = box_to_center_scale(box.T, aspect, padding)
  source = Source(
    name='synthetic_faces', split=pictures.split, skeleton=FACE_300W,
    image_id=pictures.numbers + 1, annotation_id=pictures.numbers + 1,
    file=np.array([f'synthetic_faces/{pictures.split}/{n:06d}' for n in pictures.numbers]),
    box=box.astype(np.float32), center=center, scale=scale,
    keypoints=np.where(labelled, points, 0).astype(np.float32), visibility=visibility,
    box_score=np.ones(len(box), np.float32), read=pictures.read)
  truth = source.as_coco()
  for picture in truth['images']:
    picture |= {'width': pictures.size[0], 'height': pictures.size[1]}
  return dataclasses.replace(source, ground_truth=truth)
