"""Face landmarks: normalised mean error, failure rate, area under the curve of errors."""
import numpy as np

from dslope_jax.errors import UserError


def inter_ocular(keypoints, labelled, skeleton):
  """Distance of the outer corners of the eyes, the usual reference on 300W, COFW and WFLW.

  keypoints: (N,K,2 or more) pixels; labelled: (N,K) bool; skeleton: the K points. Returns (N,)
  float64 pixels, nan for a face of which such a point is not labelled.
  Raises UserError if the set has no such points.
  """
  return _distance(keypoints, labelled, skeleton, lambda side: [f'{side}_eye_outer'])


def inter_pupil(keypoints, labelled, skeleton):
  """Distance of the pupils, where the set has none of the means of each eye's points (300W).

  Arguments, result and errors as for `inter_ocular`.
  """
  def names(side):
    if f'{side}_pupil' in skeleton.names:
      return [f'{side}_pupil']
    return [n for n in skeleton.names if n.startswith(f'{side}_eye_')]
  return _distance(keypoints, labelled, skeleton, names)


def box_side(boxes):
  """Square root of the box's area, a reference for faces seen from the side.

  boxes: (N,4) x, y, width, height. Returns (N,) float64 pixels. Published AFLW files state a
  square box of their own, whose side is the reference of AFLW in place of this.
  """
  return np.sqrt(np.asarray(boxes, np.float64)[:, 2:].prod(1))


def face_errors(predictions, ground_truth, visible, reference, missed=None):
  """Mean distance of each face's labelled points, divided by the face's reference length.

  predictions: (N,K,2 or more) and ground_truth: (N,K,2 or more), pixels of one frame; visible:
  (N,K) bool; reference: (N,) pixels, such as from `inter_ocular`; missed: (N,) bool, faces that
  were not found, whose predictions are not looked at. Returns (N,) float64, nan for a face without
  labelled points or without a positive reference, inf for another one that was missed.
  Raises UserError if shapes disagree or a prediction of a labelled point is not finite.
  Formula: Sagonas et al., 300 Faces in-the-Wild Challenge, IMAVIS 2016.
  """
  a, b = (np.asarray(p, np.float64)[..., :2] for p in (predictions, ground_truth))
  visible, reference = np.asarray(visible, bool), np.asarray(reference, np.float64)
  if a.ndim != 3 or not a.shape == b.shape == (*visible.shape, 2) or (
      reference.shape != a.shape[:1]):
    raise UserError(f'shapes disagree: predictions {a.shape}, ground truth {b.shape}, visible '
                    f'{visible.shape}, reference {reference.shape}')
  missed = np.zeros(len(a), bool) if missed is None else np.asarray(missed, bool)
  distances = np.where(missed[:, None], np.inf, np.linalg.norm(a - b, axis=-1))
  bad = (visible & ~np.isfinite(distances)).any(1) & ~missed
  if bad.any():
    raise UserError(f'{bad.sum()} of {len(bad)} faces hold NaN or infinite numbers')
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


def nme_table(errors):
  """The numbers that papers print for face landmarks, in percent.

  errors: (N,) from `face_errors`. Returns a dict: 'NME', the mean of the faces' errors, without
  missed faces; 'FR@0.08', 'FR@0.10', `failure_rate`, and 'AUC@0.08', 'AUC@0.10', `ced_area`, of
  which each missed face is a failure; and how many faces are left out of the mean: 'missed' ones,
  and those with 'no_reference' or point. nan where no face counts.
  """
  errors = np.asarray(errors, np.float64)
  measured = errors[np.isfinite(errors)]
  table = {'NME': 100 * float(measured.mean()) if measured.size else float('nan')}
  for limit in (0.08, 0.1):
    table[f'FR@{limit:.2f}'] = failure_rate(errors, limit)
    table[f'AUC@{limit:.2f}'] = ced_area(errors, limit)
  return table | {'missed': int(np.isposinf(errors).sum()),
                  'no_reference': int(np.isnan(errors).sum())}


def _that_count(errors):
  errors = np.asarray(errors, np.float64)
  return errors[~np.isnan(errors)]


def _distance(keypoints, labelled, skeleton, names):
  """(N,) distance of the mean of the left points from that of the right ones; nan if one of them is
  not labelled."""
  sides = [[skeleton.index(n) for n in names(side)] for side in ('left', 'right')]
  if not all(sides) or any(None in side for side in sides):
    raise UserError(f'the points of {skeleton.name} do not mark both eyes; divide by the side of '
                    "the box: metric 'nme_box'")
  points = np.asarray(keypoints, np.float64)[..., :2]
  left, right = (points[:, side].mean(1) for side in sides)
  known = np.asarray(labelled, bool)[:, sum(sides, [])].all(1)
  return np.where(known, np.linalg.norm(left - right, axis=-1), np.nan)
