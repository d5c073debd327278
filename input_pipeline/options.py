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
  whole number, a number, a text, a pair or a list of numbers. Seeds are 0 or more, sizes can be
  drawn. The first argument of a loader is the split.
  """
  known = inspect.signature(read).parameters
  options = {option: _as_text(value) if option in known and isinstance(
    known[option].default, str) else value for option, value in options.items()}
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


def _as_text(value):
  """The text of whole numbers, as of '16,30', which command lines take for such."""
  numbers = value if isinstance(value, tuple) else (value,)
  return ','.join(map(str, numbers)) if all(type(of) is int for of in numbers) else value


_TEXTS = 'root', 'annotations', 'images'  # also without a default
_LARGEST = 8192  # pixels of a side


def _unlike(option, value, default):
  """What an option must be and is not, in words; '' where it may be so."""
  if (isinstance(default, str) or option in _TEXTS) and not isinstance(value, (str, os.PathLike)):
    return 'a text'
  if isinstance(default, tuple):
    return _unlike_list(option, value, default)
  if isinstance(default, (int, float)) and isinstance(value, str):
    return 'a number'
  if type(default) is int and isinstance(value, (bool, float)):
    return 'a whole number'
  return '0 or more' if option == 'seed' and isinstance(value, int) and value < 0 else ''


def _unlike_list(option, value, default):
  """The same where the default is a tuple, of numbers or empty."""
  if not default:
    texts = (value,) if isinstance(value, str) else value
    fine = isinstance(texts, (list, tuple)) and all(isinstance(text, str) for text in texts)
    return '' if fine else 'a list of texts'
  kind = int if all(type(of) is int for of in default) else (int, float)
  count = len(default) if len(default) == 2 else ''  # a size or a range; else numbers of things
  if not isinstance(value, (list, tuple)) or count and len(value) != count or not all(
      isinstance(of, kind) for of in value):
    return f"{count} {'whole ' * (kind is int)}numbers, such as {default}".lstrip()
  return f'of {_LARGEST} pixels at most' if option == 'size' and max(value) > _LARGEST else ''
