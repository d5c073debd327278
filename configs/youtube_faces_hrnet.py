"""D-Slope on the 68 points of faces in videos, a small HRNet on crops of 64x64, for a CPU.

Command: python train.py --config configs/youtube_faces_hrnet.py --config.data.root=FOLDER
  arguments after a colon: plain, one network in place of the pair, with clean or occluded, the
  pictures that it trains on; mse, kl (default), distill, none
Files: FOLDER/train.json, FOLDER/val.json, COCO's form with 68 keypoints, and pictures in
FOLDER/train/ and FOLDER/val/. Points of these videos were found by a program, not by people.
Expected and time: see docs/faces_results.md.
"""
from configs import common


def get_config(argument=''):
  words = argument.split(',')
  config = common.top_down() if 'plain' in words else common.dslope('kl')
  config = common.on_lspet(config)
  config.duration, config.eval_every, config.save_every = '2800 steps', '1400 steps', '700 steps'
  config.system.codec = 'udp'
  config.data.update(dict(root='data/youtube_faces', size=(64, 64),
                          recipe='none:1,face_severity2:1,face_severity4:1'))
  config.data.loader.update(dict(annotations='{split}.json', images='{split}', skeleton='300w'))
  config.data.augmentation.update(dict(scale=0.15, rotation=15.0))
  if 'mutual' in config.system:
    config.system.mutual.weights.update(dict(gnet=0.0, enet=0.02))
  config.evals.val.update(common.evaluation('val', 'nme') | dict(recipe='face_severity3'))
  return common.use_arguments(config, argument, more=('plain',))
