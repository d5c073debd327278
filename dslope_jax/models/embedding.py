"""An embedding from the backbone of any network of this folder that puts out features of pictures.

The weights have the names that the backbone has without a head, beside `fc` and `features`, so
that published weights of the backbone fit.
"""
from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from dslope_jax import models
from dslope_jax.models import iresnet

HEAD = LAST = 'fc', 'features'


class Model(nn.Module):
  """The mean of each map of the backbone's last stage, a linear layer and a norm.

  backbone: name and arguments of `models.build`, such as those of 'hrnet' or 'simple_baseline'.
  dim: D, numbers of the embedding.

  Called with images (B,H,W,3), normalised, of sides that the backbone takes. Returns a dict:
    embedding: (B,D) float32 or wider, not of unit length.
    features: of the backbone.
  """
  backbone: Mapping
  dim: int = 512

  def setup(self):
    self.net = models.build(**self.backbone, num_keypoints=0)
    nn.share_scope(self, self.net)

  @nn.compact
  def __call__(self, images, *, train: bool = False):
    features = self.net(images, train=train)['features']
    pooled = [x.astype(jnp.promote_types(x.dtype, jnp.float32)).mean((1, 2)) for x in features[-1]]
    embedding = iresnet.embed(jnp.concatenate(pooled, -1), self.dim, train=train)
    return {'embedding': embedding, 'features': features}
