"""Margins against values worked out by hand."""
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dslope_jax import margins

# Angles of 60 and 90 degrees for the first, of 120 and 45 for the second; classes 0 and 1.
ANGLES = np.array([[math.pi / 3, math.pi / 2], [2 * math.pi / 3, math.pi / 4]])
LABELS = np.array([0, 1])
WANTED = {
  ('softmax', 0.5): [[0.5, 0], [-0.5, math.sqrt(0.5)]],
  ('cosface', 0.25): [[0.25, 0], [-0.5, math.sqrt(0.5) - 0.25]],
  ('arcface', math.pi / 6): [[0, 0], [-0.5, math.cos(math.radians(75))]]}


@pytest.mark.parametrize('kind, margin', WANTED)
def test_cosines_with_a_margin(kind, margin):
  found = margins.with_margin(jnp.cos(jnp.asarray(ANGLES)), LABELS, kind, margin)
  np.testing.assert_allclose(found, WANTED[kind, margin], atol=1e-6)


@pytest.mark.parametrize('kind, margin', WANTED)
def test_the_loss_is_the_cross_entropy_of_the_scaled_logits(kind, margin):
  own = [row[label] for row, label in zip(WANTED[kind, margin], LABELS, strict=True)]
  other = [row[1 - label] for row, label in zip(WANTED[kind, margin], LABELS, strict=True)]
  wanted = [math.log(1 + math.exp(8 * (b - a))) for a, b in zip(own, other, strict=True)]
  found = margins.cross_entropy(jnp.cos(jnp.asarray(ANGLES)), LABELS, kind, 8.0, margin)
  np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_arcface_goes_on_falling_where_the_turned_angle_passes_pi():
  angles = np.linspace(0.01, math.pi - 0.01, 200)
  cosines = jnp.stack([jnp.cos(jnp.asarray(angles)), jnp.zeros(200)], 1)
  found = margins.with_margin(cosines, np.zeros(200, int), 'arcface', 0.5)[:, 0]
  assert (np.diff(found) < 0).all()
  late = angles > math.pi - 0.5
  np.testing.assert_allclose(found[~late], np.cos(angles[~late] + 0.5), atol=1e-4)
  np.testing.assert_allclose(found[late], np.cos(angles[late]) - 0.5 * math.sin(0.5), atol=1e-5)


@pytest.mark.parametrize('kind', margins.KINDS)
@pytest.mark.parametrize('cosine', [1.0, 1.0 + 1e-6, -1.0])
def test_gradients_are_finite_at_the_ends(kind, cosine):
  loss = lambda c: margins.cross_entropy(c, np.array([0]), kind, 64.0, 0.5).sum()
  gradient = jax.grad(loss)(jnp.array([[cosine, 0.3]]))
  assert np.isfinite(gradient).all() and np.isfinite(loss(jnp.array([[cosine, 0.3]])))


def test_unit_vectors():
  np.testing.assert_allclose(margins.unit(jnp.array([[3., 4], [0, 0]])), [[.6, .8], [0, 0]])
  assert np.isfinite(jax.grad(lambda x: margins.unit(x).sum())(jnp.zeros((1, 2)))).all()
