"""What the encoders and decoders of maps have in common."""
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dslope_jax.models.part_stages import evaluated, interpolation, resize


def test_resize_keeps_corners_and_ramps():
  rows, columns = np.meshgrid(np.arange(16), np.arange(26), indexing='ij')
  x = np.stack([rows, columns, 3 + 2 * rows - columns], -1)[None].astype(np.float32)
  out = np.asarray(resize(x, (128, 208)))
  assert out.shape == (1, 128, 208, 3)
  np.testing.assert_array_equal(out[:, ::127, ::207], x[:, ::15, ::25])
  r, c = np.linspace(0, 15, 128)[:, None], np.linspace(0, 25, 208)
  for i, ramp in enumerate((r + 0 * c, 0 * r + c, 3 + 2 * r - c)):
    np.testing.assert_allclose(out[0, ..., i], ramp, atol=1e-4)


def test_resize_to_the_same_size_is_the_map_itself():
  x = np.ones((1, 3, 5, 2), np.float32)
  assert resize(x, (3, 5)) is x


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40))
def test_shares_sum_to_one(new, old):
  shares = interpolation(new, old)
  assert shares.shape == (new, old) and (shares >= 0).all()
  np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-12)
  assert ((shares > 0).sum(1) <= 2).all()


def test_evaluation_takes_the_finest_units_of_the_last_stage():
  unit = lambda value: {'maps': np.float32(value), 'relative_depth': np.float32(-value)}
  stages = [[unit(100 + u) for u in range(4)], [unit(u * u) for u in range(4)]]
  assert evaluated(stages, reference=True) == {'maps': 14, 'relative_depth': -9}
  np.testing.assert_allclose(evaluated(stages, reference=False)['maps'], 14 / 3, rtol=1e-6)
