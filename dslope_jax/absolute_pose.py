"""Absolute 3D poses of grouped people, as SMAP and HUPOR make them; arrays of NumPy or JAX.

Points are in the camera's frame (X right, Y down, Z forward), cm, P people of the joints of
`skeletons.MPI15`; poses (...,P,15,4) have the height of the joint's peak as the fourth number, and
are 0 where there is no joint. Leading axes are any. Cameras are (...,4 or more): fx fy cx cy in
pixels of the picture, as in `cameras`. The network sees the picture times `scale`, in the middle of
its own picture of `network_size` (W, H).
"""
import numpy as np

from dslope_jax.association.parts import PELVIS, STRIDE
from dslope_jax.cameras import arrays


def assumed_camera(size):
  """Camera (...,4) for pictures of size (...,2) w, h, where none is known: the focal length is the
  width, the axis goes through the middle."""
  size = np.asarray(size, np.float32)
  return np.concatenate([size[..., [0, 0]], size / 2], -1)


def to_picture(pixels, scale, size, network_size):
  """Pixels (...,P,J,2) of the network's picture, in the picture. scale: (...); size: (...,2)."""
  scale, size, network_size = _like(pixels, scale, size, network_size)
  return (pixels - network_size / 2) / scale[..., None, None, None] + size[..., None, None, :] / 2


def back_project(pixels, depth, camera):
  """Points (...,P,J,3) at pixels (...,P,J,2) of the picture, whose Z is depth (...,P,J)."""
  camera = _like(pixels, camera)[0][..., None, None, :]
  flat = (pixels - camera[..., 2:4]) / camera[..., :2]
  return arrays(pixels).concat([flat * depth[..., None], depth[..., None]], axis=-1)


def absolute(joints, root_depth, camera, scale, size, network_size=(832, 512)):
  """Poses (...,P,15,4) of people as `association.associate` gives them.

  joints: (...,P,15,4) x and y in pixels of the maps, cm behind the root, height of the peak.
  root_depth: (...,P) depth over focal length in pixels of the network's picture. camera: (...,4).
  scale: (...). size: (...,2) w, h of the pictures.
  """
  camera, scale = _like(joints, camera, scale)
  root = root_depth * (scale * camera[..., 0])[..., None]
  pixels = to_picture(STRIDE * joints[..., :2], scale, size, network_size)
  points = back_project(pixels, joints[..., 2] + root[..., None], camera)
  return _where_seen(joints, arrays(joints).concat([points, joints[..., 3:]], axis=-1))


def refinement_input(joints, poses):
  """What the refinement network sees of each person, (...,P,75): 15 rows of x and y, pixels of the
  network's picture, and X Y Z, cm. All but the root's are differences from it; 0 for no joint.

  joints: as in `absolute`, poses: what it makes of them. Source: SMAP's RefineNet.
  """
  rows = arrays(joints).concat([STRIDE * joints[..., :2], poses[..., :3]], axis=-1)
  is_root = (np.arange(rows.shape[-2]) == PELVIS)[:, None]
  rows = rows - arrays(rows).where(is_root, 0, rows[..., PELVIS, None, :])
  return _where_seen(joints, rows).reshape(*rows.shape[:-2], -1)


def refined(poses, output):
  """Poses (...,P,15,4) whose joints are the root plus the network's output (...,P,45), all of
  height 1; the root stays. A person without a root stays nobody."""
  xp, root = arrays(poses), poses[..., PELVIS, None, :]
  points = root[..., :3] + output.reshape(*poses.shape[:-1], 3)
  points = xp.where((np.arange(poses.shape[-2]) == PELVIS)[:, None], root[..., :3], points)
  there = xp.broadcast_to(root[..., 3:] > 0, (*poses.shape[:-1], 1))
  return xp.where(there, xp.concat([points, xp.ones_like(points[..., :1])], axis=-1), 0)


def reprojected(poses, before):
  """Refined poses (...,P,15,4) where the joints that were found lie behind their pixels again, at
  their refined depth; the others stay. before: (...,P,15,4) the poses of `absolute`."""
  ray = before[..., :2] / arrays(before).where(before[..., 3:] > 0, before[..., 2:3], 1)
  xy = arrays(poses).where(before[..., 3:] > 0, ray * poses[..., 2:3], poses[..., :2])
  return arrays(poses).concat([xy, poses[..., 2:]], axis=-1)


def _where_seen(joints, values):
  return arrays(values).where(joints[..., 3:] > 0, values, 0)


def _like(array, *others):
  """The others as arrays of the same module."""
  return [arrays(array).asarray(other) for other in others]
