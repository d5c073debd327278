"""PoseMoE: two experts, one for x and y and one for depth, encode apart and then learn from each
other. A reconstruction.

After the abstract of Liu et al., PoseMoE: Mixture-of-Experts Network for Monocular 3D Human Pose
Estimation (arXiv 2512.16494), and summaries of it: its method section, code and results were not to
be had. Widths, blocks, router and the form of the prior are choices, most after related networks
(TCPFormer, MotionAGFormer, MotionBERT, MixSTE); results are no reproduction of published ones.
"""
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.models import initializers
from dslope_jax.models.attention_blocks import (
  HEADS,
  KINDS,
  Add,
  Attention,
  Embedding,
  Form,
  Head,
  Mlp,
  SpaceTime,
  along,
  central,
  check_clip,
  layer_norm,
  mixture,
  one_of,
  rows,
  wide,
)
from dslope_jax.models.entangled import offsets
from dslope_jax.models.layers import linear

OWN_NAMES, HEAD, LAST = True, (), ()  # all depends on the joints
# The sizes of MixSTE and KTPFormer; those of TCPFormer and MotionAGFormer are the defaults.
TRACK_B = dict(width=256, encoder_layers=3, decoder_layers=3, mlp_ratio=2, qkv_bias=True,
               layer_scale=None, epsilon=1e-6, drop_path=0.1, head='linear')
# First values of a trainable prior, of variance 1 but for 'zero'.
_DRAWN = {'gaussian_trainable': initializers.normal(1.0), 'laplace': initializers.laplace(1.0),
          'uniform': initializers.uniform(3 ** 0.5), 'zero': initializers.zeros}
_CHOICES = {'depth_prior': (*_DRAWN, 'gaussian_frozen', 'gaussian_resampled', 'gaussian_coord'),
            'depth_init': ('F_plus_G', 'G_only'), 'expert_block': KINDS,
            'router': ('soft', 'none', 'concat_linear'), 'pmd_update': ('parallel', 'sequential'),
            'pmd_direction': ('both', '2d_to_depth', 'depth_to_2d', 'none'),
            'pmd_order': ('ts', 'st'), 'head': HEADS,
            'encoder_heads': ('none', 'supervise', 'probe')}


class Exchange(nn.Module):
  """Two streams as tokens (N,L,C) attend to each other, then each has its MLP.

  direction: 'both', '2d_to_depth' or 'depth_to_2d'; a stream that receives nothing attends to
    itself, with as many parameters, and so do both for 'none'.
  update: 'parallel', both read what the other was; 'sequential', depth reads the new 2D tokens.
  """
  form: Form
  drop_path: float
  direction: str
  update: str

  @nn.compact
  def __call__(self, xy, depth, *, train: bool):
    parts = lambda kind, *options: [kind(*options, name=f'{name}_{kind.__name__.lower()}')
                                    for name in ('xy', 'depth')]
    norms = [layer_norm(self.form.epsilon, xy, f'{name}_norm') for name in ('xy', 'depth')]
    attend, add = parts(Attention, self.form), parts(Add, self.form, self.drop_path)
    mlp = parts(Mlp, self.form, self.drop_path)
    shape, xy, depth = xy.shape, rows(xy), rows(depth)
    tokens = lambda norm, x: norm(x).reshape(shape)
    of_xy, of_depth = tokens(norms[0], xy), tokens(norms[1], depth)
    source = of_depth if self.direction in ('both', 'depth_to_2d') else of_xy
    xy = add[0](xy, rows(attend[0](of_xy, source)), train=train)
    if self.update == 'sequential':
      of_xy = tokens(norms[0], xy)
    source = of_xy if self.direction in ('both', '2d_to_depth') else of_depth
    depth = add[1](depth, rows(attend[1](of_depth, source)), train=train)
    return tuple(part(x, train=train).reshape(shape)
                 for part, x in zip(mlp, (xy, depth), strict=True))


class Router(nn.Module):
  """Both streams plus a scaled mixture of them; almost nothing at first.

  kind: 'soft', a mean with weights for each joint and frame; 'concat_linear', a linear function of
    both. Returns the streams and the weights (B,T,J,2) of 'soft', else None.
  """
  kind: str

  @nn.compact
  def __call__(self, xy, depth):
    if self.kind == 'soft':
      mixed, weights = mixture(xy, depth, 'weights')
    else:
      mixed, weights = linear(jnp.concatenate([xy, depth], -1), xy.shape[-1], 'mixed'), None
    first = initializers.constant(1e-5)
    xy, depth = (
      x + mixed * self.param(f'{name}_scale', first, x.shape[-1:], wide(x)).astype(x.dtype)
      for name, x in (('xy', xy), ('depth', depth)))
    return xy, depth, weights


class Model(nn.Module):
  """A lifting network of two experts.

  num_keypoints: J. frames: of the longest clip; shorter ones use the middle of prior and embedding.
  width: channels of each stream. encoder_layers: pairs of a spatial and a temporal block in each
    expert; decoder_layers: temporal and spatial exchanges between the streams; either may be 0.
  heads, mlp_ratio, qkv_bias, layer_scale, epsilon, attention: of `attention_blocks.Form`.
  drop_path: of the last layer; it rises linearly from 0 at the first.
  input_channels, time_embedding, embedding_std, head, xy_residual, root: as of `entangled.Model`.
  depth_prior: what the depth expert starts from, G (T,J,C): 'gaussian_trainable', 'laplace',
    'uniform' or 'zero', the first values of a parameter; 'gaussian_frozen', drawn once;
    'gaussian_resampled', drawn in each step of the training, 0 in tests; 'gaussian_coord', instead
    of G a third coordinate (B,T,J) of the depth expert's input, drawn likewise.
  depth_init: 'F_plus_G', the embedded keypoints and the prior; 'G_only', the prior.
  expert_block: the kind of `attention_blocks.SpaceTime`. router: between encoder and decoder, the
    kind of `Router`, or 'none'.
  pmd_update, pmd_direction: of `Exchange`. pmd_order: 'ts', time before space, or 'st'.
  encoder_heads: a pose from the streams in front of the router: 'none'; 'supervise', whose loss
    trains the encoder; 'probe', whose loss trains its heads alone.
  dtype: of the computation, 'float32' or 'bfloat16'; parameters and outputs are float32.

  Called with keypoints (B,T,J,input_channels); training with a drawn prior or drop_path needs the
  random key 'dropout'. Returns a dict; of a part that is switched off it has no entry:
    keypoints_3d: (B,T,J,3), x and y from the 2D stream, z from the depth stream.
    router: (B,T,J,2) weights of the 2D and of the depth stream, of sum 1.
    encoder_keypoints_3d: (B,T,J,3).
    encoder_streams, streams: [2D, depth], each (B,T,J,width), after encoder and decoder.
  """
  num_keypoints: int
  frames: int = 243
  width: int = 128
  encoder_layers: int = 8
  decoder_layers: int = 8
  heads: int = 8
  mlp_ratio: float = 4
  qkv_bias: bool = False
  layer_scale: float | None = 1e-5
  epsilon: float = 1e-5
  drop_path: float = 0.0
  input_channels: int = 2
  time_embedding: bool = True
  embedding_std: float = 0.0
  depth_prior: str = 'gaussian_trainable'
  depth_init: str = 'F_plus_G'
  expert_block: str = 'st'
  router: str = 'soft'
  pmd_update: str = 'parallel'
  pmd_direction: str = 'both'
  pmd_order: str = 'ts'
  head: str = 'tanh512'
  xy_residual: bool = False
  root: int = 0
  encoder_heads: str = 'none'
  attention: str | None = None
  dtype: str | None = None

  @nn.compact
  def __call__(self, keypoints, *, train: bool = False):
    self._check(keypoints)
    form = Form(self.heads, self.mlp_ratio, self.qkv_bias, self.layer_scale, self.epsilon,
                self.attention)
    rates = np.linspace(0, self.drop_path, self.encoder_layers + self.decoder_layers).tolist()
    xy, depth = self._embed(keypoints, train)
    for i, rate in enumerate(rates[:self.encoder_layers]):
      xy, depth = (SpaceTime(form, rate, self.expert_block, name=f'{name}_{i}')(x, train=train)
                     for name, x in (('xy', xy), ('depth', depth)))
    out = {'encoder_streams': [xy, depth]}
    if self.encoder_heads != 'none':
      streams = jax.lax.stop_gradient([xy, depth]) if self.encoder_heads == 'probe' else (
        xy, depth)
      out['encoder_keypoints_3d'] = self._pose(keypoints, *streams, 'encoder_')
    if self.router != 'none':
      xy, depth, weights = Router(self.router, name='router')(xy, depth)
      out |= {'router': weights} if self.router == 'soft' else {}
    axes = ('frames', 'joints') if self.pmd_order == 'ts' else ('joints', 'frames')
    for i, rate in enumerate(rates[self.encoder_layers:]):
      for axis in axes:
        exchange = Exchange(form, rate, self.pmd_direction, self.pmd_update,
                            name=f'exchange_{i}_{axis}')
        xy, depth = along(axis, lambda *tokens, run=exchange: run(*tokens, train=train), xy,
                            depth)
    return out | {'streams': [xy, depth], 'keypoints_3d': self._pose(keypoints, xy, depth)}

  def _embed(self, keypoints, train):
    """The first 2D and depth streams (B,T,J,C)."""
    (b, t, j, _), dtype = keypoints.shape, keypoints.dtype
    embed = lambda x, name: Embedding(self.width, self.frames, self.time_embedding,
                                      self.embedding_std, name=name)(x)
    narrow = lambda x: x if self.dtype is None else x.astype(self.dtype)
    draw = lambda *shape: (jax.random.normal(self.make_rng('dropout'), shape, dtype) if train
                           else jnp.zeros(shape, dtype))
    xy = embed(keypoints, 'embedding')
    if self.depth_prior == 'gaussian_coord':
      depth = embed(jnp.concatenate([keypoints, draw(b, t, j, 1)], -1), 'depth_embedding')
      return narrow(xy), narrow(depth)
    if self.depth_prior == 'gaussian_resampled':
      prior = draw(t, j, self.width)
    else:
      prior = central(self._kept_prior((self.frames, j, self.width), dtype), t)
    depth = xy + prior if self.depth_init == 'F_plus_G' else jnp.broadcast_to(prior, xy.shape)
    return narrow(xy), narrow(depth)

  def _kept_prior(self, shape, dtype):
    if self.depth_prior in _DRAWN:
      return self.param('depth_prior', _DRAWN[self.depth_prior], shape, dtype)
    draw = lambda: initializers.normal(1.0)(self.make_rng('params'), shape, dtype)
    # No parameter: weight decay would shrink it. Networks keep what is not learned in batch_stats.
    return self.variable('batch_stats', 'depth_prior', draw).value

  def _pose(self, keypoints, xy, depth, prefix=''):
    """(B,T,J,3) of the two streams."""
    head = lambda features, name: Head(features, self.head, self.epsilon,
                                       name=f'{prefix}head_{name}')
    pose = jnp.concatenate([head(2, 'xy')(xy), head(1, 'z')(depth)], -1)
    return pose + offsets(keypoints, self.root) if self.xy_residual else pose

  def _check(self, keypoints):
    for field, choices in _CHOICES.items():
      one_of(field, getattr(self, field), choices)
    if self.depth_prior == 'gaussian_coord' and self.depth_init == 'G_only':
      raise UserError("system.model.depth_prior 'gaussian_coord' is a coordinate of the input, so "
                      "depth_init is 'F_plus_G'")
    check_clip(keypoints, self.num_keypoints, self.frames, self.input_channels)
