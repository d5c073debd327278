"""HUPOR on two people of the CMU database who dance together, drawn by the embedded world, 192x128.

Command: python train.py --config configs/cmu_hupor.py --config.data.root=FOLDER
  arguments after a colon: smap (a detector of all joints alone); occluded (things pasted over the
  people it trains on)
Files: FOLDER/index.json and FOLDER/npz/, as for cmu_posemoe.py; taken are the scenes of two people.
The networks are those of quickstart_hupor.py, for a CPU.
Expected and time: see docs/bottom_up.md.
"""
from ml_collections import ConfigDict

from configs import common, quickstart_hupor


def get_config(argument=''):
  config = quickstart_hupor.small(common.bottom_up())
  config.data.update(dict(name='cmu_pairs', root='data/cmu_mocap'))
  config.data.loader = ConfigDict(dict(size=(192, 128), every=15, views=1, seed=0))
  config.evals.val.update(dict(recipe='severity3', batch_size=32))
  return common.use_hupor_arguments(config, argument)
