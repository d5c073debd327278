"""DAG's pose network: HRNet with attention to the person in the middle of the crop (Xu et al., A
comprehensive framework for occluded human pose estimation, ICASSP 2024).

Details are those of the published code, and submodules carry its names, as in hrnet.py.
"""
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from dslope_jax.errors import UserError
from dslope_jax.models import hrnet, initializers
from dslope_jax.models.layers import BatchNorm, Conv, conv_norm, linear

LAST = ('kpt_layer', 'parts_predictor', 'context_predictor')
# All that HRNet does not have, and its files leave fresh.
HEAD = ('channel_att', 'spatial_att', 'concat_predict', 'kpt_layer', 'parts_predictor',
        'context_head', 'context_predictor')
UNUSED = ('final_layer.weight', 'final_layer.bias')  # published, and not called


class ChannelAttention(nn.Module):
  """A map (B,h,w,C) times one factor a channel, a linear function of the features at the centre of
  the crop, which are the target person's (Wang and Zhang, Contextual Instance Decoupling, 2022).

  random_scale: as `Model.random_instance_scale`.
  """
  random_scale: bool = False

  @nn.compact
  def __call__(self, x):
    instance = x[:, x.shape[1] // 2, x.shape[2] // 2]  # (B,C)
    if self.random_scale and self.has_rng('dropout'):
      key = self.make_rng('dropout')
      instance = instance * jax.random.uniform(key, (), instance.dtype, -1, 1)
    return x * linear(instance, x.shape[-1], 'atn')[:, None, None]


class SpatialAttention(nn.Module):
  """Self-attention over the positions of a map (B,h,w,C), added to it: the paper's figure.

  downsample: work at half the resolution; h and w are even then.
  """
  downsample: bool = True

  @nn.compact
  def __call__(self, x):
    if self.downsample:  # bilinear without a filter: the mean of four
      x = nn.avg_pool(x, (2, 2), (2, 2))
    b, h, w, c = x.shape
    query, key, value = (
      Conv(features, use_bias=True, name=f'{name}_conv')(x).reshape(b, h * w, features)
      for name, features in (('query', max(c // 8, 1)), ('key', max(c // 8, 1)), ('value', c)))
    wide = jnp.promote_types(x.dtype, jnp.float32)
    gamma = self.param('gamma', initializers.zeros, (1,), wide)
    weights = nn.softmax(jnp.einsum('bnc,bmc->bnm', query, key).astype(wide))
    seen = jnp.einsum('bnm,bmc->bnc', weights.astype(x.dtype), value)
    x = x + (0.01 * gamma).astype(x.dtype) * seen.reshape(x.shape)
    return _double(x) if self.downsample else x


class _Context(nn.Module):
  @nn.compact
  def __call__(self, x, *, train):
    return nn.relu(conv_norm(x, x.shape[-1], 'conv_norm_relus', train=train))


def presence(x, num_keypoints: int, *, train: bool):
  """Logits (B,K), float32, that a joint is in the picture, from a map (B,h,w,C): the context head
  of STIP (Zhang et al., 2021). The layers are children of the module that calls it."""
  x = _Context(name='context_head_0')(x, train=train).mean((1, 2))
  x = linear(x, x.shape[-1], 'context_head_2', use_bias=False)
  x = nn.relu(BatchNorm(name='context_head_3')(x, train=train))
  return linear(_wide(x), num_keypoints, 'context_predictor_0')


def heads(stage3, stage4, num_keypoints: int, *, attention: bool = True,
          spatial_attention: bool = False, double: bool = True,
          random_instance_scale: bool = False) -> dict:
  """The maps of `Model` from the highest-resolution maps (B,h,w,C) after stages 3 and 4.

  The arguments are those of `Model`. The layers are children of the module that calls it.
  """
  enlarge = _double if double else lambda x: x
  x = SpatialAttention(name='spatial_att')(stage4) if spatial_attention else stage4
  out = {}
  if attention:
    attended = ChannelAttention(random_instance_scale, name='channel_att')(stage3)
    x = Conv(x.shape[-1], use_bias=True, name='concat_predict')(
      jnp.concatenate([x, attended], -1))
    parts = Conv(num_keypoints, 3, use_bias=True, name='parts_predictor')
    out = {'channel_attention': attended, 'parts': parts(enlarge(_wide(attended)))}
  # Published in the other order; a 1x1 convolution and an enlargement may change places.
  heatmaps = Conv(num_keypoints, use_bias=True, name='kpt_layer')(_wide(x))
  return out | {'heatmaps': enlarge(heatmaps)}


def _wide(x):
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _double(x):
  """Bilinear enlargement of (B,h,w,C) to twice the sides, pixels by their centres."""
  b, h, w, c = x.shape
  return jax.image.resize(x, (b, 2 * h, 2 * w, c), 'bilinear', antialias=False)


class Model(nn.Module):
  """HRNet whose heatmaps see the features of the person in the middle of the crop.

  width: channels of the highest-resolution branch; branch b has width * 2**b.
  modules: exchange modules of stages 2, 3, 4.
  blocks: residual blocks per branch in each exchange module of stages 2, 3, 4.
  stem_width: channels of the stem and of the first stage's bottlenecks (published: 64).
  attention: weigh the channels of stage 3 by the person's own features, and predict the joints of
    everybody from them; False leaves both out.
  spatial_attention: self-attention over the positions of stage 4, which the paper's figure has and
    its code does not.
  presence: predict from stage 4 which joints are in the picture.
  double: heatmaps of half the image's sides; False: a quarter.
  random_instance_scale: multiply the person's features by one number between -1 and 1, drawn anew
    in each call, as the published code does by mistake; for studies of it only. Training needs the
    random key 'dropout' then; where a test gives none the factor is 1.
  dtype: of the computation, 'float32' or 'bfloat16'. Parameters, batch statistics, heatmaps, parts
    and logits are float32 in either case ('float64', for exact comparisons, makes them float64).

  Called with images (B,H,W,3), normalised, H and W multiples of 32. Returns a dict; of a part that
  is switched off it has no entry:
    heatmaps: (B,H/2,W/2,K), of the person.
    parts: (B,H/2,W/2,K), of everybody in the picture.
    presence_logits: (B,K).
    channel_attention: (B,H/4,W/4,C).
    features: for stages 2, 3, 4 the list of 2, 3, 1 branch maps, highest resolution first.
  """
  num_keypoints: int
  width: int = 32
  modules: Sequence[int] = (1, 4, 3)
  blocks: Sequence[int] = (4, 4, 4)
  stem_width: int = 64
  attention: bool = True
  spatial_attention: bool = False
  presence: bool = True
  double: bool = True
  random_instance_scale: bool = False
  dtype: str | None = None

  @nn.compact
  def __call__(self, images, *, train: bool = False):
    for option in ('spatial_attention', 'random_instance_scale'):
      if getattr(self, option) and not self.attention:
        raise UserError(f'{option} is a part of the attention: set attention=True, or leave it out')
    features = hrnet.trunk(images, self.width, self.modules, self.blocks, self.stem_width,
                           self.dtype, train=train)
    stage3, stage4 = features[1][0], features[2][0]
    out = heads(stage3, stage4, self.num_keypoints, attention=self.attention,
                spatial_attention=self.spatial_attention, double=self.double,
                random_instance_scale=self.random_instance_scale)
    if self.presence:
      out['presence_logits'] = presence(stage4, self.num_keypoints, train=train)
    return out | {'features': features}
