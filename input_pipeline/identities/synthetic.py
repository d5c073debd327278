"""Drawn people: faces of known identity without any file."""
import dataclasses

import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.skeletons import FACE_300W
from input_pipeline.identities.identity_set import NO_VIDEO, Identities, key
from input_pipeline.world import faces, kept

_MIN_LABELLED = 60  # of 68 points; a face with fewer in the picture is drawn anew


@dataclasses.dataclass(frozen=True)
class Pictures:
  """Draws the pictures of rows; small, so that it travels to data workers.

  person, number, attempt: (N,) of each row.
  """
  seed: int
  split: str
  size: tuple[int, int]
  person: np.ndarray
  number: np.ndarray
  attempt: np.ndarray

  def read(self, row) -> np.ndarray:
    who, number, attempt = (int(column[row]) for column in (self.person, self.number, self.attempt))

    def draw():
      rng = _generator(self.seed, self.split, who, number, attempt)
      face = faces.draw(_person(self.seed, self.split, who), faces.nuisance(rng, self.size),
                        self.size)
      return faces.worsen(faces.paint(face, rng, self.size), rng)

    return kept.picture(('identities', self.seed, self.split, self.size, who, number), draw)


def _generator(seed, split, *numbers):
  return np.random.default_rng([seed, 0x1D, *split.encode(), *numbers])


def _person(seed, split, number):
  return faces.identity(_generator(seed, split, number))


def load(split, *, identities=200, pictures=10, size=(96, 96), seed=0) -> Identities:
  """People of an endless drawn world; the splits share nobody.

  identities: how many. pictures: of each. size: (W, H) of a picture in pixels. seed: of the world.

  A person is a function of seed, split and its number, a picture also of its own number; what makes
  a person and what makes a picture are drawn by generators of their own. Only the 68 points are
  computed here, pictures are drawn when read. Raises UserError naming the option.
  """
  size, seed = tuple(map(int, size)), int(seed)
  for name, value in (('identities', identities), ('pictures', pictures)):
    if value < 1:
      raise UserError(f'synthetic: {name} is {value}, must be at least 1')
  if len(size) != 2 or min(size) < 32:
    raise UserError(f'synthetic: size is {size}, must be (width, height), 32 pixels or more')
  found, attempts = [], []
  for number in range(identities):
    who = _person(seed, split, number)
    for picture in range(pictures):
      face, attempt = _whole_face(who, size, (seed, split, number, picture))
      found.append(face)
      attempts.append(attempt)
  person, picture = np.divmod(np.arange(len(found)), pictures)
  drawn = Pictures(seed, split, size, person, picture, np.array(attempts))
  points = np.array([face.keypoints for face in found])
  visibility = np.array([face.visibility for face in found])
  labelled = visibility[..., None] > 0
  low = np.where(labelled, points, np.inf).min(1)
  high = np.where(labelled, points, -np.inf).max(1)
  files = [f'synthetic/{split}/{a:05d}/{b:04d}' for a, b in zip(person, picture, strict=True)]
  return Identities(
    'synthetic', split, tuple(f'{split}_{n:05d}' for n in range(identities)),
    person.astype(np.int32), np.array(files), np.array([key(file) for file in files]), drawn.read,
    np.full(len(found), NO_VIDEO), np.concatenate([low, high - low], 1).astype(np.float32),
    np.where(labelled, points, 0).astype(np.float32), visibility, FACE_300W)


def _whole_face(who, size, key):
  """(face, number of the attempt): the first whose points are in the picture, but for a few."""
  seed, split, *numbers = key
  attempt = 0
  while True:
    face = faces.draw(who, faces.nuisance(_generator(seed, split, *numbers, attempt), size), size)
    if (face.visibility > 0).sum() >= _MIN_LABELLED:
      return face, attempt
    attempt += 1
