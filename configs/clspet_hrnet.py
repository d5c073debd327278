"""D-Slope on Leeds Sports Pose Extended in COCO's format: a small HRNet that trains on a CPU.

Paper: D-Slope / MoEPose; data: Johnson & Everingham, CVPR 2011.
Command: python train.py --config configs/clspet_hrnet.py --config.data.root=LSPET
  arguments after a colon: kl / mse / distill / none (default), the mutual term;
  published: the published method, with 'mse' unless another is named
LSPET holds lspet_train.json, lspet_val.json and images/.
Without 'published' ENet learns clean people in the first half of the run, then half clean and half
occluded ones. A mutual term did not help there.
Expected with --config.data.holdout=0.05, PCK@0.2 clean and at severity 3, one seed: GNet 49.1,
35.5; ENet 48.4, 37.1; both by the gate 50.5, 37.9 (docs/evidence.md, pair_long).
Time: about 50 minutes of one core.
"""
from configs import common


def get_config(argument=''):
  words = argument.split(',')
  config = common.on_lspet(common.dslope('mse' if 'published' in words else 'none'))
  if 'published' not in words:
    config.data.recipe = 'none>none:2,severity2:1,severity4:1'
  return common.use_arguments(config, argument, more=('published',))
