"""People for HUPOR: in batches, in maps of joints, in space, as the refiner sees them, answered.

Lengths are cm, coordinates pixels of the network's picture; cameras are those of `network_camera`.
"""
from typing import NamedTuple

import jax.numpy as jnp

from dslope_jax import absolute_pose, part_maps, part_noise
from dslope_jax.association import THRESHOLDS, Thresholds, associate
from dslope_jax.association.parts import PELVIS, STRIDE
from dslope_jax.models import refine_net
from dslope_jax.skeletons import MPI15

VIEWS = {'clean': ('image', 'people'), 'occluded': ('occluded_image', 'occluded_people')}
CM = 100.0  # unit of the refiner's numbers


class Settings(NamedTuple):
  """What losses and answers need to know of a system; fields without a text are arguments of
  `hupor.build`.

  size: (W, H) of the network's picture. limits: thresholds of the association. names: of the
  networks. trained: of those that learn. noise: of the drawn maps, None for none.
  """
  size: tuple[int, int]
  max_people: int
  max_peaks: int
  limits: Thresholds = THRESHOLDS['default']
  reference: bool = False
  names: tuple[str, ...] = ()
  trained: tuple[str, ...] = ()
  view: str = 'clean'
  visible_only: bool = True
  noise: part_noise.Noise | None = None
  detected_share: float = 0.0
  student_weight: float = 0.0
  joint_dropout: float = 0.0

  @property
  def sees_pictures(self) -> bool:
    """Whether the loss needs the detector's maps."""
    return self.trained != ('reasoner',) or self.detected_share > 0

  @property
  def unit(self) -> float:
    """cm of a unit of the refiner's answer."""
    return 1.0 if self.reference else CM

  def located(self, maps, camera):
    """(people of `associate`, their poses (B,P,15,4) of `absolute_pose`) in maps of B pictures.

    maps: {'maps', 'relative_depth', 'anchor_depth'}. camera: (B,4). With `reference` maps have the
    published heights, and depths of joints that stand in for the pelvis are taken as its own.
    """
    peak = part_maps.peaks(MPI15.num_keypoints, len(MPI15.limbs)) if self.reference else 1
    found = associate(maps['maps'] / peak, maps['relative_depth'], maps['anchor_depth'],
                      thresholds=self.limits, focal=None if self.reference else camera[:, 0],
                      max_people=self.max_people, max_peaks=self.max_peaks)
    count, size = len(camera), jnp.array(self.size)
    return found, absolute_pose.absolute(
      found['joints'], found['root_depth'], camera, jnp.ones(count),
      jnp.broadcast_to(size, (count, 2)), self.size)

  def refiner_input(self, found, poses, seen):
    """(B*P,15,5), see `refine_net.features`, as shares of the picture's width and m, or with
    `reference` in pixels and cm. seen: (B,P,15), joints that are not kept from it."""
    flat = lambda values: values.reshape(-1, *values.shape[2:])
    features = refine_net.features(flat(STRIDE * found['joints'][..., :2]), flat(poses[..., :3]),
                                   flat(seen & (poses[..., 3] > 0)), PELVIS)
    return features if self.reference else features / jnp.array([self.size[0]] * 2 + [CM] * 3)


def people_of(batch, field='people') -> dict:
  """The people of a batch as `part_maps.encode` takes them, from (B,P,15,6) x, y, X, Y, Z, v."""
  rows, camera = batch[field], batch['camera']
  return {'joints': rows[..., :2],
          'depth': rows[..., 4] * batch['has_depth'][:, None, None],
          'visibility': rows[..., 5] * batch['valid'][..., None],
          'focal': camera[:, 0] * camera[:, 4]}


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
