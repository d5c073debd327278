"""Joints of Human3.6M from other sets: exact places, and the lowest confidence."""
import numpy as np
import pytest

from dslope_jax import joint_mapping
from dslope_jax.skeletons import COCO, CROWDPOSE, H36M, LSP, MPI_INF_3DHP, MPII
from tests.refusals import fails

LIMBS = [f'{side}_{part}' for side in ('left', 'right')
         for part in ('hip', 'knee', 'ankle', 'shoulder', 'elbow', 'wrist')]
# {set: {joint of Human3.6M: what it is, of the places p of the set}}
MADE = {
  COCO: {'hip': lambda p: (p['left_hip'] + p['right_hip']) / 2,
         'thorax': lambda p: (p['left_shoulder'] + p['right_shoulder']) / 2,
         'spine': lambda p: (MADE[COCO]['hip'](p) + MADE[COCO]['thorax'](p)) / 2,
         'neck': lambda p: p['nose'],
         'head': lambda p: (p['left_eye'] + p['right_eye']) / 2},
  MPII: {'hip': lambda p: p['pelvis'], 'thorax': lambda p: p['thorax'],
         'spine': lambda p: (p['pelvis'] + p['thorax']) / 2,
         'neck': lambda p: p['neck'], 'head': lambda p: p['head_top']},
  LSP: {'hip': lambda p: (p['left_hip'] + p['right_hip']) / 2, 'thorax': lambda p: p['neck'],
        'spine': lambda p: (MADE[LSP]['hip'](p) + p['neck']) / 2,
        'neck': lambda p: (p['neck'] + p['head_top']) / 2, 'head': lambda p: p['head_top']}}


@pytest.mark.parametrize('source', MADE, ids=lambda s: s.name)
def test_places(source):
  rng = np.random.default_rng(0)
  points = rng.normal(0, 100, (5, source.num_keypoints, 2))
  found, _ = joint_mapping.convert(points, np.ones(points.shape[:2]), source, H36M)
  places = {name: points[:, k] for k, name in enumerate(source.names)}
  wanted = {name: places[name] for name in LIMBS} | {
    name: of(places) for name, of in MADE[source].items()}
  assert set(wanted) == set(H36M.names)
  for j, name in enumerate(H36M.names):
    np.testing.assert_allclose(found[:, j], wanted[name], atol=1e-10, err_msg=name)
  np.testing.assert_allclose(joint_mapping.weights(source, H36M).sum(1), 1)


@pytest.mark.parametrize('source', MADE, ids=lambda s: s.name)
def test_a_mirrored_person_stays_mirrored(source):
  shares = joint_mapping.weights(source, H36M)
  np.testing.assert_array_equal(shares[H36M.flip_order][:, source.flip_order], shares)


def test_confidence_is_the_lowest():
  confidence = np.full((1, 17), 0.9)
  confidence[0, COCO.index('left_hip')] = 0.2
  confidence[0, COCO.index('right_eye')] = 0
  _, found = joint_mapping.convert(np.zeros((1, 17, 2)), confidence, COCO, H36M)
  changed = {'hip': 0.2, 'left_hip': 0.2, 'spine': 0.2, 'head': 0}
  assert dict(zip(H36M.names, found[0], strict=True)) == dict.fromkeys(H36M.names, 0.9) | changed


@pytest.mark.parametrize('skeleton', [H36M, MPI_INF_3DHP], ids=lambda s: s.name)
def test_the_same_joints_stay(skeleton):
  points, confidence = np.random.default_rng(1).normal(size=(3, 17, 2)), np.ones((3, 17))
  found = joint_mapping.convert(points, confidence, skeleton, skeleton)
  np.testing.assert_array_equal(found[0], points)
  np.testing.assert_array_equal(found[1], confidence)


def test_sets_without_a_way_are_refused():
  fails(lambda: joint_mapping.weights(CROWDPOSE, H36M), 'the 14 of crowdpose',
        'keypoints of h36m, coco, mpii, lsp')
  fails(lambda: joint_mapping.weights(COCO, MPI_INF_3DHP), 'keypoints of mpi_inf_3dhp')
