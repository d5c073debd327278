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


def get_config(argument=''):
  if 'gcn_decay' in argument.split(','):
    raise UserError("config argument 'gcn_decay' changes nothing here, where all learning rates "
                    'fall: leave it out')
  config = on_world(dag(argument))
  config.system.sigma = 2.5
  return config
