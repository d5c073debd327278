"""HUPOR's network that adds hidden joints to the maps of visible ones, without the picture: deeply
supervised encoder distillation (Liu et al., Explicit Occlusion Reasoning for Multi-person 3D Human
Pose Estimation, 2022).

Details are those of the published code, and submodules carry its names, as in hrnet.py.
"""
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dslope_jax.models.part_stages import Decoder, Encoder, evaluated
from dslope_jax.part_maps import peaks

HEAD = LAST = ()  # every unit of every stage has heads


class _Stage(nn.Module):
  widths: Sequence[int]
  blocks: Sequence[int]
  decoder_width: int
  heads: dict
  cross: int
  detach: bool

  @nn.compact
  def __call__(self, x, full, skips, *, train):
    encoder = lambda name: Encoder(self.widths, self.blocks, name=name)
    own = jax.lax.stop_gradient((x, skips)) if self.detach else (x, skips)
    student = encoder('downsample_prior')(*own, train=train)
    teacher = None if full is None else encoder('downsample')(full, skips, train=train)
    decoder = Decoder(self.decoder_width, self.heads, self.cross, name='upsample')
    out = decoder(student if full is None else teacher, train=train)
    return student, teacher, *out


class Model(nn.Module):
  """Stages of two encoders and one decoder: the teacher sees the maps of all joints, the student
  those of the visible ones; the decoder is trained on the teacher's features.

  limbs: their number.
  stages: encoders and decoders behind each other.
  widths: of the second to the fourth level of an encoder; the first is as wide as all maps, and so
    is what a stage hands on.
  blocks: of the four levels.
  decoder_width: channels of the decoders.
  head_scale: as of `smap.Model`.
  reference: as published: heatmaps of peak 255 and fields of length 127 go in and come out, in an
    evaluation summed in place of their mean; and the gradient of the student's features passes on
    to the stages before, which are the teacher's.
  dtype: as of `smap.Model`.

  Called with `visible` and in training `full`: dicts with maps (B,h,w,K+2L) and relative_depth
  (B,h,w,L), see `smap.Model`; other entries are not read; h and w are multiples of 8. The visible
  maps are added to all outputs, without gradient. Returns a dict:
    stages: for each stage and its four units, coarse to fine, a dict of maps and relative_depth;
      from the teacher's features where `full` is given.
    student: for each stage the encoder's four levels.
    teacher: the same of the teacher, where `full` is given.
    maps, relative_depth: where `full` is not given, as of `smap.Model`.
  """
  num_keypoints: int
  limbs: int = 14
  stages: int = 3
  widths: Sequence[int] = (128, 256, 512)
  blocks: Sequence[int] = (3, 4, 6, 3)
  decoder_width: int = 256
  head_scale: float = 1.0
  reference: bool = False
  dtype: str | None = None

  @nn.compact
  def __call__(self, visible, full=None, *, train: bool = False):
    heads = {'maps': self.num_keypoints + 2 * self.limbs, 'relative_depth': self.limbs}
    first = sum(heads.values())
    visible = jax.lax.stop_gradient({head: self._scaled(visible)[head] for head in heads})
    x, skips = self._stacked(visible), None
    full = None if full is None else self._stacked(self._scaled(full))
    stages, students, teachers = [], [], []
    for i in range(self.stages):
      stage = _Stage((first, *self.widths), self.blocks, self.decoder_width, heads,
                     first if i < self.stages - 1 else 0, not self.reference, name=f'stage{i}')
      student, teacher, units, skips, x = stage(x, full, skips, train=train)
      students.append(student)
      teachers.append(teacher)
      added = [unit | {'maps': self.head_scale * unit['maps']} for unit in units]
      stages.append([self._scaled(jax.tree.map(jnp.add, unit, visible), back=True)
                     for unit in added])
    out = {'stages': stages, 'student': students}
    if full is not None:
      return out | {'teacher': teachers}
    return evaluated(stages, reference=self.reference) | out

  def _scaled(self, maps, back=False):
    """Maps between our units and the published ones."""
    if self.reference:
      return maps
    peak = peaks(self.num_keypoints, self.limbs)
    return maps | {'maps': maps['maps'] / peak if back else maps['maps'] * peak}

  def _stacked(self, maps):
    """(B,h,w,K+3L) in the published order of channels: heatmaps, then x, y, depth of each limb."""
    k, limbs = self.num_keypoints, np.arange(self.limbs)
    order = np.stack([k + 2 * limbs, k + 2 * limbs + 1, k + 2 * self.limbs + limbs], 1).ravel()
    x = jnp.concatenate([maps['maps'], maps['relative_depth']], -1)
    x = x[..., np.concatenate([np.arange(k), order])]
    return x if self.dtype is None else x.astype(self.dtype)

  def example(self, batch: int = 1):
    """Shapes of the arguments of a call."""
    maps = {head: jax.ShapeDtypeStruct((batch, 16, 16, count), jnp.float32) for head, count in (
      ('maps', self.num_keypoints + 2 * self.limbs), ('relative_depth', self.limbs))}
    return maps, maps
