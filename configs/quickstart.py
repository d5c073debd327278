"""D-Slope on an embedded world of rendered people: no files, at most 5 minutes on 2 CPU cores.

Command: python train.py --config configs/quickstart.py
It shows the whole path: people -> patch bank -> pairs -> GNet and ENet -> the table of both
networks on clean and on occluded pictures. The numbers say nothing about real pictures.
GNet trains on single people, who are hidden by nobody; three quarters of ENet's are covered.
Expected and time: see the README.
"""
from ml_collections import ConfigDict

from configs import common


def get_config():
  # Without the mutual term: in so short a training ENet would wait for GNet's features to settle.
  config = common.dslope('none')
  config.duration = '2000 steps'
  config.batch_size = 16
  config.system.model = ConfigDict(dict(name='simple_baseline', depth=18, width=16,
                                        filters=(32, 32, 32), dtype='float32'))
  config.system.sigma = 1.5
  config.data.update(dict(name='synthetic', size=(64, 96),
                          recipe='none,severity3,severity4,severity5'))
  del config.data.root
  config.data.loader = ConfigDict(dict(
    num_people=4000, size=(96, 128), seed=0, people=(1, 1),
    activities=('standing', 'walking', 'reaching', 'dancing', 'interacting')))
  config.data.augmentation.update(dict(scale=0.15, rotation=10.0, half_body_prob=0.0))
  config.data.bank.num_people = 300
  for spec in config.optim.values():
    spec.update(dict(lr=2e-3, schedule='cosine', warmup='100 steps'))
  config.evals.val.update(common.evaluation('val', 'pck') | dict(
    recipe='severity5', loader=dict(num_people=500)))
  config.log_every, config.eval_every, config.save_every = '100 steps', '1000 steps', '1000 steps'
  return config
