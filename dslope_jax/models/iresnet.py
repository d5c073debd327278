"""IResNet (Duta et al., Improved Residual Networks, 2020) as insightface has it for faces, from the
network of Deng et al., ArcFace (CVPR 2019): 3x3 stem, norm before convolution, PReLU.

Submodules carry the published PyTorch names, as in hrnet.py.
"""
import flax.linen as nn
import jax.numpy as jnp

from dslope_jax.errors import UserError
from dslope_jax.models import initializers
from dslope_jax.models.layers import BatchNorm, Conv, PReLU, linear

HEAD = LAST = 'fc', 'features'  # they depend on the size of the pictures and of the embedding
STRIDE = 16  # picture pixels of a pixel of the last map
# Blocks of the four stages (published: iresnet18 to iresnet200); 10 is the smallest of that form.
DEPTHS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3),
          100: (3, 13, 30, 3), 200: (6, 26, 60, 6)}


class Block(nn.Module):
  """Two 3x3 convolutions with a skip, without an activation behind it. stride: of the second."""
  features: int
  stride: int = 1

  @nn.compact
  def __call__(self, x, *, train):
    norm = lambda x, name: BatchNorm(name=name)(x, train=train)
    y = _conv(self.features, 3, name='conv1')(norm(x, 'bn1'))
    y = PReLU(name='prelu')(norm(y, 'bn2'))
    y = norm(_conv(self.features, 3, self.stride, name='conv2')(y), 'bn3')
    if self.stride > 1 or x.shape[-1] != self.features:
      x = norm(_conv(self.features, 1, self.stride, name='downsample_0')(x), 'downsample_1')
    return x + y


class Model(nn.Module):
  """IResNet; every convolution starts from N(0, 0.1), as published.

  depth: 10, 18, 34, 50, 100 or 200. dim: D, numbers of the embedding.
  width: channels of the stem; stage i (from 0) has width * 2**i.
  dropout: share of the last map that is left out in training.
  dtype: of the computation, 'float32' or 'bfloat16'. Parameters, batch statistics and embeddings
    are float32 in either case ('float64', for exact comparisons, makes them float64 too).

  Called with images (B,H,W,3), (x - 127.5) / 127.5 of RGB as published (112x112); the last layer
  has the size of the images at initialisation. Training needs the random key 'dropout'. Returns a
  dict:
    embedding: (B,D), not of unit length.
    features: for the four stages a list of one map, (B,H/2,W/2,C) to (B,H/16,W/16,C).
  """
  depth: int = 18
  dim: int = 512
  width: int = 64
  dropout: float = 0.0
  dtype: str | None = None

  @nn.compact
  def __call__(self, images, *, train: bool = False):
    if self.depth not in DEPTHS:
      raise UserError(f'IResNet depth must be one of {sorted(DEPTHS)}, not {self.depth}')
    x = images if self.dtype is None else images.astype(self.dtype)
    x = PReLU(name='prelu')(
      BatchNorm(name='bn1')(_conv(self.width, 3, name='conv1')(x), train=train))
    features = []
    for stage, count in enumerate(DEPTHS[self.depth]):
      for i in range(count):
        block = Block(self.width * 2 ** stage, 1 if i else 2, name=f'layer{stage + 1}_{i}')
        x = block(x, train=train)
      features.append([x])
    x = BatchNorm(name='bn2')(x, train=train)
    x = x.transpose(0, 3, 1, 2).reshape(len(x), -1)  # in PyTorch's order
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return {'embedding': embed(x, self.dim, train=train), 'features': features}


def embed(x, dim: int, *, train: bool):
  """Embedding (B,dim) of (B,C): a linear layer `fc` and a norm `features` whose scale stays 1,
  children of the module that calls it. Computed in float32 or wider."""
  x = linear(x.astype(jnp.promote_types(x.dtype, jnp.float32)), dim, 'fc')
  return BatchNorm(learn_scale=False, name='features')(x, train=train)


def _conv(features, size, stride=1, *, name):
  return Conv(features, size, stride, kernel_init=initializers.normal(0.1), name=name)
