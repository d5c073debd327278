"""People in pictures for tests: standing in front of a camera, and sets of them."""
import numpy as np

from input_pipeline.pictures import picture

# One standing person in cm, Y down, the pelvis at the origin, facing the camera.
STANDING = np.array([
  (0, -48, 0), (0, -75, 0), (0, 0, 0), (15, -48, 0), (18, -18, 0), (20, 8, -5), (10, 0, 0),
  (11, 45, 0), (11, 88, 3), (-15, -48, 0), (-18, -18, 0), (-20, 8, -5), (-10, 0, 0), (-11, 45, 0),
  (-11, 88, 3)], float)
CAMERA = np.array([400.0, 410.0, 160.0, 118.0])
SIZE = (320, 240)


def seen(joints_3d, camera=CAMERA):
  """(...,2) pixels."""
  return joints_3d[..., :2] / joints_3d[..., 2:] * camera[:2] + camera[2:]


def one(*places, name='a.jpg', size=SIZE, camera=CAMERA, **changes):
  """A `Picture` of people whose pelvis is at these places (X, Y, Z) in cm."""
  joints = STANDING + np.array(places, float).reshape(-1, 1, 3)
  fields = {'joints_2d': seen(joints, CAMERA if camera is None else camera), 'joints_3d': joints,
            'camera': camera, 'visibility': np.full(joints.shape[:2], 2)}
  return picture.Picture(name, size, **fields | changes)


def image(row, size=SIZE):
  return np.random.default_rng(row).integers(0, 255, (*size[::-1], 3), np.uint8)


def pictures(*found, **options):
  return picture.gather('made', 'train', list(found), image, **options)
