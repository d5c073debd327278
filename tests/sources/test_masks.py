"""Sources of exact masks: polygons, run lengths, DensePose parts, things; errors."""
import pickle

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from input_pipeline import sources
from input_pipeline.sources import coco, coco_objects, masks
from tests.data_sets import disc, packed, write_coco, write_objects
from tests.refusals import fails


def _unpacked(mask):
  flat = mask.T.ravel()
  ends = np.flatnonzero(np.diff(flat)) + 1
  runs = np.diff([0, *ends, len(flat)]).tolist()
  return {'size': list(mask.shape), 'counts': [0, *runs] if flat[0] else runs}


# ---- masks

def _some_masks():
  rng = np.random.default_rng(0)
  yield np.zeros((9, 7), bool)
  yield np.ones((9, 7), bool)
  yield rng.uniform(size=(30, 41)) < 0.5
  yield disc((300, 200), (150, 100), 80) & ~disc((300, 200), (140, 90), 30)
  corner = np.zeros((400, 3), bool)
  corner[0, 0] = corner[-1, -1] = True
  yield corner


@pytest.mark.filterwarnings('ignore:__array__ implementation')  # pycocotools' own
def test_run_lengths_are_those_of_pycocotools():
  for mask in _some_masks():
    height, width = mask.shape
    ours = packed(mask)
    theirs = coco_mask.decode(ours | {'counts': ours['counts'].encode()})
    np.testing.assert_array_equal(theirs, mask)
    for segmentation in (ours, _unpacked(mask)):
      decoded = masks.decode(segmentation, width, height)
      assert decoded.dtype == bool
      np.testing.assert_array_equal(decoded, mask)


@pytest.mark.filterwarnings('ignore:__array__ implementation')  # pycocotools' own
def test_polygons_are_those_of_pycocotools():
  rng = np.random.default_rng(1)
  angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
  polygons = []
  for center in ((60, 50), (90, 60), (20, 15)):  # two overlap, one leaves the picture
    radius = rng.uniform(30, 36, 12)
    points = np.stack([center[0] + radius * np.cos(angles), center[1] + radius * np.sin(angles)], 1)
    polygons.append(points.ravel().tolist())
  wanted = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, 120, 140)))
  found = masks.decode(polygons, 140, 120).astype(np.uint8)
  np.testing.assert_array_equal(found, wanted)
  assert found[55, 75], 'polygons of one annotation are united, also where they overlap'


@pytest.mark.parametrize('segmentation', [
  [[1, 2, 3]], [[float('nan'), 1, 2, 2, 3, 1]], [[1e12, 1, 2, 2, 3, 1]], [['a', 'b']], [None],
  'text', 5, {'counts': [-5, 53], 'size': [8, 6]}, {'counts': [10**15], 'size': [8, 6]},
  {'counts': [47.5, 0.5], 'size': [8, 6]}, {'counts': [48], 'size': [6, 8]}, {'counts': [48]},
  {'counts': [], 'size': [8, 6]}, {'counts': 'ü', 'size': [8, 6]}, {'counts': '', 'size': [8, 6]}])
def test_segmentation_that_is_none(segmentation):
  fails(lambda: masks.decode(segmentation, 6, 8), 'its segmentation', 'picture of 6x8')


def _dense(**squares):
  """dp_masks with rectangles (x, y, end x, end y) of the 256 pixels a side, by part number."""
  entries = [[] for _ in range(14)]
  for name, (x, y, x_end, y_end) in squares.items():
    square = np.zeros((256, 256), bool)
    square[y:y_end, x:x_end] = True
    entries[int(name.removeprefix('part')) - 1] = packed(square)
  return entries


def test_dense_parts():
  dp_masks = _dense(part1=(64, 64, 192, 128), part2=(0, 0, 64, 32), part13=(0, 32, 64, 64),
                    part5=(0, 224, 128, 256), part14=(64, 0, 128, 64), part10=(0, 0, 1, 1))
  # The box is 64x32 pixels, so 4x8 of a mask's pixels are one of the picture.
  parts = masks.dense_parts(dp_masks, [10, 20, 64, 32], 100, 90)
  wanted = {'torso': (26, 28, 58, 36), 'right_lower_arm': (10, 20, 26, 28),
            'right_lower_leg': (10, 48, 42, 52), 'head': (26, 20, 42, 28)}
  assert set(parts) == set(wanted)
  for part, (x, y, x_end, y_end) in wanted.items():
    mask = np.zeros((90, 100), bool)
    mask[y:y_end, x:x_end] = True
    np.testing.assert_array_equal(parts[part], mask, err_msg=part)
  over = masks.dense_parts(dp_masks, [-30, 70, 64, 32], 100, 90)  # over two rims
  assert set(over) == {'torso', 'head'}
  assert np.argwhere(over['torso']).min(0).tolist() == [78, 0]
  assert over['torso'].sum() == 8 * 18
  half = masks.dense_parts(dp_masks, [10.5, 20.5, 64, 32], 100, 90)  # centres of pixels count
  np.testing.assert_array_equal(half['head'], parts['head'])
  assert masks.dense_parts(_dense(), [0, 0, 9, 9], 10, 10) == {}


def test_every_dense_part_has_its_name():
  entries = [_dense(**{f'part{n}': (0, 0, 256, 256)}) for n in range(1, 15)]
  names = [list(masks.dense_parts(e, [0, 0, 8, 8], 8, 8)) for e in entries]
  assert names == [[name] for name in (
    'torso', 'right_lower_arm', 'left_lower_arm', 'left_lower_leg', 'right_lower_leg',
    'right_upper_leg', 'left_upper_leg', 'right_lower_leg', 'left_lower_leg', 'left_upper_arm',
    'right_upper_arm', 'left_lower_arm', 'right_lower_arm', 'head')]


def test_dense_parts_of_a_coco_file(tmp_path):
  bad = _dense(part3=(0, 0, 256, 256))
  bad[2]['size'] = [128, 512]
  def edit(truth):
    a, b, c, _ = truth['annotations']
    a.update(bbox=[10, 20, 64, 32], dp_masks=_dense(part14=(0, 0, 128, 128)))
    b['dp_masks'], c['dp_masks'] = _dense()[:13], bad
  source = coco.load('train', root=write_coco(tmp_path / 'coco', edit=edit))
  parts = pickle.loads(pickle.dumps(source.parts))(0)
  assert list(parts) == ['head']
  assert cv2.boundingRect(parts['head'].astype(np.uint8)) == (10, 20, 32, 16)
  assert source.parts(3) == {}
  fails(lambda: source.parts(1), 'keypoints_train.json: annotation 20: its dp_masks are not',
         'a list of 14 masks', 'mend or remove it')
  fails(lambda: source.parts(2), 'keypoints_train.json: annotation 30: part 3 of its dp_masks',
         '256x256', 'mend or remove it')


# ---- things

def test_coco_objects(tmp_path):
  root = write_objects(tmp_path / 'coco')
  source = sources.load('coco_objects', 'train', root=root, images='.')
  assert source.name == 'instances_train'
  assert source.annotation_id.tolist() == [20, 30, 40]
  assert source.image_id.tolist() == [2, 3, 4]
  assert source.visibility.shape == (3, 17) and not source.visibility.any()
  assert source.read(1).shape == (128, 96, 3)
  np.testing.assert_array_equal(source.mask(1), disc((96, 128), (40, 50), 20))
  np.testing.assert_allclose(source.center[1], [21 + 19, 31 + 19])
  parts = pickle.loads(pickle.dumps(source.parts))(1)
  assert list(parts) == ['object']
  np.testing.assert_array_equal(parts['object'], source.mask(1))
  assert source.digest == coco_objects.load('train', root=root, images='.').digest


def _entry(**fields):
  return lambda truth: truth['annotations'][1].update(fields)


_BAD_OBJECTS = {
  'box': (_entry(bbox=[1, 2, 3]), 'annotation 20', 'not four finite numbers', 'skip_invalid'),
  'outside': (_entry(bbox=[500, 5, 9, 9]), 'annotation 20', 'lies outside', '96x128'),
  'category': (_entry(category_id=4), 'annotation 20', 'category_id 4 matches no category'),
  'category list': (_entry(category_id=[7]), 'annotation 20', 'category_id [7] matches no'),
  'picture': (_entry(image_id=77), 'annotation 20', 'image_id 77'),
  'id': (_entry(id=10), 'annotation 10', 'repeats'),
  'size': (lambda truth: [truth['images'][1].pop(k) for k in ('width', 'height')], 'annotation 20',
           'width and height of picture 2'),
  'nothing': (lambda truth: [a.update(category_id=1) for a in truth['annotations']],
              'other than person', 'instance file'),
  'no name': (lambda truth: truth['categories'][1].pop('name'), "entry 1 of 'categories'", 'None'),
  'same id': (lambda truth: truth['categories'][1].update(id=9), "entry 2 of 'categories'"),
}


@pytest.mark.parametrize('case', _BAD_OBJECTS)
def test_coco_objects_errors(tmp_path, case):
  edit, *parts = _BAD_OBJECTS[case]
  root = write_objects(tmp_path / 'coco', edit)
  fails(lambda: coco_objects.load('train', root=root, images='.'), 'instances_train.json', *parts)


def test_coco_objects_that_are_left_out_or_missing(tmp_path, capsys):
  root = write_objects(tmp_path / 'coco', _entry(bbox=None))
  source = coco_objects.load('train', root=root, images='.', skip_invalid=True)
  assert source.annotation_id.tolist() == [30, 40]
  assert '1 invalid annotations left out; the first: annotation 20' in capsys.readouterr().out
  fails(lambda: coco_objects.load('val', root=root), 'instances_val.json',
         kind=FileNotFoundError)
  fails(lambda: coco_objects.load('train', root=root, images='train', skip_invalid=True),
         '2 pictures of', "'train/000003.jpg'", kind=FileNotFoundError)
  root = write_objects(tmp_path / 'other', _entry(segmentation=[[1, 2, 3]]))
  source = coco_objects.load('train', root=root, images='.')
  fails(lambda: source.parts(0), 'instances_train.json: annotation 20: its segmentation')
