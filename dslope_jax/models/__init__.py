"""Networks by name: `build('hrnet', width=32, num_keypoints=17)`; one architecture a file."""
import importlib


def build(name: str, **kwargs):
  """The Linen module `Model` of dslope_jax/models/<name>.py; ValueError without such a file."""
  try:
    module = importlib.import_module(f'{__name__}.{name}')
  except ImportError as error:
    raise ValueError(f"model.name '{name}': no dslope_jax/models/{name}.py ({error})") from None
  return module.Model(**kwargs)
