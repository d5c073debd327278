"""A standing body of mean bones for the tests of hidden joints, by names of joints."""
import numpy as np

from dslope_jax.skeletons import H36M

_RIGHT = {  # mm from the pelvis: to the person's right, up, forward
  'shoulder': (149, 484, 0), 'elbow': (209, 177, -15), 'wrist': (229, -58, 30),
  'hip': (122, -25, 0), 'knee': (126, -507, 10), 'ankle': (130, -897, -10)}
_MIDDLE = {'hip': (0, 0, 0), 'spine': (0, 242, 0), 'base': (0, 484, 0), 'top': (0, 748, 10),
           'nose': (0, 600, 60), 'inner_head': (0, 610, 20)}
_OF_H36M = {'thorax': 'base', 'neck': 'nose', 'head': 'top'}
_OF_MPI = {'neck': 'base', 'head_top': 'top', 'head': 'inner_head'}


def body(skeleton, yaw=0.0, aside=0.0, away=4000.0, **moved):
  """(J,3) mm in the camera's frame of who stands `away`, and `aside` to the picture's right.

  yaw: degrees; 0 faces the camera, 90 turns the person's face to the picture's right. moved: names
  of joints with other places, to the person's right, up, forward.
  """
  places = {}
  for name in skeleton.names:
    side, _, part = name.rpartition('_')
    if side in ('left', 'right'):
      places[name] = np.array(_RIGHT[part]) * (1 if side == 'right' else -1, 1, 1)
    else:
      middle = _OF_H36M if skeleton is H36M else _OF_MPI
      places[name] = np.array(_MIDDLE[middle.get(name, name)])
  right, up, forward = np.array([moved.get(name, p) for name, p in places.items()], float).T
  s, c = np.sin(np.radians(yaw)), np.cos(np.radians(yaw))
  return np.stack([aside - c * right + s * forward, -up, away - s * right - c * forward], -1)


def clip(skeleton, frames, seed):
  """(T,J,3) mm: bodies with joints moved at random, somewhere before the camera."""
  rng = np.random.default_rng(seed)
  return np.stack([
    body(skeleton, rng.uniform(0, 360), rng.uniform(-900, 900), rng.uniform(2500, 6000))
    + rng.normal(0, 60, (skeleton.num_keypoints, 3)) for _ in range(frames)])
