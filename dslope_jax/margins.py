"""Class logits of face recognition: softmax with a margin between classes on the unit sphere."""
import math

import jax.numpy as jnp
import optax

KINDS = 'softmax', 'arcface', 'cosface'


def unit(vectors):
  """(...,D) of length 1; a zero vector stays zero."""
  length = jnp.sqrt(jnp.maximum(jnp.square(vectors).sum(-1, keepdims=True), 1e-12))
  return vectors / length


def with_margin(cosines, labels, kind: str, margin: float):
  """Cosines (B,C) with the one of the own class made smaller; `kind` is one of KINDS.

  labels: (B,) int, the own class. margin: radians for 'arcface', a difference of cosines for
  'cosface', not used for 'softmax', which changes nothing.
    softmax: cos(t) (Wang et al., NormFace, 2017).
    cosface: cos(t) - margin (Wang et al., CosFace, CVPR 2018).
    arcface: cos(t + margin), and beyond t + margin = pi, where that would rise again,
      cos(t) - margin sin(margin) (Deng et al., ArcFace, CVPR 2019, and its code).
  """
  if kind == 'softmax':
    return cosines
  own = jnp.take_along_axis(cosines, labels[:, None], 1)
  if kind == 'cosface':
    new = own - margin
  else:
    inside = jnp.clip(own, -1, 1)
    sine = jnp.sqrt(jnp.maximum(1 - jnp.square(inside), 1e-12))  # finite gradient at 1
    turned = inside * math.cos(margin) - sine * math.sin(margin)
    new = jnp.where(own > math.cos(math.pi - margin), turned, own - margin * math.sin(margin))
  return jnp.where(jnp.arange(cosines.shape[1]) == labels[:, None], new, cosines)


def cross_entropy(cosines, labels, kind: str, scale: float, margin: float):
  """(B,) cross-entropy of softmax(scale * `with_margin`); see there."""
  logits = scale * with_margin(cosines, labels, kind, margin)
  return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
