"""The rendered world: repeatable, plausible, and its ground truth agrees with its pictures."""
import pickle

import cv2
import numpy as np
import pycocotools.coco
import pytest

from dslope_jax.skeletons import COCO
from input_pipeline.sources import synthetic
from input_pipeline.world import kept, poses

SIZE = (160, 192)
BONES = {'thigh': ('hip', 'knee', 320, 530), 'shin': ('knee', 'ankle', 310, 510),
         'arm': ('shoulder', 'elbow', 210, 350), 'forearm': ('elbow', 'wrist', 190, 320)}


@pytest.fixture(scope='module')
def source():
  return synthetic.load('train', num_people=300)


def world(size=(48, 64), people=(1, 4), activities=(), seed=7):
  return synthetic.World(seed, 'train', size, people, activities)


@pytest.fixture(scope='module')
def pictures():
  return [world().picture(number) for number in range(60)]


def test_a_picture_is_the_same_twice_and_after_pickling(source):
  twin = pickle.loads(pickle.dumps(source))
  assert twin.digest == source.digest == synthetic.load('train', num_people=300).digest
  for row in (0, 17, 299):
    image = source.read(row)
    assert image.dtype == np.uint8 and image.shape == (192, 160, 3)
    assert source.read(row) is image  # kept, for the next epoch
    kept.forget()
    np.testing.assert_array_equal(image, twin.read(row))
    np.testing.assert_array_equal(source.mask(row), twin.mask(row))


def test_a_pickled_source_holds_no_pictures(source):
  assert len(pickle.dumps((source.read, source.mask))) < 60_000


def test_fewer_people_are_the_first_ones(source):
  few = synthetic.load('train', num_people=5)
  np.testing.assert_array_equal(few.keypoints, source.keypoints[:5])
  np.testing.assert_array_equal(few.read(4), source.read(4))


@pytest.mark.parametrize('other', [{'split': 'val'}, {'split': 'train', 'seed': 1}])
def test_splits_and_seeds_are_different_pictures(source, other):
  assert (synthetic.load(num_people=1, **other).read(0) != source.read(0)).mean() > 0.5


def test_columns_fit_the_form(source):
  assert len(source) == 300 and source.skeleton is COCO
  np.testing.assert_array_equal(source.annotation_id, np.arange(1, 301))
  assert source.file[0] == f'synthetic/train/{source.image_id[0] - 1:06d}'
  shapes = {'box': (4,), 'center': (2,), 'scale': (2,), 'keypoints': (17, 2), 'box_score': ()}
  for name, shape in shapes.items():
    column = getattr(source, name)
    assert column.shape == (300, *shape) and column.dtype == np.float32, name
  assert source.visibility.dtype == np.uint8 and source.image_id.dtype == np.int64
  np.testing.assert_allclose(source.scale[:, 0] / source.scale[:, 1], 0.75, rtol=1e-5)
  assert (source.scale * 200 / 1.25 >= source.box[:, 2:] - 1e-3).all()
  np.testing.assert_allclose(source.center, source.box[:, :2] + source.box[:, 2:] / 2, atol=1e-4)


def test_labelled_joints_lie_in_the_picture_and_others_are_zero(source):
  labelled = source.visibility > 0
  points = source.keypoints[labelled]
  assert (points >= 0).all() and (points <= np.array(SIZE) - 1).all()
  assert (source.keypoints[~labelled] == 0).all()
  assert set(np.unique(source.visibility)) == {0, 1, 2}
  assert (labelled.sum(1) >= 6).all() and ((source.visibility == 2).sum(1) >= 3).all()


def test_rows_and_pictures_tell_the_same(source):
  for row in range(0, 300, 40):
    number, person = source.read.__self__.rows[row]
    picture = source.read.__self__.picture(number)
    np.testing.assert_array_equal(picture.image, source.read(row))
    np.testing.assert_array_equal(picture.instances == person, source.mask(row))
    np.testing.assert_array_equal(picture.visibility[person], source.visibility[row])
    np.testing.assert_allclose(picture.box[person], source.box[row], rtol=1e-6)
    seen = source.visibility[row] > 0
    np.testing.assert_allclose(picture.keypoints[person, seen], source.keypoints[row, seen],
                               rtol=1e-6)
    np.testing.assert_allclose(source.keypoints_3d[row], picture.keypoints_3d[person], rtol=1e-6)
    np.testing.assert_allclose(source.camera[row], [*picture.focal, *picture.center], rtol=1e-6)


def test_keypoints_are_the_projected_joints(source, pictures):
  for p in pictures:
    points = p.keypoints_3d[..., :2] / p.keypoints_3d[..., 2:] * p.focal + p.center
    np.testing.assert_allclose(p.keypoints, points, atol=1e-3)
  focal, center = source.camera[:, None, :2], source.camera[:, None, 2:]
  points = source.keypoints_3d[..., :2] / source.keypoints_3d[..., 2:] * focal + center
  seen = source.visibility > 0
  np.testing.assert_allclose(source.keypoints[seen], points[seen], atol=0.001)


def test_masks_lie_in_boxes_and_under_visible_joints(source):
  for row in range(60):
    mask = source.mask(row)
    y, x = np.nonzero(mask)
    left, top, width, height = source.box[row]
    assert x.min() >= left - 1 and x.max() <= left + width + 1
    assert y.min() >= top - 1 and y.max() <= top + height + 1
    near = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3)))
    px, py = np.round(source.keypoints[row][source.visibility[row] == 2]).astype(int).T
    assert near[py, px].all()


def test_parts_are_disjoint_and_make_up_the_mask(source):
  names = set()
  for row in range(40):
    parts = source.parts(row)
    assert all(part.dtype == bool and part.any() for part in parts.values())
    np.testing.assert_array_equal(sum(part.astype(int) for part in parts.values()),
                                  source.mask(row))
    names |= set(parts)
  limbs = ('upper_arm', 'lower_arm', 'upper_leg', 'lower_leg')
  assert names == {'head', 'torso', *(f'{s}_{n}' for s in ('left', 'right') for n in limbs)}


def test_visible_joints_lie_on_their_parts(source):
  joints = {'left_elbow': ('left_upper_arm', 'left_lower_arm'), 'right_wrist': ('right_lower_arm',),
            'right_knee': ('right_upper_leg', 'right_lower_leg'), 'nose': ('head',)}
  for row in range(40):
    parts = source.parts(row)
    for name, owners in joints.items():
      joint = COCO.index(name)
      if source.visibility[row, joint] == 2:
        x, y = np.round(source.keypoints[row, joint]).astype(int)
        near = np.s_[max(y - 1, 0):y + 2, max(x - 1, 0):x + 2]
        assert any(parts[owner][near].any() for owner in owners if owner in parts)


def test_left_is_the_persons_own(source):
  left, right = COCO.index('left_eye'), COCO.index('right_eye')
  facing = (source.visibility[:, [left, right]] == 2).all(1)
  joints = source.keypoints_3d
  hips = joints[:, [COCO.index('left_hip'), COCO.index('right_hip')]].mean(1)
  upright = joints[:, COCO.index('nose'), 1] < hips[:, 1] - 350
  assert (facing & upright).sum() > 30
  further = source.keypoints[:, left, 0] > source.keypoints[:, right, 0]
  assert further[facing & upright].mean() > 0.97


def test_bones_are_rigid_and_of_human_length(pictures):
  joints = np.concatenate([p.keypoints_3d for p in pictures])
  for name, (start, end, low, high) in BONES.items():
    left, right = (np.linalg.norm(joints[:, COCO.index(f'{side}_{start}')]
                                  - joints[:, COCO.index(f'{side}_{end}')], axis=-1)
                   for side in ('left', 'right'))
    np.testing.assert_allclose(left, right, rtol=1e-6, err_msg=name)
    assert (left > low).all() and (left < high).all(), name


def test_joint_angles_are_within_limits_and_those_of_the_joints(pictures):
  pose = np.concatenate([p.pose for p in pictures])
  assert (pose >= poses.LIMITS[:, 0]).all() and (pose <= poses.LIMITS[:, 1]).all()
  joints = np.concatenate([p.keypoints_3d for p in pictures])
  for angle, names in (('knee', ('hip', 'knee', 'ankle')),
                       ('elbow', ('shoulder', 'elbow', 'wrist'))):
    for side in ('left', 'right'):
      a, b, c = (joints[:, COCO.index(f'{side}_{name}')] for name in names)
      upper, lower = ((v / np.linalg.norm(v, axis=-1, keepdims=True)) for v in (b - a, c - b))
      bend = np.degrees(np.arccos(np.clip((upper * lower).sum(-1), -1, 1)))
      np.testing.assert_allclose(bend, pose[:, poses.ANGLES.index(f'{side}_{angle}')], atol=0.1)


def test_order_is_that_of_depth(pictures):
  hips = [COCO.index('left_hip'), COCO.index('right_hip')]
  for p in pictures:
    assert sorted(p.order) == list(range(len(p.order)))
    depth = p.keypoints_3d[:, hips, 2].mean(1)[p.order]
    assert (np.diff(depth) > -20).all()  # the middle of the hips and the pelvis differ a little


def test_people_hide_people_who_are_farther_away(pictures):
  hidden, nearer = [], []
  for p in pictures:
    person, joint = np.nonzero(p.visibility == 1)
    x, y = np.round(p.keypoints[person, joint]).astype(int).T
    in_front = p.instances[y, x]
    others = (in_front >= 0) & (in_front != person)
    nearer += list((p.depth[y, x] < p.keypoints_3d[person, joint, 2])[others])
    if len(p.order) > 1:
      hidden.append(others.sum() >= 3)
  assert np.mean(hidden) > 0.4 and np.mean(nearer) > 0.97


def test_people_and_things_hide_people(pictures):
  visibility = np.concatenate([p.visibility for p in pictures])
  assert 0.2 < (visibility == 1).sum() / (visibility > 0).sum() < 0.6
  for p in pictures:
    assert ((p.parts >= 0) == (p.instances >= 0)).all()
    assert np.isfinite(p.depth[p.instances >= 0]).all()
  in_front = [np.isfinite(p.depth) & (p.instances < 0) for p in pictures]
  assert np.mean([(thing & (p.depth < p.keypoints_3d[..., 2].min())).any()
                  for thing, p in zip(in_front, pictures, strict=True)]) > 0.2


@pytest.mark.parametrize('activity', poses.ACTIVITIES)
def test_activities_are_drawn_as_asked(activity):
  p = world(activities=(activity,), people=(2, 2)).picture(0)
  assert p.activity == (activity, activity)


def test_every_activity_appears_and_lying_people_lie():
  scenes = [world().scene(number) for number in range(400)]
  found = {poses.STYLES[style] for scene in scenes for style in scene.style}
  assert found == set(poses.ACTIVITIES) >= {
    'standing', 'walking', 'running', 'sitting', 'reaching', 'crouching', 'jumping', 'lying',
    'interacting'}
  for scene in scenes:
    low, high = scene.stand[..., 1].min(1), scene.stand[..., 1].max(1)
    lying = poses.IS_LYING[scene.style]
    assert (high[lying] < 1250).all()
    standing = np.array(poses.STYLES)[scene.style] == 'standing'
    assert (high[standing] - low[standing] > 1200).all()
    assert (low > 0).all()  # nothing under the floor


def test_pairs_stand_close():
  for number in range(20):
    p = world(activities=('interacting',), people=(2, 2)).picture(number)
    chests = p.keypoints_3d[:, [COCO.index('left_shoulder'), COCO.index('right_shoulder')]].mean(1)
    assert np.linalg.norm(chests[0] - chests[1]) < 1300


def test_heights_are_as_promised():
  share = []
  for number in range(60):
    scene = world(activities=('standing',), size=SIZE).scene(number)
    y = scene.centers[..., 1] / scene.centers[..., 2] * scene.camera.focal[1]
    share += list((y.max(1) - y.min(1)) / SIZE[1])
  assert np.quantile(share, 0.05) > 0.3 and np.quantile(share, 0.95) < 1.05
  assert 0.5 < np.median(share) < 0.75


def test_pycocotools_reads_the_ground_truth(source):
  coco = pycocotools.coco.COCO()
  coco.dataset = source.ground_truth
  coco.createIndex()
  assert len(coco.anns) == 300 and set(coco.imgs) == set(source.image_id.tolist())
  annotation = coco.anns[42]
  assert annotation['image_id'] == source.image_id[41]
  flat = np.array(annotation['keypoints']).reshape(17, 3)
  np.testing.assert_allclose(flat[:, :2], source.keypoints[41], atol=5.1e-4)  # rounded
  assert coco.imgs[annotation['image_id']]['width'] == 160
  assert annotation['num_keypoints'] == (flat[:, 2] > 0).sum()
  assert coco.cats[1]['keypoints'][0] == 'nose'


def test_other_sizes_and_crowds():
  source = synthetic.load('val', num_people=12, size=(48, 32), people=(4, 6))
  assert source.read(11).shape == (32, 48, 3) and source.mask(11).shape == (32, 48)


@pytest.mark.parametrize('bad', [
  {'num_people': 0}, {'people': (3, 2)}, {'people': (0, 2)}, {'people': (1,)}, {'size': (160, 31)},
  {'size': (64,)}, {'activities': ('flying',)}, {'activities': 'flying'}])
def test_bad_options_are_named(bad):
  with pytest.raises(ValueError, match=f'synthetic: {next(iter(bad))} is [^\n]*$'):
    synthetic.load('train', **bad)
