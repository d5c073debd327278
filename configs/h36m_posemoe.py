"""PoseMoE on Human3.6M, 17 joints, clips of 243 frames.

Paper: Liu et al., PoseMoE (arXiv 2512.16494); a reconstruction, see docs/lifting.md.
Command: python train.py --config configs/h36m_posemoe.py --config.data.root=FOLDER
  arguments after a colon, comma-separated: cpn or gt (variant B of the protocol, in metres, on the
  2D keypoints of CPN or the exact ones; else variant A); t81, t27 (shorter clips); confidence (a
  third input); entangled; clean / occluded; pair
Files: variant A, FOLDER/h36m_sh_conf_cam_source_final.pkl of MotionBERT; variant B,
  FOLDER/data_3d_h36m.npz and FOLDER/data_2d_h36m_cpn_ft_h36m_dbb.npz or data_2d_h36m_gt.npz of
  VideoPose3D. None is unpickled.
Expected: not known; no code or table of the paper was to be had. Time: not measured.
"""
from configs import common


def get_config(argument=''):
  config = common.lifting()
  config.data.loader = {'file': ''}
  config.evals.val.update(dict(split='test', metric='h36m', recipe='none', windows='drop'))
  return common.use_lifting_arguments(
    config, argument, ('cpn', 'gt'), ('t81', 't27'),
    cpn=lambda c: _variant_b(c, 'data_2d_h36m_cpn_ft_h36m_dbb.npz'),
    gt=lambda c: _variant_b(c, 'data_2d_h36m_gt.npz'), t81=lambda c: common.shorten(c, 81),
    t27=lambda c: common.shorten(c, 27), confidence=common.read_confidence)


def _variant_b(config, file):
  """Poses in metres in the camera's frame; every frame is scored."""
  config.data.target, config.data.windows = 'camera', 'cover'
  config.data.loader.file = file
  config.evals.val.windows = 'cover'
