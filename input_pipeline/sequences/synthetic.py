"""Moving people of the embedded world: exact 3D without any file, alone or in pairs."""
import zlib

import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.skeletons import H36M
from input_pipeline.sequences import camera_pool
from input_pipeline.sequences.sequence import Sequence, Sequences
from input_pipeline.world import motion


def load(split, *, num_sequences=100, frames=243, seed=0, cameras=8, fps=50,
         pairs=0.25) -> Sequences:
  """Sequences of people who walk, run, dance, reach, sit, lie; splits differ in all of them.

  num_sequences: how many, one person each. frames: of a sequence. cameras: about each sequence,
  drawn at random; two of a pair have different ones. pairs: share of sequences, about, of people
  who do something together and are each other's partners. seed: of the world.

  World frame: y up, floor at y = 0, mm. A sequence is a function of seed, split, its number and the
  options; projections are exact.

  Raises UserError, one line naming the option and what it must be.
  """
  _check(num_sequences, frames, cameras, fps, pairs)
  sequences, take = [], 0
  while len(sequences) < num_sequences:
    rng = np.random.default_rng([seed, zlib.crc32(split.encode()), take])
    people = 1 + int(rng.random() < pairs / (2 - pairs))  # of the takes
    people = min(people, num_sequences - len(sequences))
    drawn = motion.draw(rng, frames, fps, people)
    name = f'synthetic_{split}_{take:06d}'
    names = [f'{name}_{letter}' for letter in 'ab'[:people]]
    for person, joints in enumerate(drawn.joints):
      partners = tuple(n for n in names if n != names[person])
      sequences.append(Sequence(
        name=names[person], keypoints_3d=joints, cameras=camera_pool.draw(rng, joints, cameras),
        fps=fps, subject=names[person], action=drawn.kind, family='synthetic', take=name,
        partners=partners))
    take += 1
  return Sequences('synthetic', split, H36M, tuple(sequences))


def _check(num_sequences, frames, cameras, fps, pairs):
  for name, value, least in (('num_sequences', num_sequences, 1), ('frames', frames, 2),
                             ('cameras', cameras, 1), ('fps', fps, 1)):
    if not isinstance(value, (int, float)) or value < least:
      raise UserError(f'synthetic: {name} is {value}, must be a number, {least} or more')
  if not isinstance(pairs, (int, float)) or not 0 <= pairs <= 1:
    raise UserError(f'synthetic: pairs is {pairs}, must be a share from 0 to 1')
