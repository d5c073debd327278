"""SMAP's network that corrects 3D poses and adds what was not detected (Zhen et al., SMAP:
Single-Shot Multi-Person Absolute 3D Pose Estimation, 2020).

Details are those of the published code, and submodules carry its names, as in hrnet.py.
"""
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from dslope_jax.models.layers import BatchNorm, linear

HEAD = LAST = ()  # no part is of use without the others


class _Block(nn.Module):
  widths: Sequence[int]
  out: int

  @nn.compact
  def __call__(self, x, *, train):
    for i, width in enumerate(self.widths, start=1):
      x = linear(x, width, f'layer{i}_0')
      x = nn.relu(BatchNorm(name=f'layer{i}_1')(x, train=train))
    return linear(x, self.out, f'layer{len(self.widths) + 1}')


class Model(nn.Module):
  """Dense layers on the joints of a person.

  widths: of the hidden layers.

  Called with (N,K,5) of `features`. Returns a dict:
    pose: (N,K,3), cm from the root joint.
  """
  num_keypoints: int
  widths: Sequence[int] = (160, 256, 256, 128)

  @nn.compact
  def __call__(self, features, *, train: bool = False):
    n, k, _ = features.shape
    x = _Block(self.widths, 3 * k, name='block')(features.reshape(n, -1), train=train)
    return {'pose': x.reshape(n, k, 3)}

  def example(self, batch: int = 1):
    """Shapes of the arguments of a call."""
    return (jax.ShapeDtypeStruct((batch, self.num_keypoints, 5), jnp.float32),)


def features(joints, pose, found, root: int):
  """What the network reads, (N,K,5): of the root its own place, of others the way from it to them.

  joints: (N,K,2), pixels of the network's picture. pose: (N,K,3), cm, camera frame. found: (N,K),
  which joints were detected; others are zero. root: number of that joint.
  """
  x = jnp.concatenate([joints, pose], -1)
  is_root = jnp.arange(x.shape[1])[:, None] == root
  return jnp.where(found[..., None], jnp.where(is_root, x, x - x[:, root, None]), 0)


def refined(offsets, pose, root: int):
  """The network's pose (N,K,3) from the root on, placed at the root of the detected pose (N,K,3);
  cm. The root stays where it was detected."""
  is_root = jnp.arange(pose.shape[1])[:, None] == root
  return pose[:, root, None] + jnp.where(is_root, 0, offsets)
