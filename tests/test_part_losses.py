"""Losses of maps against the published ones, and what counts in them."""
import jax
import numpy as np
import pytest

from dslope_jax import part_losses
from dslope_jax.part_maps import peaks
from tests.part_golden import golden, labels, noise

TERMS = 'maps', 'relative_depth', 'anchor_depth'


@pytest.fixture(scope='module')
def published():
  """(stages, labels, validity, arrays) of the stored case."""
  arrays, meta = golden('detect_losses_s34')
  h, w = meta['map_hw']
  heads = {'maps': ('out2d', 43), 'relative_depth': ('outz', 14), 'anchor_depth': ('outd', 7)}
  stages = [[{name: noise(meta['seed'], f'{stream}/{i}/{j}', (meta['B'], count, h, w))
              for name, (stream, count) in heads.items()} for j in range(4)] for i in range(3)]
  return stages, labels(arrays, meta, (h, w)), arrays['valid_in'][..., 0], arrays


def test_published_terms_and_totals(published):
  *inputs, arrays = published
  terms = part_losses.detection_terms(*inputs, reference=True)
  table = [[[unit[name] for name in TERMS] for unit in stage] for stage in terms]
  np.testing.assert_allclose(table, arrays['table_stage_unit_terms_f64'], rtol=1e-5)
  total, finest = part_losses.detection_loss(*inputs, reference=True)
  np.testing.assert_allclose(total, arrays['loss_total_loss'], rtol=1e-5)
  for name, old in zip(TERMS, ('loss_2d', 'loss_bone', 'loss_root'), strict=True):
    np.testing.assert_allclose(finest[name], arrays[f'loss_{old}'], rtol=1e-5)


def test_our_units_have_the_published_loss(published):
  stages, truth, valid, arrays = published
  scaled = lambda maps: maps | {'maps': maps['maps'] / peaks(15, 14)}
  loss = jax.jit(part_losses.detection_loss)
  total, _ = loss([[scaled(unit) for unit in stage] for stage in stages], scaled(truth), valid)
  np.testing.assert_allclose(total, arrays['loss_total_loss'], rtol=1e-5)


def case(joints=10, limbs=9, anchors=2, people=8, stages=2):
  """Predictions that are right everywhere, and their labels."""
  h, w, batch = 4, 5, 2
  rng = np.random.default_rng(0)
  truth = {'maps': rng.standard_normal((batch, 5, h, w, joints + 2 * limbs)),
           'relative_depth': rng.standard_normal((batch, 5, h, w, limbs)),
           'anchors': np.zeros((batch, anchors, people, 3))}
  truth = {name: value.astype(np.float32) for name, value in truth.items()}
  return [[{'maps': truth['maps'][:, u + (i == stages - 1)].copy(),
            'relative_depth': truth['relative_depth'][:, u + (i == stages - 1)].copy(),
            'anchor_depth': np.zeros((batch, h, w, anchors), np.float32)}
           for u in range(4)] for i in range(stages)], truth


def values(terms, name):
  return [[float(unit[name]) for unit in stage] for stage in terms]


def test_each_unit_has_its_scale():
  stages, truth = case()
  terms = part_losses.detection_terms(stages, truth)
  for name in TERMS:
    assert values(terms, name) == [[0] * 4] * 2
  assert float(part_losses.detection_loss(stages, truth)[0]) == 0


def test_which_errors_count():
  stages, truth = case()
  size = np.arange(1, 11)
  for i in (0, 1):  # in the coarsest and in the finest unit
    for unit in (stages[i][0], stages[i][3]):
      unit['maps'][..., :10] += size / 255
      unit['maps'][..., 10:] += np.arange(1, 19) / 127
      unit['relative_depth'][..., :] += np.arange(1, 10)
  terms = part_losses.detection_terms(stages, truth)
  squares = lambda first, last: np.square(np.arange(first, last + 1.0))
  everything = (squares(1, 10).sum() + squares(1, 18).sum()) / 28
  hardest = squares(3, 10).mean() + squares(3, 18).mean()
  np.testing.assert_allclose(values(terms, 'maps'), [[everything, 0, 0, hardest]] * 2, rtol=1e-4)
  np.testing.assert_allclose(values(terms, 'relative_depth'),
                             [[squares(1, 9).mean(), 0, 0, squares(2, 9).mean()]] * 2, rtol=1e-4)
  total, finest = part_losses.detection_loss(stages, truth)
  a, b = finest['maps'], finest['relative_depth']
  np.testing.assert_allclose(a, 2 * hardest, rtol=1e-4)
  np.testing.assert_allclose(
    total, 0.1 * (a + everything / 2) + 5 * (b + squares(1, 9).mean() / 2), rtol=1e-4)


def test_channels_that_are_not_labelled():
  stages, truth = case(stages=1)
  for unit in stages[0]:
    unit['maps'][..., 1] += 100
    unit['relative_depth'][..., 3] += 100
  valid = np.ones((2, 37), np.float32)
  valid[:, [1, 28 + 3]] = 0
  assert float(part_losses.detection_loss(stages, truth, valid)[0]) == 0
  valid[1] = 1
  assert float(part_losses.detection_loss(stages, truth, valid)[0]) > 0


def test_anchors_are_read_at_their_pixels():
  pred = np.arange(40, dtype=np.float32).reshape(1, 4, 5, 2)
  rows = np.zeros((1, 2, 9, 3), np.float32)
  rows[0, 0, 0] = 2.9, 3.2, 30  # row 2, column 3: 26
  rows[0, 1, 8] = 0, 1.5, 1  # 3
  np.testing.assert_allclose(part_losses.sparse_l1(pred, rows), (4 + 2) / 2)
  assert float(part_losses.sparse_l1(pred, 0 * rows)) == 0
  stages, truth = case(stages=1, people=9)
  stages, truth = [[unit | {'anchor_depth': pred.repeat(2, 0)} for unit in stages[0]]], truth | {
    'anchors': rows.repeat(2, 0)}
  for reference, want in ((False, 3), (True, 4)):  # as published the ninth person is left out
    terms = part_losses.detection_terms(stages, truth, reference=reference)
    assert values(terms, 'anchor_depth') == [[want] * 4]
    total = part_losses.detection_loss(stages, truth, reference=reference)[0]
    np.testing.assert_allclose(total, 10 * want * (3 / 4 + 1))


def test_distillation():
  assert [float(part_losses.distillation_weight(step, 80)) for step in (0, 10, 20, 80)] == [
    0, 0.5, 1, 1]
  stages, truth = case()
  level = lambda value: [np.full((2, 3), value * n, np.float32) for n in (1, 2)]
  outputs = {'stages': stages, 'student': [level(1), level(2)], 'teacher': [level(0), level(5)]}
  loss = lambda outputs: part_losses.reasoning_loss(outputs, truth, 0.5)
  (total, terms), grad = jax.value_and_grad(loss, has_aux=True)(outputs)
  assert (float(terms['level1']), float(terms['level2'])) == (1 + 9, 4 + 36)
  np.testing.assert_allclose(total, 0.5 * 50)
  assert not any(g.any() for g in jax.tree.leaves(grad['teacher']))
  np.testing.assert_allclose(grad['student'][0][0], 0.5 * 2 / 6)


def test_no_error_is_taken_where_it_is_ignored():
  stages, truth = case()
  ignore = np.zeros((2, 4, 5), bool)
  ignore[0, 1, 2] = True
  for stage in stages:
    for unit in stage:
      unit['maps'][0, 1, 2] += 1
      unit['relative_depth'][0, 1, 2] += 1
  total, _ = part_losses.detection_loss(stages, truth, None, ignore)
  assert total == 0 and part_losses.detection_loss(stages, truth)[0] > 0
  assert part_losses.map_loss(stages, truth, None, ignore) == 0
  stages[0][0]['maps'][1, 1, 2] += 1
  assert part_losses.detection_loss(stages, truth, None, ignore)[0] > 0
