"""The drawn world: repeatable, and its ground truth agrees with its pictures."""
import pickle

import cv2
import numpy as np
import pycocotools.coco
import pytest

from dslope_jax.skeletons import COCO
from input_pipeline import synthetic

SIZE, PEOPLE = (160, 192), (1, 3)


@pytest.fixture(scope='module')
def source():
  return synthetic.load('train', num_people=300)


def scenes(count):
  for picture in range(count):
    yield synthetic._scene(7, 'train', picture, SIZE, PEOPLE)


def test_a_picture_is_the_same_twice_and_after_pickling(source):
  twin = pickle.loads(pickle.dumps(source))
  assert twin.digest == source.digest == synthetic.load('train', num_people=300).digest
  for row in (0, 17, 299):
    image = source.read(row)
    assert image.dtype == np.uint8 and image.shape == (192, 160, 3)
    np.testing.assert_array_equal(image, source.read(row))
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



def draw_ids(scene, zoom):
  """Capsule numbers at `zoom` times the resolution, drawn without the module's own outlines."""
  ids = np.full((SIZE[1] * zoom, SIZE[0] * zoom), -1, np.int32)
  circle = np.stack([f(np.linspace(0, 2 * np.pi, 40)) for f in (np.cos, np.sin)], -1)
  for i, (ends, radii) in enumerate(zip(scene.ends, scene.radii, strict=True)):
    rim = (ends[:, None] + radii[:, None, None] * circle).reshape(-1, 2)
    hull = cv2.convexHull(np.round((rim + 0.5) * zoom - 0.5).astype(np.int32))
    cv2.fillConvexPoly(ids, hull, i)
  return ids


@pytest.mark.parametrize('zoom', [1, 6])
def test_visibility_agrees_with_a_drawn_id_buffer(zoom):
  agree = []
  for scene in scenes(60):
    ids = synthetic._layers(scene, SIZE) if zoom == 1 else draw_ids(scene, zoom)
    visibility = synthetic._visibility(scene, SIZE)
    person, joint = np.nonzero(visibility)
    x, y = np.round((scene.points[person, joint] + 0.5) * zoom - 0.5).astype(int).T
    front = ids[y, x]
    is_own = (front >= 0) & (scene.person[front] == person)
    is_own &= synthetic._OWNS[scene.part[front], joint]
    agree.append(is_own == (visibility[person, joint] == 2))
  assert np.concatenate(agree).mean() > (0.97 if zoom == 1 else 0.99)


def test_the_painted_people_are_where_the_masks_are():
  share = []
  for black, white in zip(scenes(20), scenes(20), strict=True):
    canvases = [np.full((SIZE[1], SIZE[0], 3), level, np.uint8) for level in (0, 255)]
    for canvas, scene in zip(canvases, (black, white), strict=True):
      synthetic._paint(canvas, scene)
    painted = canvases[1].astype(int) - canvases[0] < 128  # what the canvas hardly shines through
    mask = synthetic._layers(black, SIZE) >= 0
    share.append((painted.all(-1) & mask).sum() / (painted.any(-1) | mask).sum())
  assert min(share) > 0.9 and np.mean(share) > 0.95


def test_masks_lie_in_boxes_and_under_visible_joints(source):
  for row in range(60):
    mask = source.mask(row)
    y, x = np.nonzero(mask)
    left, top, width, height = source.box[row]
    assert x.min() >= left - 1 and x.max() <= left + width + 1
    assert y.min() >= top - 1 and y.max() <= top + height + 1
    near = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5)))
    px, py = np.round(source.keypoints[row][source.visibility[row] == 2]).astype(int).T
    assert near[py, px].all()


def test_left_is_the_persons_own(source):
  left, right = COCO.index('left_eye'), COCO.index('right_eye')
  facing = (source.visibility[:, [left, right]] == 2).all(1)
  assert facing.sum() > 30
  assert (source.keypoints[facing, left, 0] > source.keypoints[facing, right, 0]).mean() > 0.97


def test_heights_are_as_promised():
  for scene in scenes(20):
    height = (scene.ends[..., 1] + scene.radii).reshape(len(scene.box), -1).max(1)
    height -= (scene.ends[..., 1] - scene.radii).reshape(len(scene.box), -1).min(1)
    assert (height > 0.449 * SIZE[1]).all() and (height < 0.901 * SIZE[1]).all()


def test_pycocotools_reads_the_ground_truth(source):
  coco = pycocotools.coco.COCO()
  coco.dataset = source.ground_truth
  coco.createIndex()
  assert len(coco.anns) == 300 and set(coco.imgs) == set(source.image_id.tolist())
  annotation = coco.anns[42]
  assert annotation['image_id'] == source.image_id[41]
  flat = np.array(annotation['keypoints']).reshape(17, 3)
  np.testing.assert_array_equal(flat[:, :2], source.keypoints[41])
  assert annotation['num_keypoints'] == (flat[:, 2] > 0).sum()
  assert coco.cats[1]['keypoints'][0] == 'nose'


def test_other_sizes_and_crowds():
  source = synthetic.load('val', num_people=12, size=(48, 32), people=(4, 6))
  assert source.read(11).shape == (32, 48, 3) and source.mask(11).shape == (32, 48)


@pytest.mark.parametrize('bad', [{'num_people': 0}, {'people': (3, 2)}, {'people': (0, 2)},
                                 {'people': (1,)}, {'size': (160, 31)}, {'size': (64,)}])
def test_bad_options_are_named(bad):
  with pytest.raises(ValueError, match=f'synthetic: {next(iter(bad))} is [^\n]*$'):
    synthetic.load('train', **bad)
