"""Keypoint sets: consistent, and made from a category where a data set brings its own."""
import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dslope_jax import skeletons
from dslope_jax.errors import UserError
from dslope_jax.skeletons import Skeleton, from_category, from_fields

KNOWN = [skeletons.COCO, skeletons.MPII, skeletons.CROWDPOSE, skeletons.LSP, skeletons.AIC,
         skeletons.JHMDB, skeletons.FACE_300W, skeletons.COFW, skeletons.WFLW, skeletons.AFLW]


@pytest.mark.parametrize('s', KNOWN, ids=lambda s: s.name)
def test_flip_is_an_involution_and_swaps_names(s):
  np.testing.assert_array_equal(s.flip_order[s.flip_order], np.arange(s.num_keypoints))
  for i, j in enumerate(s.flip_order):
    assert s.names[j] == (s.names[i].replace('left', 'X').replace('right', 'left')
                          .replace('X', 'right'))
  # A mirrored limb is a limb.
  limbs = {frozenset(limb) for limb in s.limbs}
  assert {frozenset(int(s.flip_order[j]) for j in limb) for limb in s.limbs} == limbs


def test_published_numbers():
  assert [s.num_keypoints for s in KNOWN] == [17, 16, 14, 14, 14, 15, 68, 29, 98, 19]
  assert skeletons.COCO.flip_pairs == tuple((i, i + 1) for i in range(1, 17, 2))
  assert skeletons.MPII.flip_pairs == ((3, 2), (4, 1), (5, 0), (13, 12), (14, 11), (15, 10))
  assert np.flatnonzero(skeletons.COCO.lower_body).tolist() == [11, 12, 13, 14, 15, 16]
  assert np.flatnonzero(skeletons.MPII.lower_body).tolist() == [0, 1, 2, 3, 4, 5, 6]
  np.testing.assert_allclose(skeletons.COCO.sigmas, np.array(
    [.26, .25, .25, .35, .35, .79, .79, .72, .72, .62, .62, 1.07, 1.07, .87, .87, .89, .89]) / 10)


def test_limbs_and_mirror_of_mupots():
  """Order of joints, limbs and mirrored ones in the code of SMAP."""
  s = skeletons.MPI15
  np.testing.assert_array_equal(s.flip_order, [0, 1, 2, 9, 10, 11, 12, 13, 14, 3, 4, 5, 6, 7, 8])
  assert s.limbs == ((0, 1), (0, 2), (0, 9), (9, 10), (10, 11), (0, 3), (3, 4), (4, 5), (2, 12),
                     (12, 13), (13, 14), (2, 6), (6, 7), (7, 8))
  mirrored = [s.limbs.index(tuple(map(int, s.flip_order[list(limb)]))) for limb in s.limbs]
  assert mirrored == [0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10]


def test_mirrored_points_of_faces():
  """The numbers of the pairs as the files of the sets have them, 0-based."""
  brows_to_chin = [*[(i, 16 - i) for i in range(8)], *[(i, 43 - i) for i in range(17, 22)]]
  wanted = {
    '300w': brows_to_chin + [
      (31, 35), (32, 34), (36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46), (48, 54),
      (49, 53), (50, 52), (55, 59), (56, 58), (60, 64), (61, 63), (65, 67)],
    'cofw': [(0, 1), (2, 3), (4, 6), (5, 7), (8, 9), (10, 11), (12, 14), (13, 15), (16, 17),
             (18, 19), (22, 23)],
    'wflw': [*[(i, 32 - i) for i in range(16)], *[(i, 79 - i) for i in range(33, 38)],
             *[(i, 88 - i) for i in range(38, 42)], *[(i, 132 - i) for i in range(60, 65)],
             (55, 59), (56, 58), (65, 75), (66, 74), (67, 73), (76, 82), (77, 81), (78, 80),
             (83, 87), (84, 86), (88, 92), (89, 91), (93, 95), (96, 97)],
    'aflw': [(0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9), (12, 14), (15, 17)]}
  for s in KNOWN[6:]:
    assert {tuple(sorted(pair)) for pair in s.flip_pairs} == set(wanted[s.name]), s.name


def test_known_sets_are_found_by_their_names():
  for s in KNOWN:
    assert from_category({'name': 'person', 'keypoints': list(s.names), 'skeleton': [[1, 99]]}) is s


def test_own_set():
  s = from_category({'name': 'dog', 'keypoints': ['nose', 'left_ear', 'right_ear', 'upright_tail'],
                     'skeleton': [[1, 2], [1, 3]]})
  assert s.flip_pairs == ((1, 2),) and s.limbs == ((0, 1), (0, 2)) and s.sigmas == (0.25,) * 4
  given_pairs = from_category({'name': 'x', 'keypoints': ['a', 'b'], 'flip_pairs': [[0, 1]],
                               'sigmas': [.1, .2]})
  assert given_pairs.flip_pairs == ((0, 1),) and given_pairs.sigmas == (.1, .2)
  assert from_category({'keypoints': ['kneeLeft', 'kneeRight', 'l_hip', 'r_hip']}).flip_pairs == (
    (0, 1), (2, 3))


@pytest.mark.parametrize('category,message', [
  ({'name': 'person'}, "category 'person' has no list of keypoint names"),
  ({'name': 'p', 'keypoints': ['a', 'a']}, 'names repeat'),
  ({'name': 'p', 'keypoints': ['left_a', 'b']}, "no mirror partner 'right_a'"),
  ({'name': 'p', 'keypoints': ['a', 'b'], 'skeleton': [[1, 3]]}, 'names joint 2'),
  ({'name': 'p', 'keypoints': ['a', 'b'], 'sigmas': [1]}, 'needs 2 positive sigmas'),
  ({'name': 'p', 'keypoints': ['a', 'b', 'c'], 'flip_pairs': [[0, 1], [1, 2]]}, 'two flip pairs'),
  ({'name': 'p', 'keypoints': ['a', 'b'], 'flip_pairs': [[0, 0]]}, 'paired with itself'),
])
def test_contradictions_are_named(category, message):
  with pytest.raises(ValueError, match=message):
    from_category(category)


@given(st.integers(2, 133))
def test_any_number_of_keypoints(k):
  s = Skeleton(tuple(f'joint{i}' for i in range(k)), (), (0.1,) * k)
  assert s.num_keypoints == k and s.flip_pairs is None and not s.lower_body.any()


@pytest.mark.parametrize('left, right', [
  ('left_eye', 'right_eye'), ('LeftEye', 'RightEye'), ('leftEye', 'rightEye'), ('l_eye', 'r_eye'),
  ('eye_l', 'eye_r'), ('eye_left', 'eye_right'), ('LEye', 'REye'), ('Lshoulder', 'Rshoulder'),
  ('left eye', 'right eye'), ('L.Shoulder', 'R.Shoulder'), ('x-L', 'x-R'), ('eye (L)', 'eye (R)'),
  ('leye', 'reye'), ('lefteye', 'righteye'), ('eyeL', 'eyeR'), ('LEFT_EYE', 'RIGHT_EYE'),
  ('左眼', '右眼'), ('Left-eye', 'right_eye')])
def test_usual_spellings_of_sides(left, right):
  names = ('nose', right, 'lip', 'rib', 'root', 'leg', 'lower', left)
  assert Skeleton(names, (), (.1,) * 8).flip_pairs == ((7, 1),)


def test_both_sides_of_a_name_are_exchanged():
  names = ('left_eye_left', 'left_eye_right', 'right_eye_left', 'right_eye_right')
  assert Skeleton(names, (), (.1,) * 4).flip_pairs == ((0, 3), (1, 2))


def test_names_without_sides_give_no_mirror():
  bare = ('lip', 'leg', 'rib', 'root', 'lower')
  assert Skeleton(bare, (), (.1,) * 5).flip_pairs is None
  assert Skeleton(bare, (), (.1,) * 5, flip_pairs=()).flip_pairs == ()
  s = from_category({'keypoints': list(bare)})
  assert from_fields(json.loads(json.dumps(dataclasses.asdict(s)))) == s
  assert s.flip_order.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize('fields, message', [
  ({'skeleton': [[0, 1], [1, 3]]}, 'names joint 3'),
  ({'skeleton': [[1, float('inf')]]}, 'skeleton'),
  ({'flip_pairs': [[0.0, 1.0]]}, 'flip_pairs'), ({'flip_pairs': [[0, 1, 2]]}, 'flip_pairs'),
  ({'sigmas': [float('inf')] * 3}, 'sigmas'), ({'sigmas': 'abc'}, 'sigmas')])
def test_fields_of_a_category(fields, message):
  with pytest.raises(UserError, match=message):
    from_category({'name': 'x', 'keypoints': ['a', 'b', 'c']} | fields)


def test_limbs_from_0():
  assert from_category({'keypoints': ['a', 'b'], 'skeleton': [[0, 1]]}).limbs == ((0, 1),)
  assert from_category({'keypoints': ['a', 'b'], 'skeleton': [[1, 2]]}).limbs == ((0, 1),)
