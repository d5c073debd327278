"""What is wrong with a command line, as one line with the mend."""
import difflib
import os
import pathlib
import re

from absl import flags

from dslope_jax.errors import quoted
from dslope_jax.explain import flat

OPEN = 'loader', 'system.thresholds', 'system.noise'  # ends of sections of options
_MANY = 8  # names that are listed at most
_KINDS = {bool: 'neither True nor False', int: 'no whole number', float: 'no number'}


def told(error: Exception, argv, path) -> str:
  """The line for what absl or ml_collections raised of these arguments; path: given as --config."""
  file = (path or '').partition(':')[0]
  if '--config=None' in str(error):
    return 'give --config FILE, such as configs/quickstart.py'
  if path is not None and not os.path.isfile(file):
    return _no_file(file)
  if isinstance(error, flags.UnrecognizedFlagError):
    return str(error) + _as_field(error.flagname, path)
  if isinstance(error, flags.IllegalFlagValueError):
    if 'whilst parsing config file' in str(error):  # ml_collections wraps it with its traceback
      return str(error.__context__.__context__)
    return _wrong_value(error, path)
  while error.args and isinstance(error.args[0], Exception):
    error = error.args[0]
  if isinstance(error, (AttributeError, KeyError)):
    return no_field(argv, path) or f'the config has no field {error.args[0] if error.args else ""}'
  lines = str(error).split('\n')  # the last is the cause; before it may be a traceback
  return re.sub(r'^[\w.]*Error: ', '', lines[-1].strip()) or repr(error)


def no_flag(text, argv) -> str:
  """The line for an argument that belongs to no flag."""
  before = argv[argv.index(text) - 1]
  hint = f'; write {before}={text}' if before.lstrip('-') == 'explain' else ''
  return f'{quoted(text)} is no --flag{hint}'


def _no_file(file):
  folder = pathlib.Path(__file__).parent.parent / 'configs'
  known = {path.stem: f'configs/{path.name}' for path in sorted(folder.glob('*.py'))
           if path.stem not in ('__init__', 'common')}
  close = difflib.get_close_matches(pathlib.Path(file).stem, known)
  hint = (f"did you mean '{known[close[0]]}'?" if close
          else f'there are {", ".join(known.values())}.')
  return f'no config file {quoted(file)}; {hint} Any file with a function get_config may be given'


def _config(path):
  """The config as its file has it, {} if it cannot be loaded."""
  try:
    config = flags.FLAGS['config'].parser.parse(path)
    config.items  # noqa: B018 - raises here if it was not loaded
    return config
  except Exception:  # whatever the file raises; it is not what is told
    return {}


def _as_field(name, path):
  """The fields that a flag of this name may mean."""
  fields = [field for field, _ in flat(_config(path)) if f'.{field}'.endswith(f'.{name}')]
  fields.sort(key=lambda field: field.count('.'))
  return ('; did you mean ' + ', '.join(f'--config.{field}' for field in fields[:_MANY])
          + '?') * bool(fields)


def _wrong_value(error, path):
  """Of a field whose value has another type."""
  text, reason = str(error), str(error.__context__)
  given = re.match(r'flag --config\.([^=]+)=', text)
  value = _config(path)
  for part in given[1].split('.') if given else ():
    value = value.get(part) if hasattr(value, 'get') else None
  if given and hasattr(value, 'keys'):
    fields = sorted(value.keys())
    known = ', '.join(fields[:_MANY]) or 'no fields'
    example = f'; write --config.{given[1]}.{fields[0]}=...' if fields else ''
    return f'config.{given[1]} is a section with {known}{example}'
  if given is None or type(value) not in _KINDS:
    return text
  typed = text[given.end():].removesuffix(f': {reason}')
  return f'config.{given[1]}: {quoted(typed)} is {_KINDS[type(value)]}'


def no_field(argv, path) -> str:
  """Of the first field that the config lacks; '' if it lacks none. Sections of options may lack
  any, since those who take them know which there are."""
  for argument in argv:
    field = re.match(r'--?(?:no)?config\.([\w.]+)', argument)
    section, above = _config(path) if field else {}, ''
    for part in field[1].split('.') if field and section else ():
      if not hasattr(section, 'keys'):
        return f"config.{above} is a value, it has no field '{part}'"
      if part not in section and above.endswith(OPEN) and field[1].endswith(f'{above}.{part}'):
        break
      if part not in section:
        alike = lambda key, part=part: -difflib.SequenceMatcher(None, part, key).ratio()
        deeper = [name for name, _ in flat(section) if name.endswith(f'.{part}')]
        known = ', '.join((deeper + sorted(section.keys(), key=alike))[:_MANY])
        of = f'config.{above}' if above else 'the config'
        known = known or 'none: set it in a config of your own'
        return f"{of} has no field '{part}'; it has {known}"
      section, above = section[part], f'{above}.{part}' if above else part
  return ''
