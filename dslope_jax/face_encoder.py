"""Embeddings of the faces in any pictures, by a run of the task recognition."""
import numpy as np

from dslope_jax import skeletons
from dslope_jax.errors import UserError, quoted
from dslope_jax.loading import Networks, of_task
from dslope_jax.predictor import as_picture, checked_boxes
from dslope_jax.systems.base import without_view
from dslope_jax.tasks.base import FACES
from input_pipeline import face_alignment

TOGETHER = 'mean'  # both networks of a pair, as in the tables
_LARGEST = 1e9  # pixels


class FaceEncoder(Networks):
  """Describes faces by embeddings, which are near each other for faces of one person.

    embeddings, = FaceEncoder('runs/faces')([picture], [boxes])
    similarity = embeddings @ embeddings.T

  weights: 'WORKDIR' of a run of the task recognition; 'WORKDIR:gnet' for one network of a pair, of
    which ENet answers if none is named, as faces may be hidden; 'WORKDIR:mean' for both.
  flip: add the embedding of the mirrored face.
  dtype: in which the networks compute, such as 'float32'; None: as they were trained.

  Attributes: those of `Networks`. Raises OSError or UserError, one line.
  """

  def __init__(self, weights, *, flip=True, dtype=None):
    super().__init__(*of_task(weights, 'recognition', FACES), ('enet',), flip=flip, dtype=dtype)

  def __call__(self, images, boxes=None, landmarks=None, skeleton=None) -> list[np.ndarray]:
    """(P,D) embeddings of unit length of the P faces of each picture: the product of two of them is
    their similarity, the cosine.

    images: list of (H,W,3) uint8 RGB arrays or paths of picture files, which are turned upright.
    boxes: a list with an array (P,4) for each, x, y, width, height in pixels.
    landmarks: a list with an array (P,K,2) for each, by which the faces are brought onto a template
      if the run was trained so; better than boxes then.
    skeleton: of the landmarks, or its name: 300w, wflw, cofw or aflw; None for five points: middle
      of the eye on the left of the picture and of the other one, tip of the nose, corners of the
      mouth, left and right.
    Without boxes and landmarks every picture is one face.
    """
    images = [as_picture(image) for image in images]
    skeleton = skeletons.by_name(skeleton) if isinstance(skeleton, str) else skeleton
    boxes = _each(boxes, checked_boxes, len(images), 'boxes')
    landmarks = _each(landmarks, lambda of: _checked(of, skeleton), len(images), 'landmarks')
    parts = []
    for image, own, points in zip(images, boxes, landmarks, strict=True):
      if own is not None and points is not None and len(own) != len(points):
        raise UserError(f'a picture has {len(own)} boxes and landmarks of {len(points)} faces')
      parts.append(self.serving.prepare(image, own, points, skeleton))
    samples = {'image': np.concatenate([of['image'] for of in (*parts, self._nobody(0))])}
    found = self.serving.finish(self._outputs(samples), samples)
    together = [found[member]['embedding'] for member in self.members]
    # Side by side their product is the mean of the networks' own.
    out = np.concatenate(together, -1) / np.sqrt(len(together))
    return np.split(out, np.cumsum([len(of['image']) for of in parts]))[:-1]

  def _nobody(self, count):
    return self.serving.prepare(np.zeros((8, 8, 3), np.uint8), np.full((count, 4), 8, np.float32))

  def _answers(self):
    """Also that of both networks."""
    found = super()._answers()
    for mix in self.serving.system.mixes:
      found[TOGETHER] = tuple(name for name in self._shapes if without_view(name) in mix)
    return found


def _each(values, check, count, what):
  """The checked arrays of each picture, or None for each."""
  if values is None:
    return [None] * count
  values = list(values)
  if len(values) != count:
    raise UserError(f'{count} pictures and {what} of {len(values)}')
  return [check(of) for of in values]


def _checked(landmarks, skeleton):
  """Landmarks (P,K,2) of a picture. UserError for others, and for faces that are mirrored."""
  try:
    landmarks = np.asarray(landmarks, np.float64)
  except (TypeError, ValueError):
    raise UserError('landmarks are arrays of numbers') from None
  count = 5 if skeleton is None else skeleton.num_keypoints
  landmarks = landmarks.reshape(-1, count, 2) if not landmarks.size else landmarks
  if landmarks.ndim != 3 or landmarks.shape[1:] != (count, 2):
    name = 'five points' if skeleton is None else skeleton.name
    raise UserError(f'the landmarks of a picture, {name}, are an array (P,{count},2) of x, y, not '
                    f'{landmarks.shape}; another skeleton is named by skeleton=')
  if not (np.abs(landmarks) < _LARGEST).all():
    raise UserError(f'landmarks are finite numbers of pixels, not {quoted(landmarks.max())}')
  mirrored = face_alignment.are_mirrored(face_alignment.five_points(skeleton) @ landmarks)
  if mirrored.any():
    raise UserError(f'face {int(np.argmax(mirrored))} of a picture has left and right exchanged: '
                    'the first eye is the one on the left of the picture')
  return landmarks
