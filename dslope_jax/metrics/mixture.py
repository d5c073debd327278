"""One pose of several networks' poses, joint by joint.

Every rule takes keypoints (M,N,K,2) in pixels, confidences (M,N,K) of M networks and what was
fitted, and returns keypoints (N,K,2) and confidences (N,K), float64. All raise UserError if
shapes disagree or a number is not finite.
"""
import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.metrics import calibration

_FOLDS = 4  # of the people, to find out whether a context helps
_REACHES = (0.0, 0.02, 0.05, 0.1, 0.2, np.inf)


def average(keypoints, confidences, fits=None):
  """Mean of the coordinates and of the confidences, every network alike. fits: list of M."""
  return CALIBRATED['average'](*_calibrated(keypoints, confidences, fits))


def confidence(keypoints, confidences, fits=None):
  """Mean of the coordinates weighted by the calibrated confidences.

  fits: list of M fits of `calibration`, each of isotonic kind or None. The
  confidence is the weighted mean of the confidences; where all are 0 the weights are equal.
  """
  return CALIBRATED['confidence'](*_calibrated(keypoints, confidences, fits))


def pick(keypoints, confidences, fits=None):
  """The joint of the network with the highest calibrated confidence, the first of equals.

  fits: as for `confidence`.
  """
  return CALIBRATED['pick'](*_calibrated(keypoints, confidences, fits))


def gate(keypoints, confidences, fit, context=None):
  """Two networks weighted by a logistic gate, picked by it where they are far apart.

  fit: from `fit_gate`. Far apart: farther than the fitted reach, in shares of the pose's extent;
  between two distant joints lies nothing. The confidence is that of the used mixture.
  context: (N,C) of each pose, as given to `fit_gate`; used where the fit has found it to help.
  """
  return gate_calibrated(*_calibrated(keypoints, confidences, fit['fits']), fit, context,
                         calibration.apply)


def fit_gate(keypoints, confidences, truth, labelled, is_right, fits=None, context=None,
             people=None):
  """Fits the gate on predictions that neither network was trained on.

  keypoints: (2,N,K,2) and confidences: (2,N,K); truth: (N,K,2); labelled: (N,K) bool; is_right:
  keypoints (N,K,2) -> (N,K) bool, such as `pose_errors.right_joints` with truth, areas and sigmas
  bound. fits: as for `confidence`. The gate learns which network is nearer to the truth; the reach
  is, of a few, the one with the most right joints.
  context: (N,C), what else is known of each pose, such as embeddings of both networks; it becomes
  features of all its joints if that gets more joints right, by cross-validation over `people`,
  (N,) numbers.
  Returns {'gate': a logistic fit, 'reach': share of the pose's extent, None for no limit, 'fits',
  'context': whether it is used}, ready for json; None if no labelled joint is nearer in one
  network than in the other.
  Raises UserError also unless there are two networks.
  """
  raw = np.asarray(keypoints, np.float64)
  calibrated = _calibrated(keypoints, confidences, fits)
  labelled = np.asarray(labelled, bool)
  distances = np.linalg.norm(raw - np.asarray(truth, np.float64), axis=-1)
  decided = labelled & (distances[0] != distances[1])
  if not decided.any():
    return None

  def right_joints(fit, rows):
    return int((is_right(gate(raw, confidences, fit, context)[0]) & labelled)[rows].sum())

  def fitted(used, rows):
    """The gate of some rows (N,) bool, with the context or without."""
    features, _ = _features(*calibrated, context if used else None)
    chosen = decided & rows[:, None]
    learned = calibration.fit_logistic(features[chosen], (distances[1] < distances[0])[chosen])
    tried = [{'gate': learned, 'reach': None if np.isinf(reach) else reach, 'fits': fits,
              'context': used} for reach in _REACHES]
    return max(tried, key=lambda fit: right_joints(fit, rows))

  used = context is not None and _helps(fitted, right_joints, decided, people)
  return fitted(used, np.ones(len(labelled), bool))


def _helps(fitted, right_joints, decided, people):
  """Whether gates with a context get more joints right of people whom they were not fitted on."""
  folds = np.unique(people, return_inverse=True)[1] % _FOLDS
  tests = [folds == fold for fold in np.unique(folds)]
  if len(tests) < 2 or not all(decided[~test].any() for test in tests):
    return False
  found = [sum(right_joints(fitted(used, ~test), test) for test in tests) for used in (False, True)]
  return found[1] > found[0]


RULES = {'average': average, 'confidence': confidence, 'pick': pick, 'gate': gate}


def _average(keypoints, confidences):
  return keypoints.mean(0), confidences.mean(0)


def _confidence(keypoints, confidences):
  xp, total = keypoints.__array_namespace__(), confidences.sum(0)
  return _weighted(keypoints, confidences, xp.where(
    total > 0, confidences / xp.where(total > 0, total, 1), 1 / len(confidences)))


def _pick(keypoints, confidences):
  xp, best = keypoints.__array_namespace__(), confidences.argmax(0)[None]
  return (xp.take_along_axis(keypoints, best[..., None], 0)[0],
          xp.take_along_axis(confidences, best, 0)[0])


def _weighted(keypoints, confidences, weights):
  return (weights[..., None] * keypoints).sum(0), (weights * confidences).sum(0)


# The rules for calibrated confidences; arrays are of NumPy, or of JAX as for an export.
CALIBRATED = {'average': _average, 'confidence': _confidence, 'pick': _pick}


def gate_calibrated(keypoints, confidences, fit, context, apply):
  """`gate` for calibrated confidences, of NumPy or of JAX; apply: `calibration.apply` for these."""
  xp = keypoints.__array_namespace__()
  features, distance = _features(keypoints, confidences, context if fit.get('context') else None)
  second = apply(fit['gate'], features)
  reach = xp.inf if fit['reach'] is None else fit['reach']
  second = xp.where(distance > reach, second > 0.5, second)
  return _weighted(keypoints, confidences, xp.stack([1 - second, second]))


def _features(keypoints, confidences, context=None):
  """(N,K,4) of two networks: both logits, distance, and distance times difference; distance. With
  a context (N,C) also the mean of each network's logits over the pose and the context."""
  if len(keypoints) != 2:
    raise UserError(f'the gate is for two networks, not {len(keypoints)}')
  xp = keypoints.__array_namespace__()
  extent = (keypoints.max(2) - keypoints.min(2)).max(-1).mean(0)  # (N,) pixels
  gap = xp.linalg.norm(keypoints[1] - keypoints[0], axis=-1)
  distance = gap / xp.where(extent > 0, extent, 1)[:, None]
  logits = xp.clip(confidences, 1e-4, 1 - 1e-4)
  logits = xp.log(logits / (1 - logits))
  reserve = xp.log1p(10 * distance)
  features = xp.stack([*logits, reserve, reserve * (logits[1] - logits[0])], -1)
  if context is not None:
    of_pose = xp.concatenate([logits.mean(-1).T, xp.asarray(context, logits.dtype)], 1)[:, None]
    repeated = xp.broadcast_to(of_pose, (*features.shape[:2], of_pose.shape[-1]))
    features = xp.concatenate([features, repeated], -1)
  return features, distance


def _calibrated(keypoints, confidences, fits):
  """Both as float64, checked, the confidences by their fits."""
  keypoints = np.asarray(keypoints, np.float64)
  confidences = np.asarray(confidences, np.float64)
  if keypoints.ndim != 4 or keypoints.shape != (*confidences.shape, 2) or not len(keypoints):
    raise UserError(f'keypoints have shape {keypoints.shape}, confidences {confidences.shape}; '
                    'needed are (M,N,K,2) and (M,N,K)')
  if not (np.isfinite(keypoints).all() and np.isfinite(confidences).all()):
    raise UserError('a keypoint or confidence is NaN or infinite')
  fits = [None] * len(confidences) if fits is None else fits
  if len(fits) != len(confidences):
    raise UserError(f'{len(confidences)} networks, but {len(fits)} fits')
  return keypoints, np.stack([calibration.apply(f, c)
                              for f, c in zip(fits, confidences, strict=True)])
