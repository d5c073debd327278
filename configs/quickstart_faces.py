"""D-Slope on drawn faces with 68 points: no files, minutes on a CPU.

Command: python train.py --config configs/quickstart_faces.py
GNet trains on faces that hide nothing but what their hair and glasses do, ENet on the same faces
under hands, masks, glasses, hair and cloth, and ENet also learns from GNet's heatmaps of the clean
picture. The numbers say nothing about photographs.
Expected and time: see docs/faces_results.md.
"""
from ml_collections import ConfigDict

from configs import common, quickstart


def get_config(argument=''):
  config = quickstart.on_world(common.dslope('kl'))
  config.system.mutual.weights.update(dict(gnet=0.0, enet=0.02))
  config.system.update(dict(sigma=1.5, codec='udp'))
  config.data.update(dict(name='synthetic_faces', size=(64, 64),
                          recipe='face_severity3,face_severity5'))
  config.data.loader = ConfigDict(dict(num_people=4000, size=(96, 96), seed=0, padding=1.25))
  config.evals.val.update(common.evaluation('test', 'nme') | dict(
    recipe='face_severity4', data=dict(name='', root='', loader=dict(num_people=500))))
  return common.use_arguments(config, argument)
