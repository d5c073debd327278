"""Who of a validation set is also in the training set, by the annotations; see also `looks`.

Names alone say nothing: many sets number the pictures of every split anew.
"""
import numpy as np

from input_pipeline.doctor.suspects import suspects


def check(train, val):
  """What two sets share that should share nothing."""
  name = f'{train.name} {train.split}'
  found = suspects(
    'pictures-of-both', f'{{}} picture files are also in the training set {name}',
    np.isin(val.file, train.file), val,
    'remove them from one of the sets: scores on them are too high', ids=val.image_id)
  if train.identity is not None and val.identity is not None:
    found += suspects(
      'identities-in-both', f'{{}} people are also in the training set {name}',
      np.isin(val.identity, train.identity), val, 'split the set by person', ids=val.identity)
  return found
