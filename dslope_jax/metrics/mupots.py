"""Scores of MuPoTS-3D: 3DPCK, AUC and the order of people in depth.

Protocol: Mehta et al., Single-Shot Multi-Person 3D Pose Estimation From Monocular RGB (3DV 2018);
the order in depth: Zhen et al., SMAP (ECCV 2020). Ground truth is in the order JOINTS, predictions
in that of `skeletons.MPI15`; mm, camera frame.

A variant is called by three words, and a fourth for what published scripts do otherwise:
  rel, abs: poses relative to the pelvis, or where they are in the camera's frame.
  all, matched: a person that is not found is wrong, or is left out.
  rescale, raw: each predicted bone gets the length of the true one first, as published, or not.
  published: joints in the tables of visible and hidden ones may err by 150 mm itself, and a person
    that is not found stands at a depth of 100 m for the order.
"""
from typing import NamedTuple

import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.metrics.people import pairs

JOINTS = ('head_top', 'neck', 'right_shoulder', 'right_elbow', 'right_wrist', 'left_shoulder',
          'left_elbow', 'left_wrist', 'right_hip', 'right_knee', 'right_ankle', 'left_hip',
          'left_knee', 'left_ankle', 'pelvis')
FROM_MPI15 = np.array([1, 0, 9, 10, 11, 3, 4, 5, 12, 13, 14, 6, 7, 8, 2])
VARIANTS = ('rel/all/rescale', 'abs/all/rescale')
THRESHOLD = 150.0  # mm
ROOT_THRESHOLD = 250.0  # mm
_THRESHOLDS = np.arange(0.0, 151, 5)
_COUNTED, _PELVIS = 14, 14  # the pelvis itself is not counted
_BONES = ((14, 1), (1, 0), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (14, 8), (8, 9), (9, 10),
          (14, 11), (11, 12), (12, 13))  # from, to; each after the one that it hangs on
_NEAR = 40  # pixels
_MATCHED_BY = slice(1, 14)
_SAME_DEPTH = 300.0  # mm
_DUMMY = 1e5  # mm


def evaluate(seq_id, num_gt, num_pred, gt2d_cpm, gt3d_cpm, valid, occluded_cpm, pred2d, pred3d, *,
             variants=VARIANTS, truth='univ') -> dict:
  """Scores of F frames, filled up to G true and Q predicted people.

  seq_id, num_gt, num_pred: (F,) sequence, and how many people are real. gt2d_cpm: (F,G,2,15) pixels
  of the picture; gt3d_cpm: (F,G,3,15) mm. valid: (F,G) bool, people that are evaluated.
  occluded_cpm: (F,G,15) bool. pred2d: (F,Q,15,2), exactly (0, 0) for a joint without a place;
  pred3d: (F,Q,15,3) mm, NaN for one that is missing. Frames without predictions belong to them.
  variants: names, see above. truth: 'univ' or 'metric', which annotation gt3d_cpm is: enters the
  names of the results alone.

  Returns {'mupots/rel/all/univ/rescale': {...}}, for each variant: 'pck', 'auc', 'pck_visible',
  'pck_occluded', 'recall' of people and, of abs, 'ordinal' (share of pairs in the right order) and
  'pck_root' (within 250 mm); percent, but ordinal 0 to 1; means over the sequences that have such
  joints or pairs. 'per_sequence': {the same names: (S,)}; 'per_joint': (S,14); 'sequences': (S,);
  'errors': (N,15) mm of each person, infinite where nothing was found; 'matching': (V,) the
  prediction of each valid person, or -1, in the order of the frames. N is V, or of `matched`
  those that were found.
  Raises UserError if shapes disagree, a name is unknown or the ground truth is not finite.
  """
  arrays = dict(gt2d_cpm=gt2d_cpm, gt3d_cpm=gt3d_cpm, valid=valid, occluded_cpm=occluded_cpm,
                pred2d=pred2d, pred3d=pred3d)
  if truth not in ('univ', 'metric'):
    raise UserError(f"the annotation is 'univ' or 'metric', not {truth!r}")
  people, sequences, results = _people(seq_id, num_gt, num_pred, arrays), np.unique(seq_id), {}
  for name in variants:
    mode, who, scale, *published = _words(name)
    kept = people.matching >= 0 if who == 'matched' else np.ones(len(people.frame), bool)
    chosen = _People(*(column[kept] for column in people))
    found = _score(chosen, sequences, mode == 'rel', scale == 'rescale', bool(published))
    found['per_sequence']['recall'] = 100 * _shares(people.matching >= 0, people.sequence,
                                                    sequences)
    means = {key: _mean(values) for key, values in found['per_sequence'].items()}
    results['/'.join(('mupots', mode, who, truth, scale, *published))] = means | found | {
      'sequences': sequences, 'matching': people.matching}
  return results


def match(truth, prediction):
  """(G,) row of the prediction (Q,15,2) that each true person (G,15,2) gets, or -1; pixels.

  In their order people take the prediction that is left with the most joints, head and pelvis
  aside, within 40 pixels in x and in y. Joints at exactly (0, 0) have no place.
  """
  near = (abs(truth[:, None] - prediction) < _NEAR).all(-1) & (prediction != 0).any(-1)
  count = near[..., _MATCHED_BY].sum(-1)
  rows = np.full(len(truth), -1)
  for person, row in enumerate(count):
    row = np.where(np.isin(np.arange(len(row)), rows), 0, row)
    if row.any():
      rows[person] = row.argmax()
  return rows


def rescaled(prediction, truth):
  """Poses (N,15,3) from the pelvis outwards, with the directions of the predicted bones and the
  lengths of the true ones; NaN behind a bone without a direction."""
  out = prediction.copy()
  for start, end in _BONES:
    bone = prediction[:, end] - prediction[:, start]
    length = np.linalg.norm(bone, axis=-1, keepdims=True)
    wanted = np.linalg.norm(truth[:, end] - truth[:, start], axis=-1, keepdims=True)
    out[:, end] = out[:, start] + bone * wanted / np.where(length > 0, length, np.nan)
  return out


class _People(NamedTuple):
  """N valid people: sequence and frame (N,), true poses (N,15,3), hidden joints (N,15), predicted
  poses (N,15,3), NaN without one, and the rows of these in their frames (N,), or -1."""
  sequence: np.ndarray
  frame: np.ndarray
  truth: np.ndarray
  hidden: np.ndarray
  poses: np.ndarray
  matching: np.ndarray


def _people(seq_id, num_gt, num_pred, arrays) -> _People:
  _check(len(seq_id), num_gt, num_pred, arrays)
  valid = np.asarray(arrays['valid'], bool)
  frame, row = np.nonzero(valid & (np.arange(valid.shape[1]) < np.asarray(num_gt)[:, None]))
  pixels, truth = (np.asarray(arrays[name], np.float64).swapaxes(-1, -2)[frame, row]
                   for name in ('gt2d_cpm', 'gt3d_cpm'))
  bad = ~(np.isfinite(truth).all((1, 2)) & np.isfinite(pixels).all((1, 2)))
  if bad.any():
    raise UserError(f'the ground truth of frame {frame[bad][0]}, person {row[bad][0]}, is not '
                    f'finite; {bad.sum()} of {len(bad)} valid people are like it')
  pred2d, pred3d = (np.asarray(arrays[name], np.float64)[:, :, FROM_MPI15]
                    for name in ('pred2d', 'pred3d'))
  matching = np.full(len(frame), -1)
  for f in np.unique(frame):
    matching[frame == f] = match(pixels[frame == f], pred2d[f, :num_pred[f]])
  nobody = np.full((len(pred3d), 1, 15, 3), np.nan)  # of row -1
  poses = np.concatenate([pred3d, nobody], 1)[frame, matching]
  hidden = np.asarray(arrays['occluded_cpm'], bool)[frame, row]
  return _People(np.asarray(seq_id)[frame], frame, truth, hidden, poses, matching)


def _check(frames, num_gt, num_pred, arrays):
  """Raises UserError if shapes disagree."""
  people, others = (np.shape(arrays[name])[1:2] for name in ('valid', 'pred2d'))
  shapes = {'gt2d_cpm': (*people, 2, 15), 'gt3d_cpm': (*people, 3, 15), 'valid': people,
            'occluded_cpm': (*people, 15), 'pred2d': (*others, 15, 2), 'pred3d': (*others, 15, 3)}
  for name, shape in shapes.items():
    if np.shape(arrays[name]) != (frames, *shape):
      raise UserError(f'{name} has the shape {np.shape(arrays[name])}, not {(frames, *shape)}')
  for name, counts, most in (('num_gt', num_gt, people), ('num_pred', num_pred, others)):
    if np.shape(counts) != (frames,) or (np.asarray(counts) > most).any():
      raise UserError(f'{name} needs a number of people for each of {frames} frames, none above '
                      f'{most[0]}')


def _words(name):
  words = name.split('/')
  choices = ('rel', 'abs'), ('all', 'matched'), ('rescale', 'raw'), ('published',)
  if len(words) not in (3, 4) or any(word not in among for word, among in zip(
      words, choices, strict=False)):
    raise UserError(f"a variant is rel or abs / all or matched / rescale or raw, such as "
                    f"'{VARIANTS[0]}', and '/published' where that is meant; not {name!r}")
  return words


def _score(people, sequences, relative, rescale, published):
  """Results of these people but for recall: arrays of all, and of each sequence."""
  truth, poses = people.truth, people.poses
  if relative:
    truth, poses = (pose - pose[:, [_PELVIS]] for pose in (truth, poses))
  if rescale:
    poses = rescaled(poses, truth)
  errors = np.linalg.norm(poses - truth, axis=-1)
  errors[np.isnan(errors)] = np.inf
  counted, hidden = errors[:, :_COUNTED], people.hidden[:, :_COUNTED]
  right = counted < THRESHOLD
  in_table = counted <= THRESHOLD if published else right
  of = lambda values, mask=None, sequence=people.sequence: _shares(values, sequence, sequences,
                                                                   mask)
  found = {'pck': 100 * of(right),
           'auc': 100 * of((counted[..., None] < _THRESHOLDS).mean(-1)),
           'pck_visible': 100 * of(in_table, ~hidden), 'pck_occluded': 100 * of(in_table, hidden)}
  if not relative:
    found['pck_root'] = 100 * of(errors[:, _PELVIS] < ROOT_THRESHOLD)
    i, j = pairs(people.frame)
    first, second = i[i < j], j[i < j]
    found['ordinal'] = of(_in_order(truth, poses, first, second, published), None,
                          people.sequence[first])
  joints = [100 * of(right[:, joint]) for joint in range(_COUNTED)]
  return {'per_sequence': found, 'per_joint': np.stack(joints, 1), 'errors': errors}


def _in_order(truth, poses, i, j, published):
  """(P,) whether people i and j are in the right order, or less than 300 mm apart in both."""
  depths = truth[:, _PELVIS, 2], poses[:, _PELVIS, 2]
  if published:
    depths = depths[0], np.where(np.isnan(depths[1]), _DUMMY, depths[1])
  true, predicted = (depth[i] - depth[j] for depth in depths)
  close = (abs(true) < _SAME_DEPTH) & (abs(predicted) < _SAME_DEPTH)
  return (np.sign(true) == np.sign(predicted)) | close


def _shares(values, sequence, sequences, mask=None):
  """(S,) means of values (N,...) of each sequence where the mask allows, nan where nowhere."""
  mask = np.ones(np.shape(values), bool) if mask is None else mask
  rows = [sequence == s for s in sequences]
  count = np.array([mask[row].sum() for row in rows])
  total = np.array([(values * mask)[row].sum() for row in rows])
  return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _mean(values):
  """Mean of the sequences that have a value; nan where none has."""
  known = values[~np.isnan(values)]
  return float(known.mean()) if len(known) else np.nan
