"""Faces brought onto a template by five points, and the landmarks of faces that have none."""
import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.skeletons import FACE_300W
from dslope_jax.visibility import is_labelled
from input_pipeline.world import faces

# Places in a crop of 112 pixels a side: middle of the eye on the left of the picture and of the
# other one, tip of the nose, corners of the mouth, left and right (face_align.py of insightface).
TEMPLATE = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366),
                     (41.5493, 92.3655), (70.7299, 92.2041)])
_TEMPLATE_SIDE = 112
# Names of the points that are the tip of the nose and a corner of the mouth, the first that a
# skeleton has.
_NOSE = 'nose_3', 'nose_middle', 'nose_0'
_MOUTH = '{}_mouth_upper_0', '{}_mouth', '{}_mouth_0'
_WHOLE = 0.7  # width of the points of a face that fills its picture, as a share of the shorter side
_WHOLE_Y = 0.6  # height of their middle, as a share of the picture's


def template(size: int):
  """(5,2) the template in the pixels of a crop of this side."""
  return TEMPLATE * (size / _TEMPLATE_SIDE)


def five_points(skeleton):
  """(5,K) weights that make the five points of the template of K landmarks.

  An eye is its pupil where the skeleton has one, else the mean of its points. skeleton: with eyes,
  nose and mouth, such as the 68, 98, 29 and 19 points of 300W, WFLW, COFW and AFLW; None for five
  points, which are taken as they are. Raises UserError for others.
  """
  if skeleton is None:
    return np.eye(5)
  weights = np.zeros((5, skeleton.num_keypoints))
  for row, found in enumerate((_eye(skeleton, 'right'), _eye(skeleton, 'left'),
                               _first(skeleton, _NOSE),
                               *(_first(skeleton, [name.format(side) for name in _MOUTH])
                                 for side in ('right', 'left')))):
    if not found:
      raise UserError(f"the {skeleton.num_keypoints} keypoints of '{skeleton.name}' lack an eye, "
                      'the tip of the nose or a corner of the mouth; name a skeleton of faces by '
                      'data.loader.skeleton (300w, wflw, cofw, aflw)')
    weights[row, found] = 1 / len(found)
  return weights


def _eye(skeleton, side):
  pupil = skeleton.index(f'{side}_pupil')
  return [pupil] if pupil is not None else [
    k for k, name in enumerate(skeleton.names) if name.startswith(f'{side}_eye_')]


def _first(skeleton, names):
  found = [skeleton.index(name) for name in names]
  return [next(k for k in found if k is not None)] if any(k is not None for k in found) else []


def known_points(weights, landmarks, visibility):
  """((5,2) points, (5,) bool which are known) of the landmarks (K,2) of a face.

  A point is known where all landmarks that make it are labelled in visibility (K,).
  """
  return weights @ landmarks, ((weights == 0) | is_labelled(visibility)).all(1)


def are_mirrored(points):
  """(N,) bool: faces (N,5,2) whose eyes are exchanged, as seen from the mouth."""
  across = points[:, 1] - points[:, 0]
  down = points[:, 3:].mean(1) - points[:, :2].mean(1)
  return across[:, 0] * down[:, 1] < across[:, 1] * down[:, 0]


def similarity(points, targets):
  """(2,3) the map by turn, one factor and shift that brings points (M,2) nearest to targets (M,2).

  Least squares over rotations without mirror, M >= 2: Umeyama (PAMI 1991), which for points of a
  plane has a closed form, as they are complex numbers. Points of one place keep their size.
  """
  z, w = (np.asarray(p, np.float64) @ (1, 1j) for p in (points, targets))
  from_middle = z - z.mean()
  spread = (np.abs(from_middle) ** 2).sum()
  factor = (from_middle.conj() @ (w - w.mean())) / spread if spread > 0 else 1.0
  shift = w.mean() - factor * z.mean()
  a, b = np.real(factor), np.imag(factor)
  return np.array([[a, -b, shift.real], [b, a, shift.imag]])


def standing_in(box=None, picture=None, points=None):
  """(68,2) landmarks of the mean face, as those of 300W, where a face has none.

  By its box, which the points then fill in width or in height; by five points (5,2), nearest to
  them; or in a picture (W, H) that a face fills.
  """
  face = faces.mean_points()
  if points is not None:
    matrix = similarity(five_points(FACE_300W) @ face, points)
    return face @ matrix[:, :2].T + matrix[:, 2]
  if box is None:
    side = _WHOLE * min(picture)
    middle = np.array(picture) * (0.5, _WHOLE_Y)
    box = np.array([*(middle - side / 2), side, side])
  low, sides = face.min(0), np.ptp(face, axis=0)
  factor = (np.asarray(box[2:], np.float64) / sides).min()
  return (face - low - sides / 2) * factor + box[:2] + np.asarray(box[2:]) / 2
