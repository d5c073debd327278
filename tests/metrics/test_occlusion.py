"""The report on six people drawn by hand, its sums and its classes."""
import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslope_jax.metrics import occlusion, pose_errors
from dslope_jax.metrics import people as people_lib
from dslope_jax.skeletons import Skeleton
from tests.metrics.test_keypoint_ap import load

LIMBS = Skeleton(('left_hand', 'right_hand', 'left_foot', 'right_foot'), (), (.1,) * 4)
# Joints lie 20 from the edges of a box of 100. With area 10000 and sigma 0.1 similarity is
# exp(-d^2 / 800): 0.85 at 11.4 pixels, 0.5 at 23.5.
SQUARE = np.array([[20, 20], [80, 20], [20, 80], [80, 80]], float)


def six():
  """Three pictures; what was predicted stands under each person.

    picture 0, 400x300                        picture 1, 300x300             picture 2, 300x300
    A 50..150 | B 100..200   C 250..350       D 0..100 at the    E 150..180  F 100..200
    (IoU 1/3)                                 border, hands only 3 covered   medium
    exact     | A's pose,    hands exchanged  left 15 off,       exact       nothing
              | feet hidden                   right 200 off                  one hand hidden
  """
  corners = np.array([[50, 50], [100, 50], [250, 100], [0, 0], [150, 150], [100, 100]], float)
  side = np.array([100, 100, 100, 100, 30, 100], float)
  joints = corners[:, None] + SQUARE * side[:, None, None] / 100
  covered = np.zeros((6, 4), bool)
  covered[4, :3] = True
  people = people_lib.People(
    image_id=np.array([0, 0, 0, 1, 1, 2]), keypoints=joints, covered=covered,
    visibility=np.array([[2, 2, 2, 2], [2, 2, 1, 1], [2, 2, 2, 2], [2, 2, 0, 0], [2, 2, 1, 2],
                         [1, 2, 2, 2]]),
    areas=np.array([1e4, 1e4, 1e4, 1e4, 900, 5000]),
    boxes=np.concatenate([corners, side[:, None], side[:, None]], 1),
    image_size=np.array([[400, 300]] * 3 + [[300, 300]] * 3))
  found = joints.copy()
  found[1] = joints[0]
  found[2] = joints[2][[1, 0, 2, 3]]
  found[3, :2] += [[15, 0], [0, 200]]
  found[5] = np.nan
  poses = {'image_id': people.image_id[:5], 'keypoints': found[:5],
           'scores': np.array([.9, .6, .7, .5, .8])}
  return people, found, poses


def report(people, predictions, *edges):
  right = pose_errors.right_joints(predictions, people.keypoints, people.areas, LIMBS.sigmas)
  return occlusion.report(people, predictions, right, LIMBS, *edges)


def counts(rows, *keys):
  return {name: tuple(row[k] for k in keys) for name, row in rows.items()}


def test_six_people_counts():
  out = report(*six()[:2])
  json.dumps(out, allow_nan=False)
  keys = ('people', 'joints', 'right')
  assert tuple(out['overall'][k] for k in keys) == (6, 22, 11) and out['overall']['share'] == 50
  by = out['by']
  assert counts(by['joint'], 'joints', 'right') == {
    'visible': (16, 8), 'hidden': (3, 0), 'covered': (3, 3)}
  assert counts(by['occluded'], *keys) == {
    '0': (3, 10, 7), '(0,.25]': (1, 4, 0), '(.25,.5]': (1, 4, 0), '(.5,1]': (1, 4, 4)}
  # Two of A's joints lie in B's box and two of B's in A's; C is alone: (2/4 + 2/4 + 0) / 3.
  assert counts(by['crowd_index'], *keys) == {
    '<0.1': (3, 10, 5), '<0.8': (3, 12, 6), '>=0.8': (0, 0, 0)}
  assert counts(by['neighbour'], *keys) == {
    '0': (4, 14, 7), '(0,.25]': (0, 0, 0), '(.25,.5]': (2, 8, 4), '>.5': (0, 0, 0)}
  assert counts(by['truncated'], *keys) == {'no': (5, 20, 10), 'yes': (1, 2, 1)}
  assert counts(by['size'], *keys) == {
    'small': (1, 4, 4), 'medium': (1, 4, 0), 'large': (4, 14, 7)}
  assert by['neighbour']['>.5']['share'] is None


def test_six_people_errors_and_rates():
  out = report(*six()[:2])
  assert {k: v['joints'] for k, v in out['errors'].items()} == {
    'good': 10, 'jitter': 1, 'inversion': 2, 'swap': 4, 'miss': 5}
  assert out['errors']['swap']['share'] == pytest.approx(400 / 22)
  assert out['rates'] == {'neighbours': 1, 'collapsed': 1, 'collapse_rate': 100, 'people': 6,
                          'swap_rate': 100 / 6, 'inversion_rate': 100 / 6}
  people, found, _ = six()
  found[1] = people.keypoints[1]
  assert not pose_errors.collapsed(found, people, LIMBS)['collapsed'].any()


@st.composite
def scenes(draw, k=4, bare=True):
  rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
  n = draw(st.integers(1, 12))
  boxes = np.concatenate([rng.uniform(0, 80, (n, 2)), rng.uniform(10, 200, (n, 2))], 1)
  joints = boxes[:, None, :2] + rng.uniform(0, 1, (n, k, 2)) * boxes[:, None, 2:]
  visibility = rng.integers(0, 3, (n, k))
  visibility[:, 0] = np.maximum(visibility[:, 0], 0 if bare else 1)
  people = people_lib.People(
    image_id=rng.integers(0, 4, n), keypoints=joints, visibility=visibility,
    areas=boxes[:, 2:].prod(1), boxes=boxes, crowd=rng.random(n) < .1,
    covered=rng.random((n, k)) < .3, image_size=np.full((n, 2), 200))
  found = joints[rng.integers(0, n, n)] if draw(st.booleans()) else joints
  found = found + rng.normal(0, 8, found.shape)
  found[rng.random(n) < .1] = np.nan
  whole = np.isfinite(found).all((1, 2))
  poses = {'image_id': people.image_id[whole], 'keypoints': found[whole],
           'scores': rng.random(whole.sum())}
  return people, found, poses


@settings(deadline=None, max_examples=30)
@given(scenes())
def test_bins_add_up_and_every_joint_has_one_kind(scene):
  people, found, _ = scene
  out = report(people, found)
  json.dumps(out, allow_nan=False)
  joints = (people.labelled & people.counted[:, None]).sum()
  assert (out['overall']['people'], out['overall']['joints']) == (people.counted.sum(), joints)
  assert set(out['by']) == {'joint', 'occluded', 'crowd_index', 'neighbour', 'truncated', 'size'}
  for split, rows in out['by'].items():
    for key in ('joints', 'right') if split == 'joint' else ('people', 'joints', 'right'):
      assert sum(row[key] for row in rows.values()) == out['overall'][key], (split, key)
  assert sum(row['joints'] for row in out['errors'].values()) == joints
  kinds = pose_errors.classify(found, people, LIMBS)
  counted = people.labelled & ~people.crowd[:, None]
  np.testing.assert_array_equal(kinds >= 0, counted)
  right = [out['overall']['right'], *(out['errors'][k]['joints'] for k in ('good', 'jitter'))]
  assert right[0] >= right[1] + right[2]  # a right joint may be nearer to somebody else's


def leaves(tree, path=()):
  for key, value in tree.items():
    if isinstance(value, dict):
      yield from leaves(value, (*path, key))
    else:
      yield (*path, key), value


@settings(deadline=None, max_examples=15)
@given(scenes(bare=False), st.integers(0, 99))
def test_order_of_people_does_not_matter(scene, seed):
  people, found, _ = scene
  order = np.random.default_rng(seed).permutation(len(people))
  mixed = dataclasses.replace(people, **{
    f.name: getattr(people, f.name)[order] for f in dataclasses.fields(people)
    if getattr(people, f.name) is not None})
  # No crowd index of so few joints lies on these edges, where the order of summing would decide.
  edges = (0.1234, 0.8765)
  got, want = report(mixed, found[order], edges), report(people, found, edges)
  assert dict(leaves(got)) == pytest.approx(dict(leaves(want)))


@settings(deadline=None, max_examples=30)
@given(scenes())
def test_every_labelled_joint_is_in_exactly_one_group(scene):
  people = scene[0]
  groups = occlusion.joint_groups(people.visibility, people.covered)
  assert list(groups) == ['visible', 'hidden', 'covered']
  np.testing.assert_array_equal(sum(m.astype(int) for m in groups.values()), people.labelled)
  assert not (groups['covered'] & ~people.covered).any()


def test_no_poses_and_nobody():
  people, found, _ = six()
  out = report(people, np.full_like(found, np.nan))
  assert out['overall']['share'] == 0 and out['errors']['miss']['share'] == 100
  empty = people_lib.People(np.zeros(0), np.zeros((0, 4, 2)), np.zeros((0, 4), int), np.zeros(0),
                            np.zeros((0, 4)))
  out = report(empty, np.zeros((0, 4, 2)))
  assert out['overall']['share'] is None and out['rates']['collapse_rate'] is None


def test_people_from_coco():
  truth = load('ground_truth')
  people = people_lib.from_coco(truth, 17)
  assert people.counted.sum() == sum(a['num_keypoints'] > 0 and not a['iscrowd']
                                     for a in truth['annotations'])
  ids = people.annotation_id[[5, 0, 7]]
  assert people.rows(ids).tolist() == [5, 0, 7]
  with pytest.raises(ValueError, match='1 annotation ids are unknown, such as -3'):
    people.rows([-3])
  with pytest.raises(ValueError, match='has no box or not 14 joints'):
    people_lib.from_coco(truth, 14)
  assert people_lib.from_coco(truth | {'images': [i | {'crowdIndex': .5} for i in truth['images']]},
                              17).crowd_index.tolist() == [.5] * len(people)
  assert not people.covered.any()
  flags = truth | {'annotations': [a | {'covered': [1] + [0] * 16} for a in truth['annotations']]}
  assert people_lib.from_coco(flags, 17).covered.sum(0).tolist() == [len(people)] + [0] * 16
  flags['annotations'][3]['covered'] = [1]
  with pytest.raises(ValueError, match='has not 17 flags as covered'):
    people_lib.from_coco(flags, 17)


@pytest.mark.parametrize('message, change', [
  ('but areas', {'areas': np.ones(2)}), ('but covered', {'covered': np.zeros((6, 3), bool)}),
  ('none of 0, 1, 2, 3', {'visibility': np.full((6, 4), 4)})])
def test_errors(message, change):
  people, found, _ = six()
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(people, **change)
  with pytest.raises(ValueError, match='predictions have shape'):
    occlusion.report(people, found[:3], np.ones((6, 4), bool), LIMBS)
