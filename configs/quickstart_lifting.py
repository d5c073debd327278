"""PoseMoE on the motion of an embedded world: no files, at most 5 minutes on 2 CPU cores.

Command: python train.py --config configs/quickstart_lifting.py
  arguments after a colon: those of cmu_posemoe.py but 'small'
It shows the whole path: moving people -> cameras -> hidden joints and a detector's errors there ->
2D clips -> 3D poses -> the table of clean clips and of clips with hidden joints. The numbers say
nothing about recorded people.
Expected and time: see docs/lifting.md.
"""
from ml_collections import ConfigDict

from configs import cmu_posemoe, common


def get_config(argument=''):
  config = cmu_posemoe.on_cmu(common.lifting())
  cmu_posemoe.small(config)
  config.duration = '1000 steps'
  config.system.model.update(dict(encoder_layers=1, decoder_layers=1))
  config.data.name = 'synthetic'
  del config.data.root
  config.data.loader = ConfigDict(dict(num_sequences=120, frames=243, seed=0))
  config.evals.val.data.loader = ConfigDict(dict(num_sequences=20))
  config.eval_every = '500 steps'
  return common.use_lifting_arguments(config, argument)
