"""3D poses of tracks of 2D keypoints, by a run of the task lifting."""
import numbers

import numpy as np

from dslope_jax import joint_mapping, skeletons
from dslope_jax.errors import UserError, quoted
from dslope_jax.loading import Networks, of_task
from dslope_jax.tasks.base import TRACKS

_LARGEST = 1e9  # pixels


class Lifter(Networks):
  """Lifts one person's 2D keypoints to 3D.

    poses = Lifter('runs/lifting')(keypoints, confidence, (1920, 1080), 'coco')

  weights: 'WORKDIR' of a run of the task lifting, or a published folder of one; 'WORKDIR:gnet' for
    one network of a pair, of which ENet answers if none is named: people may be hidden.
  flip: average with the mirrored track.
  dtype: in which the networks compute, such as 'float32'; None: as they were trained.

  Attributes: those of `Networks`, and unit: of the poses, 'mm', or where the network was trained on
  poses without a scale 'half picture width'.

  Raises OSError or UserError, one line.
  """

  def __init__(self, weights, *, flip=True, dtype=None):
    super().__init__(*of_task(weights, 'lifting', TRACKS), ('enet',), flip=flip, dtype=dtype)
    self.unit = self.serving.unit

  def __call__(self, keypoints, confidence, size, skeleton) -> np.ndarray:
    """(F,J,3) poses of F successive frames, relative to the hip, in `unit`: X right, Y down, Z away
    from the camera.

    keypoints: (F,K,2) pixels of pictures of this size (W, H). confidence: (F,K), 0 to 1.
    skeleton: of the K keypoints, or its name; the network's joints are made of them, see
    `joint_mapping`. Raises UserError where they cannot be, or for arrays of other forms.
    """
    return self.poses(*self.joints(keypoints, confidence, skeleton), size)

  def joints(self, keypoints, confidence, skeleton):
    """((F,J,2), (F,J)) of the network's joints; arguments and errors as above."""
    skeleton = skeletons.by_name(skeleton) if isinstance(skeleton, str) else skeleton
    try:
      keypoints, confidence = np.asarray(keypoints, float), np.asarray(confidence, float)
    except (TypeError, ValueError):
      raise UserError('keypoints and confidence are arrays of numbers') from None
    count = skeleton.num_keypoints
    if confidence.ndim != 2 or keypoints.shape != (*confidence.shape, 2) or (
        confidence.shape[1] != count):
      raise UserError(f'a track of {skeleton.name} has keypoints (F,{count},2) and confidence '
                      f'(F,{count}), not {keypoints.shape} and {confidence.shape}')
    if not (np.abs(keypoints) < _LARGEST).all() or not (
        (confidence >= 0) & (confidence <= 1)).all():
      raise UserError('keypoints are finite, and confidence is 0 to 1; give joints that were not '
                      'found confidence 0')
    return joint_mapping.convert(keypoints, confidence, skeleton, self.facts.skeleton)

  def poses(self, keypoints, confidence, size):
    """The same of the network's own joints (F,J,2) and (F,J)."""
    if np.shape(size) != (2,) or not all(
        isinstance(side, numbers.Real) and 0 < side < _LARGEST for side in size):
      raise UserError(f'the size of the pictures is (W, H) in pixels, not {quoted(size)}')
    samples = self.serving.prepare(keypoints, confidence, size)
    return self.serving.finish(self._outputs(samples), samples)[self.members[0]]['keypoints_3d']

  def _nobody(self, count):
    joints = self.facts.skeleton.num_keypoints
    frames = count * self.facts.frames
    return self.serving.prepare(np.zeros((frames, joints, 2)), np.zeros((frames, joints)), (2, 2))
