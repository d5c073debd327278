"""Poses of several networks made one."""
import functools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslope_jax.metrics import calibration, mixture, pose_errors


def test_rules_by_hand():
  keypoints = np.array([[[[0, 0], [0, 0]]], [[[10, 20], [10, 20]]]], float)  # (2,1,2,2)
  confidences = np.array([[[.8, .0]], [[.2, .0]]])
  xy, c = mixture.average(keypoints, confidences)
  assert xy.tolist() == [[[5, 10], [5, 10]]] and c.tolist() == [[.5, 0]]
  xy, c = mixture.confidence(keypoints, confidences)
  np.testing.assert_allclose(xy, [[[2, 4], [5, 10]]])
  np.testing.assert_allclose(c, [[.68, 0]])
  xy, c = mixture.pick(keypoints, confidences)
  assert xy.tolist() == [[[0, 0], [0, 0]]] and c.tolist() == [[.8, 0]]
  # The second network's 0.2 means 0.9.
  xy, c = mixture.pick(keypoints, confidences, [None, {'kind': 'isotonic', 'x': [.2], 'y': [.9]}])
  assert xy.tolist() == [[[10, 20], [10, 20]]] and c.tolist() == [[.9, .9]]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.sampled_from(['average', 'confidence',
                                                                      'pick']))
def test_mixtures_lie_between_and_one_network_is_itself(seed, networks, rule):
  rng = np.random.default_rng(seed)
  keypoints, confidences = rng.normal(size=(networks, 3, 5, 2)), rng.random((networks, 3, 5))
  xy, c = mixture.RULES[rule](keypoints, confidences)
  assert xy.shape == (3, 5, 2) and c.shape == (3, 5)
  for got, given_ in ((xy, keypoints), (c, confidences)):
    assert (got >= given_.min(0) - 1e-9).all() and (got <= given_.max(0) + 1e-9).all()
  if networks == 1:
    np.testing.assert_allclose(xy, keypoints[0])
  order = rng.permutation(networks)
  again, _ = mixture.RULES[rule](keypoints[order], confidences[order])
  np.testing.assert_allclose(again, xy)


def two_networks(seed, people=600):
  """The first is right unless hidden, the second half the time; the first's scores know it."""
  rng = np.random.default_rng(seed)
  truth = rng.uniform(0, 100, (people, 6, 2))
  fails = np.stack([rng.random((people, 6)) < .3, rng.random((people, 6)) < .5])
  spread = np.where(fails, 40, 2)[..., None]
  keypoints = truth + spread * rng.normal(size=(2, people, 6, 2))
  confidences = np.clip(np.where(fails, .3, .7) + .1 * rng.normal(size=fails.shape), 0, 1)
  confidences[1] = np.clip(confidences[1] + .25, 0, 1)  # boasts
  return truth, keypoints, confidences


def judge(truth):
  return functools.partial(pose_errors.right_joints, ground_truth=truth,
                           areas=np.full(len(truth), 2500.), sigmas=np.full(6, .08))


def test_gate_beats_both_networks_and_the_mean_on_new_people():
  truth, keypoints, confidences = two_networks(0)
  labelled = np.ones(truth.shape[:2], bool)
  right = np.stack([judge(truth)(k) for k in keypoints])
  fits = [calibration.fit_isotonic(c, r) for c, r in zip(confidences, right, strict=True)]
  fit = mixture.fit_gate(keypoints, confidences, truth, labelled, judge(truth), fits)
  truth, keypoints, confidences = two_networks(1)
  share = lambda k: judge(truth)(k).mean()
  gated, c = mixture.gate(keypoints, confidences, json.loads(json.dumps(fit, allow_nan=False)))
  assert ((c >= 0) & (c <= 1)).all()
  best = max(share(k) for k in keypoints)
  assert share(gated) > best + .05
  assert share(gated) > share(mixture.average(keypoints, confidences)[0]) + .05
  picked = share(mixture.pick(keypoints, confidences, fits)[0])
  assert share(gated) > picked - .02 and picked > share(mixture.pick(keypoints, confidences)[0])


def two_views(seed, people=300):
  """The first network fails on every second pose, the second on the others; scores tell nothing,
  the first column of the context (N,2) does."""
  rng = np.random.default_rng(seed)
  truth, second = rng.uniform(0, 100, (people, 6, 2)), np.arange(people) % 2 == 1
  spread = np.where(np.stack([second, ~second]), 40, 2)[..., None, None]
  keypoints = truth + spread * rng.normal(size=(2, people, 6, 2))
  return truth, keypoints, rng.random((2, people, 6)), rng.normal(
    np.stack([4. * second, 0 * second], 1))


def test_a_context_is_used_where_it_gets_more_joints_of_other_people_right():
  truth, keypoints, confidences, context = two_views(0)
  labelled, people = np.ones(truth.shape[:2], bool), np.arange(len(truth)) // 3
  fit = lambda context: json.loads(json.dumps(mixture.fit_gate(
    keypoints, confidences, truth, labelled, judge(truth), None, context, people)))
  plain, informed, misled = (fit(c) for c in (None, context, context[::-1, 1:]))
  assert informed['context'] and not plain['context'] and not misled['context']
  truth, keypoints, confidences, context = two_views(1)
  share = lambda fit: judge(truth)(mixture.gate(keypoints, confidences, fit, context)[0]).mean()
  assert share(informed) > share(plain) + .1 and share(misled) == share(plain)
  assert share(plain | {'context': False}) == share({k: v for k, v in plain.items()
                                                     if k != 'context'})  # stored before


def test_too_few_people_to_compare_have_a_gate_without_context():
  truth, keypoints, confidences, context = two_views(0, 6)
  fit = mixture.fit_gate(keypoints, confidences, truth, np.ones((6, 6), bool), judge(truth), None,
                         context, np.zeros(6))
  assert fit and not fit['context']


def test_equal_networks_pass_the_gate_unchanged():
  truth, keypoints, confidences = two_networks(0, 50)
  fit = mixture.fit_gate(keypoints, confidences, truth, np.ones((50, 6), bool), judge(truth))
  xy, c = mixture.gate(keypoints[[0, 0]], confidences[[0, 0]], fit)
  np.testing.assert_allclose(xy, keypoints[0])
  np.testing.assert_allclose(c, confidences[0])


def test_there_is_no_gate_between_equal_poses():
  truth, keypoints, confidences = two_networks(0, 50)
  labelled = np.ones((50, 6), bool)
  assert mixture.fit_gate(keypoints[[0, 0]], confidences, truth, labelled, judge(truth)) is None
  assert mixture.fit_gate(keypoints, confidences, truth, ~labelled, judge(truth)) is None


def test_errors():
  keypoints, confidences = np.zeros((2, 3, 4, 2)), np.zeros((2, 3, 4))
  for rule in ('average', 'confidence', 'pick'):
    call = mixture.RULES[rule]
    with pytest.raises(ValueError, match='needed are'):
      call(keypoints[:1], confidences)
    with pytest.raises(ValueError, match='needed are'):
      call(keypoints[:0], confidences[:0])
    with pytest.raises(ValueError, match='NaN or infinite'):
      call(keypoints + np.nan, confidences)
    with pytest.raises(ValueError, match='2 networks, but 1 fits'):
      call(keypoints, confidences, [None])
  fit = {'gate': None, 'reach': None, 'fits': None}
  with pytest.raises(ValueError, match='for two networks, not 3'):
    mixture.gate(np.zeros((3, 3, 4, 2)), np.zeros((3, 3, 4)), fit)
