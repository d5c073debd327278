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
  lack = 'cannot predict without a data set; score its runs by eval.py'
  return _of(config, 'serve', lack)(config, facts)


def file_evals(config):
  """{entry: the `EvalSet` that scores result files}: neither networks nor pictures."""
  lack = 'scores no result files of other programs (--predictions), as the task top_down does'
  return _of(config, 'file_evals', lack)(config)


def _of(config, name, lack):
  found = module(config.task)
  if not hasattr(found, name):
    raise UserError(f"the task '{config.task}' {lack}")
  return getattr(found, name)
