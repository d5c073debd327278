"""Who of a validation set is also in the training set, by numbers and names; see also `looks`."""
import os

import numpy as np

from input_pipeline.doctor.suspects import suspects


def check(train, val):
  """What two sets share that should share nothing."""
  name = f'{train.name} {train.split}'
  found = suspects(
    'pictures-of-both', f'{{}} pictures are named as pictures of the training set {name}, with '
    'their numbers or in their folder', _same_pictures(train, val), val,
    'remove them from one of the sets: scores on them are too high', ids=val.image_id)
  if train.identity is not None and val.identity is not None:
    found += suspects(
      'identities-in-both', f'{{}} people are also in the training set {name}',
      np.isin(val.identity, train.identity), val, 'split the set by person', ids=val.identity)
  return found


def _same_pictures(train, val):
  def names(source):
    files = [os.path.basename(f) if os.path.splitext(f)[1] else f for f in source.file.tolist()]
    return list(zip(source.image_id.tolist(), files, strict=True))
  numbered, files = set(names(train)), set(train.file.tolist())
  return np.array([name in numbered or file in files
                   for name, file in zip(names(val), val.file.tolist(), strict=True)], bool)
