"""Systems by name: which networks, what loss, what prediction; one system a file."""
import importlib


def build(name: str, **kwargs):
  """The `System` that dslope_jax/systems/<name>.py builds; ValueError if there is no such file."""
  try:
    module = importlib.import_module(f'{__name__}.{name}')
  except ImportError as error:
    raise ValueError(f"system.name '{name}': no dslope_jax/systems/{name}.py ({error})") from None
  return module.build(**kwargs)
