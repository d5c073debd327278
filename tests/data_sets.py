"""Tiny data sets in the forms that the loaders read, written to a folder for a test."""
import json
import pathlib

import cv2
import numpy as np
import scipy.io
from pycocotools import mask as coco_mask

from dslope_jax.skeletons import COCO

# A person who stands, as shares of the box; in the order of COCO's and of MPII's joints.
_COCO_POSE = np.array([
  (.50, .08), (.54, .06), (.46, .06), (.58, .08), (.42, .08), (.70, .22), (.30, .22), (.82, .38),
  (.18, .38), (.86, .52), (.14, .52), (.62, .55), (.38, .55), (.64, .75), (.36, .75), (.65, .95),
  (.35, .95)])
_MPII_POSE = np.array([
  (.35, .95), (.36, .75), (.38, .55), (.62, .55), (.64, .75), (.65, .95), (.50, .55), (.50, .25),
  (.50, .18), (.50, .03), (.14, .52), (.18, .38), (.30, .22), (.70, .22), (.82, .38), (.86, .52)])


def write_coco(root, num_images=4, size=(96, 128), edit=None):
  """A COCO folder with splits 'train' and 'val', one person a picture; returns its path.

  size: (W, H) of the pictures. edit: changes the dict of each split before it is written.
  """
  root = pathlib.Path(root)
  (root / 'annotations').mkdir(parents=True)
  for number, split in enumerate(('train', 'val')):
    rng = np.random.default_rng(number)
    images, annotations = [], []
    for i in range(num_images):
      image_id, box = 100 * number + i + 1, _box(rng, size)
      name = f'{image_id:06d}.jpg'
      _draw(root / split / name, rng, size)
      images.append({'id': image_id, 'file_name': name, 'width': size[0], 'height': size[1]})
      annotations.append(_person(image_id, box, rng))
    category = {'id': 1, 'name': 'person', 'keypoints': list(COCO.names),
                'skeleton': [[a + 1, b + 1] for a, b in COCO.limbs]}
    truth = {'images': images, 'annotations': annotations, 'categories': [category]}
    if edit:
      edit(truth)
    path = root / 'annotations' / f'person_keypoints_{split}.json'
    path.write_text(json.dumps(truth))
  return str(root)


def write_mpii(root, num_images=4, size=(96, 128), edit=None):
  """An MPII folder with splits 'train' and 'valid', head boxes for 'valid'; returns its path.

  edit: changes the list of entries of each split before it is written.
  """
  root = pathlib.Path(root)
  (root / 'annot').mkdir(parents=True)
  for number, split in enumerate(('train', 'valid')):
    rng = np.random.default_rng(number)
    entries = []
    for i in range(num_images):
      name = f'{100 * number + i + 1:06d}.jpg'
      _draw(root / 'images' / name, rng, size)
      x, y, w, h = _box(rng, size)
      joints = np.round(_MPII_POSE * (w, h) + (x, y) + 1, 2)  # MPII counts from 1
      entries.append({'image': name, 'center': [x + w / 2 + 1, y + h / 2 + 1], 'scale': h / 200,
                      'joints': joints.tolist(), 'joints_vis': [1] * 16})
    if split == 'valid':
      _write_heads(root / 'annot' / 'gt_valid.mat', entries)
    if edit:
      edit(entries)
    (root / 'annot' / f'{split}.json').write_text(json.dumps(entries))
  return str(root)


def write_lsp(root, num_images=4, size=(96, 128)):
  """A folder of Leeds Sports Pose with the first people of its training half; returns its path."""
  root, rng = pathlib.Path(root), np.random.default_rng(0)
  joints = np.stack([np.round(rng.uniform(np.array(box[:2]), np.add(box[:2], box[2:]), (14, 2)), 2)
                     for box in (_box(rng, size) for _ in range(num_images))])
  for number in range(1, num_images + 1):
    _draw(root / 'images' / f'im{number:04d}.jpg', rng, size)
  flags = np.zeros((num_images, 14, 1))
  scipy.io.savemat(root / 'joints.mat', {'joints': np.concatenate([joints, flags], 2).transpose(
    2, 1, 0)})
  return str(root)


def write_keypoints(root, file, skeleton, num_images=3, size=(96, 128), folder='images', edit=None):
  """A set in COCO's form of any skeleton, one person a picture; returns its path.

  file: of the annotations, below root. The joints are drawn anywhere in the box; every second one
  is hidden. edit: changes the dict before it is written.
  """
  root, rng = pathlib.Path(root), np.random.default_rng(0)
  images, annotations = [], []
  for number in range(1, num_images + 1):
    name, box = f'{number:04d}.jpg', _box(rng, size)
    _draw(root / folder / name, rng, size)
    images.append({'id': number, 'file_name': name, 'width': size[0], 'height': size[1],
                   'crowdIndex': 0.4 * number})
    joints = np.round(rng.uniform(box[:2], np.add(box[:2], box[2:]), (len(skeleton.names), 2)), 2)
    joints = np.column_stack([joints, 1 + np.arange(len(joints)) % 2])
    annotations.append({'id': 10 * number, 'image_id': number, 'category_id': 1, 'bbox': box,
                        'iscrowd': 0, 'keypoints': joints.ravel().tolist()})
  truth = {'images': images, 'annotations': annotations, 'categories': [
    {'id': 1, 'name': 'person', 'keypoints': list(skeleton.names), 'skeleton': [[16, 14]]}]}
  if edit:
    edit(truth)
  write_json(root / file, truth)
  return str(root)


def write_json(path, value):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(value))


def write_objects(root, edit=None):
  """A folder whose json names pictures from the root: people, a crowd, things; returns its path."""
  def make(truth):
    truth['categories'] = [{'id': 1, 'name': 'person'}, {'id': 7, 'name': 'cat'},
                           {'id': 9, 'name': 'chair'}]
    for image in truth['images']:
      image['file_name'] = 'train/' + image['file_name']
    first, second, third, fourth = truth['annotations']
    for annotation in truth['annotations']:
      del annotation['keypoints']
    second['category_id'] = fourth['category_id'] = 9
    third['category_id'] = 7
    third['segmentation'] = packed(disc((96, 128), (40, 50), 20))
    third['bbox'] = [21, 31, 39, 39]
    crowd = dict(id=50, image_id=1, category_id=7, iscrowd=1, bbox=[0, 0, 9, 9],
                 segmentation={'counts': [0, 96 * 128], 'size': [128, 96]})
    thin = dict(id=51, image_id=1, category_id=7, bbox=[0, 0, 9, 0],
                segmentation=[[0, 0, 9, 0, 9, 0]])
    bare = dict(id=52, image_id=1, category_id=7, bbox=[0, 0, 9, 9])
    truth['annotations'] += [crowd, thin, bare]
    if edit:
      edit(truth)
  path = pathlib.Path(write_coco(root))
  truth = json.loads((path / 'annotations/person_keypoints_train.json').read_text())
  make(truth)
  (path / 'annotations/instances_train.json').write_text(json.dumps(truth))
  return str(path)


def write_maps(root, maps, folder, images, ending='.png'):
  """Label maps and pictures as CCP or CIHP have them; maps: {name: (H,W) numbers}."""
  root = pathlib.Path(root)
  for below in (folder, images):
    (root / below).mkdir(parents=True, exist_ok=True)
  for i, (name, numbers) in enumerate(maps.items()):
    if ending == '.mat':
      scipy.io.savemat(root / folder / f'{name}.mat', {'groundtruth': numbers})
    else:
      assert cv2.imwrite(str(root / folder / f'{name}.png'), numbers)
    picture = np.full((*numbers.shape, 3), 10 * i, np.uint8)
    assert cv2.imwrite(str(root / images / f'{name}.jpg'), picture)
  return str(root)


def disc(size, center, radius):
  y, x = np.mgrid[:size[1], :size[0]]
  return np.hypot(x - center[0], y - center[1]) < radius


def packed(mask):
  encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
  return {'size': list(encoded['size']), 'counts': encoded['counts'].decode('ascii')}


def _box(rng, size):
  """x, y, width, height of a person who fills most of the picture; whole numbers."""
  w, h = round(size[0] * 0.5), round(size[1] * 0.8)
  return [int(rng.integers(2, size[0] - w - 2)), int(rng.integers(2, size[1] - h - 2)), w, h]


def _person(number, box, rng):
  x, y, w, h = box
  joints = _COCO_POSE * (w, h) + (x, y)
  visibility = np.full(17, 2)
  visibility[rng.integers(17)] = 1
  polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
  return {'id': 10 * number, 'image_id': number, 'category_id': 1, 'bbox': box, 'iscrowd': 0,
          'area': w * h, 'num_keypoints': 17, 'segmentation': [polygon],
          'keypoints': np.column_stack([joints, visibility]).ravel().tolist()}


def _draw(path, rng, size):
  """A picture of soft random colours."""
  path.parent.mkdir(parents=True, exist_ok=True)
  coarse = rng.uniform(0, 255, (size[1] // 8, size[0] // 8, 3)).astype(np.float32)
  picture = cv2.resize(coarse, size) + rng.normal(0, 8, (size[1], size[0], 3))
  assert cv2.imwrite(str(path), np.clip(picture, 0, 255).astype(np.uint8))


def _write_heads(path, entries):
  joints = np.array([e['joints'] for e in entries]).transpose(1, 2, 0)  # (joint, xy, person)
  neck, top = joints[8], joints[9]
  boxes = np.stack([np.minimum(neck, top) - 3, np.maximum(neck, top) + 3])
  scipy.io.savemat(path, {'headboxes_src': boxes, 'pos_gt_src': joints,
                          'jnt_missing': np.zeros((16, len(entries)), np.uint8)})
