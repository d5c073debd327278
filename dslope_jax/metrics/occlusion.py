"""How many joints are right, apart for visible, hidden and covered ones."""
import numpy as np


def joint_groups(visibility, covered):
  """Sorts the labelled joints into three groups without overlap.

  visibility: (N,K), 0 not labelled, 1 hidden, 2 visible, as annotated in the clean picture;
  covered: (N,K) bool, the joint lies under something pasted onto the picture.
  Returns {name: (N,K) bool}: 'visible' and 'hidden' as annotated and not covered, 'covered' of
  either kind. Every labelled joint is in exactly one.
  Raises ValueError if shapes disagree or a visibility is none of 0, 1, 2.
  """
  visibility = np.asarray(visibility)
  covered = np.asarray(covered, bool)
  if visibility.shape != covered.shape:
    raise ValueError(f'visibility has shape {visibility.shape}, covered {covered.shape}')
  if not np.isin(visibility, (0, 1, 2)).all():
    raise ValueError('visibility must be 0, 1 or 2, but has values such as '
                     f'{visibility[~np.isin(visibility, (0, 1, 2))][0]}')
  return {'visible': (visibility == 2) & ~covered, 'hidden': (visibility == 1) & ~covered,
          'covered': (visibility > 0) & covered}


def split(correct, groups):
  """Share of correct joints in each group.

  correct: (N,K) bool; groups: {name: (N,K) bool}, such as from `joint_groups`.
  Returns {name: {'share': percent, nan for an empty group; 'joints': size of the group}}.
  Raises ValueError if shapes disagree.
  """
  correct = np.asarray(correct, bool)
  table = {}
  for name, members in groups.items():
    members = np.asarray(members, bool)
    if members.shape != correct.shape:
      raise ValueError(f"group '{name}' has shape {members.shape}, correct {correct.shape}")
    joints = int(members.sum())
    share = 100 * int((correct & members).sum()) / joints if joints else float('nan')
    table[name] = {'share': share, 'joints': joints}
  return table


def oks_correct(predictions, ground_truth, areas, sigmas, threshold=0.5):
  """Which joints would, alone, reach the given OKS.

  predictions: (N,K,2 or more) and ground_truth: (N,K,2 or more), pixels of one frame; areas: (N,)
  annotated areas in square pixels; sigmas: (K,). Returns (N,K) bool; a prediction that is not
  finite is wrong. Raises ValueError if shapes disagree.
  Formula: exp(-d^2 / (2 * area * (2 * sigma)^2)), one joint's part of COCO's OKS
  (https://cocodataset.org/#keypoints-eval).
  """
  a, b = (np.asarray(p, np.float64)[..., :2] for p in (predictions, ground_truth))
  areas = np.asarray(areas, np.float64)
  sigmas = np.asarray(sigmas, np.float64)
  if a.ndim != 3 or not a.shape == b.shape == (len(areas), len(sigmas), 2):
    raise ValueError(f'shapes disagree: predictions {a.shape}, ground truth {b.shape}, '
                     f'{len(areas)} areas, {len(sigmas)} sigmas')
  squared = np.square(a - b).sum(-1)
  # COCO adds the smallest step above 1, so that an area of 0 divides nothing by zero.
  tolerance = 2 * np.multiply.outer(areas + np.spacing(1), np.square(2 * sigmas))
  return np.exp(-squared / tolerance) >= threshold
