"""The last layer of a network that tells classes apart by angles: a direction for each class."""
import flax.linen as nn
import jax.numpy as jnp

from dslope_jax.margins import unit
from dslope_jax.models import initializers

OWN_NAMES = True


class Model(nn.Module):
  """Cosines (B,C) of embeddings (B,D) of any length with the directions of C classes, which start
  from N(0, 0.01). Computed in float32 or wider. classes: C."""
  classes: int

  @nn.compact
  def __call__(self, embedding, *, train: bool = False):
    wide = jnp.promote_types(embedding.dtype, jnp.float32)
    shape = embedding.shape[1], self.classes
    kernel = self.param('kernel', initializers.normal(0.01), shape, wide)
    return unit(embedding.astype(wide)) @ unit(kernel.T).T
