"""Systems by name: which networks, what loss, what prediction; one system a file."""
import importlib

from dslope_jax.errors import UserError


def module(name: str):
  """The file dslope_jax/systems/<name>.py; UserError if there is none."""
  try:
    found = importlib.import_module(f'{__name__}.{name}')
    found.build  # noqa: B018 - base.py is no system
  except (AttributeError, ImportError) as error:
    raise UserError(f"system.name '{name}': no dslope_jax/systems/{name}.py ({error})") from None
  return found


def build(facts, name: str, **kwargs):
  """The `System` of that file, made for the data that `facts` (`base.Facts`) tell of."""
  return module(name).build(facts, **kwargs)
