"""Cameras: between world, camera, picture and normalised coordinates; arrays of NumPy or JAX.

Camera frame: X right, Y down, Z forward. `params` are (...,9): fx fy cx cy in pixels, k1 k2 k3
(radial) and p1 p2 (tangential), of one camera (9,) or of one for each of the leading axes of the
points. Source of lens model and conventions: Human3.6M, and Pavllo et al., VideoPose3D (CVPR 2019).
"""
import numpy as np


def project(points, params):
  """Pixels (...,2) of points (...,3) in the camera's frame, with Human3.6M's lens model.

  X/Z and Y/Z are clipped to [-1, 1] first, as the published code does.
  """
  flat, params = _flat(points).clip(-1, 1), _spread(params, points)
  k, p = params[..., 4:7], params[..., 7:]
  r2 = (flat * flat).sum(-1, keepdims=True)
  radial = 1 + k[..., :1] * r2 + k[..., 1:2] * r2 ** 2 + k[..., 2:] * r2 ** 3
  tangential = (p * flat).sum(-1, keepdims=True)
  return params[..., :2] * (flat * (radial + tangential) + p * r2) + params[..., 2:4]


def project_linear(points, params):
  """As `project`, without the lens distortion."""
  params = _spread(params, points)
  return params[..., :2] * _flat(points).clip(-1, 1) + params[..., 2:4]


def world_to_camera(points, quaternion, translation):
  """Points (...,3) of the world in the frame of a camera.

  quaternion: (4,) w, x, y, z, of length 1, that turns the camera's axes into the world.
  translation: (3,) place of the camera in the world, in the unit of the points.
  """
  return _rotate(points - translation, -quaternion[1:], quaternion[0])


def camera_to_world(points, quaternion, translation):
  """Inverse of `world_to_camera`."""
  return _rotate(points, quaternion[1:], quaternion[0]) + translation


def normalise_screen(points, w, h):
  """Pixels (...,2) of a picture w x h such that x is -1 to 1; y keeps the aspect ratio, 0 is the
  middle."""
  return points / w * 2 - np.array((1, h / w))


def denormalise_screen(points, w, h):
  """Inverse of `normalise_screen`."""
  return (points + np.array((1, h / w))) * w / 2


def to_image_space(points, params, root):
  """Poses whose x, y are pixels and whose depth is scaled to pixels, relative to the root joint.

  points: (...,J,3) mm in the camera's frame. root: index of a joint. Returns (...,J,3): x and y of
  a pinhole, z = (Z - Z_root) f / Z_root with the mean focal length f.
  """
  params, depth = _spread(params, points), points[..., root:root + 1, 2:]
  z = (points[..., 2:] - depth) * _mean_focal(params) / depth
  xy = params[..., :2] * _flat(points) + params[..., 2:4]
  return arrays(points).concat([xy, z], axis=-1)


def from_image_space(relative, root_mm, params):
  """Inverse of `to_image_space` where the place of the root is known.

  relative: (...,J,3) pixels, relative to the root. root_mm: (...,3) the root in the camera's frame.
  Returns (...,J,3) mm relative to the root, by exact back-projection.
  """
  params, root = _spread(params, relative), root_mm[..., None, :]
  depth = root[..., 2:] * (1 + relative[..., 2:] / _mean_focal(params))
  flat = _flat(root) + relative[..., :2] / params[..., :2]  # X/Z, Y/Z
  return arrays(relative).concat([flat * depth, depth], axis=-1) - root


def _flat(points):
  """X/Z and Y/Z (...,2)."""
  return points[..., :2] / points[..., 2:]


def _spread(params, points):
  """params with axes of length 1 for the axes of the points that they do not have."""
  shape = params.shape[:-1] + (1,) * (points.ndim - params.ndim) + params.shape[-1:]
  return params.reshape(shape)


def _mean_focal(params):
  return params[..., :2].mean(-1, keepdims=True)


def _rotate(points, axis, w):
  """Points turned by the unit quaternion (w, axis)."""
  across = arrays(points).linalg.cross
  turned = across(axis, points)
  return points + 2 * (w * turned + across(axis, turned))


def arrays(points):
  """The module that the array is of, NumPy or jax.numpy."""
  return points.__array_namespace__()
