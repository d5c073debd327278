"""Sets of recorded motion by name, `load("cmu_mocap", "train", root=...)`; one set a file here."""
import importlib
import os

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
  return read(split, **options)


def loader(name: str):
  """The function load of this set; UserError for a name that there is not."""
  try:
    return importlib.import_module(f'{__name__}.{name}').load
  except (AttributeError, ImportError) as error:
    raise UserError(f"data.name '{name}': no input_pipeline/sequences/{name}.py with a function "
                    f'load ({error})') from None
