"""The config of tests/toy_task.py: a run takes seconds. Argument: 'single' or 'pair'."""
from ml_collections import ConfigDict

from configs import common


def get_config(kind='single'):
  config = common.loop(('net',) if kind == 'single' else ('gnet', 'enet'))
  config.task = 'tests.toy_task'
  config.system = ConfigDict(dict(name=kind, width=16))
  config.data.update(ConfigDict(dict(
    name='circles', train_split='train', loader=dict(sequences=8), hide=1, holdout=0.25)))
  entry = dict(split='val', hide=1, mirror=True, batch_size=8,
               data=dict(name='', root='', loader=dict()))
  other = dict(name='stars', root='', loader=dict(sequences=3))
  config.evals = ConfigDict(dict(val=entry, other=entry | dict(data=other)))
  config.duration, config.batch_size = '12 steps', 8
  for spec in config.optim.values():
    spec.update(dict(schedule='constant', lr=0.02))
  config.log_every, config.save_every, config.eval_every = '4 steps', '4 steps', '12 steps'
  return config
