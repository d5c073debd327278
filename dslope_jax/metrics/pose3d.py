"""Errors of 3D poses over time: (N,T,J,3), N clips of T frames with J joints, in any length unit.

Poses are relative to the root joint where the protocol says so; nothing is subtracted here. What
all functions share: `mask` (N,T,J) bool tells which joints count, None: all; `per_frame` gives
(N,T) instead of one number, nan where no joint counts; UserError if shapes disagree or a number is
NaN or infinite. Formulas: Pavllo et al., VideoPose3D (CVPR 2019); Mehta et al., MPI-INF-3DHP (3DV
2017) for PCK and AUC.
"""
import numpy as np

from dslope_jax.errors import UserError

PCK_THRESHOLD = 150.0  # mm
AUC_THRESHOLDS = np.arange(0.0, 151, 5)  # mm


def mpjpe(prediction, target, mask=None, weights=None, per_frame=False):
  """Mean per-joint position error (protocol 1), in the unit of the poses.

  weights: factors of the errors that broadcast to (N,T,J), or None; the mean is still over the
  number of joints, as published.
  """
  prediction, target = _checked(prediction, target)
  errors = _distances(prediction, target)
  return _mean(errors if weights is None else weights * errors, mask, per_frame)


def n_mpjpe(prediction, target, mask=None, per_frame=False):
  """MPJPE after the prediction of each frame is scaled to fit best (Rhodin et al., CVPR 2018)."""
  prediction, target = _checked(prediction, target)
  scale = _ratio((prediction * target).sum((2, 3)), (prediction ** 2).sum((2, 3)))
  return _mean(_distances(scale[..., None, None] * prediction, target), mask, per_frame)


def p_mpjpe(prediction, target, mask=None, per_frame=False):
  """MPJPE after each frame is moved, turned and scaled to fit best (protocol 2), see `aligned`."""
  prediction, target = _checked(prediction, target)
  return _mean(_distances(aligned(prediction, target), target), mask, per_frame)


def mpjve(prediction, target, mask=None, per_frame=False):
  """Mean per-joint velocity error: distance of the differences of successive frames.

  per_frame: (N,T-1). mask: a difference counts if both of its ends do. UserError if T is 1.
  """
  prediction, target = _checked(prediction, target)
  if prediction.shape[1] < 2:
    raise UserError('a velocity error needs clips of 2 frames or more, these have 1')
  both = None if mask is None else np.asarray(mask)[:, 1:] & np.asarray(mask)[:, :-1]
  return _mean(_distances(np.diff(prediction, axis=1), np.diff(target, axis=1)), both, per_frame)


def pck(prediction, target, mask=None, threshold=PCK_THRESHOLD, per_frame=False):
  """Share, 0 to 1, of joints whose error is strictly below the threshold."""
  return _mean(_distances(*_checked(prediction, target)) < threshold, mask, per_frame)


def auc(prediction, target, mask=None, thresholds=AUC_THRESHOLDS, per_frame=False):
  """Mean of `pck` over rising thresholds; as 0 is among them a perfect pose has 30/31."""
  errors = _distances(*_checked(prediction, target))
  passed = len(thresholds) - np.searchsorted(thresholds, errors, side='right')
  return _mean(passed / len(thresholds), mask, per_frame)


def aligned(prediction, target):
  """The prediction (...,J,3), each pose moved, turned and scaled to the least squared distance
  from its target; never mirrored. A pose whose joints are all in one place keeps its shape.

  Source: Kabsch; Umeyama, Least-squares estimation of transformation parameters (PAMI 1991).
  """
  centre = target.mean(-2, keepdims=True)
  source, goal = prediction - prediction.mean(-2, keepdims=True), target - centre
  u, stretch, vt = np.linalg.svd(np.swapaxes(source, -1, -2) @ goal)
  mirrored = np.linalg.det(u) * np.linalg.det(vt) < 0
  u[..., 2] *= np.where(mirrored, -1, 1)[..., None]
  stretch[..., 2] *= np.where(mirrored, -1, 1)
  scale = _ratio(stretch.sum(-1), (source ** 2).sum((-2, -1)))
  return scale[..., None, None] * (source @ (u @ vt)) + centre


def _checked(prediction, target):
  """Both as float64 (N,T,J,3)."""
  poses = [np.asarray(x, np.float64) for x in (prediction, target)]
  if not poses[0].shape == poses[1].shape or poses[0].ndim != 4 or poses[0].shape[-1] != 3 or (
      not poses[0].size):
    raise UserError('poses have the shape (clips, frames, joints, 3); the predictions have '
                    f'{poses[0].shape}, the targets {poses[1].shape}')
  for name, pose in zip(('prediction', 'target'), poses, strict=True):
    bad = ~np.isfinite(pose)
    if bad.any():
      clip, frame, joint, _ = np.argwhere(bad)[0]
      raise UserError(f'the {name} of clip {clip}, frame {frame}, joint {joint} is NaN or '
                      f'infinite; {bad.any((1, 2, 3)).sum()} of {len(pose)} clips hold such '
                      'numbers')
  return poses


def _distances(a, b):
  """(N,T,J) of poses (N,T,J,3)."""
  difference = a - b
  return np.sqrt(np.einsum('...c,...c', difference, difference))


def _mean(values, mask, per_frame):
  """Mean over the joints that count, of all frames together or of each; nan where there is none."""
  mask = np.ones(values.shape, bool) if mask is None else np.asarray(mask)
  if mask.shape != values.shape or mask.dtype != bool:
    raise UserError(f'mask is an array of bool of the shape {values.shape}, not {mask.dtype} of '
                    f'{mask.shape}')
  axes = 2 if per_frame else None
  mean = _ratio(np.where(mask, values, 0).sum(axes), mask.sum(axes), np.nan)
  return mean if per_frame else float(mean)


def _ratio(a, b, otherwise=1.0):
  """a / b, `otherwise` where b is 0."""
  return np.where(b > 0, a / np.where(b > 0, b, 1), otherwise)
