"""Joints of one keypoint set from those of another: what networks of 3D poses are given.

Sources: for COCO the convention of Zhu et al., MotionBERT (ICCV 2023); those of the other sets are
as close to Human3.6M's joints as their names allow.
"""
import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.skeletons import COCO, H36M, LSP, MPII, Skeleton

# {source: {joint of Human3.6M: joints whose mean it is}}; who is named twice counts twice. Joints
# that are not listed have the same name in both sets.
_TO_H36M = {
  COCO.names: {
    'hip': ('left_hip', 'right_hip'),
    'spine': ('left_hip', 'right_hip', 'left_shoulder', 'right_shoulder'),
    'thorax': ('left_shoulder', 'right_shoulder'),
    'neck': ('nose',),
    'head': ('left_eye', 'right_eye')},
  MPII.names: {
    'hip': ('pelvis',),
    'spine': ('pelvis', 'thorax'),
    'head': ('head_top',)},
  LSP.names: {
    'hip': ('left_hip', 'right_hip'),
    'spine': ('left_hip', 'right_hip', 'neck', 'neck'),
    'thorax': ('neck',),
    'neck': ('neck', 'head_top'),
    'head': ('head_top',)}}
_WAYS = {H36M.names: _TO_H36M}  # {target: {source: joints}}
_SOURCES = (COCO, MPII, LSP)


def weights(source: Skeleton, target: Skeleton) -> np.ndarray:
  """(J,K) weights of the K source joints in each of the J target joints; rows sum to 1.

  Raises UserError, naming the sets that can be taken, where there is no way.
  """
  if source.names == target.names:
    return np.eye(target.num_keypoints)
  ways = _WAYS.get(target.names, {})
  if source.names not in ways:
    known = [target.name, *(s.name for s in _SOURCES if s.names in ways)]
    raise UserError(f'the joints of {target.name} cannot be made from the {source.num_keypoints} '
                    f'of {source.name}; give keypoints of {", ".join(known)}')
  out = np.zeros((target.num_keypoints, source.num_keypoints))
  for row, name in zip(out, target.names, strict=True):
    parts = ways[source.names].get(name, (name,))
    for part in parts:
      row[source.names.index(part)] += 1 / len(parts)
  return out


def convert(keypoints, confidence, source: Skeleton, target: Skeleton):
  """((...,J,2) keypoints, (...,J) confidence) of the target from (...,K,2) and (...,K) of the
  source. A joint that is a mean has the lowest confidence of its parts. Raises as `weights`."""
  shares = weights(source, target)
  lowest = np.where(shares > 0, confidence[..., None, :], np.inf).min(-1)
  return shares @ keypoints, lowest
