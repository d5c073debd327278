"""The smallest run of lifting: few people of the embedded world, and a network of few channels."""
from ml_collections import ConfigDict

from configs import common


def config(steps=6, argument='', **data):
  """A config of lifting that trains in seconds; argument: words of the configs."""
  c = common.lifting()
  c.duration, c.batch_size = f'{steps} steps', 8
  c.system.model.update(dict(width=8, encoder_layers=1, decoder_layers=1, heads=1, head='linear'))
  c.data.update(dict(name='synthetic', root='', frames=9, stride=9, recipe='none:1,severity3:1'))
  c.data.loader = ConfigDict(dict(num_sequences=4, frames=40, seed=0))
  c.data.update(data)
  c.evals.val.update(dict(batch_size=8, data=dict(
    name='', root='', loader=dict(num_sequences=3))))
  for spec in c.optim.values():
    spec.update(dict(lr=1e-3, schedule='constant'))
  c.log_every, c.save_every, c.eval_every = '2 steps', '2 steps', f'{steps} steps'
  return common.use_lifting_arguments(c, argument)


def get_config(argument=''):
  return config(argument=argument)
