"""Data sets by name, `load("coco", "train2017", root=...)`; a set, or a table of sets, a file."""
import importlib
import inspect


def load(name: str, split: str, **options):
  """The source that `input_pipeline/sources/<name>.py` loads.

  Raises ValueError for a name or an option that there is not.
  """
  try:
    loader = importlib.import_module(f'{__name__}.{name}').load
  except (AttributeError, ImportError) as error:
    raise ValueError(f"data.name '{name}': no input_pipeline/sources/{name}.py with a function "
                     f'load ({error})') from None
  known = inspect.signature(loader).parameters
  for option in options:
    if option not in known:
      raise ValueError(f"data.loader: '{name}' takes {', '.join(list(known)[1:])}, not '{option}'")
  for option, parameter in known.items():
    default = parameter.default
    if default is parameter.empty and option not in ('split', *options):
      raise ValueError(f"data.loader: '{name}' needs {option}=...; it takes "
                       f"{', '.join(list(known)[1:])}")
    if isinstance(default, (int, float)) and isinstance(options.get(option), str):
      raise ValueError(f"data.loader: {option} of '{name}' is '{options[option]}', not a number")
  return loader(split, **options)
