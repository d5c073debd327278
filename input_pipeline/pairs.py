"""A person's crop and its occluded partner: the samples of top-down systems."""
import dataclasses
import zlib

import numpy as np

from input_pipeline import geometry
from input_pipeline.occlusion import recipes
from input_pipeline.sources.source import Source

# The occluded partner of a validation picture depends on this, the recipe, the bank and the
# annotation id.
BENCHMARK = 'c2'



@dataclasses.dataclass(frozen=True)
class PairMaker:
  """Makes the sample of one person: crop, occluded partner, keypoints. Pure and picklable.

  size: (W, H) of the crops. recipe: see `recipes.recipe`. augmentation: None for evaluation.
  unbiased: crops are cut by `geometry.udp_affine`.
  A sample holds image, occluded_image (H,W,3) uint8; keypoints (K,2) float32 crop pixels;
  visibility (K,) uint8; covered (K,) bool; row.
  """
  source: Source
  size: tuple[int, int]
  bank: object  # a PatchBank, or None where the recipe needs none
  recipe: str
  seed: int
  augmentation: geometry.Augmentation | None = None
  unbiased: bool = False

  def train(self, index: int, row: int):
    """Sample number `index` of the endless stream. An unreadable picture becomes a black one
    without labels, marked `unreadable`: the stream goes on and the loop counts and names it."""
    s = self.source
    epoch = index // len(s)
    key = [self.seed, int(s.annotation_id[row]), epoch]
    try:
      image = s.read(row)
    except OSError:
      w, h = self.size
      black = np.zeros((h, w, 3), np.uint8)
      k = s.skeleton.num_keypoints
      return {'image': black, 'occluded_image': black, 'keypoints': np.zeros((k, 2), np.float32),
              'visibility': np.zeros(k, np.uint8), 'covered': np.zeros(k, bool),
              'row': np.int32(row), 'unreadable': True}
    matrix, mirror = geometry.draw_crop(
      np.random.default_rng([*key, 0]), self.augmentation, s.center[row], s.scale[row],
      s.keypoints[row], s.visibility[row], s.skeleton.lower_body, s.picture_width(row, image),
      self.size, self.unbiased)
    sample = self._pair(image, row, matrix, mirror, np.random.default_rng([*key, 1]))
    return sample | {'unreadable': False}

  def evaluate(self, item: tuple[int, bool]):
    """The fixed sample of a row, with a mask that is False for padding.

    Raises OSError for an unreadable picture: a score over the others would be another score.
    """
    row, real = item
    s = self.source
    sample = self._pair(s.read(row), row, self.upright(row), False, benchmark_rng(s, row))
    return sample | {'mask': real}

  def upright(self, row):
    """(2,3) map from the picture of a row to its crop for evaluation."""
    cut = geometry.udp_affine if self.unbiased else geometry.affine
    return cut(self.source.center[row], self.source.scale[row], 0, self.size)

  def person(self, row, matrix, visibility) -> recipes.Person:
    """The person of a row as recipes see it."""
    s = self.source
    return recipes.Person(s.keypoints[row].astype(np.float64), visibility, s.box[row],
                            s.scale[row], s.skeleton, matrix, self.size)

  def _pair(self, image, row, matrix, mirror, rng):
    s = self.source
    crop = geometry.warp(image, s.crop_map(row, matrix), self.size)
    keypoints = geometry.transform(s.keypoints[row], matrix).astype(np.float32)
    visibility = s.visibility[row]
    seen = visibility
    if self.augmentation:  # hide what is left of the person, not what the crop cut off
      inside = ((keypoints >= 0) & (keypoints < self.size)).all(1)
      seen = np.where(inside, visibility, 0)
    occluded = recipes.occlude(crop, self.person(row, matrix, seen), self.bank, rng, self.recipe)
    covered = occluded.covered
    if mirror:
      order = s.skeleton.flip_order
      keypoints, visibility, covered = keypoints[order], visibility[order], covered[order]
    return {'image': crop, 'occluded_image': occluded.image, 'keypoints': keypoints,
            'visibility': visibility, 'covered': covered, 'row': np.int32(row)}


def benchmark_rng(source: Source, row: int):
  """The generator that draws the occluded partner of a validation picture."""
  return np.random.default_rng([zlib.crc32(BENCHMARK.encode()), int(source.annotation_id[row])])
