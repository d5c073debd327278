"""DAG's graph network, which corrects a pose by the skeleton and by its heatmaps (Xu et al., A
comprehensive framework for occluded human pose estimation, ICASSP 2024).

Details are those of the published code, and submodules carry its names, as in hrnet.py.
"""
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.models import initializers
from dslope_jax.models.graph import GraphBlock, GraphConv, GraphLayer, NonLocal, hop_matrices
from dslope_jax.models.layers import Conv, grid_sample, linear
from dslope_jax.skeletons import COCO, CROWDPOSE

HEAD = LAST = ()  # no part is of use without the others


class Model(nn.Module):
  """Feature-guided multi-hop graph network.

  heatmap_size: (h, w) of the heatmaps, rows first; published for half the sides of the crop.
  edges: pairs of joints that are neighbours; None: the published ones of 17 or 14 keypoints.
  adjacency: (hops,K,K) matrices as nested tuples, in place of those that edges and hops give, see
    `graph.hop_matrices`.
  hops: the first and last layer see joints up to this distance; those between them up to 2.
  guidance: sample the heatmaps at learned points; False: coordinates alone.
  width: channels of the graph layers.
  blocks: residual blocks; the last one also has the samples of the heatmaps.
  sampler_width: channels of the layers that find the points.
  reference: as published, normalise by the batch at test, too, and weigh COCO's right ear as if it
    had a third neighbour.

  Called with coordinates (B,K,2), x and y, -1 to 1 in the crop or box, and heatmaps (B,h,w,K);
  computed in float32 or wider. No gradient passes to the heatmaps by the coordinates of their
  peaks, so the samples are its only way. Returns a dict:
    offset: (B,K,2), to be added to the coordinates.
    sample_points: (B,K,2), where each joint samples the heatmaps, in `layers.grid_sample`'s
      coordinates; with guidance only.
    after_blocks, after_last_block, after_nonlocal: features (B,K,C).
  """
  num_keypoints: int
  heatmap_size: tuple[int, int] = (128, 96)
  edges: Sequence[tuple[int, int]] | None = None
  adjacency: Sequence | None = None
  hops: int = 2
  guidance: bool = True
  width: int = 128
  blocks: int = 4
  sampler_width: int = 1024
  reference: bool = False

  @nn.compact
  def __call__(self, coordinates, heatmaps, *, train: bool = False):
    wanted = self.example()
    for name, array, like in zip(('coordinates', 'heatmaps'), (coordinates, heatmaps), wanted,
                                 strict=True):
      if array.shape[1:] != like.shape[1:]:  # the number of people may be a symbol
        raise UserError(f'pose_gcn was made for {name} of {like.shape[1:]} a person, not '
                        f'{array.shape[1:]}: see heatmap_size and num_keypoints')
    hops, by_batch = self.matrices(), train or self.reference
    near = hops[:2]  # published: the blocks are never told of more
    out = {}
    x = GraphLayer(self.width, hops, name='gconv_input_0')(_wide(coordinates), train=by_batch)
    for i in range(self.blocks - 1):
      x = GraphBlock(near, name=f'gconv_layers_{i}')(x, train=by_batch)
    out['after_blocks'] = x
    if self.guidance:
      out['sample_points'], samples = self._samples(_wide(heatmaps))
      x = jnp.concatenate([samples, x], -1)
    x = out['after_last_block'] = GraphBlock(near, name='gconv_layer_last')(x, train=by_batch)
    x = out['after_nonlocal'] = NonLocal(name='non_local')(x, train=by_batch)
    return out | {'offset': GraphConv(2, hops, name='gconv_output')(x)}

  def _samples(self, heatmaps):
    """Points (B,K,2), and the values (B,K,K) of all maps at the points of each joint."""
    init = initializers.uniform((9 * self.num_keypoints) ** -0.5)  # PyTorch's default
    maps = Conv(self.num_keypoints, 3, use_bias=True, kernel_init=init, bias_init=init,
                name='level_conv')(heatmaps)
    b, h, w, k = maps.shape
    x = maps.transpose(0, 3, 1, 2).reshape(b, k, h * w)
    for name in ('FC_0_0', 'FC_1_0'):
      x = nn.relu(linear(x, self.sampler_width, name))
    points = linear(x, 2, 'FC_2')
    return points, grid_sample(maps, points)

  def matrices(self) -> np.ndarray:
    """(hops,K,K) as `graph.hop_matrices` has them; UserError where the options do not fit."""
    k = self.num_keypoints
    if not 1 <= self.hops < k or self.blocks < 1:
      raise UserError(f'pose_gcn needs hops from 1 to {k - 1} and at least 1 of blocks, not '
                      f'hops={self.hops}, blocks={self.blocks}')
    if self.adjacency is not None:
      matrices = np.asarray(self.adjacency, np.float32)
      if matrices.shape != (self.hops, k, k):
        raise UserError(f'adjacency of {self.hops} hops of {k} keypoints has the shape '
                        f'{(self.hops, k, k)}, not {matrices.shape}')
      return matrices
    edges = {17: COCO.graph, 14: CROWDPOSE.graph}.get(k) if self.edges is None else self.edges
    if not edges or not all(0 <= joint < k for edge in edges for joint in edge):
      raise UserError(f'pose_gcn needs edges, pairs of joints from 0 to {k - 1}, or adjacency; '
                      f'edges are {edges}')
    matrices = hop_matrices(edges, k, self.hops)
    if self.reference and k == 17 and {*map(tuple, edges)} == {*COCO.graph}:
      matrices[0, 4] = np.where(np.arange(k) == 4, 1, matrices[0, 4] * 2 / 3)
    return matrices

  def example(self, batch: int = 1):
    """Shapes of the arguments of a call."""
    k, (h, w) = self.num_keypoints, self.heatmap_size
    return tuple(jax.ShapeDtypeStruct(shape, jnp.float32)
                 for shape in ((batch, k, 2), (batch, h, w, k)))


def _wide(x):
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))
