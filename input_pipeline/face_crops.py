"""A face's crop, its occluded partner and whose face it is: the samples of recognition."""
import contextlib
import dataclasses
import functools
import zlib
from typing import NamedTuple

import cv2
import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.skeletons import FACE_300W
from dslope_jax.visibility import VISIBLE, is_labelled
from input_pipeline import face_alignment, geometry
from input_pipeline.identities.identity_set import Identities, key
from input_pipeline.occlusion import mixtures, recipes
from input_pipeline.sources.source import Source

BENCHMARK = 'f1'  # the occluded partner of a picture depends on this, the recipe, the bank, its key
FIELDS = ('image', 'occluded_image', 'identity')
UNREADABLE = -1  # the identity of a picture that cannot be read
CROPS = 'landmarks', 'box'
_LOOKED_AT, _MOST = 1000, 0.8  # faces, and the share of them that may be mirrored
_PADDING = 1.25  # of the boxes that recipes measure a face by
_GREY = np.array([0.299, 0.587, 0.114])  # of red, green and blue (ITU-R BT.601)


class Augmentation(NamedTuple):
  """Strengths of the training augmentation, all of the crop and all 0 but for flips in published
  work (ArcFace).

  flip_prob: probability of a mirror. shift: deviation, as a share of the crop's side. scale:
  deviation of the factor. rotation: deviation in degrees. All three are cut to twice. light,
  contrast, saturation: the largest differences of these factors from 1.
  """
  flip_prob: float = 0.5
  shift: float = 0.02
  scale: float = 0.03
  rotation: float = 3.0
  light: float = 0.15
  contrast: float = 0.15
  saturation: float = 0.3


class Face(NamedTuple):
  """A face on its picture, in its pixels: landmarks (K,2), their visibility (K,), what they are,
  the box (4,), and the (2,3) map to the crop."""
  landmarks: np.ndarray
  visibility: np.ndarray
  skeleton: object
  box: np.ndarray
  to_crop: np.ndarray


@dataclasses.dataclass(frozen=True)
class FaceMaker:
  """Makes the sample of one picture. A `stream.Maker`.

  size: (S, S) of the crops. bank: a PatchBank, or None where the recipe needs none. recipe: see
  `recipes.recipe`, or for training a curriculum of them, see `mixtures.stages`; length: samples of
  the whole training, which a curriculum goes by. augmentation: None for evaluation.
  crop: by 'landmarks', see `face_alignment.similarity`, where a picture has them, or by the 'box',
  a square of its longer side times padding; a picture without either is a face as a whole. A face
  without landmarks is occluded as if it had those of the mean face.
  fields: those that a sample holds, of image and occluded_image (S,S,3) uint8; identity () int32,
  -1 of a picture that cannot be read. Nothing is pasted where no field shows it.
  """
  people: Identities
  size: tuple[int, int]
  bank: object
  recipe: str
  seed: int
  augmentation: Augmentation | None = None
  crop: str = CROPS[0]
  padding: float = 1.25
  fields: tuple[str, ...] = FIELDS
  length: int = 0

  def __post_init__(self):
    if self.crop not in CROPS:
      raise UserError(f"crop is one of {', '.join(CROPS)}, not '{self.crop}'")
    if len(set(self.size)) > 1:
      raise UserError(f'crops of faces are squares, not {self.size[0]}x{self.size[1]}; take '
                      "data.size=(112, 112), or another side")
    _ = self._five  # its error is told at the start

  def __len__(self):
    return len(self.people)

  def name(self, row: int) -> str:
    return self.people.path(row)

  def train(self, index: int, row: int) -> dict:
    key = [self.seed, int(self.people.key[row]), index // len(self)]
    image, rng = self.people.read(row), np.random.default_rng([*key, 0])
    face = self.face(row, image)
    face = face._replace(to_crop=_moved(rng, self.augmentation, face.to_crop,
                                         self.size[0]))
    inside = geometry.transform(face.landmarks, face.to_crop)
    inside = ((inside >= 0) & (inside < self.size)).all(1)  # as in `PairMaker`
    face = face._replace(visibility=np.where(inside, face.visibility, 0))
    recipe = mixtures.at(self.recipe, index / self.length if self.length else 0.0)
    return self._sample(image, row, face, np.random.default_rng([*key, 1]), recipe,
                        _colors(rng, self.augmentation))

  def evaluate(self, row: int) -> dict:
    image = self.people.read(row)
    return self._sample(image, row, self.face(row, image), evaluation_rng(self.people, row),
                        self.recipe)

  def blank(self, row: int) -> dict:
    """A black picture of nobody."""
    black = np.zeros((*self.size[::-1], 3), np.uint8)
    return self._chosen({'image': black, 'occluded_image': black,
                         'identity': np.int32(UNREADABLE)})

  def face(self, row: int, image) -> Face:
    """The face of a row on its picture (H,W,3), and the map to its crop for evaluation."""
    return located(self.people, row, image.shape[1::-1], self._five, self.size[0], self.padding)

  @functools.cached_property
  def _five(self):
    return five_points(self.people) if self.crop == 'landmarks' else None

  def _sample(self, image, row, face, rng, recipe, colors=None):
    crop = geometry.warp(image, face.to_crop, self.size)
    if colors is not None:
      crop = cv2.transform(crop, colors)
    sample = {'image': crop, 'identity': np.int32(self.people.identity[row])}
    if 'occluded_image' in self.fields:
      scale = geometry.box_to_center_scale(face.box, 1.0, _PADDING)[1]
      person = recipes.Person(face.landmarks, face.visibility, face.box, scale, face.skeleton,
                              face.to_crop, self.size)
      sample['occluded_image'] = recipes.occlude(crop, person, self.bank, rng, recipe).image
    return self._chosen(sample)

  def _chosen(self, sample):
    return {name: sample[name] for name in self.fields}


def evaluation_rng(people: Identities, row: int):
  """The generator that draws the occluded partner of a picture in an evaluation."""
  return np.random.default_rng([zlib.crc32(BENCHMARK.encode()), int(people.key[row])])


def five_points(people: Identities):
  """See `face_alignment.five_points`; None where the set has no landmarks. Raises UserError where
  they are mirrored: no turn brings such a face onto the template."""
  if people.landmarks is None:
    return None
  five = face_alignment.five_points(people.skeleton)
  rows = np.unique(np.linspace(0, len(people) - 1, _LOOKED_AT).astype(int))
  points, known = zip(*(face_alignment.known_points(
    five, people.landmarks[row], people.visibility[row]) for row in rows), strict=True)
  points = np.array(points)[np.array(known).all(1)]
  mirrored = face_alignment.are_mirrored(points)
  if mirrored.sum() > _MOST * len(points):
    raise UserError(f'{people.name} {people.split}: {mirrored.sum()} of {len(points)} faces have '
                    'left and right exchanged: the first eye and the first corner of the mouth are '
                    'on the left of the picture, which are the right ones of the person; exchange '
                    "them in the file, or set data.crop='box'")
  return five


def located(people: Identities, row, picture, five, size, padding=1.25) -> Face:
  """The face of a row in a picture (W, H) and its crop of this side; see `placed`.

  five: `five_points` of the set; None: crops are by the box.
  """
  of = lambda column: None if column is None else column[row]
  return placed(picture, size, five, of(people.box), of(people.landmarks), of(people.visibility),
                people.skeleton, padding)


def placed(picture, size, five, box, landmarks=None, visibility=None, skeleton=None,
           padding=1.25) -> Face:
  """A face in a picture (W, H) and its crop of this side.

  five: weights of `face_alignment.five_points`, by which the crop is; where it is None, or a face
  has no landmarks, it is by the box (4,), its longer side times padding, or, where that is None, by
  the picture. landmarks: (K,2), visibility: (K,) and skeleton, which is None of the five points.
  """
  box = None if box is None else np.asarray(box, np.float64)
  points, known = None, np.zeros(5, bool)
  if landmarks is None:
    landmarks, visibility = np.zeros((0, 2)), np.zeros(0, np.uint8)
  else:
    landmarks = np.asarray(landmarks, np.float64)
    visibility = np.where(is_labelled(visibility), visibility, 0)
  if five is not None and len(landmarks):
    points, known = face_alignment.known_points(five, landmarks, visibility)
  whole = box is None and not visibility.any()
  if skeleton is None or not visibility.any():
    skeleton = FACE_300W
    landmarks = face_alignment.standing_in(box, picture, points if known.all() else None)
    visibility = np.full(len(landmarks), VISIBLE, np.uint8)
  if box is None:
    labelled = landmarks[visibility > 0]
    box = np.concatenate([labelled.min(0), np.ptp(labelled, axis=0)])
  if known.sum() > 1:
    matrix = face_alignment.similarity(points[known], face_alignment.template(size)[known])
  else:
    w, h = picture  # from the first pixel's centre to the last one's: equal sizes stay as they are
    square = ((0, 0, w - 1, h - 1), 1.0, 1.0) if whole else (box, 1.0, padding)
    matrix = geometry.udp_affine(*geometry.box_to_center_scale(*square), 0, (size, size))
  return Face(landmarks, visibility, skeleton, box, matrix)


def as_source(people: Identities, rows) -> Source:
  """The faces of these rows as a `Source`, of which a patch bank can be cut.

  Faces without landmarks have those of the mean face. Reads the pictures for their sizes where
  there are no boxes; whoever reads one that cannot be read is told then.
  """
  rows = np.asarray(rows, np.int64)
  found = [located(people, row, _picture_size(people, row), None, 112) for row in rows.tolist()]
  box = np.array([face.box for face in found], np.float32)
  center, scale = geometry.box_to_center_scale(box.T, 1.0, _PADDING)
  files = np.array([people.path(row) for row in rows.tolist()])
  names = np.array([key(name) for name in people.names])  # numbers of another set mean others
  return Source(
    name=people.name, split=people.split, skeleton=found[0].skeleton,
    image_id=np.unique(files, return_inverse=True)[1], annotation_id=rows, file=files, box=box,
    center=center, scale=scale,
    keypoints=np.array([face.landmarks for face in found], np.float32),
    visibility=np.array([face.visibility for face in found], np.uint8),
    box_score=np.ones(len(rows), np.float32), read=people.subset(rows).read,
    identity=names[people.identity[rows]])


def _picture_size(people, row):
  if people.box is None:
    with contextlib.suppress(OSError):
      return people.read(row).shape[1::-1]
  return 1, 1


def _moved(rng, augmentation, matrix, side):
  """The (2,3) map to a crop of this side, moved in the crop and perhaps mirrored."""
  a = augmentation
  draw = lambda deviation: np.clip(rng.normal(0, 1), -2, 2) * deviation
  factor, angle = 1 + draw(a.scale), np.radians(draw(a.rotation))
  c, s = factor * np.cos(angle), factor * np.sin(angle)
  turn, middle = np.array([[c, -s], [s, c]]), np.full(2, (side - 1) / 2)
  shift = np.array([draw(a.shift), draw(a.shift)]) * side
  matrix = np.column_stack([turn @ matrix[:, :2], turn @ (matrix[:, 2] - middle) + middle + shift])
  if rng.random() < a.flip_prob:
    matrix = np.array([[-1, 0], [0, 1]]) @ matrix + [[0, 0, side - 1], [0, 0, 0]]
  return matrix


def _colors(rng, augmentation):
  """(3,4) the map of colours that changes light, contrast and saturation."""
  light, contrast, saturation = 1 + rng.uniform(-1, 1, 3) * (
    augmentation.light, augmentation.contrast, augmentation.saturation)
  mixed = saturation * np.eye(3) + (1 - saturation) * np.tile(_GREY, (3, 1))
  return light * np.column_stack([contrast * mixed, np.full(3, 127.5 * (1 - contrast))])
