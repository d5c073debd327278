"""Tasks by name: the places where data, systems and a config meet; one kind of problem a file."""
import importlib

from dslope_jax.errors import UserError


def module(name: str):
  """The file dslope_jax/tasks/<name>.py, or the module of that dotted name; UserError without."""
  try:
    found = importlib.import_module(name if '.' in name else f'{__name__}.{name}')
    found.build  # noqa: B018 - base.py and its like are no tasks
  except (AttributeError, ImportError) as error:
    raise UserError(f"config.task '{name}': no dslope_jax/tasks/{name}.py with a function build "
                    f'({error})') from None
  return found


def build(config, workdir, training=True):
  """The `base.Task` of a config. training: whether there is anything to train, or only `evals`."""
  return module(config.task).build(config, workdir, training)


def serve(config, facts):
  """The `base.Serving` of a run's config and facts: needs no data."""
  found = module(config.task)
  if not hasattr(found, 'serve'):
    raise UserError(f"the task '{config.task}' cannot predict without a data set: it has no serve")
  return found.serve(config, facts)
