"""ViTPose (Xu et al., ViTPose: Simple Vision Transformer Baselines for Human Pose, 2022).

Submodules carry the published PyTorch names, as in hrnet.py, without the prefixes `backbone.` and
`keypoint_head.`.
"""
import re
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.models import initializers
from dslope_jax.models.layers import DropPath, deconv_layers, final_layer, gelu

# (width, depth, heads, drop path), as in the authors' configurations.
SIZES = {'small': (384, 12, 12, 0.3), 'base': (768, 12, 12, 0.3),
         'large': (1024, 24, 16, 0.5), 'huge': (1280, 32, 16, 0.55)}
PATCH = 16

# Published as truncated to [-2, 2], which is a hundred deviations away.
_normal = initializers.normal(0.02)


def _dense(features, x, name):
  return nn.Dense(features, dtype=x.dtype, param_dtype=_wide(x), kernel_init=_normal, name=name)(x)


def _layer_norm(x, epsilon, name):
  """Layer normalisation of (...,C), statistics float32 or wider, in two passes."""
  return nn.LayerNorm(epsilon, dtype=x.dtype, param_dtype=_wide(x), use_fast_variance=False,
                      name=name)(x)


def _wide(x):
  return jnp.promote_types(x.dtype, jnp.float32)


class PatchEmbed(nn.Module):
  """Image (B,H,W,3) -> patches (B,H/16,W/16,C) by a 16x16 convolution, padded by 2 as published."""
  width: int

  @nn.compact
  def __call__(self, x):
    init = initializers.uniform((PATCH ** 2 * x.shape[-1]) ** -0.5)  # PyTorch's default
    return nn.Conv(self.width, (PATCH, PATCH), PATCH, 2, dtype=x.dtype, param_dtype=_wide(x),
                   kernel_init=init, name='proj')(x)


class Attention(nn.Module):
  """Multi-head self-attention of tokens (B,N,C). implementation: as in Model.attention."""
  heads: int
  implementation: str | None

  @nn.compact
  def __call__(self, x):
    b, n, c = x.shape
    qkv = _dense(3 * c, x, 'qkv').reshape(b, n, 3, self.heads, c // self.heads)
    x = jax.nn.dot_product_attention(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2],
                                     implementation=self.implementation)
    return _dense(c, x.reshape(b, n, c), 'proj')


class Mlp(nn.Module):
  """Two dense layers over tokens (B,N,C), 4 * C channels and exact GELU between them."""

  @nn.compact
  def __call__(self, x):
    hidden = gelu(_dense(4 * x.shape[-1], x, 'fc1'))
    return _dense(x.shape[-1], hidden, 'fc2')


class Block(nn.Module):
  """Transformer block with the norms in front (Dosovitskiy et al., 2021, equations 2 and 3)."""
  heads: int
  drop_path: float
  epsilon: float
  attention: str | None

  @nn.compact
  def __call__(self, x, *, train):
    y = Attention(self.heads, self.attention, name='attn')(_layer_norm(x, self.epsilon, 'norm1'))
    x = x + DropPath(self.drop_path)(y, train=train)
    y = Mlp(name='mlp')(_layer_norm(x, self.epsilon, 'norm2'))
    return x + DropPath(self.drop_path)(y, train=train)


class Model(nn.Module):
  """ViTPose of any size.

  size: 'small', 'base', 'large' or 'huge'; width, depth, heads and drop_path come from it where
    they are None. drop_path: of the last block; it rises linearly from 0 at the first.
  decoder: 'classic' (two deconvolutions) or 'simple' (bilinear, section 3.1).
  filters: channels of the classic decoder's deconvolutions.
  epsilon: of the layer norms; transformers' default is 1e-12.
  attention: implementation of jax.nn.dot_product_attention; 'cudnn' is fused, and needs bfloat16 on
    an NVIDIA GPU and at most 128 channels per head. The softmax is float32 in either case.
  dtype: of the computation, 'float32' or 'bfloat16'. Parameters, batch statistics and heatmaps
    are float32 in either case.

  Called with images (B,H,W,3), normalised, H and W multiples of 16; the position embedding has the
  size of the images at initialisation, and training needs the random key 'dropout'. Returns a dict:
    heatmaps: (B,H/4,W/4,K).
    features: one list of one map, (B,H/16,W/16,width), after the last norm.
  """
  num_keypoints: int
  size: str = 'base'
  decoder: str = 'classic'
  width: int | None = None
  depth: int | None = None
  heads: int | None = None
  drop_path: float | None = None
  filters: Sequence[int] = (256, 256)
  epsilon: float = 1e-6
  attention: str | None = None
  dtype: str | None = None

  @nn.compact
  def __call__(self, images, *, train: bool = False):
    self._check(images.shape)
    width, depth, heads, drop_path = [
      default if own is None else own for own, default in
      zip((self.width, self.depth, self.heads, self.drop_path), SIZES[self.size], strict=True)]
    x = images if self.dtype is None else images.astype(self.dtype)
    x = PatchEmbed(width, name='patch_embed')(x)
    b, h, w, _ = x.shape
    # The token 0 of the pretraining's class token is kept, and added to every patch.
    position = self.param('pos_embed', _normal, (1, h * w + 1, width), _wide(x)).astype(x.dtype)
    x = x.reshape(b, h * w, width) + position[:, 1:] + position[:, :1]
    for i, rate in enumerate(np.linspace(0, drop_path, depth)):
      block = Block(heads, float(rate), self.epsilon, self.attention, name=f'blocks_{i}')
      x = block(x, train=train)
    x = _layer_norm(x, self.epsilon, 'last_norm').reshape(b, h, w, width)
    heatmaps = {'heatmaps': self._decode(x, train)} if self.num_keypoints else {}
    return heatmaps | {'features': [[x]]}

  def _decode(self, x, train):
    """Features (B,h/4,w/4,C) -> heatmaps (B,h,w,K)."""
    if self.decoder == 'classic':
      return final_layer(deconv_layers(x, self.filters, train=train), self.num_keypoints)
    b, h, w, c = x.shape
    # ReLU first: the paper's formula has it last, the published networks were trained this way.
    x = jax.image.resize(nn.relu(x), (b, 4 * h, 4 * w, c), 'bilinear')
    return final_layer(x, self.num_keypoints, 3)

  def _check(self, shape):
    if self.size not in SIZES:
      raise UserError(f"ViTPose size must be one of {list(SIZES)}, not '{self.size}'")
    if self.decoder not in ('classic', 'simple'):
      raise UserError(f"ViTPose decoder must be 'classic' or 'simple', not '{self.decoder}'")
    if len(self.filters) != 2:
      raise UserError(f'heatmaps of a quarter of the image need 2 filters, not {self.filters}')
    if shape[1] % PATCH or shape[2] % PATCH:
      raise UserError(f'ViTPose needs image sides that are multiples of {PATCH}, not '
                      f'{shape[1]}x{shape[2]} (height x width)')


def depth_of(path: Sequence[str], depth: int) -> int:
  """The layer number of a parameter for layer-wise decay: 0 the embeddings, 1 to depth the blocks,
  depth + 1 what comes after; the learning rate is base * decay ** (depth + 1 - number).

  path: of the parameter in this model's tree, ('blocks_3', 'attn', 'qkv', 'kernel').
  """
  if path[0] in ('patch_embed', 'pos_embed'):
    return 0
  block = re.fullmatch(r'blocks_(\d+)', path[0])
  return int(block[1]) + 1 if block else depth + 1


# Parts of transformers' names -> the published ones.
_HUGGINGFACE = {
  'backbone.embeddings.position_embeddings': 'pos_embed',
  'backbone.embeddings.patch_embeddings.projection': 'patch_embed.proj',
  'backbone.encoder.layer': 'blocks', 'backbone.layernorm': 'last_norm',
  'attention.output.dense': 'attn.proj', 'attention.attention': 'attn',
  'layernorm_before': 'norm1', 'layernorm_after': 'norm2',
  'head.deconv1': 'deconv_layers.0', 'head.batchnorm1': 'deconv_layers.1',
  'head.deconv2': 'deconv_layers.3', 'head.batchnorm2': 'deconv_layers.4',
  'head.conv': 'final_layer'}


PREFIXED = True
UNUSED = ('cls_token', 'mask_token')  # of the pretraining, which some files keep


def from_huggingface(state_dict: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """The state dict of transformers' VitPose under the published names, without prefixes.

  query, key and value become qkv. Names that are not known stay as they are.
  """
  names = re.compile('|'.join(rf'\b{re.escape(name)}\b' for name in _HUGGINGFACE))
  given = {names.sub(lambda part: _HUGGINGFACE[part[0]], key): np.asarray(value)
           for key, value in state_dict.items()}
  out = {}
  for key, value in given.items():
    split = re.fullmatch(r'(blocks\.\d+\.attn\.)(query|key|value)(\.\w+)', key)
    three = [given.get(split[1] + part + split[3]) for part in ('query', 'key', 'value')
             ] if split else [None]
    if any(x is None or not x.shape or x.shape != three[0].shape for x in three):
      out[key] = value
    elif split[2] == 'query':
      out[f'{split[1]}qkv{split[3]}'] = np.concatenate(three)
  return out


# mmpose 1.x names the trunk as mmpretrain does.
_MMPRETRAIN = {
  r'^backbone\.patch_embed\.projection': 'patch_embed.proj', r'^backbone\.layers\.': 'blocks.',
  r'^backbone\.ln1\.': 'last_norm.', r'\.ln1\.': '.norm1.', r'\.ln2\.': '.norm2.',
  r'\.ffn\.layers\.0\.0\.': '.mlp.fc1.', r'\.ffn\.layers\.1\.': '.mlp.fc2.'}


def from_other_layouts(state_dict: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Names of transformers, mmpose 1.x and MAE as the published ones; others stay as they are."""
  if any(key.startswith('backbone.encoder.') for key in state_dict):
    return from_huggingface(state_dict)
  if not any(key.startswith('backbone.layers.') for key in state_dict):
    return {re.sub(r'^(backbone\.)?norm\.', 'last_norm.', k): v for k, v in state_dict.items()}
  out = {}
  for key, value in state_dict.items():
    for pattern, name in _MMPRETRAIN.items():
      key = re.sub(pattern, name, key)
    out[key] = value
  return out
