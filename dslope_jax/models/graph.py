"""Graph convolutions over the joints of a pose, by the distance of joints in a skeleton.

Source: Modulated GCN (Zou and Tang, ICCV 2021) and its multi-hop form as the published code of DAG
(Xu et al., ICASSP 2024) has it, whose names the submodules carry.
"""
import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from dslope_jax.models import initializers
from dslope_jax.models.layers import BatchNorm, Conv


def hop_matrices(edges, num_keypoints: int, hops: int) -> np.ndarray:
  """(hops,K,K) float32: row i of matrix k - 1 shares 1 among the joints that are k edges from i.

  The diagonal is 1. edges: pairs of joints, of a skeleton of any form. Joints with none at that
  distance have an empty row.
  """
  linked = np.zeros((num_keypoints, num_keypoints), bool)
  for a, b in edges:
    linked[a, b] = linked[b, a] = True
  ring = own = np.eye(num_keypoints, dtype=bool)
  reached, matrices = own, []
  for _ in range(hops):
    ring = ring @ linked & ~reached
    reached = reached | ring
    matrices.append(ring / np.maximum(ring.sum(1, keepdims=True), 1) + own)
  return np.array(matrices, np.float32)


class GraphConv(nn.Module):
  """Multi-hop mixed graph convolution of joints (B,K,C) to (B,K,features).

  Each hop k gives H_k = diag(A_k) X W_0 + (A_k - diag(A_k)) X W_1. Of the weights L_k (K,features)
  the sum is L_1 H_1 + (1 - L_1) L_2 H_2 + (1 - L_1) (1 - L_2) L_3 H_3 + ...; as they start from 1,
  only direct neighbours count at first.

  hops: (hops,K,K) of `hop_matrices`; A_k is the mean of each and its transpose.
  affinity: learn a matrix that is added to that of each hop (affinity modulation).
  """
  features: int
  hops: np.ndarray
  affinity: bool = False

  @nn.compact
  def __call__(self, x):
    wide = jnp.promote_types(x.dtype, jnp.float32)
    size, width = x.shape[-1], self.features
    # As PyTorch counts the fans of three axes: the last is the size of a kernel.
    limit = 1.414 * (6 / (size * width + 2 * width)) ** 0.5
    w = self.param('W', initializers.uniform(limit), (2, size, width), wide).astype(x.dtype)
    bias = self.param('bias', initializers.uniform(width ** -0.5), (width,), wide)
    own, neighbours = x @ w[0], x @ w[1]
    out, rest = bias.astype(x.dtype), 1
    for k, matrix in enumerate(self.hops, start=1):
      if self.affinity:
        matrix = matrix + self.param(f'affinity{k}', initializers.constant(1e-6), matrix.shape,
                                     wide)
      matrix = ((matrix + matrix.T) / 2).astype(x.dtype)
      diagonal = matrix.diagonal()[:, None]
      hop = diagonal * own + matrix @ neighbours - diagonal * neighbours
      weight = self.param(f'Lamda{k}', initializers.ones, (x.shape[-2], width), wide)
      weight = weight.astype(x.dtype)
      out, rest = out + rest * weight * hop, rest * (1 - weight)
    return out


class GraphLayer(nn.Module):
  """Graph convolution, norm over batch and joints, ReLU. The arguments are those of `GraphConv`."""
  features: int
  hops: np.ndarray
  affinity: bool = False

  @nn.compact
  def __call__(self, x, *, train):
    x = GraphConv(self.features, self.hops, self.affinity, name='gconv')(x)
    return nn.relu(BatchNorm(name='bn')(x, train=train))


class GraphBlock(nn.Module):
  """Two graph layers with a skip, and a norm and ReLU after the sum: (B,K,C) to (B,K,C)."""
  hops: np.ndarray
  affinity: bool = False

  @nn.compact
  def __call__(self, x, *, train):
    y = x
    for name in ('gconv1', 'gconv2'):
      y = GraphLayer(x.shape[-1], self.hops, self.affinity, name=name)(y, train=train)
    return nn.relu(BatchNorm(name='bn')(x + y, train=train))


class NonLocal(nn.Module):
  """Self-attention among joints (B,K,C), added to them; nothing at first, as its norm starts from
  zero (Wang et al., Non-local Neural Networks, 2018, embedded Gaussian)."""

  @nn.compact
  def __call__(self, x, *, train):
    def pointwise(x, features, name):
      init = initializers.uniform(x.shape[-1] ** -0.5)  # PyTorch's default
      conv = Conv(features, use_bias=True, kernel_init=init, bias_init=init, name=name)
      return conv(x[:, :, None])[:, :, 0]

    theta, phi, g = (pointwise(x, x.shape[-1] // 2, name) for name in ('theta', 'phi', 'g'))
    weights = nn.softmax(jnp.einsum('bkc,bmc->bkm', theta, phi))
    y = pointwise(jnp.einsum('bkm,bmc->bkc', weights, g), x.shape[-1], 'W_0')
    return x + BatchNorm(initializers.zeros, name='W_1')(y, train=train)
