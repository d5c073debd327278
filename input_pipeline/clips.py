"""Samples of lifting: a clip of 2D keypoints, its partner with hidden joints, the pose in 3D."""
import dataclasses
import difflib
import zlib

import numpy as np

from dslope_jax import cameras
from dslope_jax.errors import UserError
from dslope_jax.visibility import VISIBLE
from input_pipeline.occlusion import hidden_clips, mixtures
from input_pipeline.sequences.sequence import Sequences
from input_pipeline.windows import Windows

BENCHMARK = 'm1'  # the hidden partner of an evaluated clip depends on this, the recipe and the clip
FIELDS = ('keypoints_2d', 'confidence', 'occluded_keypoints_2d', 'occluded_confidence',
          'keypoints_3d', 'visibility', 'covered')
_OF_HIDDEN = {'occluded_keypoints_2d', 'occluded_confidence', 'visibility', 'covered'}
EXACT = 'exact'  # the 2D keypoints as the set has them; what is hidden is not asked
RECIPES = EXACT, *hidden_clips.SEVERITIES
TARGETS = 'image', 'camera'


@dataclasses.dataclass(frozen=True)
class ClipMaker:
  """Makes the sample of one window of a sequence. A `stream.Maker`.

  windows: the clips, one row each, of T frames. recipe: what hides joints, one of RECIPES, a
  mixture of them with odds, or for training a curriculum; see `mixtures`.
  target: units of keypoints_3d, see `to_units`. flip_prob: probability that a training clip is
  mirrored. length: samples of the whole training, which a curriculum goes by.
  fields: those that a sample holds, of keypoints_2d (T,J,2) float32, normalised by
  `cameras.normalise_screen`; confidence (T,J) float32; the same of the hidden partner with
  'occluded_' before; keypoints_3d (T,J,3) float32; visibility (T,J) uint8, and covered (T,J) bool,
  hidden by other people or objects, both of the hidden partner.
  """
  sequences: Sequences
  windows: Windows
  recipe: str
  seed: int
  target: str = 'image'
  flip_prob: float = 0.0
  fields: tuple[str, ...] = FIELDS
  length: int = 0
  kept: hidden_clips.Kept = dataclasses.field(default_factory=hidden_clips.Kept)

  def __len__(self):
    return len(self.windows)

  def name(self, row: int) -> str:
    frames = self.windows.frames[row]
    return f'{self._sequence(row).name}, frames {frames[0]} to {frames[-1]}'

  def train(self, index: int, row: int) -> dict:
    rng = np.random.default_rng([self.seed, row, index // len(self)])
    mirror = rng.random() < self.flip_prob
    return self._sample(row, rng, mixtures.at(self.recipe, index / self.length if self.length
                                             else 0.0), mirror)

  def evaluate(self, row: int) -> dict:
    return self._sample(row, self._fixed(row), self.recipe, False)

  def blank(self, row: int) -> dict:
    """A sample like any other: a clip is in memory, and can always be read."""
    return self.evaluate(row)

  def clip(self, row: int):
    """The (sequence, view, `Clip`) that `evaluate` sees in a row."""
    return self._clip(row, self._fixed(row))

  def _fixed(self, row):
    """The generator of an evaluated row: of the clip, and not of what else is in the set."""
    clip = f'{BENCHMARK} {self._sequence(row).name} {self.windows.frames[row][0]}'
    return np.random.default_rng([zlib.crc32(clip.encode()), int(self.windows.view[row]) + 1])

  def _sequence(self, row):
    return self.sequences.sequences[self.windows.sequence[row]]

  def _clip(self, row, rng):
    sequence, view = self._sequence(row), int(self.windows.view[row])
    if view < 0:  # any camera of the pool
      view = int(rng.integers(len(sequence.cameras)))
    return sequence, view, sequence.clip(self.windows.frames[row], view)

  def _sample(self, row, rng, recipe, mirror):
    sequence, view, clip = self._clip(row, rng)
    skeleton, root = self.sequences.skeleton, self.sequences.root
    sample = {'keypoints_3d': to_units(clip, self.target, root)}
    hidden = self._hidden(row, rng, recipe, sequence, view, clip)
    for before, points, confidence in (
        ('', hidden.clean_keypoints_2d, hidden.clean_confidence),
        ('occluded_', hidden.keypoints_2d, hidden.confidence)):
      sample[f'{before}keypoints_2d'] = cameras.normalise_screen(points, *clip.camera.size)
      sample[f'{before}confidence'] = confidence
    sample |= {'visibility': hidden.visibility, 'covered': hidden.covered}
    if mirror:
      sample = {name: mirrored(name, value, skeleton.flip_order)
                for name, value in sample.items()}
    return {name: np.asarray(sample[name], _DTYPES.get(name, np.float32)) for name in self.fields}

  def _hidden(self, row, rng, recipe, sequence, view, clip):
    """What hides the joints, and what a detector says of them."""
    frames, camera, skeleton = self.windows.frames[row], clip.camera, self.sequences.skeleton
    severity = mixtures.one_of(recipe, rng)
    if severity == EXACT or camera.focal is None:
      return _as_it_is(clip)
    if _OF_HIDDEN.isdisjoint(self.fields):  # nobody sees what would come into the way
      severity = 'none'
    seen_by = lambda other: other.keypoints_3d[frames] @ camera.rotation.T + camera.translation
    by_name = self.sequences.by_name
    detected = sequence.keypoints_2d is not None
    return hidden_clips.hide(
      rng, clip.keypoints_3d, camera, skeleton, severity,
      detected=hidden_clips.Seen(clip.keypoints_2d, clip.confidence) if detected else None,
      partners=[seen_by(by_name[name]) for name in sequence.partners],
      strangers=[self._stranger(rng, camera)],
      own_blocked=self.kept.own_body((sequence.name, view), len(sequence), frames,
                                     clip.keypoints_3d, skeleton))

  def _stranger(self, rng, camera):
    """The motion of anybody of the set, turned as the camera is, for as long as a clip."""
    others, count = self.sequences.sequences, self.windows.frames.shape[1]
    other = others[int(rng.integers(len(others)))]
    first = int(rng.integers(max(1, len(other) - count + 1)))
    frames = np.minimum(first + np.arange(count), len(other) - 1)
    return other.keypoints_3d[frames] @ camera.rotation.T


def check_recipe(name: str, where: str, sequences: Sequences, training=False):
  """Raises UserError for a recipe that there is not, or that needs cameras that the set lacks.

  training: whether it may be a curriculum.
  """
  stages = mixtures.stages(name) if training else [name]
  given = {one for stage in stages for one in mixtures.mixture(stage)[1]}
  for one in sorted(given):
    if one not in RECIPES:
      near = difflib.get_close_matches(one, RECIPES, 1)
      raise UserError(f"{where} is one of {', '.join(RECIPES)}, or a mixture "
                      "'none:1,severity3:1', in training also a curriculum 'severity1>severity5', "
                      f"not '{one}'"
                      + (f"; did you mean '{near[0]}'?" if near else ''))
  without = without_camera(sequences)
  if without and given - {'none', EXACT}:
    raise UserError(f"{where} '{name}' puts things before the camera, and the camera of "
                    f"'{without}' is not known in {sequences.name}; take 'none'")


def without_camera(sequences: Sequences) -> str:
  """Name of the first sequence one of whose cameras is not known, so that nothing can be put before
  it; '' for none."""
  return next((s.name for s in sequences.sequences
               if any(camera.focal is None for camera in s.cameras)), '')


def _as_it_is(clip):
  """The clip as it was given, in full sight."""
  shape = clip.confidence.shape
  seen = clip.keypoints_2d, clip.confidence
  return hidden_clips.Hidden(
    np.full(shape, VISIBLE, np.uint8), np.zeros(shape, bool), np.zeros(shape, np.uint8),
    np.zeros((*shape, 3), np.float32), *seen, *seen)


_DTYPES = {'visibility': np.uint8, 'covered': bool}


def to_units(clip, target: str, root: int):
  """The 3D keypoints (T,J,3) of a `Clip` in the units that networks predict.

  'image': x and y in pixels, normalised as the 2D keypoints are; z, relative to the root, in pixels
  at the depth of the root, by the same factor. 'camera': metres in the camera's frame.
  """
  if target == 'camera':
    return clip.keypoints_3d / np.float32(1000)
  pixels = clip.image_3d
  if pixels is None:
    pixels = cameras.to_image_space(clip.keypoints_3d, clip.camera.params, root)
  width, height = clip.camera.size
  return np.concatenate([cameras.normalise_screen(pixels[..., :2], width, height),
                         pixels[..., 2:] * (2 / width)], -1)


def mirrored(name: str, value, flip_order):
  """A field of a sample, of the mirrored person: x negated, left and right exchanged."""
  axis = 1 if value.ndim > 1 else 0
  value = np.take(value, flip_order, axis)
  if 'keypoints' in name:
    value = value * np.array([-1, *[1] * (value.shape[-1] - 1)], value.dtype)
  return value
