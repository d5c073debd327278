"""The smallest run of recognition: few drawn people, and a network of few channels."""
from configs import quickstart_recognition


def config(argument='', steps=2):
  """A config of recognition that trains in seconds; argument: words of the configs."""
  c = shrink(quickstart_recognition.get_config(argument), steps)
  c.data.loader.update(dict(identities=6, pictures=3, size=(48, 48)))
  c.evals.val.data.loader.update(dict(identities=5, pictures=4))
  return c


def shrink(c, steps=2):
  """The same config with the smallest network, crops and number of steps."""
  c.duration, c.batch_size = f'{steps} steps', 4
  c.system.model.update(dict(depth=10, width=4, dim=8))
  c.data.size, c.data.bank.num_people, c.data.num_workers = (32, 32), 8, 0
  c.evals.val.update(dict(pairs=40, batch_size=8))
  for spec in c.optim.values():
    spec.update(dict(schedule='constant', warmup='0 steps'))
  c.log_every, c.save_every, c.eval_every = '1 step', '1 step', f'{steps} steps'
  return c


def get_config(argument=''):
  return config(argument)
