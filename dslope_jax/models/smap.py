"""SMAP's network for the poses of several people at once (Zhen et al., SMAP: Single-Shot
Multi-Person Absolute 3D Pose Estimation, 2020), with the seven depth maps of HUPOR (Liu et al.,
Explicit Occlusion Reasoning for Multi-person 3D Human Pose Estimation, 2022).

Details are those of the published code, and submodules carry its names, as in hrnet.py.
"""
from collections.abc import Sequence

import flax.linen as nn

from dslope_jax.errors import UserError
from dslope_jax.models.part_stages import Decoder, Encoder, Stem, evaluated
from dslope_jax.part_maps import peaks

HEAD = LAST = ()  # every unit of every stage has heads


class _Stage(nn.Module):
  widths: Sequence[int]
  blocks: Sequence[int]
  decoder_width: int
  heads: dict
  cross: int

  @nn.compact
  def __call__(self, x, skips, *, train):
    levels = Encoder(self.widths, self.blocks, name='downsample')(x, skips, train=train)
    decoder = Decoder(self.decoder_width, self.heads, self.cross, name='upsample')
    return decoder(levels, train=train)


class Model(nn.Module):
  """Stages of encoder and decoder that find joints, limbs and depths in a picture.

  limbs: their number. anchors: number of joints with a map of absolute depth; 7 are HUPOR's, 1 is
    SMAP's.
  stages: encoders and decoders behind each other.
  widths, blocks: of the four levels of an encoder; the published ones are ResNet-50's. The first
    width is also that of the stem and of what a stage hands on.
  decoder_width: channels of the decoders.
  head_scale: factor on the maps that the last norms put out, which start with the deviation 1 and
    are to have peaks of 255; published 1. A short run learns sooner with 10 to 20.
  reference: outputs as published: heatmaps of peak 255, fields of length 127, and in an evaluation
    the sum in place of the mean.
  dtype: of the computation, 'float32' or 'bfloat16'. Parameters, batch statistics and outputs are
    float32 in either case ('float64', for exact comparisons, makes them float64).

  Called with images (B,H,W,3), normalised, H and W multiples of 32. Returns a dict of maps of
  H/4 x W/4, see `part_maps`:
    maps: (B,h,w,K+2L), heatmaps of peak 1, then x and y of each limb's field of length 1. Of the
      last stage, mean over the three finest units.
    relative_depth: (B,h,w,L), cm from a limb's first joint to its second, the last unit's.
    anchor_depth: (B,h,w,A), depth of the anchors (cm) over the focal length (pixels), the last
      unit's.
    stages: for each stage and its four units, coarse to fine, a dict of these three.
  """
  num_keypoints: int
  limbs: int = 14
  anchors: int = 7
  stages: int = 3
  widths: Sequence[int] = (64, 128, 256, 512)
  blocks: Sequence[int] = (3, 4, 6, 3)
  decoder_width: int = 256
  head_scale: float = 1.0
  reference: bool = False
  dtype: str | None = None

  @nn.compact
  def __call__(self, images, *, train: bool = False):
    if images.shape[1] % 32 or images.shape[2] % 32:
      raise UserError(f'SMAP needs image sides that are multiples of 32, not '
                      f'{images.shape[1]}x{images.shape[2]} (height x width)')
    heads = {'maps': self.num_keypoints + 2 * self.limbs, 'relative_depth': self.limbs,
             'anchor_depth': self.anchors}
    x = images if self.dtype is None else images.astype(self.dtype)
    x, skips, stages = Stem(self.widths[0], name='top')(x, train=train), None, []
    for i in range(self.stages):
      cross = self.widths[0] if i < self.stages - 1 else 0
      stage = _Stage(self.widths, self.blocks, self.decoder_width, heads, cross, name=f'stage{i}')
      units, skips, x = stage(x, skips, train=train)
      stages.append(units)
    peak = 1 if self.reference else peaks(self.num_keypoints, self.limbs)
    stages = [[unit | {'maps': unit['maps'] * (self.head_scale / peak)} for unit in units]
              for units in stages]
    return evaluated(stages, reference=self.reference) | {'stages': stages}
