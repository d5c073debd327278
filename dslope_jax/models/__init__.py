"""Networks by name: `build('hrnet', width=32, num_keypoints=17)`; one architecture a file."""
import dataclasses
import importlib
import inspect

from dslope_jax.errors import UserError

# What a file says of its network by a constant of this name, and what holds where it says nothing.
_TRAITS = {
  'HEAD': ('final_layer', 'deconv_layers'),  # submodules that are no part of the backbone
  'LAST': ('final_layer',),  # those that other keypoints cannot use; the first puts out heatmaps
  'UNUSED': (),  # published keys that the network has no use for
  'OWN_NAMES': False,  # its weights have names of this project alone
  'PREFIXED': False,  # published with backbone. and keypoint_head. before the names
  'depth_of': None}  # function (path, number of blocks) -> layer number

_DTYPES = 'float32', 'bfloat16', 'float64'


def module(name: str):
  """The file dslope_jax/models/<name>.py; UserError without such a file."""
  try:
    found = importlib.import_module(f'{__name__}.{name}')
    found.Model  # noqa: B018 - layers.py and its like are no networks
  except (AttributeError, ImportError) as error:
    raise UserError(f"model.name '{name}': no dslope_jax/models/{name}.py ({error})") from None
  return found


def build(name: str, **kwargs):
  """The Linen module `Model` of that file; UserError for an argument that it does not take, and for
  a dtype that there is not."""
  model = module(name).Model
  known = arguments(name)
  unknown = sorted(set(kwargs) - set(known))
  if unknown:
    raise UserError(f"system.model: '{name}' takes {', '.join(known)}, not {', '.join(unknown)}")
  dtype = kwargs.get('dtype', 'float32')
  if isinstance(dtype, str) and dtype not in _DTYPES:
    raise UserError(f"system.model.dtype is one of {', '.join(_DTYPES)}, not '{dtype}'")
  return model(**kwargs)


def arguments(name: str) -> list[str]:
  """Names of the arguments that `build` takes for it."""
  found = inspect.signature(module(name).Model).parameters
  return [argument for argument in found if argument not in ('parent', 'name')]


def with_keypoints(name: str, kwargs: dict, count: int) -> dict:
  """Arguments of `build` with a number of keypoints, where the network takes one and has none."""
  return ({'num_keypoints': count} if 'num_keypoints' in arguments(name) else {}) | kwargs


def of_network(model: dict, network: str) -> dict:
  """Name and arguments of one network: `model` holds them for all, or a dict for each by name."""
  return dict(model[network] if 'name' not in model and network in model else model)


def describe(network) -> tuple[str, dict]:
  """(name, arguments) that `build` made a network of."""
  name = type(network).__module__.rsplit('.', 1)[-1]
  fields = (f.name for f in dataclasses.fields(network) if f.name not in ('parent', 'name'))
  return name, {field: getattr(network, field) for field in fields}


def trait(network, what: str):
  """One of _TRAITS of a network, which is given by its name or as a Linen module."""
  file = module(network) if isinstance(network, str) else importlib.import_module(
    type(network).__module__)
  return getattr(file, what, _TRAITS[what])
