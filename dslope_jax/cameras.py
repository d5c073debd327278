"""Cameras: between world, camera, picture and normalised coordinates; arrays of NumPy or JAX.

Camera frame: X right, Y down, Z forward.
"""


def project(points, focal, center, distortion):
  """Pixels (...,2) of points (...,3) in the camera's frame, with Human3.6M's lens model.

  focal, center: (2,) pixels. distortion: (5,) k1 k2 k3 (radial), p1 p2 (tangential).
  X/Z and Y/Z are clipped to [-1, 1] first, as the published code does.
  Source: Human3.6M's camera model, Pavllo et al., VideoPose3D (CVPR 2019).
  """
  flat = (points[..., :2] / points[..., 2:]).clip(-1, 1)
  k, p = distortion[:3], distortion[3:]
  r2 = (flat * flat).sum(-1, keepdims=True)
  radial = 1 + k[0] * r2 + k[1] * r2 ** 2 + k[2] * r2 ** 3
  tangential = (p * flat).sum(-1, keepdims=True)
  return focal * (flat * (radial + tangential) + p * r2) + center
