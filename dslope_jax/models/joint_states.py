"""What a pose network knows of each joint: logits of being in sight and of being in the picture."""
import flax.linen as nn
import jax
import jax.numpy as jnp

OWN_NAMES = True
_SHARPNESS = 10.0  # of the heatmaps as weights: a peak outweighs e^10 empty pixels, however low


class Model(nn.Module):
  """A small network on another's last features: at each joint, and over the whole crop.

  width: of its hidden layer.

  Called with features (B,h,w,C) and heatmaps (B,h*n,w*n,K). Returns a dict:
  visible, present (B,K), logits, float32.
  """
  num_keypoints: int
  width: int = 64

  @nn.compact
  def __call__(self, features, heatmaps, *, train: bool = False):
    features, heatmaps = features.astype(jnp.float32), heatmaps.astype(jnp.float32)
    (b, h, w, _), n, k = features.shape, heatmaps.shape[1] // features.shape[1], self.num_keypoints
    peaks = heatmaps.max((1, 2))
    sharp = _SHARPNESS * heatmaps / jnp.maximum(peaks, 1e-3)[:, None, None]
    weights = jax.nn.softmax(sharp, axis=(1, 2))
    weights = weights.reshape(b, h, n, w, n, k).sum((2, 4))
    at_joints = jnp.einsum('bhwk,bhwc->bkc', weights, features)
    whole = jnp.broadcast_to(features.mean((1, 2))[:, None], at_joints.shape)
    x = jnp.concatenate([at_joints, whole, peaks[..., None]], -1)  # (B,K,2C+1)
    x = nn.LayerNorm(name='norm')(x)
    # Each joint has a code of its own: its features mean other things than another joint's.
    own = self.param('joint', nn.initializers.normal(0.02), (k, self.width), jnp.float32)
    x = nn.relu(nn.Dense(self.width, name='hidden')(x) + own)
    kernel = self.param('kernel', nn.initializers.lecun_normal(batch_axis=0),
                        (k, self.width, 2), jnp.float32)
    bias = self.param('bias', nn.initializers.zeros, (k, 2), jnp.float32)
    logits = jnp.einsum('bkc,kcs->bks', x, kernel) + bias
    return {'visible': logits[..., 0], 'present': logits[..., 1]}
