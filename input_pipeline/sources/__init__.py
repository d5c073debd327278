"""Data sets by name, `load("coco", "train2017", root=...)`.

A name is that of a file here with a function `load`, or one of the table in coco_sets.py.
"""
import importlib
import inspect

from dslope_jax.errors import UserError


def load(name: str, split: str, **options):
  """The source of a split of this set.

  Raises UserError for a name or an option that there is not.
  """
  loader = _find(name)
  known = inspect.signature(loader).parameters
  for option in options:
    if option not in known:
      raise UserError(f"data.loader: '{name}' takes {', '.join(list(known)[1:])}, not '{option}'")
  for option, parameter in known.items():
    default = parameter.default
    if default is parameter.empty and option not in ('split', *options):
      raise UserError(f"data.loader: '{name}' needs {option}=...; it takes "
                       f"{', '.join(list(known)[1:])}")
    if isinstance(default, (int, float)) and isinstance(options.get(option), str):
      raise UserError(f"data.loader: {option} of '{name}' is '{options[option]}', not a number")
  return loader(split, **options)


def _find(name):
  from input_pipeline.sources import coco_sets
  if name in coco_sets.SETS:
    return coco_sets.SETS[name]
  try:
    return importlib.import_module(f'{__name__}.{name}').load
  except (AttributeError, ImportError) as error:
    raise UserError(f"data.name '{name}': no input_pipeline/sources/{name}.py with a function "
                     f"load ({error}), and it is none of {', '.join(coco_sets.SETS)}") from None
