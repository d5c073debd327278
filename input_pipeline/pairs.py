"""A person's crop and its occluded partner: the samples of top-down systems."""
import dataclasses
import zlib

import numpy as np

from dslope_jax.visibility import is_labelled
from input_pipeline import geometry
from input_pipeline.occlusion import mixtures, pasting, recipes
from input_pipeline.sources.source import Source

# The occluded partner of a validation picture depends on this, the recipe, the bank and the
# annotation id.
BENCHMARK = 'c2'
FIELDS = ('image', 'occluded_image', 'keypoints', 'visibility', 'covered', 'outside')
OTHERS = 20  # people of the same picture that a sample holds, at most
_OF_JOINTS = 'visibility', 'covered', 'outside'
_NEED_OCCLUSION = {'occluded_image', 'covered', 'outside', 'window'}


@dataclasses.dataclass(frozen=True)
class PairMaker:
  """Makes the sample of one person: crop, occluded partner, keypoints. A `stream.Maker`.

  size: (W, H) of the crops. recipe: see `recipes.recipe`, or for training a curriculum of them, see
  `mixtures.stages`. length: samples of the whole training, which a curriculum goes by; without it
  the first stage never ends. augmentation: None for evaluation.
  unbiased: crops are cut by `geometry.udp_affine`. fields: those that a sample holds, of
  image, occluded_image (H,W,3) uint8; keypoints (K,2) float32 crop pixels; visibility (K,) uint8;
  covered, outside (K,) bool, see `recipes.Occluded`; window (4,) float32 picture pixels, likewise;
  others (OTHERS,K,3) float32, x, y, visibility of the other annotated people of the picture in this
  crop, the nearest first, then zeros; box (4,) float32, the person's box x, y, width, height in
  crop pixels, which a rotation of the crop does not turn. Nothing is pasted where no field shows
  it.
  """
  source: Source
  size: tuple[int, int]
  bank: object  # a PatchBank, or None where the recipe needs none
  recipe: str
  seed: int
  augmentation: geometry.Augmentation | None = None
  unbiased: bool = False
  fields: tuple[str, ...] = FIELDS
  length: int = 0

  def __len__(self):
    return len(self.source)

  def name(self, row: int) -> str:
    return str(self.source.file[row])

  def train(self, index: int, row: int) -> dict:
    s = self.source
    key = [self.seed, int(s.annotation_id[row]), index // len(s)]
    image, augmentation = s.read(row), self.augmentation
    if s.skeleton.flip_pairs is None:  # nobody knows which joints a mirror exchanges
      augmentation = augmentation._replace(flip_prob=0)
    matrix, mirror = geometry.draw_crop(
      np.random.default_rng([*key, 0]), augmentation, s.center[row], s.scale[row],
      s.keypoints[row], s.visibility[row], s.skeleton.lower_body, s.picture_width(row, image),
      self.size, self.unbiased)
    return self._pair(image, row, matrix, mirror, np.random.default_rng([*key, 1]),
                      mixtures.at(self.recipe, index / self.length if self.length else 0.0))

  def evaluate(self, row: int) -> dict:
    s = self.source
    return self._pair(s.read(row), row, self.upright(row), False, benchmark_rng(s, row))

  def blank(self, row: int) -> dict:
    """A black picture without labels."""
    (w, h), k = self.size, self.source.skeleton.num_keypoints
    black = np.zeros((h, w, 3), np.uint8)
    return self._chosen({
      'image': black, 'occluded_image': black, 'keypoints': np.zeros((k, 2), np.float32),
      'visibility': np.zeros(k, np.uint8), 'covered': np.zeros(k, bool),
      'outside': np.zeros(k, bool), 'window': pasting.window(()).astype(np.float32),
      'others': np.zeros((OTHERS, k, 3), np.float32), 'box': np.array([0, 0, w, h], np.float32)})

  def upright(self, row):
    """(2,3) map from the picture of a row to its crop for evaluation."""
    return geometry.crop_affine(self.source.center[row], self.source.scale[row], 0, self.size,
                                self.unbiased)

  def person(self, row, matrix, visibility) -> recipes.Person:
    """The person of a row as recipes see it."""
    s = self.source
    visibility = np.where(is_labelled(visibility), visibility, 0)
    return recipes.Person(s.keypoints[row].astype(np.float64), visibility, s.box[row],
                          s.scale[row], s.skeleton, matrix, self.size)

  def _pair(self, image, row, matrix, mirror, rng, recipe=''):
    s = self.source
    crop = geometry.warp(image, s.crop_map(row, matrix), self.size)
    keypoints = geometry.transform(s.keypoints[row], matrix).astype(np.float32)
    visibility = s.visibility[row]
    sample = {'image': crop, 'keypoints': keypoints, 'visibility': visibility}
    if not _NEED_OCCLUSION.isdisjoint(self.fields):
      seen = visibility
      if self.augmentation:  # hide what is left of the person, not what the crop cut off
        inside = ((keypoints >= 0) & (keypoints < self.size)).all(1)
        seen = np.where(inside, visibility, 0)
      occluded = recipes.occlude(crop, self.person(row, matrix, seen), self.bank, rng,
                                 recipe or self.recipe)
      sample |= {'occluded_image': occluded.image, 'covered': occluded.covered,
                 'outside': occluded.outside, 'window': occluded.window.astype(np.float32)}
    if 'others' in self.fields:
      sample['others'] = self.others(row, matrix)
    if 'box' in self.fields:
      sample['box'] = geometry.box_in_crop(s.box[row], matrix, mirror, self.size)
    if mirror:
      order = s.skeleton.flip_order
      sample |= {name: sample[name][..., order] for name in _OF_JOINTS if name in sample}
      sample |= {name: sample[name][..., order, :] for name in ('keypoints', 'others')
                 if name in sample}
    return self._chosen(sample)

  def others(self, row, matrix):
    """(OTHERS,K,3) of the people beside a row in the crop that `matrix` makes; see the class."""
    s = self.source
    rows = s.by_picture()[row]
    middle = lambda rows: s.box[rows, :2] + s.box[rows, 2:] / 2
    far = np.linalg.norm(middle(rows) - middle(row), axis=-1)
    rows = rows[np.argsort(far, kind='stable')[:OTHERS]]
    out = np.zeros((OTHERS, s.skeleton.num_keypoints, 3), np.float32)
    out[:len(rows), :, :2] = geometry.transform(s.keypoints[rows], matrix)
    out[:len(rows), :, 2] = s.visibility[rows]
    return out

  def _chosen(self, sample):
    return {name: sample[name] for name in self.fields}


def benchmark_rng(source: Source, row: int):
  """The generator that draws the occluded partner of a validation picture."""
  return np.random.default_rng([zlib.crc32(BENCHMARK.encode()), int(source.annotation_id[row])])
