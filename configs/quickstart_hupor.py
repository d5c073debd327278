"""HUPOR on the embedded world: no files, at most 8 minutes on 2 CPU cores.

Command: python train.py --config configs/quickstart_hupor.py
  arguments after a colon: smap (a detector of all joints alone, and no other network)
It shows the whole path: people who hide each other -> maps of visible joints -> maps of all joints
-> people in the picture -> poses in space -> the table of the three answers. The numbers say
nothing about photographs.
Expected and time: see docs/bottom_up.md.
"""
from ml_collections import ConfigDict

from configs import common


def get_config(argument=''):
  config = small(common.bottom_up())
  config.data.name = 'synthetic'
  del config.data.root
  config.data.loader = ConfigDict(dict(count=2000, size=(192, 128), seed=0, people='1-3',
                                       activities=()))
  config.evals.val.data.loader = ConfigDict(dict(count=200))
  config.evals.val.update(dict(split='test', recipe='none', batch_size=20))
  return common.use_hupor_arguments(config, argument)


def small(config):
  """Networks of few channels, small pictures and a short run."""
  config.duration, config.batch_size = '450 steps', 8
  config.data.update(dict(size=(192, 128), max_people=4))
  config.data.augmentation.rotation = 0.0
  # People's limbs are few pixels of such maps: found by true maps of rendered people.
  config.system.update(dict(max_people=6, max_peaks=12, thresholds=dict(shortest=1.5, support=0.6)))
  config.system.detector.update(dict(stages=2, widths=(16, 16, 32, 32), blocks=(1, 1, 1, 1),
                                     decoder_width=32, head_scale=8.0))
  config.system.reasoner.update(dict(stages=1, widths=(16, 32, 32), blocks=(1, 1, 1, 1),
                                     decoder_width=32, head_scale=8.0))
  config.system.refiner.widths = (64, 64)
  for spec in config.optim.values():
    spec.update(dict(lr=6e-3, schedule='cosine', warmup='50 steps', l2=0.0))
  config.log_every, config.save_every, config.eval_every = '50 steps', '600 steps', '10000 steps'
  return config
