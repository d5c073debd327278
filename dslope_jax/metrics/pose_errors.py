"""What is wrong with a pose: kinds of joint errors, two people's poses in one, matching to people.

The kinds follow Ronchi and Perona, Benchmarking and Error Diagnosis in Multi-Instance Pose
Estimation, ICCV 2017.
"""
import numpy as np

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


def classify(predictions, people, skeleton, of_pairs=None):
  """The kind of error of every labelled joint.

  predictions: (N,K,2 or more) pixels, row i for person i, NaN where nothing is predicted;
  people: N `People`; skeleton: the K joints. Returns (N,K) int8, numbers of `KINDS`, -1 where not
  labelled. The joint that the prediction is most similar to decides, of: the own joint, the own
  one on the other side, these two of everyone else in the picture. Below 0.5 it is a miss. Own:
  good from 0.85, else jitter; own other side: inversion; of somebody else: swap. Equal similarity
  speaks for the own joint, then for inversion.
  Source: Ronchi and Perona, section 3.1. of_pairs: `pairs(people.image_id)` where at hand.
  Raises ValueError if shapes disagree.
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
  kinds = [best < _NEAR, (own >= best) & (own >= _GOOD), own >= best, inverted >= best]
  numbers = [KINDS.index(k) for k in ('miss', 'good', 'jitter', 'inversion')]
  found = np.select(kinds, numbers, KINDS.index('swap'))
  return np.where(labelled, found, NOT_LABELLED).astype(np.int8)


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


def match(people, image_id, keypoints, sigmas, threshold=0.1):
  """Gives every person at most one pose: the most similar pair of a picture first, and so on.

  people: N `People`; image_id: (M,) and keypoints: (M,K,2 or more) poses in pixels of the whole
  picture; sigmas: (K,). Only pairs with an OKS of at least `threshold` (0.1 in Ronchi and Perona's
  analysis) are matched; ignored people get none. Equal OKS: lower row first.
  Returns (N,) int64 rows of the poses, -1 for nobody's.
  """
  keypoints = np.asarray(keypoints, np.float64)[..., :2]
  person, pose, value = near_pairs(people, image_id, keypoints, sigmas, threshold)
  keep = people.counted[person]
  person, pose, value = person[keep], pose[keep], value[keep]
  found = np.full(len(people), -1, np.int64)
  taken = np.zeros(len(keypoints), bool)
  # Persons and poses belong to one picture each: best first over the set is best first in each.
  for index in np.lexsort((pose, person, -value)):
    if found[person[index]] < 0 and not taken[pose[index]]:
      found[person[index]] = pose[index]
      taken[pose[index]] = True
  return found


def near_pairs(people, image_id, keypoints, sigmas, threshold, labelled=None):
  """Pairs of a person and a pose of one picture with COCO's OKS of at least `threshold`.

  people: N `People`; image_id: (M,), keypoints: (M,K,2) pixels; sigmas: (K,); labelled: (N,K) bool,
  the joints that count, all labelled ones if None. Returns person, pose: (P,) rows; oks: (P,).
  A person without such a joint has the OKS of COCO's evaluator: by the distance from the box,
  doubled on each side.
  """
  labelled = people.labelled if labelled is None else labelled
  numbers = labelled.sum(1)
  out = []
  i, j = people_lib.pairs(image_id, people.image_id)
  for start in range(0, len(i), _BLOCK):
    pose, person = i[start:start + _BLOCK], j[start:start + _BLOCK]
    ks = similarity(keypoints[pose], people.keypoints[person], people.areas[person], sigmas)
    values = (ks * labelled[person]).sum(1) / np.maximum(numbers[person], 1)
    bare = np.flatnonzero(numbers[person] == 0)
    values[bare] = _oks_of_box(people, person[bare], keypoints[pose[bare]], sigmas)
    near = values >= threshold
    out.append((person[near], pose[near], values[near]))
  empty = np.zeros(0, np.int64)
  return tuple(np.concatenate(c) for c in zip((empty, empty, np.zeros(0)), *out, strict=True))


def _oks_of_box(people, rows, keypoints, sigmas):
  low = (people.boxes[rows, :2] - people.boxes[rows, 2:])[:, None]
  high = (people.boxes[rows, :2] + 2 * people.boxes[rows, 2:])[:, None]
  outside = np.maximum(low - keypoints, 0) + np.maximum(keypoints - high, 0)
  return similarity(outside, np.zeros_like(outside), people.areas[rows], sigmas).mean(1)


def _checked(predictions, people):
  predictions = np.asarray(predictions, np.float64)[..., :2]
  if predictions.shape != people.keypoints.shape:
    raise ValueError(f'predictions have shape {predictions.shape}, the people '
                     f'{people.keypoints.shape}')
  return predictions
