"""Samples of whole pictures with several people: letterboxed, with joints in 2D and in space."""
import dataclasses
import zlib

import numpy as np

from dslope_jax.visibility import is_labelled
from input_pipeline import letterbox
from input_pipeline.occlusion import mixtures, pasting, things
from input_pipeline.pictures.picture import JOINTS, Pictures

BENCHMARK = 'w1'  # what is pasted on an evaluated picture depends on this, the recipe and its name
MAX_PEOPLE = 20
_STRIDE = 4  # pixels of the network's picture for one of a map
_OF_OCCLUDED = {'occluded_image', 'occluded_people'}
FIELDS = ('image', 'people', 'valid', 'overflow', 'ignore', 'has_depth', 'channels', 'camera',
          'size', 'occluded_image', 'occluded_people')


@dataclasses.dataclass(frozen=True)
class PictureMaker:
  """Makes the sample of one picture. A `stream.Maker`.

  size: (W, H) of the network's picture, multiples of 4. bank: a PatchBank, or None for black boxes.
  recipe: see `things.RECIPES`; a mixture, or for training a curriculum, see `mixtures`.
  augmentation: of training; sets with depths are not scaled, as published. max_people: P rows; of
  more people those that reach furthest in the picture are kept. length: samples of the whole
  training, which a curriculum goes by.
  fields: those that a sample holds, of
    image (H,W,3) uint8.
    people (P,15,6) float32: x, y in network pixels; X, Y, Z in cm in the camera's frame, 0 where
      the set has no depth; v 0 not labelled or outside the network's picture, 1 hidden, 2 visible.
      Of a mirrored picture all is as seen. Who has no labelled joint in it has no row.
    valid (P,) bool: rows that are people. overflow () int32: people beyond P.
    ignore (H/4,W/4) bool: where people without labels are, and those beyond P, but for the boxes of
      those who have a row.
    has_depth () bool. channels (57,) float32: 1 for maps that the set has truth for.
    camera (7,) float32: fx, fy, cx, cy in pixels of the picture, scale, offset_x, offset_y:
      x_network = x_picture * scale + offset_x, unless training turned the picture.
    size (2,) int32 W, H of the picture.
    occluded_image, occluded_people: with things pasted on, and v = 1 of joints that they cover.
  """
  pictures: Pictures
  size: tuple[int, int]
  bank: object
  recipe: str
  seed: int
  augmentation: letterbox.Augmentation | None = None
  fields: tuple[str, ...] = FIELDS
  max_people: int = MAX_PEOPLE
  length: int = 0

  def __len__(self):
    return len(self.pictures)

  def name(self, row: int) -> str:
    return str(self.pictures.file[row])

  def train(self, index: int, row: int) -> dict:
    key, augmentation = [self.seed, row, index // len(self)], self.augmentation
    if self.pictures.has_depth:
      augmentation = augmentation._replace(scale=(1.0, 1.0))
    shown = letterbox.draw(np.random.default_rng([*key, 0]), augmentation,
                           self.pictures.size[row].tolist(), self.size)
    return self._sample(row, self.pictures.read(row), shown, np.random.default_rng([*key, 1]),
                        mixtures.at(self.recipe, index / self.length if self.length else 0.0))

  def evaluate(self, row: int) -> dict:
    shown = letterbox.fit(self.pictures.size[row].tolist(), self.size)
    rng = np.random.default_rng(zlib.crc32(f'{BENCHMARK} {self.name(row)}'.encode()))
    return self._sample(row, self.pictures.read(row), shown, rng, self.recipe)

  def blank(self, row: int) -> dict:
    """A grey picture without people, ignored as a whole: nobody knows who is in it."""
    size = self.pictures.size[row].tolist()
    grey = np.full((*self.size[::-1], 3), letterbox.BORDER, np.uint8)
    nobody = np.zeros((self.max_people, JOINTS, 6), np.float32)
    return self._chosen(row, letterbox.fit(size, self.size), {
      'image': grey, 'people': nobody, 'valid': np.zeros(self.max_people, bool),
      'overflow': np.int32(0), 'occluded_image': grey, 'occluded_people': nobody,
      'ignore': np.ones((self.size[1] // _STRIDE, self.size[0] // _STRIDE), bool)})

  def _sample(self, row, picture, shown, rng, recipe):
    pictures, known = self.pictures, self.pictures[row]
    show = lambda visibility: letterbox.people(
      shown, self.size, known.joints_2d, known.joints_3d, visibility, pictures.skeleton.flip_order)
    everyone = show(known.visibility)
    kept, beyond = _rows(everyone, self.max_people)
    sample = {'image': letterbox.warp(picture, shown, self.size),
              'people': self._filled(everyone[kept]),
              'valid': np.arange(self.max_people) < len(kept), 'overflow': np.int32(len(beyond))}
    if 'ignore' in self.fields:
      where = lambda boxes: letterbox.boxes_map(shown, self.size, boxes, _STRIDE)
      sample['ignore'] = where(np.concatenate([known.ignore, _boxes(known, beyond)])) & ~where(
        _boxes(known, kept))
    if not _OF_OCCLUDED.isdisjoint(self.fields):
      inside = known.visibility * self._in_sight(everyone, shown)
      placements = things.draw(rng, known.joints_2d, inside, pictures.skeleton, shown.matrix,
                               self.size, self.bank, recipe)
      seen = things.lowered(known.joints_2d, known.visibility, placements, self.bank)
      sample |= {'occluded_people': self._filled(show(seen)[kept]),
                 'occluded_image': pasting.paste(sample['image'], shown.matrix, placements,
                                                 self.bank)[0]}
    return self._chosen(row, shown, sample)

  def _in_sight(self, everyone, shown):
    """(N,15) bool, in the order of the set: joints in the network's picture."""
    inside = is_labelled(everyone[..., 5])
    return inside[:, self.pictures.skeleton.flip_order] if shown.mirrored else inside

  def _filled(self, people):
    out = np.zeros((self.max_people, JOINTS, 6), np.float32)
    out[:len(people)] = people
    return out

  def _chosen(self, row, shown, sample):
    p = self.pictures
    sample |= {'has_depth': np.bool_(p.has_depth), 'channels': p.channels,
               'camera': letterbox.camera(shown, p.size[row], p.camera[row]),
               'size': p.size[row].astype(np.int32)}
    return {name: sample[name] for name in self.fields}


def _rows(people, limit):
  """Numbers of the people (N,15,6) who get a row, in their order, and of those beyond the limit."""
  labelled = is_labelled(people[..., 5])
  there = np.flatnonzero(labelled.any(1))
  if len(there) <= limit:
    return there, there[:0]
  seen, points = labelled[there, :, None], people[there, :, :2]
  sides = np.where(seen, points, -np.inf).max(1) - np.where(seen, points, np.inf).min(1)
  order = there[np.argsort(-sides.prod(1), kind='stable')]
  return np.sort(order[:limit]), order[limit:]


def _boxes(known, people):
  """(M,4) boxes x, y, width, height of the labelled joints of people (M,), picture pixels."""
  seen = is_labelled(known.visibility[people])[..., None]
  low = np.where(seen, known.joints_2d[people], np.inf).min(1)
  return np.concatenate([low, np.where(seen, known.joints_2d[people], -np.inf).max(1) - low], 1)
