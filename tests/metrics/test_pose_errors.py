"""Right joints, and which pose of a picture is whose."""
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslope_jax.metrics import keypoint_ap, pose_errors
from dslope_jax.metrics import people as people_lib
from dslope_jax.skeletons import COCO
from tests.metrics.test_occlusion import LIMBS, scenes, six


def test_right_joints_at_the_threshold():
  sigma, area = .1, 2500.
  edge = np.sqrt(np.log(2) * 2 * area) * 2 * sigma
  truth = np.zeros((1, 3, 2))
  guess = truth.copy()
  guess[0, :, 0] = edge * (1 - 1e-9), edge * (1 + 1e-9), np.nan
  got = pose_errors.right_joints(guess, truth, [area], np.full(3, sigma))
  assert got.tolist() == [[True, False, False]]
  assert pose_errors.right_joints(truth, truth, [0.], np.full(3, sigma)).all()
  # Twice the length in both, same answer.
  got = pose_errors.right_joints(2 * guess, truth, [4 * area], np.full(3, sigma))
  assert got.tolist() == [[True, False, False]]
  with pytest.raises(ValueError, match='shapes disagree'):
    pose_errors.right_joints(np.zeros((2, 3, 2)), np.zeros((2, 3, 2)), [1, 1], [.1] * 4)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**16), st.sampled_from([.1, .5, .9]))
def test_right_joints_agree_with_oks_of_a_single_joint(seed, threshold):
  rng = np.random.default_rng(seed)
  truth = rng.uniform(0, 100, (4, 17, 2))
  guess = truth + rng.normal(0, 6, truth.shape)
  areas = rng.uniform(100, 1e4, 4)
  got = pose_errors.right_joints(guess, truth, areas, COCO.sigmas, threshold)
  for i in range(4):
    for j in range(17):
      one = keypoint_ap.oks(guess[i:i + 1, j:j + 1], truth[i:i + 1, j:j + 1], areas[i:i + 1],
                            areas[i:i + 1], COCO.sigmas[j:j + 1])
      assert got[i, j] == (one[0, 0] >= threshold)


def test_everybody_gets_a_pose_while_there_is_one():
  people, _, poses = six()
  match = lambda order: pose_errors.match(people, poses['image_id'][order],
                                          poses['keypoints'][order], LIMBS.sigmas).tolist()
  # B's pose is A's, but A has one already; F's picture has no pose.
  assert match([0, 1, 2, 3, 4]) == [0, 1, 2, 3, 4, -1]
  assert match([2, 1, 3, 4]) == [1, -1, 0, 2, 3, -1]
  assert match([]) == [-1] * 6


def test_far_poses_are_told_apart_by_distance():
  corners = np.array([[0., 0.], [1000., 0.]])
  people = people_lib.People(
    image_id=[5, 5], keypoints=np.repeat(corners[:, None], 4, 1), visibility=np.full((2, 4), 2),
    areas=[1., 1.], boxes=np.ones((2, 4)))
  far = people.keypoints + [0, 300]  # an OKS of 0 in double precision
  for order in ([0, 1], [1, 0]):
    assert pose_errors.match(people, [5, 5], far[order], LIMBS.sigmas).tolist() == order


@settings(deadline=None, max_examples=50)
@given(scenes())
def test_matching_has_the_largest_total_oks(scene):
  people, _, poses = scene
  got = pose_errors.match(people, poses['image_id'], poses['keypoints'], LIMBS.sigmas)
  assert len(set(got[got >= 0].tolist())) == (got >= 0).sum()
  for picture in np.unique(people.image_id):
    persons = np.flatnonzero(people.counted & (people.image_id == picture))
    there = np.flatnonzero(poses['image_id'] == picture)
    if not 0 < len(persons) <= 4 or len(there) > 5:
      continue
    oks = np.array([[pose_errors.similarity(
      poses['keypoints'][d], people.keypoints[p], people.areas[p], LIMBS.sigmas)[
        people.labelled[p]].mean() for d in there] for p in persons]).reshape(len(persons), -1)
    size = min(oks.shape)
    best = max(sum(oks[p, d] for p, d in zip(ps, ds, strict=True))
               for ps in itertools.combinations(range(len(persons)), size)
               for ds in itertools.permutations(range(len(there)), size))
    matched = [(i, np.flatnonzero(there == got[p])[0])
               for i, p in enumerate(persons) if got[p] >= 0]
    assert len(matched) == size
    assert sum(oks[p, d] for p, d in matched) >= best - 1e-5
