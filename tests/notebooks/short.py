"""In place of the notebooks' configs: a network that compiles in seconds, few people and steps.

'own' reads a COCO folder, as configs/clspet_hrnet.py does; without it the people are rendered.
"""
from ml_collections import ConfigDict

from configs import common
from tests import tiny


def get_config(argument=''):
  data = dict(name='coco', root='', train_split='train') if argument == 'own' else {}
  config = tiny.config('none', steps=2, **data)
  config.system.model = ConfigDict(dict(
    name='vitpose', width=16, depth=1, heads=2, decoder='simple',
    dtype='float32', drop_path=0.0))
  if argument == 'own':
    config.evals.val = common.evaluation('val', 'coco_ap')
  else:
    config.data.loader.num_people = 60
  return config
