"""Systems by name: which networks, what loss, what prediction; one system a file."""
import importlib
import inspect

from dslope_jax.errors import UserError


def module(name: str):
  """The file dslope_jax/systems/<name>.py; UserError if there is none."""
  try:
    found = importlib.import_module(f'{__name__}.{name}')
    found.build  # noqa: B018 - base.py is no system
  except (AttributeError, ImportError) as error:
    raise UserError(f"system.name '{name}': no dslope_jax/systems/{name}.py ({error})") from None
  return found


def build(facts, name: str, **kwargs):
  """The `System` of that file, made for the data that `facts` (`base.Facts`) tell of.

  Raises UserError for fields of a config that it does not take, or lacks.
  """
  make = module(name).build
  fields = _fields(make)
  learner = kwargs.get('learner', fields['learner'].default if 'learner' in fields else name)
  if hasattr(module(learner), 'learner'):
    fields = _fields(module(learner).learner) | fields
  elif 'learner' in fields:
    raise UserError(f"system.learner '{learner}' is no method of one network, such as 'heatmap' or "
                    "'dag'")
  needed = {field for field, parameter in fields.items() if parameter.default is parameter.empty}
  faults = [f'{verb} {", ".join(sorted(odd))}' for verb, odd in (
    ('lacks', needed - set(kwargs)), ('does not take', set(kwargs) - set(fields))) if odd]
  if faults:
    of = f" with learner '{learner}'" if 'learner' in fields else ''
    raise UserError(f"system.name '{name}'{of} {' and '.join(faults)}; choose a config "
                    'that is made for it')
  return make(facts, **kwargs)


def _fields(make):
  """{name: parameter} of all but the first, the facts, and of those that it passes on."""
  return {name: parameter for name, parameter in [*inspect.signature(make).parameters.items()][1:]
          if parameter.kind is not parameter.VAR_KEYWORD}
