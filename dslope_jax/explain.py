"""`--explain`: what every field of a config and every flag of a command means."""
import fnmatch
import importlib
import inspect
import itertools
import re
import sys
import textwrap

from absl import flags

from dslope_jax import models, systems, tasks
from dslope_jax.errors import UserError
from input_pipeline import identities, sources


def define_flag():
  """--explain for all fields and flags, --explain=optim for those that begin so."""
  flags.DEFINE(flags.ArgumentParser(), 'explain', None, 'print what each config field and flag '
               'means, or those that begin with the word given, and leave', boolean=True)


def text(begins: str, config=None, texts: dict[str, str] | None = None) -> str:
  """Every field of a config with its value and meaning, then every flag of the command.

  begins: beginning of the names that are wanted, 'true' (a bare --explain) for all. config: None
  for a command without. texts: {field: meaning}. Raises UserError where nothing begins so.
  """
  begins = '' if begins == 'true' else begins.removeprefix('config.').lstrip('-')
  known = [*fields(config or {}, texts or {}), *_flags()]
  rows = [row for row in known if row[0].lstrip('-').startswith(begins)]
  if not rows:
    raise UserError(f"no field or flag begins with '{begins}', but with one of "
                    + ', '.join(dict.fromkeys(name.split('.')[0] for name, _, _ in known)))
  lines = []
  if config:
    lines = ['Fields are set by --config.FIELD=VALUE, texts such as durations in quotes.']
  for name, value, meaning in rows:
    lines += [f'{name} = {value!r}', textwrap.indent(textwrap.fill(meaning, 92), '    ')]
  return '\n'.join(lines)


def fields(config, texts: dict[str, str]) -> list[tuple[str, object, str]]:
  """(field, value, meaning) of a config, in its order; the meaning is '' where nobody tells it."""
  return [(field, value, _of_table(field, texts) or _of_docstring(field, config))
          for field, value in flat(config)]


def flat(config, before=''):
  """(field, value) of a config, its sections' fields with a dot."""
  for key, value in config.items():
    if hasattr(value, 'items') and len(value):
      yield from flat(value, f'{before}{key}.')
    else:
      yield before + key, value.to_dict() if hasattr(value, 'to_dict') else value


def _of_table(field, texts):
  parts = field.split('.')
  for pattern, meaning in texts.items():
    wanted = pattern.split('.')
    if len(wanted) == len(parts) and all(map(fnmatch.fnmatchcase, parts, wanted)):
      return meaning
  return ''


def _of_docstring(field, config):
  """What the docstring of the function or network says that takes the field as an argument."""
  parts = field.split('.')
  try:
    section = config[parts[0]].get(parts[1]) if parts[0] == 'system' and len(parts) > 2 else None
    if field.startswith('system.model.') or hasattr(section, 'items') and 'name' in section:
      network = parts[2] if 'name' not in section else ''
      takers = [models.module(models.of_network(section, network)['name']).Model]
    elif parts[0] == 'system':
      learner = config.system.get('learner', config.system.name)
      takers = [systems.module(config.system.name).build] + [
        systems.module(name).learner for name in (learner, 'heatmap')
        if hasattr(systems.module(name), 'learner')]
    elif '.data.loader.' in f'.{field}':
      own = config.evals[parts[1]].data.name if parts[0] == 'evals' else ''
      sets = getattr(tasks.module(config.task), 'SETS', sources)
      others = {sources: [sources.loader('coco')], identities: [
        sources.loader('coco'), *map(identities.loader, ('lfw', 'packed', 'face_folders'))]}
      takers = [sets.loader(own or config.data.name), *others.get(sets, ())]
    else:
      return ''
  except UserError:  # of another package, such as a task of a test
    return ''
  section = config[parts[0]] if parts[0] in ('system', 'data') else {}
  names = {part for name, _ in flat(section) for part in name.split('.')} | set(parts)
  for taker in takers:
    meanings = arguments(taker, names)
    for part in reversed(parts):
      if part in meanings:
        return _followed(meanings[part], part)
  return ''


def _followed(meaning, argument):
  """A meaning; where it is 'as of `entangled.Model`', the meaning there."""
  reference = re.fullmatch(r'(?:as )?of `(\w+)\.(\w+)`', meaning)
  if not reference:
    return meaning
  owner = getattr(importlib.import_module(f'{models.__name__}.{reference[1]}'), reference[2])
  return _followed(arguments(owner)[argument], argument)


def arguments(taker, names=()) -> dict[str, str]:
  """{argument: text} of a docstring of the form 'size: of the crops. padding: of the box.'

  names: more names than the signature has, such as the keys of a dict that is one argument.
  """
  taker = getattr(taker, 'func', taker)  # of a functools.partial
  known = sorted({*inspect.signature(taker).parameters, *names}, key=len, reverse=True)
  name = '|'.join(map(re.escape, known))
  found = {}
  for paragraph in (inspect.getdoc(taker) or '').split('\n\n'):
    words = ' '.join(paragraph.split())
    heads = list(re.finditer(rf'(?:^|(?<=[.;] )|(?<= with ))((?:{name})(?:, (?:{name}))*): ',
                             words))
    for head, after in itertools.pairwise([*heads, None]):
      meaning = words[head.end():after.start() if after else None].strip(' ;.')
      found |= {argument: meaning for argument in head[1].split(', ')}
  return found


def _flags():
  """(flag, value, help) of the script, and of those that scripts share."""
  for module, defined in flags.FLAGS.flags_by_module_dict().items():
    if module == sys.argv[0] or module.startswith('dslope_jax'):
      for flag in defined:
        if flag.name != 'config' and not flag.name.startswith('config.'):
          yield f'--{flag.name}', flag.default, flag.help
