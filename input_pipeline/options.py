"""Loaders of data sets by name, and their options as a config gives them."""
import importlib
import inspect
import os

from dslope_jax.errors import UserError, quoted


def loader(folder: str, name: str, known=()):
  """The function load of a set, input_pipeline/<folder>/<name>.py; UserError for a name that there
  is not. known: names of sets without a file, for the message."""
  try:
    return importlib.import_module(f'input_pipeline.{folder}.{name}').load
  except (AttributeError, ImportError) as error:
    others = f', and it is none of {", ".join(known)}' if known else ''
    raise UserError(f"data.name '{name}': no input_pipeline/{folder}/{name}.py with a function "
                    f'load ({error}){others}') from None


def checked(name: str, read, options: dict) -> dict:
  """The options of the loader of a set; a root may begin with '~'.

  Raises UserError for those that it does not take, lacks, or has of another kind by default: a
  whole number, a number or a text. Seeds are 0 or more. The first argument of a loader is the
  split.
  """
  known = inspect.signature(read).parameters
  for option in options:
    if option not in known:
      raise UserError(f"data.loader: '{name}' takes {', '.join(list(known)[1:])}, not '{option}'")
  for option, parameter in known.items():
    default = parameter.default
    if default is parameter.empty and option not in ('split', *options):
      raise UserError(f"data.loader: '{name}' needs {option}=...; it takes "
                      f"{', '.join(list(known)[1:])}")
    if option in options and (wanted := _unlike(option, options[option], default)):
      raise UserError(f"data.loader: {option} of '{name}' is {quoted(options[option])}, not "
                      f'{wanted}')
  if options.get('root'):
    return options | {'root': os.path.expanduser(options['root'])}
  return options


def _unlike(option, value, default):
  """What an option must be and is not, in words; '' where it may be so."""
  if isinstance(default, str) and not isinstance(value, str):
    return 'a text'
  if isinstance(default, (int, float)) and isinstance(value, str):
    return 'a number'
  if type(default) is int and isinstance(value, (bool, float)):
    return 'a whole number'
  return '0 or more' if option == 'seed' and isinstance(value, int) and value < 0 else ''
