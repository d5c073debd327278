"""What train.py and eval.py share before the first step: workdir, lock, config check, messages."""
import contextlib
import fcntl
import json
import os
import pathlib
import sys

import jax
from absl import flags

# Fields that may differ between the sessions of one run: they change where data lies and what is
# reported, never the parameters.
_FREE = ('data.root', 'data.num_workers', 'log_every', 'save_every', 'eval_every', 'keep', 'evals.',
         'data.max_unreadable')


@contextlib.contextmanager
def checked():
  """Turns what is wrong with the user's files or settings into one line and exit code 1."""
  try:
    yield
  except (OSError, ValueError, FloatingPointError) as error:
    if os.environ.get('DSLOPE_TRACEBACK'):
      raise
    print(f'error: {error}\n(DSLOPE_TRACEBACK=1 shows where)', file=sys.stderr)
    sys.exit(1)


def default_workdir():
  """runs/<config name>, with the config's argument: configs/a.py:w48 -> runs/a_w48."""
  given = next(a.split('=', 1)[1] if '=' in a else b for a, b in
               zip(sys.argv, [*sys.argv[1:], ''], strict=True)
               if a.lstrip('-') == 'config' or a.lstrip('-').startswith('config='))
  path, _, argument = given.partition(':')
  name = pathlib.Path(path).stem + ('_' + argument.replace(',', '_') if argument else '')
  return os.path.join('runs', name)


def define_process_flags():
  """Flags of a run on several hosts where JAX cannot find them itself."""
  flags.DEFINE_string('coordinator', '', 'host:port of process 0, for runs on several hosts')
  flags.DEFINE_integer('processes', 0, 'how many processes')
  flags.DEFINE_integer('process', 0, 'number of this process')


def claim_workdir(workdir):
  """Makes the folder and locks it against a second run; returns what keeps the lock.

  Raises OSError if it cannot be written, ValueError if another run holds it.
  """
  try:
    os.makedirs(workdir, exist_ok=True)
    lock = open(os.path.join(workdir, 'lock'), 'a')  # noqa: SIM115 - open as long as the run
  except OSError as error:
    raise OSError(f"cannot write to workdir '{workdir}' ({error.strerror}); choose another with "
                  '--workdir') from None
  if jax.process_index() == 0:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
      raise ValueError(f"another run is writing to '{workdir}'; stop it or choose another "
                       '--workdir') from None
  return lock


def check_config(config, workdir, allow_change):
  """Writes the config to a new workdir; in an old one refuses a config that differs from its own.

  Raises ValueError naming the fields that differ.
  """
  path = pathlib.Path(workdir) / 'config.json'
  now = json.loads(config.to_json_best_effort())
  if path.exists():
    before = json.loads(path.read_text())
    old, new = dict(_flat(before)), dict(_flat(now))
    changed = [f'{k}: {old.get(k, "absent")} -> {new.get(k, "absent")}'
               for k in sorted(old.keys() | new.keys())
               if old.get(k) != new.get(k) and not k.startswith(_FREE)]
    if changed and not allow_change:
      raise ValueError(f"'{workdir}' was made with another config ({'; '.join(changed)}). Choose "
                       'another --workdir, or pass --allow_config_change to go on with this one')
  if jax.process_index() == 0:
    part = path.with_suffix('.part')
    part.write_text(json.dumps(now, indent=1))
    part.replace(path)


def _flat(tree, prefix=''):
  for key, value in tree.items():
    if isinstance(value, dict):
      yield from _flat(value, f'{prefix}{key}.')
    else:
      yield prefix + key, value
