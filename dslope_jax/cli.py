"""What the scripts share: flags, messages, and errors as one line."""
import argparse
import contextlib
import fnmatch
import logging
import math
import os
import pathlib
import re
import sys
import traceback

import jax
import tqdm
from absl import app, flags
from ml_collections import config_flags
from ml_collections.config_dict import config_dict

from dslope_jax import commands, wrong_flags
from dslope_jax.errors import UserError, one_line
from dslope_jax.explain import flat
from dslope_jax.files import local_path
from dslope_jax.training import processes


@contextlib.contextmanager
def checked():
  """Turns what is wrong with the user's files or settings into one line and exit code 1.

  A mistake of this code keeps its traceback.
  """
  try:
    yield
  except (OSError, UserError, FloatingPointError) as error:
    _stop(error)
  except KeyboardInterrupt:
    raise  # becomes one line where it leaves the script, see `commands.begin`
  except BaseException as error:
    if reason := _of_the_config(error) or _of_the_machine(error):
      _stop(reason)
    _leave_others()
    raise


def _of_the_config(error):
  """What to tell where a field was read that the config lacks; '' of other exceptions."""
  *_, last = traceback.extract_tb(error.__traceback__)
  if isinstance(error, AttributeError) and last.filename == config_dict.__file__:
    return (f'the config has no field {str(error).strip(chr(34))}, which this command and its task '
            'need; give a config that is made for them')
  return ''


def _of_the_machine(error):
  """What to tell where an exception of JAX is of the machine and no mistake; '' of others."""
  text = str(error)
  if processes.lost(error):
    return processes.ENDED
  if isinstance(error, jax.errors.JaxRuntimeError) and 'RESOURCE_EXHAUSTED' in text:
    return ('the device is out of memory: raise accumulate, set remat=True or lower batch_size; in '
            f'evaluation, lower evals.*.batch_size ({text.splitlines()[0]})')
  if isinstance(error, RuntimeError) and text.startswith('Unable to initialize backend'):
    return (f"JAX finds no such device ({text.partition(' (set')[0]}); set the variable "
            'JAX_PLATFORMS to another, or unset it')
  return ''


def _leave_others():
  """On several processes leaves at once with the traceback, or the others wait for ever."""
  if jax.distributed.is_initialized():
    traceback.print_exc()
    os._exit(1)


def _stop(text):
  if os.environ.get('DSLOPE_TRACEBACK'):
    raise  # always called while an exception is handled
  print(f'error: {one_line(text)}\n(DSLOPE_TRACEBACK=1 shows where)', file=sys.stderr, flush=True)
  if jax.distributed.is_initialized():  # asking for the count would start a backend
    os._exit(1)
  sys.exit(1)


def start(main):
  """`app.run`, but what is wrong with the command line or the config file is one line too."""
  keep_compiled()
  # Data workers would run the script again for its imports, of which they need none.
  script = sys.modules['__main__']
  script.__file__ = script.__spec__ = None
  commands.imported()
  # That there is no TPU is told by every machine without one.
  logging.getLogger('jax._src.xla_bridge').setLevel(logging.WARNING)
  app.run(main, flags_parser=_parse)


def keep_compiled():
  """Keeps compiled programs from run to run, so a resumed one starts sooner; JAX's own variable
  JAX_COMPILATION_CACHE_DIR says where, if not in ~/.cache."""
  if jax.config.jax_compilation_cache_dir is None:
    jax.config.update('jax_compilation_cache_dir',
                      os.path.expanduser('~/.cache/dslope_jax/compiled'))
  # Small programs, too: there are fifty before the first step.
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)


def define_config(flag_values=None):
  """Defines --config. Options of data sets and the like are taken where the config lacks them, too;
  other fields that it lacks are refused when the command line is parsed."""
  config_flags.DEFINE_config_file(
    'config', None, 'a file of configs/', lock_config=False, accept_new_attributes=True,
    flag_values=flags.FLAGS if flag_values is None else flag_values)


def _parse(argv):
  try:
    if text := wrong_flags.no_field(argv, _config_path()):
      raise UserError(text)
    rest = flags.FLAGS(argv)
    if flags.FLAGS.config is not None:
      flags.FLAGS.config.lock()  # a config file that cannot be loaded raises here
      _expand(flags.FLAGS.config)
    for name, value in flags.FLAGS.flag_values_dict().items():
      if isinstance(value, str) and name != 'weights':  # which may be on the hub
        flags.FLAGS[name].value = local_path(value)
    if len(rest) > 1:
      raise UserError(wrong_flags.no_flag(rest[1], argv))
  except UserError as error:
    _stop(error)
  except Exception as error:  # ml_collections passes on what the file raises
    _stop(wrong_flags.told(error, argv, _config_path()))
  return rest


def _expand(config):
  """Makes paths of all texts of a config, see `local_path`."""
  for field, value in config.items():
    if isinstance(value, str):
      if local_path(value) != value:
        config[field] = local_path(value)
    elif hasattr(value, 'items'):
      _expand(value)


def say(text):
  """Prints above the progress bar, if there is one; process 0 only."""
  if jax.process_index() == 0 and sys.stdout is not None:
    tqdm.tqdm.write(text)
    sys.stdout.flush()


def check_ranges(config, ranges):
  """Raises UserError for the first number of a config that is not in its range, or not finite.

  ranges: {range in words: (is a number in it, patterns of fields)}; FIELD[] are the numbers of a
  list.
  """
  for field, value in flat(config):
    several = isinstance(value, (list, tuple))
    if isinstance(value, float) and math.isinf(value):
      raise UserError(f'config.{field} is {value}: must be finite')
    for words, (holds, patterns) in ranges.items():
      numbers = [one for one in (value if several else [value]) if type(one) in (int, float)]
      if not all(map(holds, numbers)) and any(
          fnmatch.fnmatchcase(field + '[]' * several, pattern) for pattern in patterns):
        raise UserError(f'config.{field} is {value}: must be {words}')


def default_workdir():
  """runs/<config name>, with the config's argument: configs/a.py:w48 -> runs/a_w48."""
  path, _, argument = _config_path().partition(':')
  name = pathlib.Path(path).stem + ('_' + argument.replace(',', '_') if argument else '')
  return os.path.join('runs', name)


def _config_path():
  """What is given as --config, None without."""
  return next((a.split('=', 1)[1] if '=' in a else b for a, b in
               zip(sys.argv, [*sys.argv[1:], ''], strict=True)
               if a.lstrip('-') == 'config' or a.lstrip('-').startswith('config=')), None)


def overrides() -> dict:
  """The config fields that the command line sets: {'system.codec': 'udp'}."""
  return {field: local_path(value) if isinstance(value, str) else value for field, value in
          config_flags.get_override_values(flags.FLAGS['config']).items()}


def define_process_flags():
  """Flags of a run on several hosts where JAX cannot find them itself."""
  flags.DEFINE_string('coordinator', '', 'host:port of process 0, for runs on several hosts')
  flags.DEFINE_integer('processes', 0, 'how many processes')
  flags.DEFINE_integer('process', 0, 'number of this process')


def crop_size(text) -> tuple[int, int]:
  """(W, H) of a flag such as 192x256."""
  sides = re.fullmatch(r'(\d{2,4})x(\d{2,4})', text)
  if not sides:
    raise argparse.ArgumentTypeError(f'{text!r} is not WxH, sides of 10 to 9999 pixels, as in '
                                     '192x256')
  return int(sides[1]), int(sides[2])


def reached_stop(stopped, step):
  """Whether to leave after this step; on several hosts all of them agree on the step."""
  if jax.process_count() == 1:
    return stopped.raised
  from jax.experimental import multihost_utils
  return multihost_utils.reached_preemption_sync_point(step)
