"""HRNet (Sun et al., Deep High-Resolution Representation Learning for Human Pose Estimation, 2019).

Submodules carry the published PyTorch names with the numbers attached by an underscore
(`stage2.0.branches.1.0.conv1` -> `stage2_0/branches_1_0/conv1`), so weights map by one rule.
"""
from collections.abc import Sequence
from functools import partial

import flax.linen as nn

from dslope_jax.errors import UserError
from dslope_jax.models.layers import (
  BatchNorm,
  Conv,
  conv_norm,
  exchange,
  final_layer,
  sum_relu,
  transition,
  upsample,
)
from dslope_jax.models.resnet_blocks import BasicBlock, Bottleneck


class ExchangeModule(nn.Module):
  """Blocks on each branch, then every output branch sums all branches (published: one 'module').

  blocks: per branch. outputs: how many branches are put out, from the highest resolution.
  """
  blocks: int
  outputs: int

  @nn.compact
  def __call__(self, branches, *, train):
    branches = list(branches)
    for b, x in enumerate(branches):
      for i in range(self.blocks):
        x = BasicBlock(x.shape[-1], name=f'branches_{b}_{i}')(x, train=train)
      branches[b] = x
    return [sum_relu(*(exchange(x, i, j, branches[i].shape[-1], upsample, conv_norm, train=train)
                       for j, x in enumerate(branches)))
            for i in range(self.outputs)]


def trunk(images, width: int, modules, blocks, stem_width: int, dtype=None, *, train: bool):
  """Features of images (B,H,W,3): for stages 2, 3, 4 the list of 2, 3, 1 branch maps.

  The arguments are those of `Model`. The layers are children of the module that calls it.
  """
  if images.shape[1] % 32 or images.shape[2] % 32:
    raise UserError(f'HRNet needs image sides that are multiples of 32, not '
                    f'{images.shape[1]}x{images.shape[2]} (height x width)')
  x = images if dtype is None else images.astype(dtype)
  for i in (1, 2):
    x = Conv(stem_width, 3, 2, name=f'conv{i}')(x)
    x = nn.relu(BatchNorm(name=f'bn{i}')(x, train=train))
  for i in range(4):
    x = Bottleneck(stem_width, name=f'layer1_{i}')(x, train=train)
  branches, features = [x], []
  for stage, (count, depth) in enumerate(zip(modules, blocks, strict=True), start=2):
    branches = transition(stage - 1, branches, width, partial(conv_norm, train=train))
    for m in range(count):
      final = stage == 4 and m == count - 1
      module = ExchangeModule(depth, 1 if final else stage, name=f'stage{stage}_{m}')
      branches = module(branches, train=train)
    features.append(branches)
  return features


class Model(nn.Module):
  """HRNet of any size; W32 and W48 are `width=32` and `width=48`.

  width: channels of the highest-resolution branch; branch b has width * 2**b.
  modules: exchange modules of stages 2, 3, 4.
  blocks: residual blocks per branch in each exchange module of stages 2, 3, 4.
  stem_width: channels of the stem and of the first stage's bottlenecks (published: 64).
  dtype: of the computation, 'float32' or 'bfloat16'. Parameters, batch statistics and heatmaps
    are float32 in either case ('float64', for exact comparisons, makes them float64 too).

  Called with images (B,H,W,3), normalised, H and W multiples of 32. Returns a dict:
    heatmaps: (B,H/4,W/4,K).
    features: for stages 2, 3, 4 the list of 2, 3, 1 branch maps, highest resolution first.
  """
  num_keypoints: int
  width: int = 32
  modules: Sequence[int] = (1, 4, 3)
  blocks: Sequence[int] = (4, 4, 4)
  stem_width: int = 64
  dtype: str | None = None

  @nn.compact
  def __call__(self, images, *, train: bool = False):
    features = trunk(images, self.width, self.modules, self.blocks, self.stem_width, self.dtype,
                     train=train)
    return {'heatmaps': final_layer(features[-1][0], self.num_keypoints), 'features': features}
