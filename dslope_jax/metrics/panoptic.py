"""MPJPE of several people on CMU Panoptic, with the share of people that it is of.

Protocol of SMAP (Zhen et al., ECCV 2020) and HUPOR (Liu et al., ECCV 2022): people are matched by
their pelvis in the picture, and an error is that of matched people alone, so that a method that
finds only easy people looks good. `recall` stands beside it, and `mpjpe_all` counts everyone.
Joints are those of `skeletons.MPI15`; mm, camera frame.
"""
import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.skeletons import MPI15
from dslope_jax.visibility import VISIBLE, is_labelled

NEAR = 30.0  # pixels of the network's picture
ROOT = MPI15.names.index('hip')


def evaluate(activity, num_pred, gt2d, gt3d, visibility, pred2d, pred3d, *, near=NEAR) -> dict:
  """Errors of F frames, filled up to G true people (of visibility 0) and Q predicted ones.

  activity: (F,) names. num_pred: (F,) predictions that are real. gt2d: (F,G,15,2) and pred2d:
  (F,Q,15,2), pixels of the network's picture. gt3d: (F,G,15,3) and pred3d: (F,Q,15,3) mm; NaN in
  pred3d for a joint that was not found. visibility: (F,G,15) 0 not labelled or outside, 1 hidden,
  2 visible. Frames without predictions belong to them.

  Returns {activity: {...}, 'mean': {...}}, the latter the mean of the activities, as published, of
  those that have such people:
    mpjpe, recall, joints: of true people whose pelvis is visible, as published: mean error
      relative to the pelvis, mm, over the joints that were found, the pelvis among them; the
      percentages of these people that are matched, and of their joints that the error is of.
    mpjpe_all, recall_all: of all people with a labelled pelvis, over all their joints; what was not
      found has the mean pose of the true people for a prediction.
  Only labelled joints count; nan where there is none. Raises UserError if shapes disagree or a
  labelled joint is not finite.
  """
  gt2d, gt3d, pred2d, pred3d = (np.asarray(a, np.float64) for a in (gt2d, gt3d, pred2d, pred3d))
  visibility, activity = np.asarray(visibility), np.asarray(activity)
  labelled = is_labelled(visibility)
  _check(activity, num_pred, labelled, gt2d, gt3d, pred2d, pred3d)
  poses = np.concatenate([pred3d, np.full_like(pred3d, np.nan, shape=(len(pred3d), 1, 15, 3))], 1)

  def people(wanted):
    """(N,) frames of these people, (N,15) their joints, (N,15) errors, (N,) who is matched."""
    frame, row = np.nonzero(wanted)
    rows = np.full(len(frame), -1)  # the last of the poses, of NaN
    for f in np.unique(frame):
      rows[frame == f] = match(gt2d[f, row[frame == f], ROOT], pred2d[f, :num_pred[f], ROOT], near)
    truth, joints = gt3d[frame, row], labelled[frame, row]
    truth = np.where(joints[..., None], truth - truth[:, ROOT, None], np.nan)
    pose = poses[frame, rows]
    errors = np.linalg.norm(pose - pose[:, ROOT, None] - truth, axis=-1)
    return frame, truth, errors, rows >= 0

  results = {name: {} for name in activity.tolist()}
  for suffix, wanted in (('', visibility[..., ROOT] == VISIBLE), ('_all', labelled[..., ROOT])):
    frame, truth, errors, matched = people(wanted)
    joints = ~np.isnan(truth).any(-1)
    if suffix:
      errors = np.where(np.isnan(errors), np.linalg.norm(_mean_pose(truth) - truth, axis=-1),
                        errors)
    for name, found in results.items():
      here = activity[frame] == name
      known = ~np.isnan(errors[here])
      found[f'mpjpe{suffix}'] = _mean(errors[here][known])
      found[f'recall{suffix}'] = 100 * _mean(matched[here])
      if not suffix:
        found['joints'] = 100 * _mean(known[joints[here]])
  means = {key: _mean([found[key] for found in results.values() if not np.isnan(found[key])])
           for key in next(iter(results.values()))}
  return results | {'mean': means}


def match(truth, prediction, near=NEAR):
  """(G,) row of the place (Q,2) that each true place (G,2) gets, or -1; pixels.

  The closest two of all are a pair, then the closest two of the rest, as long as they are less than
  `near` apart.
  """
  distance = np.linalg.norm(truth[:, None] - prediction, axis=-1)
  distance = np.where(distance < near, distance, np.inf)
  rows = np.full(len(truth), -1)
  while np.isfinite(distance).any():
    i, j = np.unravel_index(distance.argmin(), distance.shape)
    rows[i] = j
    distance[i], distance[:, j] = np.inf, np.inf
  return rows


def _mean_pose(poses):
  """(15,3) means of poses (N,15,3) that are NaN at joints without a place."""
  known = ~np.isnan(poses)
  return np.where(known, poses, 0).sum(0) / np.maximum(known.sum(0), 1)


def _mean(values):
  """Mean of the values, nan if there is none."""
  values = np.asarray(values, np.float64)
  return float(values.mean()) if values.size else np.nan


def _check(activity, num_pred, labelled, gt2d, gt3d, pred2d, pred3d):
  """Raises UserError if shapes disagree or a labelled joint is not finite."""
  frames, people, others = len(activity), labelled.shape[1:2], pred2d.shape[1:2]
  shapes = {'visibility': (labelled, (*people, 15)), 'gt2d': (gt2d, (*people, 15, 2)),
            'gt3d': (gt3d, (*people, 15, 3)), 'pred2d': (pred2d, (*others, 15, 2)),
            'pred3d': (pred3d, (*others, 15, 3)), 'num_pred': (np.asarray(num_pred), ())}
  for name, (array, shape) in shapes.items():
    if array.shape != (frames, *shape):
      raise UserError(f'{name} has the shape {array.shape}, not {(frames, *shape)}')
  if frames == 0:
    raise UserError('there are no frames to evaluate')
  if (np.asarray(num_pred) > others[0]).any():
    raise UserError(f'num_pred has {np.max(num_pred)}, but there is room for {others[0]} people')
  bad = labelled & ~(np.isfinite(gt2d).all(-1) & np.isfinite(gt3d).all(-1))
  if bad.any():
    frame, person, joint = np.argwhere(bad)[0]
    raise UserError(f'joint {joint} of person {person} in frame {frame} is labelled, but not '
                    f'finite; {bad.sum()} joints are like it')
