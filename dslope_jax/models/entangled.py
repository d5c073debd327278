"""One stream for all three coordinates: spatial and temporal attention in turn, as in MixSTE.

The comparison for `pose_moe` at an equal number of parameters. After Zhang et al., MixSTE (CVPR
2022); unlike the published code there is no norm after a block, but one in the head.
"""
import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from dslope_jax.models.attention_blocks import (
  HEADS,
  KINDS,
  Embedding,
  Form,
  Head,
  SpaceTime,
  check_clip,
  one_of,
)

OWN_NAMES, HEAD, LAST = True, (), ()  # all depends on the joints


class Model(nn.Module):
  """A lifting network of `depth` pairs of spatial and temporal blocks.

  num_keypoints: J. frames: of the longest clip; shorter ones use the middle of the embedding.
  width, depth, block: channels, pairs, and the kind of `attention_blocks.SpaceTime`.
  heads, mlp_ratio, qkv_bias, layer_scale, epsilon, attention: of `attention_blocks.Form`.
  drop_path: of the last pair; it rises linearly from 0 at the first.
  input_channels: 2 for x, y; 3 with the detector's confidence. time_embedding: whether frames have
    an embedding, as joints do. embedding_std: of the first values of both; 0 as in MixSTE.
  head: 'tanh512' or 'linear'.
  xy_residual: x and y are offsets to the input's, relative to the joint `root`; the target's x, y
    must have the unit of the input.
  dtype: of the computation, 'float32' or 'bfloat16'; parameters and outputs are float32.

  Called with keypoints (B,T,J,input_channels). Returns a dict:
    keypoints_3d: (B,T,J,3).
    streams: [(B,T,J,width)], the features in front of the head.
  """
  num_keypoints: int
  frames: int = 243
  width: int = 128
  depth: int = 32
  block: str = 'st'
  heads: int = 8
  mlp_ratio: float = 4
  qkv_bias: bool = False
  layer_scale: float | None = 1e-5
  epsilon: float = 1e-5
  drop_path: float = 0.0
  input_channels: int = 2
  time_embedding: bool = True
  embedding_std: float = 0.0
  head: str = 'tanh512'
  xy_residual: bool = False
  root: int = 0
  attention: str | None = None
  dtype: str | None = None

  @nn.compact
  def __call__(self, keypoints, *, train: bool = False):
    one_of('block', self.block, KINDS)
    one_of('head', self.head, HEADS)
    check_clip(keypoints, self.num_keypoints, self.frames, self.input_channels)
    form = Form(self.heads, self.mlp_ratio, self.qkv_bias, self.layer_scale, self.epsilon,
                self.attention)
    x = Embedding(self.width, self.frames, self.time_embedding, self.embedding_std,
                  name='embedding')(keypoints)
    x = x if self.dtype is None else x.astype(self.dtype)
    for i, rate in enumerate(np.linspace(0, self.drop_path, self.depth)):
      x = SpaceTime(form, float(rate), self.block, name=f'layers_{i}')(x, train=train)
    pose = Head(3, self.head, self.epsilon, name='head')(x)
    if self.xy_residual:
      pose = pose + offsets(keypoints, self.root)
    return {'keypoints_3d': pose, 'streams': [x]}


def offsets(keypoints, root: int):
  """(B,T,J,3): x and y of keypoints relative to the root, and 0."""
  xy = keypoints[..., :2] - keypoints[..., root:root + 1, :2]
  return jnp.pad(xy, ((0, 0),) * 3 + ((0, 1),))
