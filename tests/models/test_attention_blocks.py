"""The parts of lifting networks against formulas."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dslope_jax.models import attention_blocks
from tests.tiny import shaken


@pytest.mark.parametrize('axis', ['joints', 'frames'])
def test_attention_by_hand(axis):
  """Along an axis: a softmax of scaled products, heads apart, tokens of other rows unseen."""
  form = attention_blocks.Form(heads=2)
  attention = attention_blocks.Attention(form)
  one, other = jax.random.normal(jax.random.key(0), (2, 2, 3, 5, 8))
  weights = shaken(attention.init(jax.random.key(1), one[0], one[0]))
  found = attention_blocks.along(axis, functools.partial(attention.apply, weights), one, other)
  p = weights['params']
  q = np.asarray(one @ p['query']['kernel'])
  k, v = np.split(np.asarray(other @ p['key_value']['kernel']), 2, -1)
  want = np.zeros((2, 3, 5, 8))
  for b in range(2):
    for row in range(3 if axis == 'joints' else 5):
      at = (b, row) if axis == 'joints' else (b, slice(None), row)
      for head in (slice(0, 4), slice(4, 8)):
        logits = q[at][:, head] @ k[at][:, head].T / 2
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        want[at + (slice(None), head) if axis == 'joints' else (b, slice(None), row, head)] = (
          shares @ v[at][:, head])
  want = want @ np.asarray(p['out']['kernel']) + np.asarray(p['out']['bias'])
  np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)


def test_blocks_have_exact_gelu_and_the_given_epsilon():
  mlp = attention_blocks.Mlp(attention_blocks.Form(layer_scale=None, epsilon=0.5), 0.0)
  x = jax.random.normal(jax.random.key(0), (2, 3, 4))
  weights = shaken(mlp.init(jax.random.key(1), x, train=False))
  p = weights['params']
  normed = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 0.5)
  normed = normed * p['norm']['scale'] + p['norm']['bias']
  hidden = normed @ p['hidden']['kernel'] + p['hidden']['bias']
  hidden = hidden * (1 + jax.scipy.special.erf(hidden / 2 ** 0.5)) / 2
  want = x + hidden @ p['out']['kernel'] + p['out']['bias']
  np.testing.assert_allclose(mlp.apply(weights, x, train=False), want, rtol=1e-5, atol=1e-5)


def test_coordinates_are_embedded_to_a_tenth_of_a_pixel():
  """Of a picture of 1000, which bfloat16 would round to two."""
  embedding = attention_blocks.Embedding(4, 1)
  weights = {'params': {'coordinates': {'kernel': jnp.ones((2, 4)), 'bias': jnp.zeros(4)},
                        'joint': jnp.full((1, 4), -0.9), 'frame': jnp.zeros((1, 4))}}
  x = jnp.array([0.9 + 2e-4, 0.0]).reshape(1, 1, 1, 2)
  np.testing.assert_allclose(embedding.apply(weights, x), 2e-4, rtol=1e-2)
