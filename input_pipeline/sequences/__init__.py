"""Sets of recorded motion by name, `load("cmu_mocap", "train", root=...)`; one set a file here."""
import importlib
import os

import numpy as np

from dslope_jax.errors import UserError
from input_pipeline import options as given_options


def load(name: str, split: str, **options):
  """The `sequence.Sequences` of a split of this set. A root may begin with '~'.

  Raises UserError for a name or an option that there is not.
  """
  read = loader(name)
  given_options.check(name, read, options)
  if options.get('root'):
    options['root'] = os.path.expanduser(options['root'])
  return _checked(read(split, **options))


def _checked(found):
  """The same; UserError for what no clip can be made of."""
  where, count = f'{found.name} {found.split}', found.skeleton.num_keypoints
  if not found.sequences:
    raise UserError(f'{where} has no sequences')
  for sequence in found.sequences:
    for field in ('keypoints_3d', 'keypoints_2d', 'confidence', 'image_3d'):
      values = getattr(sequence, field)
      if values is None:
        continue
      joints = values.shape[2 if field == 'keypoints_2d' else -1 if field == 'confidence' else 1]
      if joints != count:
        raise UserError(f"{where}: '{sequence.name}' has {joints} joints in {field}, and "
                        f'{found.skeleton.name} has {count}')
      if not np.isfinite(values).all():
        frame, joint = np.argwhere(~np.isfinite(values))[0][1:3] if field in (
          'keypoints_2d', 'confidence') else np.argwhere(~np.isfinite(values))[0][:2]
        raise UserError(f"{where}: '{sequence.name}', frame {frame}: {field} of "
                        f"'{found.skeleton.names[joint]}' is no finite number; mend the file, or "
                        'leave the sequence out')
    for partner in sequence.partners:
      other = found.by_name.get(partner)
      if other is None or len(other) != len(sequence):
        raise UserError(f"{where}: '{sequence.name}' has {len(sequence)} frames, and its partner "
                        f"'{partner}' {'is not there' if other is None else len(other)}")
  return found


def loader(name: str):
  """The function load of this set; UserError for a name that there is not."""
  try:
    return importlib.import_module(f'{__name__}.{name}').load
  except (AttributeError, ImportError) as error:
    raise UserError(f"data.name '{name}': no input_pipeline/sequences/{name}.py with a function "
                    f'load ({error})') from None
