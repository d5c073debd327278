"""The report on six people drawn by hand, its sums and classes, AP of subsets by pycocotools."""
import copy
import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslope_jax.metrics import keypoint_ap, occlusion_report, pose_errors, subset_ap
from dslope_jax.metrics import people as people_lib
from dslope_jax.skeletons import COCO, Skeleton
from tests.metrics.test_keypoint_ap import load, results

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


def counts(rows, *keys):
  return {name: tuple(row[k] for k in keys) for name, row in rows.items()}


def test_six_people_counts():
  out = occlusion_report.report(*six(), LIMBS)
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
  assert by['neighbour']['>.5']['share'] is None and by['neighbour']['>.5']['AP'] is None


def test_six_people_errors_and_rates():
  out = occlusion_report.report(*six(), LIMBS)
  assert {k: v['joints'] for k, v in out['errors'].items()} == {
    'good': 10, 'jitter': 1, 'inversion': 2, 'swap': 4, 'miss': 5}
  assert out['errors']['swap']['share'] == pytest.approx(400 / 22)
  assert out['rates'] == {'neighbours': 1, 'collapsed': 1, 'collapse_rate': 100, 'people': 6,
                          'swap_rate': 100 / 6, 'inversion_rate': 100 / 6}
  people, found, _ = six()
  found[1] = people.keypoints[1]
  assert not pose_errors.collapsed(found, people, LIMBS)['collapsed'].any()


def test_six_people_ap():
  # OKS: A and E 1, C 0.506 (two exchanged hands), B's pose is a second A, D 0.38, F none. So three
  # of six are found at 0.5, two above; recalls 0, 0.01 ... up to there have precision 1.
  out = occlusion_report.report(*six(), LIMBS)
  assert out['overall']['AP'] == pytest.approx((51 + 9 * 34) / 1010)
  assert out['overall']['AR'] == pytest.approx((3 / 6 + 9 * 2 / 6) / 10)
  # A, C and D: the poses of B (nearest to A) and D are wrong, E's is nobody's business.
  assert out['by']['occluded']['0']['AP'] == pytest.approx((67 + 9 * 34) / 1010)
  assert out['by']['occluded']['(.5,1]']['AP'] == pytest.approx(1)
  assert out['by']['occluded']['(0,.25]']['AP'] == 0


def test_matching_of_the_six():
  people, found, poses = six()
  found_rows = pose_errors.match(people, poses['image_id'], poses['keypoints'], LIMBS.sigmas)
  assert found_rows.tolist() == [0, -1, 2, 3, 4, -1]  # B's pose is like A only, whom A's has
  rows = pose_errors.match(people, poses['image_id'][::-1], poses['keypoints'][::-1], LIMBS.sigmas)
  assert rows.tolist() == [3, -1, 2, 1, 0, -1]  # equal poses: the lower row


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
  people, found, poses = scene
  out = occlusion_report.report(*scene, LIMBS)
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
def test_order_of_people_and_poses_does_not_matter(scene, seed):
  people, found, poses = scene
  rng = np.random.default_rng(seed)
  order, other = rng.permutation(len(people)), rng.permutation(len(poses['scores']))
  mixed = dataclasses.replace(people, **{
    f.name: getattr(people, f.name)[order] for f in dataclasses.fields(people)
    if getattr(people, f.name) is not None})
  # No crowd index of so few joints lies on these edges, where the order of summing would decide.
  edges = (0.1234, 0.8765)
  mixed_poses = {k: v[other] for k, v in poses.items()}
  got = occlusion_report.report(mixed, found[order], mixed_poses, LIMBS, edges)
  want = occlusion_report.report(*scene, LIMBS, edges)
  # Where only some joints count, people without them are matched by their boxes, all alike, and
  # COCO lets the order decide.
  fixed = {path: value for path, value in leaves(want)
              if path[:2] != ('by', 'joint') or path[-1] in ('joints', 'right', 'share')}
  got = dict(leaves(got))
  assert {path: got[path] for path in fixed} == pytest.approx(fixed)


@settings(deadline=None, max_examples=50)
@given(scenes())
def test_matching_is_greedy_in_each_picture(scene):
  people, _, poses = scene
  got = pose_errors.match(people, poses['image_id'], poses['keypoints'], LIMBS.sigmas)
  likeness = np.zeros((len(people), len(poses['scores'])))
  for p in np.flatnonzero(people.counted):
    on = people.labelled[p]
    for d in np.flatnonzero(poses['image_id'] == people.image_id[p]):
      likeness[p, d] = pose_errors.similarity(
        poses['keypoints'][d], people.keypoints[p], people.areas[p], LIMBS.sigmas)[on].mean()
  want = np.full(len(people), -1)
  while likeness.size and likeness.max() >= .1:
    p, d = np.unravel_index(likeness.argmax(), likeness.shape)
    want[p] = d
    likeness[p] = likeness[:, d] = 0
  np.testing.assert_array_equal(got, want)


@pytest.fixture(scope='module')
def golden():
  rows = load('predictions')
  joints = np.array([r['keypoints'] for r in rows])
  poses = {'image_id': np.array([r['image_id'] for r in rows]), 'keypoints': joints[..., :2],
           'scores': np.array([r['box_score'] for r in rows])}
  truth = load('ground_truth')
  found = results(poses | {'keypoints': joints}, poses['scores'])
  return truth, found, people_lib.from_coco(truth, 17), poses


def test_overall_and_size_ap_are_pycocotools(golden):
  truth, found, people, poses = golden
  rows = pose_errors.match(people, poses['image_id'], poses['keypoints'], COCO.sigmas)
  predictions = np.where(rows[:, None, None] < 0, np.nan, poses['keypoints'][rows])
  out = occlusion_report.report(people, predictions, poses, COCO)
  want = keypoint_ap.coco_ap(truth, found, COCO.sigmas)
  for key in ('AP', 'AP50', 'AP75', 'AR'):
    assert out['overall'][key] == pytest.approx(want[key], abs=1e-6)
  for size, name in (('medium', 'M'), ('large', 'L')):
    for key in ('AP', 'AR'):
      assert out['by']['size'][size][key] == pytest.approx(want[f'{key}({name})'], abs=1e-6)


@pytest.mark.parametrize('seed', range(3))
def test_ap_of_a_subset_is_pycocotools_with_the_others_ignored(golden, seed):
  truth, found, people, poses = golden
  rng = np.random.default_rng(seed)
  chosen, lit = rng.random(len(people)) < .4, rng.random((len(people), 17)) < .6
  truth = copy.deepcopy(truth)
  for a, inside, seen in zip(truth['annotations'], chosen, lit, strict=True):
    a['keypoints'][2::3] = (np.array(a['keypoints'][2::3]) * seen).tolist()
    a['num_keypoints'] *= int(inside)
  want = keypoint_ap.coco_ap(truth, found, COCO.sigmas)
  near = subset_ap.candidates(people, *poses.values(), COCO.sigmas, people.labelled & lit)
  got = subset_ap.average_precision(near, people, chosen)
  assert got == pytest.approx({k: want[k] for k in got}, abs=1e-6)


def test_no_poses_and_nobody():
  people, found, poses = six()
  none = {k: v[:0] for k, v in poses.items()}
  out = occlusion_report.report(people, np.full_like(found, np.nan), none, LIMBS)
  assert out['overall']['share'] == 0 and out['overall']['AP'] == 0
  empty = people_lib.People(np.zeros(0), np.zeros((0, 4, 2)), np.zeros((0, 4), int), np.zeros(0),
                            np.zeros((0, 4)))
  out = occlusion_report.report(empty, np.zeros((0, 4, 2)), none, LIMBS)
  assert out['overall']['AP'] is None and out['rates']['collapse_rate'] is None


def test_people_from_coco(golden):
  truth, _, people, _ = golden
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


def test_table_of_joints(tmp_path):
  path, right = tmp_path / 'joints_a_clean.npz', np.eye(3, 4, dtype=bool)
  occlusion_report.save_joint_table(path, [1, 1, 2], right, ~right)
  got = occlusion_report.load_joint_table(path)
  np.testing.assert_array_equal(got['right'], right)
  np.testing.assert_array_equal(got['labelled'], ~right)
  assert got['image_id'].tolist() == [1, 1, 2] and list(tmp_path.iterdir()) == [path]
  with pytest.raises(ValueError, match='shapes disagree'):
    occlusion_report.save_joint_table(path, [1, 2], right, right)
  np.savez(path, image_id=np.array([{}], object), right=right, labelled=right)
  with pytest.raises(ValueError, match='is no table of joints'):
    occlusion_report.load_joint_table(path)
  path.write_bytes(b'PK\x03\x04 cut off')
  with pytest.raises(ValueError, match='is no table of joints'):
    occlusion_report.load_joint_table(path)
  with pytest.raises(FileNotFoundError):
    occlusion_report.load_joint_table(tmp_path / 'none.npz')


@pytest.mark.parametrize('message, change', [
  ('but areas', {'areas': np.ones(2)}), ('but covered', {'covered': np.zeros((6, 3), bool)}),
  ('none of 0, 1, 2', {'visibility': np.full((6, 4), 3)})])
def test_errors(message, change):
  people, found, poses = six()
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(people, **change)
  with pytest.raises(ValueError, match='shapes? '):
    occlusion_report.report(people, found[:3], poses, LIMBS)
  with pytest.raises(ValueError, match='NaN'):
    occlusion_report.report(people, found, poses | {'scores': poses['scores'] * np.nan}, LIMBS)
