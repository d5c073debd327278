"""DAG on an embedded world of rendered people: no files, at most 5 minutes on 2 CPU cores.

Paper: Xu et al., A comprehensive framework for occluded human pose estimation (ICASSP 2024).
Command: python train.py --config configs/quickstart_dag.py
  arguments after a colon: those of coco_dag_hrnet.py, but for sizes of networks; gcn_decay changes
  nothing, since all learning rates fall
It ends with the table of the pose as heatmaps give it and as the graph network refines it, on clean
and on occluded pictures. The numbers say nothing about real pictures.
Expected and time: see docs/results.md.
"""
from configs.coco_dag_hrnet import dag
from configs.quickstart import RATES, on_world


def get_config(argument=''):
  config = dag(argument, _on_world)
  for name, spec in config.optim.items():
    if name.endswith('gcn'):
      spec.update(RATES)
  return config


def _on_world(config):
  config.system.sigma = 1.5  # before the rule for maps of twice the size
  return on_world(config)
