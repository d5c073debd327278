"""DAG on COCO 2017: HRNet-W32 with attention and a graph network, 192x256, 210 epochs.

Paper: Xu et al., A comprehensive framework for occluded human pose estimation (ICASSP 2024).
Command: python train.py --config configs/coco_dag_hrnet.py --config.data.root=COCO
  arguments after a colon: w48, 384x288 (height x width), clean / occluded; without one part of it:
  no_masks, no_paste, no_attention, no_graph, no_guidance, no_presence, double_only (HRNet with
  maps of twice the size and nothing else); with more: spatial_attention (as drawn in the paper,
  not in its code), hops3, hops4, gcn_decay (the graph network's learning rate falls, too); pair:
  D-Slope over DAG, with a kind of mutual term as in coco_dag_hrnet.py:pair,kl
Files: as for ccoco_hrnet.py.
Expected: not known; the paper's tables could not be had. HRNet alone: 74.4 AP (published).
Time: not measured.
"""
from configs import common, dag


def get_config(argument=''):
  words = argument.split(',')
  config = common.on_coco(dag.pair() if 'pair' in words else dag.dag())
  return dag.use_arguments(config, ','.join(word for word in words if word != 'pair'),
                           dict(w32=dict(width=32), w48=dict(width=48)))
