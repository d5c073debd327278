"""D-Slope on an embedded world of rendered people: no files, at most 5 minutes on 2 CPU cores.

Command: python train.py --config configs/quickstart.py
It shows the whole path: people -> patch bank -> pairs -> GNet and ENet -> the table of both
networks on clean and on occluded pictures. The numbers say nothing about real pictures.
GNet trains on single people whom nobody hides, ENet on the same people heavily covered, and ENet
also learns from GNet's heatmaps of the clean picture.
Expected and time: see docs/results.md.
"""
from ml_collections import ConfigDict

from configs import common

RATES = dict(lr=2e-3, schedule='cosine', warmup='50 steps')


def get_config(argument=''):
  config = on_world(common.dslope('kl'))
  config.system.mutual.weights.update(dict(gnet=0.0, enet=0.02))
  config.system.sigma = 1.5
  config.data.recipe = 'severity4,severity5'
  config.data.loader.update(ConfigDict(dict(
    people=(1, 1),
    activities=('standing', 'walking', 'reaching', 'dancing', 'interacting'))))
  return common.use_arguments(config, argument)


def on_world(config):
  """The same on rendered people, 64x96: a small HRNet for a CPU, and minutes of training."""
  config.duration = '900 steps'
  config.batch_size = 16
  config.system.model.update(dict(width=16, stem_width=16, modules=(1, 1, 1), blocks=(1, 1, 1)))
  config.data.update(dict(name='synthetic', size=(64, 96)))
  del config.data.root
  config.data.loader = ConfigDict(dict(num_people=4000, size=(96, 128), seed=0, people=(1, 3)))
  config.data.augmentation.update(dict(scale=0.15, rotation=10.0, half_body_prob=0.0))
  config.data.bank.num_people = 300
  for spec in config.optim.values():
    spec.update(RATES)
  config.evals.val.update(common.evaluation('test', 'pck') | dict(
    recipe='severity5', data=dict(name='', root='', loader=dict(num_people=500))))
  config.log_every, config.eval_every, config.save_every = '50 steps', '450 steps', '450 steps'
  return config
