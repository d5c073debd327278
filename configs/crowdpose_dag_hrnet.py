"""DAG on CrowdPose: HRNet-W32 with attention and a graph network, 192x256, 210 epochs.

Paper: Xu et al., A comprehensive framework for occluded human pose estimation (ICASSP 2024).
Command: python train.py --config configs/crowdpose_dag_hrnet.py --config.data.root=CROWDPOSE
  arguments after a colon: those of coco_dag_hrnet.py
CrowdPose holds annotations/crowdpose_{trainval,test}.json and images/; its people have no masks, so
that people to paste are cut from COCO: --config.data.bank.folder=BANK (tools/cut_bank.py).
Expected: not known; the paper's tables could not be had. HRNet-W32 alone: 71.7 AP (STIP, 2021).
Time: not measured.
"""
from configs import coco_dag_hrnet, common


def get_config(argument=''):
  config = coco_dag_hrnet.get_config(argument)
  config.data.update(dict(name='crowdpose', root='data/crowdpose', train_split='trainval'))
  # As DAG's code has it, boxes are not enlarged.
  config.data.loader = common.ConfigDict(
    dict(annotations='', images='', padding=1.0, skip_invalid=False))
  config.evals.val.update(common.evaluation('test', 'crowdpose_ap'))
  return config
