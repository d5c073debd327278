"""Errors of 3D poses: the published numbers, exact cases, and a loop as reference."""
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dslope_jax.errors import UserError
from dslope_jax.metrics import pose3d

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden/lifting_metrics'
ALL = (pose3d.mpjpe, pose3d.n_mpjpe, pose3d.p_mpjpe, pose3d.mpjve, pose3d.pck, pose3d.auc)


def poses(seed, shape=(2, 4, 17)):
  """Targets and predictions in mm."""
  rng = np.random.default_rng(seed)
  target = rng.normal(0, 300, (*shape, 3))
  return target + rng.normal(0, 60, target.shape), target


@pytest.mark.parametrize('name', ['metrics_s61', 'metrics_s62'])
def test_published_numbers(name):
  with np.load(GOLDEN / f'{name}.npz') as g:
    pair, flat = (g['pred_in'], g['gt_in']), lambda x: x.reshape(-1)
    float32 = {'mpjpe': pose3d.mpjpe(*pair), 'n_mpjpe': pose3d.n_mpjpe(*pair),
               'weighted_mpjpe': pose3d.mpjpe(*pair, weights=g['joint_weight_in'])}
    velocity = pose3d.mpjve(*pair, per_frame=True).mean(1)
    exact = {'p_mpjpe_f64': pose3d.p_mpjpe(*pair), 'velocity_error_per_sequence_f64': velocity,
             'p_mpjpe_per_frame_f64': flat(pose3d.p_mpjpe(*pair, per_frame=True)),
             'mpjpe_per_frame_f64': flat(pose3d.mpjpe(*pair, per_frame=True))}
    mm = tuple(1000 * x.astype(np.float64) for x in pair)
    exact |= {'pck150_f64': pose3d.pck(*mm), 'auc_lt_f64': pose3d.auc(*mm),
              'pck_curve_f64': [pose3d.pck(*mm, threshold=t) for t in pose3d.AUC_THRESHOLDS]}
    assert set(exact) | {'err_mm_f64', 'auc_le_f64'} == {k for k in g if k.endswith('_f64')}
    for key, value in float32.items():
      np.testing.assert_allclose(value, g[key], rtol=1e-5, err_msg=key)
    for key, value in exact.items():
      np.testing.assert_allclose(value, g[key], rtol=0, atol=1e-9, err_msg=key)
    np.testing.assert_allclose(pose3d.mpjve(*pair), velocity.mean(), atol=1e-12)


def test_mpjpe_is_a_loop():
  prediction, target = poses(0)
  rows = [[np.mean([np.sqrt(sum((p - t) ** 2)) for p, t in zip(ps, ts, strict=True)])
           for ps, ts in zip(*clip, strict=True)] for clip in zip(prediction, target, strict=True)]
  np.testing.assert_allclose(pose3d.mpjpe(prediction, target, per_frame=True), rows)
  assert pose3d.mpjpe(prediction, target) == pytest.approx(np.mean(rows))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**16), st.floats(0.1, 10))
def test_alignment_undoes_similarities(seed, scale):
  rng, (prediction, target) = np.random.default_rng(seed), poses(seed)
  turn = Rotation.random(8, rng=rng).as_matrix().reshape(2, 4, 3, 3)
  move = lambda pose: scale * pose @ turn + rng.normal(0, 500, (2, 4, 1, 3))
  assert pose3d.p_mpjpe(move(target), target) < 1e-9
  np.testing.assert_allclose(pose3d.p_mpjpe(move(prediction), target, per_frame=True),
                             pose3d.p_mpjpe(prediction, target, per_frame=True), atol=1e-8)
  assert pose3d.n_mpjpe(scale * target, target) < 1e-9
  for of in (pose3d.p_mpjpe, pose3d.n_mpjpe):  # the least squares are never far above the least
    assert of(prediction, target) < 1.02 * pose3d.mpjpe(prediction, target)


def test_a_mirrored_pose_is_not_mirrored_back():
  _, target = poses(1)
  assert pose3d.p_mpjpe(target * [-1, 1, 1], target) > 100
  aligned = pose3d.aligned(target * [-1, 1, 1], target)
  spun = [Rotation.align_vectors(*(x - x.mean(0) for x in pair))[0] for pair in zip(
    target[0], (target * [-1, 1, 1])[0], strict=True)]
  for frame, rotation in enumerate(spun):
    turned = rotation.apply((target * [-1, 1, 1])[0, frame])
    turned -= turned.mean(0)
    goal = target[0, frame] - target[0, frame].mean(0)
    scale = (turned * goal).sum() / (turned ** 2).sum()
    np.testing.assert_allclose(aligned[0, frame] - target[0, frame].mean(0), scale * turned,
                               atol=1e-6)


def test_a_pose_in_one_place_has_a_finite_error():
  _, target = poses(2)
  spread = np.linalg.norm(target - target.mean(2, keepdims=True), axis=-1).mean()
  assert pose3d.p_mpjpe(np.ones_like(target), target) == pytest.approx(spread)
  assert pose3d.n_mpjpe(np.zeros_like(target), target) == pytest.approx(
    np.linalg.norm(target, axis=-1).mean())


def test_thresholds_are_strict():
  target = np.zeros((1, 1, 4, 3))
  prediction = target.copy()
  prediction[0, 0, :, 0] = 0, 149.999, 150, 151
  assert pose3d.pck(prediction, target) == 0.5
  assert pose3d.pck(target, target) == 1
  assert pose3d.auc(target, target) == pytest.approx(30 / 31)
  np.testing.assert_allclose(pose3d.auc(prediction, target, per_frame=True),
                             [[(30 + 1 + 0 + 0) / 31 / 4]])


def test_velocity_by_hand():
  target = np.zeros((1, 3, 2, 3))
  prediction = target + [7.0, 7, 7]  # a constant offset has no velocity
  prediction[0, 2, 0] += [3.0, 4, 0]
  np.testing.assert_allclose(pose3d.mpjve(prediction, target, per_frame=True), [[0, 2.5]])
  mask = np.ones((1, 3, 2), bool)
  mask[0, 1, 0] = False
  assert pose3d.mpjve(prediction, target, mask) == 0


@pytest.mark.parametrize('metric', ALL)
def test_masked_joints_do_not_count(metric):
  prediction, target = poses(3)
  mask = np.random.default_rng(0).random((2, 4, 17)) < 0.5
  mask[1, 2] = False
  if metric in (pose3d.mpjve, pose3d.p_mpjpe, pose3d.n_mpjpe):
    changed = prediction  # other joints are read for the alignment or the difference
  else:
    changed = np.where(mask[..., None], prediction, 1e6)
  found = metric(changed, target, mask=mask, per_frame=True)
  assert np.isnan(found[1, 2])
  if metric is not pose3d.mpjve:
    each = np.stack([metric(changed, target, mask=np.arange(17) == np.full((2, 4, 1), j),
                            per_frame=True) for j in range(17)], -1)
    np.testing.assert_allclose(found, (each * mask).sum(-1) / np.where(mask.any(-1), mask.sum(-1),
                                                                       np.nan))
    assert metric(changed, target, mask=mask) == pytest.approx(each[mask].mean())
  whole = np.ones_like(mask)
  assert metric(prediction, target, mask=whole) == metric(prediction, target)


@pytest.mark.parametrize('metric', ALL)
def test_bad_poses_are_refused_by_place(metric):
  prediction, target = poses(4)
  for other in (target[:, :3], target[0], target[..., :2]):
    with pytest.raises(UserError, match='shape.*predictions have'):
      metric(prediction, other)
  with pytest.raises(UserError, match='mask is an array of bool'):
    metric(prediction, target, mask=np.ones((2, 4, 1), bool))
  prediction[1, 2, 5, 0] = np.nan
  with pytest.raises(UserError, match='prediction of clip 1, frame 2, joint 5 .*1 of 2 clips'):
    metric(prediction, target)
  with pytest.raises(UserError, match='the target of clip 1'):
    metric(target, prediction)
  if metric is pose3d.mpjve:
    with pytest.raises(UserError, match='2 frames or more'):
      metric(target[:, :1], target[:, :1])
