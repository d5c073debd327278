"""Networks by name: `build('hrnet', width=32, num_keypoints=17)`; one architecture a file."""
import importlib


def build(name: str, **kwargs):
  """The Linen module `Model` of dslope_jax/models/<name>.py."""
  return importlib.import_module(f'{__name__}.{name}').Model(**kwargs)
