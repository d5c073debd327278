"""D-Slope on an embedded world of drawn people: needs no files, at most 5 minutes on 2 CPU cores.

Command: python train.py --config configs/quickstart.py
It shows the whole path: people -> patch bank -> pairs -> GNet and ENet -> the table of both
networks on clean and on occluded pictures. The numbers say nothing about real pictures.
Expected and time: see the README.
"""
from ml_collections import ConfigDict

from configs import common


def get_config():
  config = common.dslope()
  config.duration = '400 steps'
  config.batch_size = 32
  config.system.model.update(dict(width=16, stem_width=16, modules=(1, 1, 1), blocks=(1, 1, 1)))
  config.system.sigma = 1.5
  config.data.update(dict(name='synthetic', size=(64, 96)))
  del config.data.root
  config.data.loader = ConfigDict(dict(num_people=6000, size=(128, 160), seed=0, people=(1, 2)))
  config.data.augmentation.update(dict(scale=0.15, rotation=10.0, half_body_prob=0.0))
  config.data.bank.num_people = 300
  for spec in config.optim.values():
    spec.update(dict(lr=2e-3, schedule='cosine', warmup='30 steps'))
  config.evals.val.update(common.evaluation('val', 'pck') | dict(loader=dict(num_people=400)))
  config.log_every, config.eval_every, config.save_every = '25 steps', '200 steps', '200 steps'
  return config
