"""People in whole pictures, with their places in space, by a run of the task bottom_up."""
import dataclasses

import numpy as np

from dslope_jax import absolute_pose
from dslope_jax.errors import UserError, quoted
from dslope_jax.loading import Networks, of_task
from dslope_jax.predictor import People, as_picture
from dslope_jax.tasks.base import PICTURES

_ROWS = 'refined', 'reasoned', 'detector'  # the last one that a run has answers
_LARGEST = 1e9  # pixels


@dataclasses.dataclass(frozen=True)
class PeopleInSpace(People):
  """The P people of a picture, near to far: `People` whose boxes are around their joints.

  scores: (P,K), height of the joint's peak; 0: it was not found, and its places are 0. Of a refiner
  1 for all joints. keypoints_3d: (P,K,3) mm in the camera's frame, X right, Y down, Z forward.
  camera: (4,) fx fy cx cy, pixels of the picture. left_out: how many peaks and people found no room
  in the answer.
  """
  keypoints_3d: np.ndarray = dataclasses.field(kw_only=True)
  camera: np.ndarray = dataclasses.field(kw_only=True)
  left_out: int = 0

  @property
  def places(self):
    return np.where(self.scores[..., None] > 0, self.keypoints, np.nan)


class PeopleFinder(Networks):
  """Finds the people in pictures.

    people, = PeopleFinder('runs/hupor')([picture], focal=1500)

  weights: 'WORKDIR' of a run of the task bottom_up, or a published folder of one;
    'WORKDIR:detector' for another row of its table than the last one.
  flip: average with the mirrored picture. peak: height from which on a peak of a map is a joint; 0:
    that of the run.
  dtype: in which the networks compute, such as 'float32'; None: as they were trained.

  Attributes: those of `Networks`. Raises OSError or UserError, one line.
  """

  buckets = 1, 4  # whole pictures need a lot of memory

  def __init__(self, weights, *, flip=True, peak=0.0, dtype=None):
    super().__init__(*of_task(weights, 'bottom_up', PICTURES), _ROWS, flip=flip, dtype=dtype)
    if not 0 <= peak < _LARGEST:
      raise UserError(f'peak is a height of 0 or more, not {quoted(peak)}')
    self.test['peak'] = peak

  def __call__(self, images, focal=None) -> list[PeopleInSpace]:
    """The people of each picture.

    images: list of (H,W,3) uint8 RGB arrays or paths of picture files, which are turned upright.
    focal: focal length in pixels of the pictures. None: their width is taken, and all distances
    from the camera are true up to one factor. The axis of the camera goes through the middle.
    """
    images = [as_picture(image) for image in images]
    cameras = [_camera(image.shape[1::-1], focal) for image in images]
    parts = [self.serving.prepare(*of) for of in zip(images, cameras, strict=True)] or [
      self._nobody(0)]
    samples = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    found = self.serving.finish(self._outputs(samples), samples)[self.members[0]]
    return [_people({name: values[i] for name, values in found.items()}, camera)
            for i, camera in enumerate(cameras)]

  def _nobody(self, count):
    one = self.serving.prepare(np.zeros((8, 8, 3), np.uint8), absolute_pose.assumed_camera((8, 8)))
    return {name: np.repeat(values, count, 0) for name, values in one.items()}


def _camera(size, focal):
  camera = absolute_pose.assumed_camera(size)
  if focal is None:
    return camera
  try:
    if 0 < (focal := float(focal)) < _LARGEST:
      return np.array([focal, focal, *camera[2:]], np.float32)
  except (TypeError, ValueError):
    pass
  raise UserError(f'the focal length is a number of pixels above 0, not {quoted(focal)}')


def _people(found, camera):
  """The people of one picture. found: its row of an answer of `systems.hupor`."""
  valid, scores = found['valid'], found['scores'][found['valid']]
  there = scores[..., None] > 0
  keypoints, points = (np.where(there, found[name][valid], 0)
                       for name in ('keypoints', 'keypoints_3d'))
  low = np.where(there, keypoints, np.inf).min(1, initial=np.inf)
  high = np.where(there, keypoints, -np.inf).max(1, initial=-np.inf)
  boxes = np.concatenate([low, high - low], 1)
  return PeopleInSpace(np.where(there.any(1), boxes, 0), keypoints, scores, keypoints_3d=points,
                       camera=camera, left_out=int(found['overflow']))
