"""From maps of joints to people in space, for HUPOR: located, as the refiner sees them, answered.

Lengths are cm, coordinates pixels of the network's picture; cameras are those of `network_camera`.
"""
import jax.numpy as jnp

from dslope_jax import absolute_pose, part_maps
from dslope_jax.association import associate
from dslope_jax.association.parts import PELVIS, STRIDE
from dslope_jax.models import refine_net
from dslope_jax.skeletons import MPI15

CM = 100.0  # unit of the refiner's numbers


def located(maps, camera, limits, *, size, max_people, max_peaks, reference=False):
  """(people of `associate`, their poses (B,P,15,4) of `absolute_pose`) in maps of B pictures.

  maps: {'maps', 'relative_depth', 'anchor_depth'}. camera: (B,4). limits: a `Thresholds`. size:
  (W, H) of the network's picture. reference: maps have the published heights, and depths of joints
  that stand in for the pelvis are taken as its own.
  """
  peak = part_maps.peaks(MPI15.num_keypoints, len(MPI15.limbs)) if reference else 1
  found = associate(maps['maps'] / peak, maps['relative_depth'], maps['anchor_depth'],
                    thresholds=limits, focal=None if reference else camera[:, 0],
                    max_people=max_people, max_peaks=max_peaks)
  same = jnp.ones(len(camera)), jnp.broadcast_to(jnp.array(size), (len(camera), 2))
  return found, absolute_pose.absolute(found['joints'], found['root_depth'], camera, *same, size)


def refiner_input(found, poses, seen, *, width, reference=False):
  """(B*P,15,5), see `refine_net.features`, as shares of the picture's width and m, or with
  `reference` in pixels and cm. seen: (B,P,15), joints that are not kept from it."""
  flat = lambda values: values.reshape(-1, *values.shape[2:])
  features = refine_net.features(flat(STRIDE * found['joints'][..., :2]), flat(poses[..., :3]),
                                 flat(seen & (poses[..., 3] > 0)), PELVIS)
  return features if reference else features / jnp.array([width] * 2 + [CM] * 3)


def network_camera(camera):
  """fx fy cx cy (B,4) in pixels of the network's picture, of cameras (B,7): fx fy cx cy in those of
  the picture, and the scale and offset x, y that lead from one to the other."""
  scale = camera[:, 4:5]
  return jnp.concatenate([camera[:, :2] * scale, camera[:, 2:4] * scale + camera[:, 5:7]], -1)


def answer(found, poses, camera=None):
  """An output of `hupor`'s predict. camera: places of joints that the picture does not show are
  where the pose has them, seen by this camera."""
  joints = found['joints']
  places = STRIDE * joints[..., :2]
  if camera is not None:
    camera = camera[:, None, None]
    seen = poses[..., :2] / jnp.where(poses[..., 3:] > 0, poses[..., 2:3], 1)
    seen = seen * camera[..., :2] + camera[..., 2:]
    places = jnp.where((joints[..., 3:] > 0) | (poses[..., 3:] <= 0), places, seen)
  return {'keypoints': places, 'keypoints_3d': poses[..., :3], 'scores': poses[..., 3],
          'valid': found['valid'], 'overflow': found['overflow']}
