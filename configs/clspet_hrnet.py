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
  config.duration = '20 epochs'
  config.batch_size = 32
  config.system.model.update(dict(width=16, stem_width=16, modules=(1, 1, 1), blocks=(1, 1, 1)))
  config.system.sigma = 1.5
  config.data.update(dict(root='data/lspet', size=(64, 96)))
  config.data.augmentation.update(dict(scale=0.25, rotation=30.0, half_body_prob=0.0))
  config.data.loader.annotations = 'lspet_{split}.json'
  for spec in config.optim.values():
    spec.update(dict(schedule='cosine', warmup='200 steps'))
  config.evals.val.update(common.evaluation('val', 'pck'))
  config.eval_every = '5 epochs'
  return common.use_arguments(config, argument)
