"""DAG on Leeds Sports Pose Extended in COCO's format, 96x128: a small HRNet for a CPU.

Paper: Xu et al., A comprehensive framework for occluded human pose estimation (ICASSP 2024).
Command: python train.py --config configs/lspet_dag_hrnet.py --config.data.root=LSPET \
    --config.data.bank.folder=BANK
  arguments after a colon: those of coco_dag_hrnet.py, but for sizes of networks
LSPET has no masks, so that people to paste are cut from COCO, see tools/cut_bank.py.
Files: as for lspet_hrnet.py.
Expected and time: see docs/results.md.
"""
from configs import common
from configs.coco_dag_hrnet import dag


def get_config(argument=''):
  return dag(argument, common.on_lspet)
