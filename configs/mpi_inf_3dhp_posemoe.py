"""PoseMoE on MPI-INF-3DHP, 17 joints, clips of 81 frames of exact 2D keypoints.

Paper: Liu et al., PoseMoE (arXiv 2512.16494); a reconstruction, see docs/lifting.md.
Command: python train.py --config configs/mpi_inf_3dhp_posemoe.py --config.data.root=FOLDER
  arguments after a colon, comma-separated: t27 (shorter clips); entangled; clean / occluded; pair
Files: FOLDER/data_train_3dhp.npz and FOLDER/data_test_3dhp.npz of P-STMO; not unpickled.
Expected: not known; no code or table of the paper was to be had. Time: not measured.
"""
from configs import common


def get_config(argument=''):
  config = common.lifting()
  config.batch_size = 8
  config.data.update(dict(name='mpi_inf_3dhp', root='data/mpi_inf_3dhp', target='camera',
                          frames=81, stride=9,
                          loader=dict(cameras=(0, 1, 2, 4, 5, 6, 7, 8))))
  config.evals.val.update(dict(split='test', metric='mpi_inf_3dhp', recipe='none',
                               windows='centre'))
  for spec in config.optim.values():
    spec.update(dict(weight_decay=0.0, amsgrad=True))
  return common.use_lifting_arguments(config, argument, t27=lambda c: common.shorten(c, 27))
