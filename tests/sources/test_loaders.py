"""Loaders on good input: every column of a Source, masks, folders, custom sets, real files."""
import functools
import json
import os
import pathlib

import cv2
import numpy as np
import pytest

from dslope_jax import skeletons
from dslope_jax.metrics import keypoint_ap
from input_pipeline import sources
from input_pipeline.occlusion import bank as patches
from input_pipeline.occlusion import recipes
from input_pipeline.pairs import PairMaker
from input_pipeline.sources import coco, coco_objects, detections, label_maps, mpii
from tests.data_sets import write_coco, write_keypoints, write_lsp, write_mpii
from tests.golden_data import GOLDEN
from tests.refusals import fails

_DATA = os.environ.get('DSLOPE_DATA')


def test_coco_columns(tmp_path):
  def edit(truth):
    first, second, third, fourth = truth['annotations']
    first['keypoints'][2:9:3] = [0, 1, 2]
    second['bbox'] = [-10, 100.5, 60, 60]  # over the left and the lower border
    third['keypoints'] = [0] * 51  # nobody to learn from
    fourth['iscrowd'] = 1
  root = write_coco(tmp_path / 'coco', edit=edit)
  source = sources.load('coco', 'val', root=root)
  truth = json.loads((tmp_path / 'coco/annotations/person_keypoints_val.json').read_text())
  first, second = truth['annotations'][:2]
  assert (source.name, source.split, len(source)) == ('person_keypoints_val', 'val', 2)
  assert source.skeleton is skeletons.COCO
  assert source.annotation_id.tolist() == [first['id'], second['id']]
  assert source.image_id.tolist() == [first['image_id'], second['image_id']]
  assert source.file[0] == os.path.join(root, 'val', '000101.jpg')
  joints = np.array(first['keypoints']).reshape(17, 3)
  np.testing.assert_array_equal(source.visibility[0], joints[:, 2])
  assert source.visibility[0, :3].tolist() == [0, 1, 2]
  np.testing.assert_allclose(source.keypoints[0], joints[:, :2], atol=1e-4)
  x, y, w, h = first['bbox']
  np.testing.assert_allclose(source.box, [[x, y, w - 1, h - 1], [0, 100.5, 59, 26.5]])
  np.testing.assert_allclose(source.center[1], [29.5, 113.75])
  np.testing.assert_allclose(source.scale[1], [59 * 1.25 / 200, 59 / 0.75 * 1.25 / 200], rtol=1e-6)
  assert source.box_score.tolist() == [1, 1]
  image = source.read(0)
  assert image.shape == (128, 96, 3)
  assert image.dtype == np.uint8
  np.testing.assert_array_equal(image[..., ::-1], cv2.imread(str(source.file[0])))
  assert source.digest == sources.load('coco', 'val', root=root).digest


@pytest.mark.parametrize('name', ['{split}', 'images/{split}', 'images', 'photos/of_{split}'])
def test_picture_folders(tmp_path, name):
  root = pathlib.Path(write_coco(tmp_path / 'coco', num_images=1))
  (root / 'val').rename(root / 'moved')
  folder = root / name.format(split='val')
  folder.parent.mkdir(exist_ok=True)
  (root / 'moved').rename(folder)
  options = {'images': name} if name.startswith('photos') else {}
  source = coco.load('val', root=str(root), **options)
  assert pathlib.Path(source.file[0]).parent == folder
  assert source.read(0).shape == (128, 96, 3)


def test_masks_of_polygons_and_run_lengths(tmp_path):
  counts = [96 * 64, 96 * 64]  # the right half, column by column
  def edit(truth):
    a, b, c, d = truth['annotations']
    a['segmentation'] = [[10, 20, 29, 20, 29, 59, 10, 59], [50, 50, 60, 50, 60, 60]]
    b['segmentation'] = {'counts': counts, 'size': [128, 96]}
    from pycocotools import mask
    packed = mask.frPyObjects(b['segmentation'], 128, 96)
    c['segmentation'] = {'counts': packed['counts'].decode(), 'size': [128, 96]}
    del d['segmentation']
  source = coco.load('train', root=write_coco(tmp_path / 'coco', edit=edit))
  masks = [source.mask(row) for row in range(4)]
  assert masks[3] is None
  assert all(m.shape == (128, 96) and m.dtype == bool for m in masks[:3])
  assert masks[0][20:59, 10:29].all()
  assert masks[0].sum() == 19 * 39 + 45  # a rectangle and a triangle with legs of 10 pixels
  assert not masks[1][:, :48].any()
  assert masks[1][:, 48:].all()
  np.testing.assert_array_equal(masks[2], masks[1])


def test_own_keypoint_set(tmp_path):
  names = ['nose', 'left_paw', 'right_paw', 'rump', 'tail']
  def edit(truth):
    truth['categories'] = [
      {'id': 1, 'name': 'tree'},
      {'id': 7, 'name': 'cat', 'keypoints': names, 'skeleton': [[1, 4], [4, 5]],
       'sigmas': [.03, .05, .05, .1, .08]}]
    for annotation in truth['annotations']:
      annotation['category_id'] = 7
      annotation['keypoints'] = annotation['keypoints'][:15]
      del annotation['num_keypoints']
    truth['annotations'].append({'id': 5, 'image_id': 1, 'category_id': 1, 'bbox': [0, 0, 9, 9]})
  source = coco.load('val', root=write_coco(tmp_path / 'cats', edit=edit))
  assert source.skeleton.names == tuple(names)
  assert source.skeleton.limbs == ((0, 3), (3, 4))
  assert source.skeleton.flip_pairs == ((1, 2),)
  assert source.skeleton.sigmas == (.03, .05, .05, .1, .08)
  assert source.keypoints.shape == (4, 5, 2)
  # A perfect prediction scores 1 under the set's own category, whatever else the file holds.
  results = keypoint_ap.to_coco_results(source.image_id, source.keypoints, np.ones((4, 5)),
                                        np.ones(4), source.category_id)
  assert keypoint_ap.coco_ap(source.ground_truth, results, source.skeleton.sigmas)['AP'] > 0.999


def test_points_of_a_known_set_under_other_names(tmp_path):
  """A file that numbers its points gets sides and eye corners from a skeleton of as many."""
  def edit(truth):
    truth['categories'][0] = {'id': 1, 'name': 'face', 'flip_pairs': [[0, 1]],
                              'keypoints': [f'point_{i}' for i in range(68)], 'skeleton': []}
  root = write_keypoints(tmp_path, 'val.json', skeletons.FACE_300W, edit=edit)
  load = functools.partial(coco.load, 'val', root=root, annotations='{split}.json')
  plain, source = load(), load(skeleton='300w')
  assert plain.skeleton.flip_pairs == ((0, 1),)
  assert source.skeleton is skeletons.FACE_300W and len(source.skeleton.flip_pairs) == 29
  assert source.skeleton.index('right_eye_outer') == 36
  np.testing.assert_array_equal(source.keypoints, plain.keypoints)
  assert source.ground_truth['categories'][0]['keypoints'] == list(skeletons.FACE_300W.names)
  assert source.digest == plain.digest
  fails(lambda: load(skeleton='wflw'), 'val.json', 'category 1 has 68', "'wflw' has 98",
        'data.loader.skeleton')
  fails(lambda: load(skeleton='68'), 'a skeleton is one of coco', "'68'")


def test_ground_truth_is_what_a_metric_can_read(tmp_path):
  """Crowds and unlabelled people stay, with the fields that their annotations may lack."""
  def edit(truth):
    crowd, unlabelled, nowhere, _ = truth['annotations']
    crowd['iscrowd'] = 1
    del crowd['keypoints'], unlabelled['keypoints'], nowhere['keypoints'], nowhere['bbox']
    crowd['num_keypoints'] = unlabelled['num_keypoints'] = 0
  source = coco.load('val', root=write_coco(tmp_path / 'coco', edit=edit))
  assert len(source) == 1
  assert len(source.ground_truth['annotations']) == 3
  results = keypoint_ap.to_coco_results(source.image_id, source.keypoints, np.ones((1, 17)),
                                        np.ones(1))
  assert keypoint_ap.coco_ap(source.ground_truth, results, source.skeleton.sigmas)['AP'] > 0.999


def test_a_field_that_is_null_is_not_stated(tmp_path):
  def edit(truth):
    truth['annotations'][1] |= dict.fromkeys(('area', 'iscrowd', 'num_keypoints'))
    truth['annotations'][2] |= dict.fromkeys(('keypoints', 'num_keypoints', 'segmentation'))
  source = coco.load('val', root=write_coco(tmp_path / 'coco', edit=edit))
  assert source.annotation_id.tolist() == [1010, 1020, 1040]
  assert all(None not in a.values() for a in source.ground_truth['annotations'])
  results = keypoint_ap.to_coco_results(source.image_id, source.keypoints, np.ones((3, 17)),
                                        np.ones(3))
  assert keypoint_ap.coco_ap(source.ground_truth, results, source.skeleton.sigmas)['AP'] > 0.999


def test_small_boxes_are_people(tmp_path):
  """A side of a pixel or less inside the picture is kept, as published; its crop is finite."""
  def edit(truth):
    for annotation, box in zip(truth['annotations'], (
        [10, 20, 1, 40], [10, 20, 0.5, 0.5], [95, 9, 9, 9]), strict=False):
      annotation['bbox'] = box
  source = coco.load('train', root=write_coco(tmp_path / 'coco', edit=edit))
  assert len(source) == 4
  np.testing.assert_allclose(source.box[:3], [[10, 20, 0, 39], [10, 20, 0, 0], [95, 9, 0, 8]])
  assert np.isfinite(source.scale).all() and (source.scale > 0).all()
  bank = patches.load_or_build(tmp_path / 'bank', source, num_people=4, seed=0)
  maker = PairMaker(source, (48, 64), bank, 'none', 0)
  person = maker.person(1, maker.upright(1), source.visibility[1])
  for name in ('published', 'instance_paste', 'severity5', 'mask_joints', 'joint=nose'):
    for seed in range(9):
      placements = recipes.draw(person, bank, np.random.default_rng(seed), name)
      recipes.hidden_joints(person, placements, bank)[0]


@pytest.mark.parametrize('area', [0, -3.0, float('nan'), 'large'])
def test_an_area_must_be_one(tmp_path, area):
  """With it a pose is neither right nor wrong: published code leaves such people out silently."""
  root = write_coco(tmp_path / 'coco', edit=lambda truth: truth['annotations'][1].update(area=area))
  fails(lambda: coco.load('train', root=root), f'annotation 20: its area {area!r} is not',
        'skip_invalid')
  assert coco.load('train', root=root, skip_invalid=True).annotation_id.tolist() == [10, 30, 40]


def test_a_file_that_only_python_reads(tmp_path):
  """NaN is no json; where it does no harm it is read as ever, slowly."""
  def edit(truth):
    truth['annotations'][0]['score'] = float('nan')
  plain = coco.load('val', root=write_coco(tmp_path / 'plain'))
  odd = coco.load('val', root=write_coco(tmp_path / 'odd', edit=edit))
  assert odd.digest == plain.digest
  np.testing.assert_array_equal(odd.mask(0), plain.mask(0))


def test_detections(tmp_path):
  def nobody_on_the_last_picture(truth):
    truth['annotations'].pop()

  source = coco.load('val', root=write_coco(tmp_path / 'coco', edit=nobody_on_the_last_picture))
  x, y, w, h = source.box[1].tolist()
  found = [
    {'image_id': 102, 'category_id': 1, 'bbox': [x + 1, y, w, h], 'score': 0.75},
    {'image_id': 102, 'category_id': 1, 'bbox': [0, 0, 5, 5], 'score': 0.5},  # meets nobody
    {'image_id': 104, 'category_id': 1, 'bbox': [9, 9, 30, 40], 'score': 0.4},  # false alarm
    {'image_id': 101, 'category_id': 3, 'bbox': [x, y, w, h], 'score': 0.9},  # no person
    {'image_id': 101, 'category_id': 1, 'bbox': [x, y, 0, h], 'score': 0.9},  # no area
    {'image_id': 999, 'category_id': 1, 'bbox': [x, y, w, h], 'score': 0.9}]
  path = tmp_path / 'found.json'
  path.write_text(json.dumps(found))
  boxes, elsewhere = detections.with_detections(source, str(path), aspect=0.75, padding=1.25)
  assert elsewhere == 1
  assert len(boxes) == 3
  np.testing.assert_allclose(boxes.box, [f['bbox'] for f in found[:3]])
  np.testing.assert_allclose(boxes.box_score, [0.75, 0.5, 0.4])
  np.testing.assert_allclose(boxes.center[1], [2.5, 2.5])
  np.testing.assert_allclose(boxes.scale[1], [5 / 200 * 1.25, 5 / 0.75 / 200 * 1.25], rtol=1e-6)
  np.testing.assert_array_equal(boxes.keypoints[0], source.keypoints[1])
  np.testing.assert_array_equal(boxes.visibility[0], source.visibility[1])
  assert not boxes.visibility[1:].any()
  assert boxes.image_id.tolist() == [102, 102, 104] and boxes.read(2).shape == (128, 96, 3)
  np.testing.assert_array_equal(boxes.read(1), source.read(1))


def _as_detections(source, path):
  """A result file of the annotated boxes, a false alarm behind them; the first one twice."""
  entries = [{'image_id': int(image), 'category_id': 1, 'bbox': box, 'score': 0.5}
             for image, box in zip(source.image_id, source.box.tolist(), strict=True)]
  path.write_text(json.dumps([*entries, entries[0], entries[0] | {'bbox': [0, 0, 3, 3]}]))
  return str(path)


@pytest.mark.parametrize('padding', [1.0, 1.25, 1.5])
@pytest.mark.parametrize('aspect', [0.75, 1.0])
@pytest.mark.parametrize('name', ['coco', 'mpii', 'lsp'])
def test_a_box_has_one_crop_whoever_found_it(tmp_path, name, padding, aspect):
  """Also of sets whose annotations are no COCO file."""
  root = {'coco': write_coco, 'mpii': write_mpii, 'lsp': write_lsp}[name](tmp_path / 'set')
  split = 'train' if name == 'lsp' else 'valid' if name == 'mpii' else 'val'
  source = sources.load(name, split, root=root, padding=padding, aspect=aspect)
  path = _as_detections(source, tmp_path / 'boxes.json')
  boxes, elsewhere = detections.with_detections(source, path, aspect=aspect, padding=padding)
  count = len(source)
  assert len(boxes) == count + 2 and elsewhere == 0
  of = [*range(count), 0]
  np.testing.assert_allclose(boxes.center[:-1], source.center[of], rtol=1e-6)
  np.testing.assert_allclose(boxes.scale[:-1], source.scale[of], rtol=1e-6)
  assert boxes.annotation_id.tolist() == [*source.annotation_id[of].tolist(), 0]
  for row in (1, count):
    np.testing.assert_array_equal(boxes.read(row), source.read(of[row]))
  for column in ('head_size', 'area'):
    values = getattr(source, column)
    if values is not None:
      np.testing.assert_array_equal(getattr(boxes, column), [*values[of], 0])
  # The annotations are still those of the set.
  assert boxes.as_coco()['annotations'] == source.as_coco()['annotations']
  assert len(boxes.columns()['image_id']) == len(boxes.subset([2, 1]).columns()['image_id']) + count


def test_detections_need_files(tmp_path):
  source = sources.load('synthetic', 'val', num_people=3, size=(48, 64))
  fails(lambda: detections.with_detections(source, _as_detections(source, tmp_path / 'b.json'),
                                           aspect=1.0, padding=1.25), 'synthetic', "boxes 'gt'")


def test_mpii_crops_are_those_of_the_published_code(tmp_path):
  """A centre of -1 is a missing one: neither lowered nor padded."""
  cases = json.loads((GOLDEN / 'top_down/cases.json').read_text())
  cases = cases['mpii_annotation_to_center_scale']
  assert any(case['annotation']['center'][0] == -1 for case in cases)
  root = write_mpii(tmp_path / 'mpii', num_images=1, edit=lambda entries: entries.__setitem__(
    slice(None), [case['annotation'] | {'image': entries[0]['image']} for case in cases]))
  source = mpii.load('train', root=root)
  np.testing.assert_allclose(source.center, [c['center'] for c in cases], rtol=1e-6)
  np.testing.assert_allclose(source.scale, [c['scale'] for c in cases], rtol=1e-6)
  wanted = np.array([c['joints_xy0'] for c in cases])
  seen = source.visibility > 0
  np.testing.assert_allclose(source.keypoints[seen], wanted[seen], rtol=1e-5)


def test_mpii_boxes_and_areas_do_not_depend_on_the_crop(tmp_path):
  root = write_mpii(tmp_path / 'mpii', edit=lambda entries: entries[0].update(
    center=[50.0, 61.0], scale=0.5))
  truths = [mpii.load('valid', root=root, padding=padding, aspect=aspect).as_coco()
            for padding, aspect in ((1.0, 1.0), (1.25, 1.0), (1.25, 0.75))]
  assert truths[0] == truths[1] == truths[2]
  first = truths[0]['annotations'][0]
  assert first['bbox'] == [49 - 50, 67.5 - 50, 100, 100]
  assert first['area'] == pytest.approx(0.2 * 100 ** 2)


def test_mpii_columns(tmp_path):
  def edit(entries):
    entries[0] |= {'center': [50.0, 61.0], 'scale': 0.5, 'image': entries[1]['image']}
    entries[0]['joints'][0] = [-1, -1]
    entries[0]['joints_vis'][0] = 0
  root = write_mpii(tmp_path / 'mpii', edit=edit)
  source = sources.load('mpii', 'valid', root=root)
  entries = json.loads((tmp_path / 'mpii/annot/valid.json').read_text())
  assert len(source) == 4
  assert source.skeleton is skeletons.MPII
  assert source.image_id[0] == source.image_id[1] != source.image_id[2]
  assert len(set(source.annotation_id.tolist())) == 4
  # HRNet: the centre is lowered by 15 * scale, the scale enlarged by 1.25, all counted from 0.
  np.testing.assert_allclose(source.center[0], [49, 61 + 7.5 - 1])
  np.testing.assert_allclose(source.scale[0], [0.625, 0.625])
  np.testing.assert_allclose(source.box[0], [49 - 50, 67.5 - 50, 100, 100])  # not padded
  np.testing.assert_allclose(source.keypoints[0, 1:], np.array(entries[0]['joints'])[1:] - 1,
                             atol=1e-4)
  assert source.keypoints[0, 0].tolist() == [0, 0]
  assert source.visibility[0].tolist() == [0] + [2] * 15
  # The head box is drawn 3 pixels around neck and top, which lie 0.15 of the height apart.
  height = entries[1]['scale'] * 200
  np.testing.assert_allclose(source.head_size[1], 0.6 * np.hypot(6, 0.15 * height + 6), rtol=1e-3)
  assert not sources.load('mpii', 'train', root=root).head_size.any()
  assert source.read(3).shape == (128, 96, 3)
  np.testing.assert_allclose(
    sources.load('mpii', 'valid', root=root, aspect=0.75).scale[0], [0.625, 0.625 / 0.75])


@pytest.mark.skipif(not _DATA, reason='DSLOPE_DATA names no folder')
@pytest.mark.parametrize(('folder', 'annotations', 'images', 'split', 'joints'), [
  ('coco', 'annotations/person_keypoints_{split}.json', 'images', 'train', 17),
  ('coco', 'annotations/person_keypoints_{split}.json', 'images', 'val', 17),
  ('lspet', 'lspet_{split}.json', '', 'val', 14),
  ('mmpose_tests/coco', 'test_coco.json', '.', 'val', 17),
  ('mmpose_tests/crowdpose', 'test_crowdpose.json', '.', 'val', 14),
  ('mmpose_tests/ochuman', 'test_ochuman.json', '.', 'val', 17),
])
def test_real_coco_files(folder, annotations, images, split, joints):
  root = os.path.join(_DATA, folder)
  source = coco.load(split, root=root, annotations=annotations, images=images)
  truth = source.ground_truth
  assert source.skeleton.num_keypoints == joints
  assert len(source) == sum(any(a['keypoints'][2::3]) and not a.get('iscrowd')
                            for a in truth['annotations'])
  for row in range(0, len(source), max(1, len(source) // 5)):
    image, mask = source.read(row), source.mask(row)
    assert image.shape[2] == 3
    assert mask is None or mask.shape == image.shape[:2]
  results = keypoint_ap.to_coco_results(source.image_id, source.keypoints,
                                        np.ones(source.visibility.shape), np.ones(len(source)))
  assert keypoint_ap.coco_ap(truth, results, source.skeleton.sigmas)['AP'] > 0.99


@pytest.mark.skipif(not _DATA, reason='DSLOPE_DATA names no folder')
def test_real_detections():
  root = os.path.join(_DATA, 'coco')
  source = coco.load('val', root=root, images='images')
  path = os.path.join(root, 'detections', 'COCO_val2017_detections_AP_H_56_person.json')
  boxes, elsewhere = detections.with_detections(source, path, aspect=0.75, padding=1.25)
  assert len(boxes) + elsewhere == len(json.loads(pathlib.Path(path).read_text()))
  assert 0.05 < (boxes.visibility > 0).any(1).mean() < 0.6  # most boxes of a detector are weak


@pytest.mark.skipif(not _DATA, reason='DSLOPE_DATA names no folder')
def test_real_mpii_file(tmp_path):
  given = pathlib.Path(_DATA, 'mmpose_tests', 'mpii')
  (tmp_path / 'annot').mkdir()
  (tmp_path / 'images').symlink_to(given)
  (tmp_path / 'annot/valid.json').write_bytes((given / 'test_mpii.json').read_bytes())
  source = sources.load('mpii', 'valid', root=str(tmp_path))
  assert not source.head_size.any()
  for row in range(len(source)):
    height, width = source.read(row).shape[:2]
    seen = source.keypoints[row][source.visibility[row] > 0]
    assert (seen >= -1).all()
    assert (seen <= (width, height)).all()


def _check_masks(source, rows, slack):
  """Every part lies on the mask, the mask in the box, which may be `slack` pixels too small."""
  for row in rows:
    mask, parts = source.mask(row), source.parts(row)
    assert mask.any()
    assert mask.shape == source.read(row).shape[:2]
    for part, of_part in parts.items():
      assert of_part.any(), part
      assert not (of_part & ~mask).any(), part
    x, y, w, h = source.box[row]
    found = np.argwhere(mask)[:, ::-1]
    assert (found.min(0) >= (x - slack, y - slack)).all()
    assert (found.max(0) <= (x + w + slack, y + h + slack)).all()


@pytest.mark.skipif(not _DATA, reason='DSLOPE_DATA names no folder')
def test_real_coco_objects():
  root = os.path.join(_DATA, 'coco')
  file = 'annotations/instances_all_categories.json'
  source = coco_objects.load('train', root=root, annotations=file, images='.')
  truth = json.loads(pathlib.Path(root, file).read_text())
  assert len(source) == sum(a['category_id'] != 1 and not a['iscrowd']
                            for a in truth['annotations'])
  assert {pathlib.Path(f).parent.name for f in source.file.tolist()} == {'images', 'backgrounds'}
  _check_masks(source, range(0, len(source), 50), slack=2)
  assert list(source.parts(0)) == ['object']


@pytest.mark.skipif(not _DATA, reason='DSLOPE_DATA names no folder')
def test_real_label_maps_of_ccp():
  root = os.path.join(_DATA, 'ccp')
  source = label_maps.load('train', root=root, labels_of='ccp', names='label_names.json')
  same = label_maps.load('train', root=root, labels_of='ccp')
  assert len(source) == len(os.listdir(os.path.join(root, 'annotations/pixel-level')))
  rows = range(0, len(source), 14)
  _check_masks(source, rows, slack=0)
  parts = [source.parts(row) for row in rows]
  assert [set(p) for p in parts] == [set(same.parts(row)) for row in rows]
  for part, share in (('head', 0.6), ('foot', 0.8), ('object', 0.3)):
    assert np.mean([part in p for p in parts]) >= share, part
  for p in parts:  # a head is above, shoes are below
    middle = {part: np.argwhere(mask)[:, 0].mean() for part, mask in p.items()}
    assert middle.get('head', 0) < middle['person'] < middle.get('foot', np.inf)


@pytest.mark.skipif(not _DATA, reason='DSLOPE_DATA names no folder')
def test_real_label_maps_of_cihp():
  root = os.path.join(_DATA, 'cihp')
  source = label_maps.load('train', root=root, labels_of='cihp')
  assert np.bincount(source.image_id).tolist() == [0, 1, 1, 2, 1, 1]  # who touch are one
  _check_masks(source, range(len(source)), slack=0)
  assert all('head' in source.parts(row) for row in range(len(source)))
  mirrored = label_maps.load('train', root=root, labels_of='cihp', labels='labels_rev')
  assert len(mirrored) == len(source)
  _, left, _, _ = cv2.boundingRect(source.parts(0)['right_arm'].astype(np.uint8))
  _, right, _, _ = cv2.boundingRect(mirrored.parts(0)['left_arm'].astype(np.uint8))
  assert left == right
