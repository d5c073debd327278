"""DAG on an embedded world of rendered people: no files, at most 5 minutes on 2 CPU cores.

Paper: Xu et al., A comprehensive framework for occluded human pose estimation (ICASSP 2024).
Command: python train.py --config configs/quickstart_dag.py
  arguments after a colon: those of coco_dag_hrnet.py, but for sizes of crops and networks, and for
  gcn_decay: all learning rates fall
It ends with the table of the pose as heatmaps give it and as the graph network refines it, on clean
and on occluded pictures. The numbers say nothing about real pictures.
Expected and time: see docs/results.md.
"""
from configs.coco_dag_hrnet import dag
from configs.quickstart import on_world
from dslope_jax.errors import UserError

_WITHOUT_USE = {'gcn_decay', '256x192', '384x288', '256x256'}


def get_config(argument=''):
  for word in _WITHOUT_USE & set(argument.split(',')):
    raise UserError(f"config argument '{word}' changes nothing here, where crops are of 64x96 and "
                    'all learning rates fall: leave it out')
  config = on_world(dag(argument))
  config.system.sigma = 2.5
  return config
