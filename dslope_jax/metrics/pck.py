"""Percentage of correct keypoints: PCKh of MPII, and PCK by any reference length."""
import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.skeletons import JHMDB, MPII
from dslope_jax.visibility import is_labelled

_GROUPS = {
  'Head': ('head_top',),
  'Shoulder': ('left_shoulder', 'right_shoulder'),
  'Elbow': ('left_elbow', 'right_elbow'),
  'Wrist': ('left_wrist', 'right_wrist'),
  'Hip': ('left_hip', 'right_hip'),
  'Knee': ('left_knee', 'right_knee'),
  'Ankle': ('left_ankle', 'right_ankle'),
}
IN_MPII_MEAN = np.array([name not in ('pelvis', 'thorax') for name in MPII.names])
# MPII's head size is this share of the head box diagonal.
_HEAD_SHARE = 0.6


def head_size(boxes):
  """Length that PCKh divides by: 0.6 of the head box diagonal.

  boxes: (N,2,2) two opposite corners, each x, y, or the same as (N,4) x1, y1, x2, y2; pixels.
  Returns (N,) float64. Formula: MPII evaluation kit (Andriluka et al., CVPR 2014).
  """
  corners = np.asarray(boxes, np.float64).reshape(-1, 2, 2)
  return _HEAD_SHARE * np.linalg.norm(corners[:, 1] - corners[:, 0], axis=-1)


def pckh(predictions, ground_truth, visible, head_sizes, threshold=0.5):
  """Percentage of each joint's visible cases that lie within `threshold` head sizes.

  predictions: (N,K,2 or more) and ground_truth: (N,K,2 or more), x and y in pixels of one frame;
  MPII's files are 1-based, so the caller moves one of the two. visible: (N,K) bool; head_sizes:
  (N,) pixels. Returns (K,) float64, nan for a joint that nobody has visible.
  Raises UserError if shapes disagree, if a head size is not positive, or if a prediction of a
  visible joint is not finite. Formula: MPII evaluation kit.
  """
  right, counted = within(predictions, ground_truth, visible, head_sizes, threshold)
  bad = (np.asarray(visible, bool) & ~counted).any(1)
  if bad.any():
    raise UserError(f'{bad.sum()} of {len(bad)} people have no positive head size')
  return _percent(right.sum(0), counted.sum(0))


def mpii_table(predictions, ground_truth, visible, head_sizes):
  """The table that papers print for MPII, in percent.

  Arguments and errors as for `pckh`, with MPII's 16 joints. Returns a dict: Head, Shoulder, Elbow,
  Wrist, Hip, Knee, Ankle at threshold 0.5, left and right averaged as percentages; 'Mean' over all
  visible joints but pelvis and thorax; 'Mean@0.1', the same at 0.11, which published tables print
  under this name; 'PCKh@0.10' at the true 0.10. nan where nobody has the joints visible; of a pair
  only one side of which was ever visible, that side counts.
  Formula: published MPII evaluation of HRNet.
  """
  visible = np.asarray(visible, bool)
  if visible.shape[1:] != (MPII.num_keypoints,):
    raise UserError(f"the table is for MPII's {MPII.num_keypoints} joints, but visible has shape "
                    f'{visible.shape}')
  half, as_printed, tenth = (pckh(predictions, ground_truth, visible, head_sizes, t)
                             for t in (0.5, 0.11, 0.1))
  counts = visible.sum(0) * IN_MPII_MEAN
  table = {group: _mean(half[[MPII.index(name) for name in names]])
           for group, names in _GROUPS.items()}
  return table | {'Mean': _mean(half, counts), 'Mean@0.1': _mean(as_printed, counts),
                  'PCKh@0.10': _mean(tenth, counts)}


def within(predictions, ground_truth, visible, reference, threshold):
  """Which joints lie within `threshold` times the person's reference length, and which count.

  Arguments as for `pck`. Returns two (N,K) bool: right ones, and visible ones of people with a
  positive reference. Raises UserError if shapes disagree or a prediction of a visible joint is not
  finite.
  """
  predictions, truth = (np.asarray(a, np.float64)[..., :2] for a in (predictions, ground_truth))
  visible, reference = np.asarray(visible, bool), np.asarray(reference, np.float64)
  if predictions.ndim != 3 or not predictions.shape == truth.shape == (*visible.shape, 2) or (
      reference.shape != visible.shape[:1]):
    raise UserError(f'shapes disagree: predictions {predictions.shape}, ground truth '
                    f'{truth.shape}, visible {visible.shape}, reference {reference.shape}')
  distances = np.linalg.norm(predictions - truth, axis=-1)
  bad = (visible & ~np.isfinite(distances)).any(1)
  if bad.any():
    raise UserError(f'{bad.sum()} of {len(bad)} people hold NaN or infinite numbers')
  measured = (reference > 0) & np.isfinite(reference)
  counted = visible & measured[:, None]
  return counted & (distances / np.where(measured, reference, 1)[:, None] <= threshold), counted


def pck(predictions, ground_truth, visible, reference, threshold=0.2, names=None):
  """Percentage of visible joints within `threshold` times the person's reference length.

  predictions: (N,K,2 or more) and ground_truth: (N,K,2 or more), pixels of one frame; visible:
  (N,K) bool; reference: (N,) pixels, such as `torso_diagonal`; people whose reference is not
  positive are left out. names: K joint names, their numbers if None.
  Returns {'PCK': percent over all joints together, 'per_joint': {name: percent},
  'people_without_reference': count}; nan where there is no joint.
  Raises UserError if shapes disagree or a prediction of a visible joint is not finite.
  Formula: Yang and Ramanan, PAMI 2013.
  """
  right, counted = within(predictions, ground_truth, visible, reference, threshold)
  names = range(right.shape[1]) if names is None else names
  if len(names) != right.shape[1]:
    raise UserError(f'{right.shape[1]} joints, but {len(names)} names')
  right, counts = right.sum(0), counted.sum(0)
  reference = np.asarray(reference, np.float64)
  measured = (reference > 0) & np.isfinite(reference)
  per_joint = {name: float(p) for name, p in zip(names, _percent(right, counts), strict=True)}
  return {'PCK': float(_percent(right.sum(), counts.sum())), 'per_joint': per_joint,
          'people_without_reference': int((~measured).sum())}


def torso_diagonal(keypoints, visibility, skeleton):
  """The longer of the two ways from a shoulder to the opposite hip.

  keypoints: (N,K,2 or more) pixels; visibility: (N,K); skeleton: the K
  joints. Returns (N,) float64 pixels: over the pairs of which both ends are labelled, 0 where
  there is none.
  """
  keypoints = np.asarray(keypoints, np.float64)[..., :2]
  labelled = is_labelled(np.asarray(visibility))
  longest = np.zeros(len(keypoints))
  for pair in (('left_shoulder', 'right_hip'), ('right_shoulder', 'left_hip')):
    a, b = (skeleton.index(name) for name in pair)
    if a is not None and b is not None:
      length = np.linalg.norm(keypoints[:, a] - keypoints[:, b], axis=-1)
      longest = np.maximum(longest, np.where(labelled[:, a] & labelled[:, b], length, 0))
  return longest


def box_length(boxes):
  """The longer side of the person's box, the reference of PCK on JHMDB.

  boxes: (N,4) x, y, width, height. Returns (N,) float64 pixels. Formula: Yang and Ramanan, PAMI
  2013, as MMPose applies it to JHMDB.
  """
  return np.asarray(boxes, np.float64)[:, 2:].max(1)


def jhmdb_torso(ground_truth, predictions):
  """Left shoulder to right hip, the reference of torso-normalised PCK (tPCK) on JHMDB.

  ground_truth: (N,15,2 or more) and predictions: (N,15,2 or more), JHMDB's joints in pixels.
  Returns (N,) float64 pixels; as published (MMPose), where the annotated length is below 1 pixel
  the predicted one takes its place.
  """
  shoulder, hip = JHMDB.index('left_shoulder'), JHMDB.index('right_hip')
  annotated, predicted = (
    np.linalg.norm(a[:, shoulder, :2] - a[:, hip, :2], axis=-1)
    for a in (np.asarray(p, np.float64) for p in (ground_truth, predictions)))
  return np.where(annotated < 1, predicted, annotated)


def jhmdb_table(predictions, ground_truth, visible, reference, threshold=0.2):
  """The table that papers print for JHMDB, in percent.

  Arguments and errors as for `pck`, with JHMDB's 15 joints; reference: `box_length` for PCK,
  `jhmdb_torso` for tPCK. Returns a dict: Head, Shoulder, Elbow, Wrist, Hip, Knee, Ankle, left and
  right averaged as percentages, and 'Mean', the mean of the percentages of all 15 joints, as
  published (MMPose); nan where nobody has the joints visible.
  """
  per_joint = pck(predictions, ground_truth, visible, reference, threshold,
                  JHMDB.names)['per_joint']
  groups = _GROUPS | {'Head': ('head',)}
  table = {group: _mean(np.array([per_joint[name] for name in names]))
           for group, names in groups.items()}
  return table | {'Mean': _mean(np.array(list(per_joint.values())))}


def _percent(part, whole):
  """100 * part / whole, nan where whole is 0."""
  return np.where(whole > 0, 100 * np.asarray(part) / np.maximum(whole, 1), np.nan)


def _mean(values, weights=None):
  """Mean of the values that exist, nan if none does."""
  weights = np.isfinite(values) * (1 if weights is None else weights)
  total = weights.sum()
  return float((np.nan_to_num(values) * weights).sum() / total) if total else float('nan')
