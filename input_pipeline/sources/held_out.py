"""Which people are kept from training, to calibrate on: whole pictures of them."""
import zlib

import numpy as np

from dslope_jax.errors import UserError
from input_pipeline.sources.source import Source


def split(source: Source, share: float) -> tuple[Source, Source | None]:
  """(people to train on, held-out people), the latter None if the share of pictures is 0.

  Drawn by picture, so that no held-out person stands in a picture that is trained on; by the
  picture's number alone, so that every run holds out the same ones.
  Raises UserError for a share below 0, of 1 or more, or such that one side has nobody.
  """
  if not 0 <= share < 1:
    raise UserError(f'data.holdout is {share}, must be a share of the pictures, 0 to below 1')
  if not share:
    return source, None
  pictures, picture_of = np.unique(source.image_id, return_inverse=True)
  drawn = np.array([zlib.crc32(b'holdout%d' % number) for number in pictures.tolist()]) / 2 ** 32
  held_out = (drawn < share)[picture_of]
  if held_out.all() or not held_out.any():
    raise UserError(f'data.holdout is {share}, which leaves nobody on one side of the '
                    f'{len(pictures)} pictures of {source.name} {source.split}; choose another '
                    'share, or 0')
  return source.subset(np.flatnonzero(~held_out)), source.subset(np.flatnonzero(held_out))
