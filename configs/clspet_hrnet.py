"""D-Slope on Leeds Sports Pose Extended in COCO's format: a small HRNet that trains on a CPU.

Paper: D-Slope / MoEPose; data: Johnson & Everingham, CVPR 2011.
Command: python train.py --config configs/clspet_hrnet.py --config.data.root=LSPET
  arguments after a colon: kl / mse / distill / none
LSPET holds lspet_train.json, lspet_val.json and images/.
Expected and time: see the README.
"""
from configs import common


def get_config(argument=''):
  config = common.dslope()
  config.duration = '14 epochs'
  config.batch_size = 32
  config.system.model.update(dict(width=16, stem_width=16, modules=(1, 1, 1), blocks=(2, 2, 2)))
  config.system.sigma = 1.5
  config.data.update(dict(root='data/lspet', size=(96, 128)))
  config.data.loader.annotations = 'lspet_{split}.json'
  for spec in config.optim.values():
    spec.update(dict(lr=2e-3, schedule='cosine', warmup='200 steps'))
  config.evals.val.update(common.evaluation('val', 'pck'))
  config.eval_every = '2 epochs'
  return common.hrnet_arguments(config, argument)
