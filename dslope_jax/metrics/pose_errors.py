"""What is wrong with a pose: kinds of joint errors, two people's poses in one, matching to people.

The kinds follow Ronchi and Perona, Benchmarking and Error Diagnosis in Multi-Instance Pose
Estimation, ICCV 2017.
"""
import numpy as np
from scipy import optimize

from dslope_jax.errors import UserError
from dslope_jax.metrics import people as people_lib

KINDS = ('good', 'jitter', 'inversion', 'swap', 'miss')
NOT_LABELLED = -1
_NEAR, _GOOD = 0.5, 0.85  # keypoint similarities of the paper, section 3.1
_BLOCK = 1 << 15  # pairs worked on together: bounds memory


def similarity(predictions, truth, areas, sigmas):
  """(..., K) keypoint similarity, one joint's part of OKS; 0 where a number is not finite.

  predictions, truth: (..., K,2) pixels of one picture; areas: (...) square pixels of the person
  that `truth` belongs to; sigmas: (K,). Formula: exp(-d^2 / (2 * area * (2 * sigma)^2)), the ks of
  Ronchi and Perona, section 3.1, and of COCO (https://cocodataset.org/#keypoints-eval).
  """
  squared = np.square(predictions - truth).sum(-1)
  tolerance = 2 * (np.asarray(areas) + np.spacing(1))[..., None] * np.square(2 * np.asarray(sigmas))
  return np.nan_to_num(np.exp(-squared / tolerance), nan=0.0)


def right_joints(predictions, ground_truth, areas, sigmas, threshold=0.5):
  """Which joints would, alone, reach the given OKS.

  predictions: (N,K,2 or more) and ground_truth: (N,K,2 or more), pixels of one frame; areas: (N,)
  annotated areas in square pixels; sigmas: (K,). Returns (N,K) bool; a prediction that is not
  finite is wrong. Raises UserError if shapes disagree.
  """
  a, b = (np.asarray(p, np.float64)[..., :2] for p in (predictions, ground_truth))
  if a.ndim != 3 or not a.shape == b.shape == (len(areas), len(sigmas), 2):
    raise UserError(f'shapes disagree: predictions {a.shape}, ground truth {b.shape}, '
                    f'{len(areas)} areas, {len(sigmas)} sigmas')
  return similarity(a, b, areas, sigmas) >= threshold


def classify(predictions, people, skeleton, of_pairs=None):
  """The kind of error of every labelled joint.

  predictions: (N,K,2 or more) pixels, row i for person i, NaN where nothing is predicted;
  people: N `People`; skeleton: the K joints. Returns (N,K) int8, numbers of `KINDS`, -1 where not
  labelled. The joint that the prediction is most similar to decides, of: the own joint, the own
  one on the other side, these two of everyone else in the picture. Below 0.5 it is a miss. Own:
  good from 0.85, else jitter; own other side: inversion; of somebody else: swap. Equal similarity
  speaks for the own joint, then for inversion.
  Source: Ronchi and Perona, section 3.1. of_pairs: `pairs(people.image_id)` where at hand.
  Raises UserError if shapes disagree.
  """
  predictions = _checked(predictions, people)
  mirror, sigmas = skeleton.flip_order, np.asarray(skeleton.sigmas)
  labelled = people.labelled & ~people.crowd[:, None]
  own = np.where(labelled, similarity(predictions, people.keypoints, people.areas, sigmas), -1)
  inverted = np.where(labelled[:, mirror], similarity(
    predictions, people.keypoints[:, mirror], people.areas, sigmas), -1)
  others = np.full(own.shape, -1.0)
  i, j = people_lib.pairs(people.image_id) if of_pairs is None else of_pairs
  useful = labelled.any(1)
  i, j = (rows[useful[i] & useful[j]] for rows in (i, j))
  for start in range(0, len(i), _BLOCK):
    one, two = i[start:start + _BLOCK], j[start:start + _BLOCK]
    for order in (np.arange(len(mirror)), mirror):
      ks = similarity(predictions[one], people.keypoints[two][:, order], people.areas[two], sigmas)
      people_lib.largest(one, np.where(labelled[two][:, order], ks, -1), others)
  best = np.maximum(np.maximum(own, inverted), others)
  cases = [best < _NEAR, (own >= best) & (own >= _GOOD), own >= best, inverted >= best]
  numbers = [KINDS.index(k) for k in ('miss', 'good', 'jitter', 'inversion')]
  kinds = np.select(cases, numbers, KINDS.index('swap'))
  return np.where(labelled, kinds, NOT_LABELLED).astype(np.int8)


def collapsed(predictions, people, skeleton, of_pairs=None, threshold=0.7):
  """Pairs of neighbours, and which of them were predicted as one pose.

  Arguments and errors as for `classify`. Neighbours are two counted people of one picture whose
  boxes overlap and who have a joint labelled in both. They have collapsed if the OKS between their
  predictions is above `threshold` while that between their annotations is not, both over the
  joints labelled in both and with the mean of the two areas.
  Returns {'i', 'j': (P,) rows, i < j; 'collapsed': (P,) bool}.
  """
  predictions = _checked(predictions, people)
  i, j = people_lib.pairs(people.image_id) if of_pairs is None else of_pairs
  near = (i < j) & people.counted[i] & people.counted[j]
  i, j = i[near], j[near]
  near = people_lib.box_iou(people.boxes[i], people.boxes[j]) > 0
  near &= (people.labelled[i] & people.labelled[j]).any(1)
  i, j = i[near], j[near]
  together = np.zeros(len(i), bool)
  for start in range(0, len(i), _BLOCK):
    one, two = i[start:start + _BLOCK], j[start:start + _BLOCK]
    both = people.labelled[one] & people.labelled[two]
    area = (people.areas[one] + people.areas[two]) / 2
    alike = [(similarity(p[one], p[two], area, skeleton.sigmas) * both).sum(1) / both.sum(1)
             for p in (predictions, people.keypoints)]
    together[start:start + _BLOCK] = (alike[0] > threshold) & (alike[1] <= threshold)
  return {'i': i, 'j': j, 'collapsed': together}


def match(people, image_id, keypoints, sigmas):
  """Gives every person who counts a pose of their picture, one to one, of the largest total OKS.

  people: N `People`; image_id: (M,) and keypoints: (M,K,2 or more) poses in pixels of the whole
  picture; sigmas: (K,). No pose is too unlike: only where a picture has fewer poses than people is
  somebody left without. Where OKS is the same, as it is 0 far away, the nearer pose is taken.
  Returns (N,) int64 rows of the poses, -1 for no pose.
  """
  image_id, keypoints = np.asarray(image_id), np.asarray(keypoints, np.float64)[..., :2]
  rows = np.flatnonzero(people.counted)
  rows = rows[np.argsort(people.image_id[rows], kind='stable')]
  order = np.argsort(image_id, kind='stable')
  pictures, starts = np.unique(people.image_id[rows], return_index=True)
  low, high = (np.searchsorted(image_id, pictures, side, sorter=order)
               for side in ('left', 'right'))
  match = np.full(len(people), -1, np.int64)
  for picture, persons in enumerate(np.split(rows, starts[1:]) if len(rows) else ()):
    poses = order[low[picture]:high[picture]]
    person, pose = optimize.linear_sum_assignment(
      _likeness(people, persons, keypoints[poses], sigmas), maximize=True)
    match[persons[person]] = poses[pose]
  return match


def _likeness(people, persons, keypoints, sigmas):
  """(P,D) OKS of people and the poses of a picture, and a millionth of their nearness."""
  truth, areas = people.keypoints[persons, None], people.areas[persons, None]
  weights = people.labelled[persons] / people.labelled[persons].sum(1, keepdims=True)
  distance = np.linalg.norm(keypoints - truth, axis=-1) / np.sqrt(areas + np.spacing(1))[..., None]
  alike = similarity(keypoints, truth, areas, sigmas)
  mean = lambda values: np.einsum('pdk,pk->pd', values, weights)
  return mean(alike) + 1e-6 / (1 + mean(distance))


def _checked(predictions, people):
  predictions = np.asarray(predictions, np.float64)[..., :2]
  if predictions.shape != people.keypoints.shape:
    raise UserError(f'predictions have shape {predictions.shape}, the people '
                    f'{people.keypoints.shape}')
  return predictions
