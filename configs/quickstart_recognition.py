"""D-Slope on who a drawn face is of: no files, at most 5 minutes on 2 CPU cores.

Command: python train.py --config configs/quickstart_recognition.py
  arguments after a colon: those of faces_recognition.py but 'r50' and 'r100'
GNet learns drawn people from clean pictures, ENet the same people under hands, masks, glasses, hair
and cloth, and ENet also learns from GNet's class probabilities of the clean picture. Both are
tested on other people. The numbers say nothing about photographs.
Expected and time: see docs/faces_results.md.
"""
from ml_collections import ConfigDict

from configs import faces_recognition


def get_config(argument=''):
  config = faces_recognition.recognition(argument)
  config.duration, config.batch_size = '800 steps', 32
  config.system.update(dict(scale=16.0, margin=0.2))
  config.system.model.update(dict(depth=10, width=16, dim=64))
  for spec in config.optim.values():
    spec.update(dict(lr=2e-3, warmup='50 steps'))
  config.data.update(dict(name='synthetic', size=(48, 48), num_workers=0,
                          recipe='face_severity2,face_severity4'))
  del config.data.root
  config.data.bank.num_people = 100
  config.data.loader = ConfigDict(dict(identities=200, pictures=20, size=(96, 96), seed=0))
  config.evals.val.data.loader = ConfigDict(dict(identities=60, pictures=10))
  config.evals.val.pairs = 3000
  config.log_every, config.save_every, config.eval_every = '50 steps', '200 steps', '400 steps'
  return config
