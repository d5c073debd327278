"""Clips of equal length cut out of sequences, as the protocols of lifting do it."""
from typing import NamedTuple

import numpy as np

from dslope_jax import errors
from dslope_jax.errors import UserError
from input_pipeline.sequences.sequence import Sequences

RULES = 'drop', 'cover', 'centre'


class Windows(NamedTuple):
  """N clips of T frames.

  sequence: (N,) index of the sequence. view: (N,) index of the camera, -1 where one is drawn.
  frames: (N,T) frames of the sequence, which may repeat. counted: (N,T) bool, frames that a score
  takes from this clip; in 'cover' and 'centre' every frame is counted once.
  """
  sequence: np.ndarray
  view: np.ndarray
  frames: np.ndarray
  counted: np.ndarray

  def __len__(self):
    return len(self.sequence)


def of(sequences: Sequences, frames: int, stride: int, rule: str) -> Windows:
  """The clips of all sequences; a drawn camera where the 2D keypoints are projections, else a clip
  for each camera. Clips that touch frames that are not valid are left out, and counted in a line.

  frames: T. stride: from the beginning of a clip to that of the next, for 'drop'. rule: see `cut`.
  Raises UserError where nothing is left.
  """
  rows, touched = [], 0
  for number, sequence in enumerate(sequences.sequences):
    places, counted = cut(len(sequence), frames, stride, rule)
    if sequence.valid is not None:
      good = sequence.valid[places].all(1)
      if rule == 'centre':  # a padded end may touch them; only the middle is scored
        good = sequence.valid[places[:, frames // 2]]
      touched += int((~good).sum())
      places, counted = places[good], counted[good]
    views = [-1] if sequence.keypoints_2d is None else range(len(sequence.cameras))
    for view in views:
      rows.append((np.full(len(places), number), np.full(len(places), view), places, counted))
  found = Windows(*map(np.concatenate, zip(*rows, strict=True)))
  if touched:
    print(f'{sequences.name} {sequences.split}: {errors.counted(touched, "clip")} with frames that '
          'are not valid left out', flush=True)
  if not len(found):
    raise UserError(f"{sequences.name} {sequences.split} has no clip of {frames} valid frames by "
                    f"the rule '{rule}'; take fewer frames")
  return found


def cut(length: int, frames: int, stride: int, rule: str):
  """((N,T) frames, (N,T) counted) of a sequence of so many frames.

  rule: 'drop', every clip begins `stride` frames after the one before, what is left at the end is
    dropped, and a shorter sequence is stretched to one clip (MotionBERT); 'cover', clips follow
    each other, and the last one repeats the last frame (VideoPose3D, MixSTE); 'centre', every frame
    is the middle of a clip, whose ends repeat the first and last frame (P-STMO).
  Raises UserError for another rule.
  """
  steps = np.arange(frames)
  if rule == 'drop':
    if length < frames:
      return (steps * length // frames)[None], np.ones((1, frames), bool)
    first = np.arange(0, length - frames + 1, stride)
    places = first[:, None] + steps
    return places, np.ones(places.shape, bool)
  if rule == 'cover':
    places = np.arange(0, length, frames)[:, None] + steps
    return np.minimum(places, length - 1), places < length
  if rule == 'centre':
    places = np.arange(length)[:, None] + steps - frames // 2
    return places.clip(0, length - 1), np.tile(steps == frames // 2, (length, 1))
  raise UserError(f"windows are cut by {', '.join(RULES)}, not '{rule}'")
