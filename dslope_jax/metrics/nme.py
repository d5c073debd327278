"""Face landmarks: normalised mean error, failure rate, area under the curve of errors."""
import numpy as np


def inter_ocular(keypoints, skeleton, visibility):
  """Distance of the outer corners of the eyes, the usual reference on 300W, COFW and WFLW.

  keypoints: (N,K,2 or more) pixels; skeleton: the K points; visibility: (N,K). Returns (N,) float64
  pixels, 0 for a face on which a point that it is made of is not labelled.
  Raises ValueError if the set has no such points.
  """
  return _distance(keypoints, skeleton, visibility, lambda side: [f'{side}_eye_outer'])


def inter_pupil(keypoints, skeleton, visibility):
  """Distance of the pupils, where the set has none of the means of each eye's points (300W).

  Arguments, result and errors as for `inter_ocular`.
  """
  def names(side):
    if f'{side}_pupil' in skeleton.names:
      return [f'{side}_pupil']
    return [n for n in skeleton.names if n.startswith(f'{side}_eye_')]
  return _distance(keypoints, skeleton, visibility, names)


def box_side(boxes):
  """Square root of the box's area, a reference for faces seen from the side.

  boxes: (N,4) x, y, width, height. Returns (N,) float64 pixels. Published AFLW files state a
  square box of their own, whose side is 200 times their scale: pass that for AFLW.
  """
  return np.sqrt(np.asarray(boxes, np.float64)[:, 2:].prod(1))


def face_errors(predictions, ground_truth, visible, reference):
  """Mean distance of each face's labelled points, divided by the face's reference length.

  predictions: (N,K,2 or more) and ground_truth: (N,K,2 or more), pixels of one frame; visible:
  (N,K) bool; reference: (N,) pixels, such as from `inter_ocular`. Returns (N,) float64, nan for a
  face without labelled points or without a positive reference.
  Raises ValueError if shapes disagree or a prediction of a labelled point is not finite.
  Formula: Sagonas et al., 300 Faces in-the-Wild Challenge, IMAVIS 2016.
  """
  a, b = (np.asarray(p, np.float64)[..., :2] for p in (predictions, ground_truth))
  visible, reference = np.asarray(visible, bool), np.asarray(reference, np.float64)
  if a.ndim != 3 or not a.shape == b.shape == (*visible.shape, 2) or (
      reference.shape != a.shape[:1]):
    raise ValueError(f'shapes disagree: predictions {a.shape}, ground truth {b.shape}, visible '
                     f'{visible.shape}, reference {reference.shape}')
  distances = np.linalg.norm(a - b, axis=-1)
  bad = (visible & ~np.isfinite(distances)).any(1)
  if bad.any():
    raise ValueError(f'{bad.sum()} of {len(bad)} faces hold NaN or infinite numbers')
  counts = visible.sum(1)
  usable = (counts > 0) & (reference > 0) & np.isfinite(reference)
  total = np.where(visible, distances, 0).sum(1)
  return np.where(usable, total / np.where(usable, counts * reference, 1), np.nan)


def failure_rate(errors, threshold):
  """Share of the faces, in percent, whose error is above `threshold`; nan ones do not count."""
  errors = _that_count(errors)
  return 100 * float((errors > threshold).mean()) if errors.size else float('nan')


def ced_area(errors, limit):
  """Area in percent under the curve of the share of faces with at most an error, from 0 to limit.

  errors: (N,), nan ones do not count; limit: above 0. The curve is a staircase, so the area is
  exact: the mean of 1 - error / limit, 0 where that is negative. Published code adds up narrow
  strips, which differs in the third digit of the percentage at most.
  """
  errors = _that_count(errors)
  return 100 * float(np.clip(1 - errors / limit, 0, None).mean()) if errors.size else float('nan')


def nme_table(predictions, ground_truth, visible, reference, missed=None):
  """The numbers that papers print for face landmarks, in percent.

  Arguments and errors as for `face_errors`. missed: (N,) bool, faces without a prediction; they are
  failures, and left out of the mean. Returns a dict: 'NME', the mean of the faces' errors;
  'FR@0.08', 'FR@0.10', `failure_rate`; 'AUC@0.08', 'AUC@0.10', `ced_area`; how many faces have no
  error, 'faces_left_out', for want of labels or of a length to divide by; and 'missed', where there
  are some. nan where no face counts.
  """
  errors = face_errors(predictions, ground_truth, visible, reference)
  counted = _that_count(errors)
  if missed is not None and np.any(missed):
    errors = np.where(missed & ~np.isnan(errors), np.inf, errors)
    counted = errors[np.isfinite(errors)]
  table = {'NME': 100 * float(counted.mean()) if counted.size else float('nan')}
  for limit in (0.08, 0.1):
    table[f'FR@{limit:.2f}'] = failure_rate(errors, limit)
    table[f'AUC@{limit:.2f}'] = ced_area(errors, limit)
  table['faces_left_out'] = int(np.isnan(errors).sum())
  count = int(np.isinf(errors).sum())
  return table | ({'missed': count} if count else {})


def _that_count(errors):
  errors = np.asarray(errors, np.float64)
  return errors[~np.isnan(errors)]


def _distance(keypoints, skeleton, visibility, names):
  """(N,) distance of the mean of the left points from that of the right ones; 0 where one of them
  is not labelled."""
  sides = [[skeleton.index(n) for n in names(side)] for side in ('left', 'right')]
  if not all(sides) or any(None in side for side in sides):
    raise ValueError(f'the points of {skeleton.name} do not mark both eyes; give the reference '
                     'lengths by box_side')
  points = np.asarray(keypoints, np.float64)[..., :2]
  left, right = (points[:, side].mean(1) for side in sides)
  labelled = (np.asarray(visibility)[:, sum(sides, [])] > 0).all(1)
  return np.where(labelled, np.linalg.norm(left - right, axis=-1), 0.0)
