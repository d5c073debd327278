"""Systems by name: which networks, what loss, what prediction; one system a file."""
import importlib


def build(name: str, **kwargs):
  """The `System` that dslope_jax/systems/<name>.py builds."""
  return importlib.import_module(f'{__name__}.{name}').build(**kwargs)
