"""OCHuman (Zhang et al., CVPR 2019): heavily overlapping people with COCO's joints and masks."""
import dataclasses
import functools

import numpy as np

from dslope_jax import skeletons
from dslope_jax.errors import UserError
from input_pipeline import workers
from input_pipeline.sources import coco, masks
from input_pipeline.sources.counts import check_counts
from input_pipeline.sources.source import Source

_NAMES = ('annotations/ochuman_coco_format_{split}_range_0.00_1.00.json',
          'ochuman_coco_format_{split}_range_0.00_1.00.json', 'annotations/ochuman.json',
          'ochuman.json')
_HOW_TO_GET = (
  'OCHuman is OCHuman.zip (pictures, into images/; ochuman.json and the files in COCO form, into '
  'annotations/) from the form at cg.cs.tsinghua.edu.cn/dataset/form.html?dataset=ochuman; then '
  'pass --config.data.root=FOLDER')
_VAL_PICTURES = 2500  # of those with joints and masks, in order of their ids; the rest is test
# missing, visible, hidden by the own body, hidden by others -> COCO's codes, as in the published
# COCO form: what a person's own body hides counts as visible.
_VISIBILITY = {0: 0, 1: 2, 2: 2, 3: 1}


def load(split, *, root, annotations='', images='', aspect=0.75, padding=1.25,
         skip_invalid=False) -> Source:
  """The people of 'val' or 'test' (or 'all', from ochuman.json only).

  annotations: json file below root, by default the first that exists of the usual names: the COCO
  forms, then ochuman.json with all annotations, of which the people with both joints and mask
  count and the split and the numbering are made as published. The other options and errors as for
  `coco.load`; UserError also if the counts are those of another split.
  """
  path, folder = coco.find_set(root, (annotations,) if annotations else _NAMES, images, split,
                               _HOW_TO_GET)
  content = coco.read_json(path, ('images',))
  own_form = 'keypoint_names' in content
  truth = (_in_coco_form(content, split, path) if own_form
           else coco.check_lists(content, path, coco.COCO_LISTS))
  check_counts('ochuman', split, path, len(truth['images']), len(truth['annotations']))
  source = coco.labelled_people(truth, split, path, folder, aspect, padding, skip_invalid,
                                skeletons.COCO, _HOW_TO_GET)
  if not own_form:
    return source
  shapes = {a['id']: a['segms'] for a in truth['annotations']}
  rows = workers.Local(shapes[number] for number in source.annotation_id.tolist())
  return dataclasses.replace(source, mask=functools.partial(_read_mask, rows, path),
                             parts=lambda row: {})


def _in_coco_form(content, split, path):
  """ochuman.json as a COCO dict of one split; pictures and people are numbered from 1."""
  if split not in ('val', 'test', 'all'):
    raise UserError(f"{path}: holds the splits val, test and all, not '{split}'; name one of them")
  names = content['keypoint_names']
  lacking = [n for n in skeletons.COCO.names if not isinstance(names, list) or n not in names]
  if lacking:
    raise UserError(f'{path}: its keypoint_names lack {lacking}; get the file again')
  order = np.array([names.index(n) for n in skeletons.COCO.names])
  pictures = _complete(content, path)
  pictures = {'val': pictures[:_VAL_PICTURES], 'test': pictures[_VAL_PICTURES:],
              'all': pictures}[split]
  images, annotations = [], []
  for number, (picture, people) in enumerate(pictures, 1):
    images.append({'id': number} | {k: picture[k] for k in ('file_name', 'width', 'height')
                                    if picture.get(k) is not None})
    for person in people:
      where = f"picture '{picture.get('file_name')}'"
      annotations.append(_person(person, order, len(names), path, where)
                         | {'id': len(annotations) + 1, 'image_id': number})
  return {'images': images, 'annotations': annotations, 'categories': [
    {'id': 1, 'name': 'person', 'keypoints': list(skeletons.COCO.names)}]}


def _complete(content, path):
  """[(picture, its people with joints and mask)], pictures without one left out, by image_id."""
  complete = []
  for i, picture in enumerate(content['images']):
    people = picture.get('annotations')
    if not isinstance(people, list) or not isinstance(picture.get('image_id'), (int, str)):
      raise UserError(f"{path}: entry {i} of 'images' has no image_id or list of annotations; get "
                      'the file again')
    people = [p for p in people if isinstance(p, dict) and p.get('keypoints') and p.get('segms')]
    if people:
      complete.append((picture, people))
  return sorted(complete, key=lambda pair: (isinstance(pair[0]['image_id'], str),
                                         pair[0]['image_id']))


def _person(person, order, count, path, where):
  try:
    joints = np.array(person['keypoints'], np.float64).reshape(count, 3)[order]
    joints[:, 2] = [_VISIBILITY[v] for v in joints[:, 2].tolist()]
    x1, y1, x2, y2 = person['bbox']
    box = [x1, y1, x2 - x1, y2 - y1]
  except (KeyError, OverflowError, TypeError, ValueError) as error:
    raise UserError(f'{path}: a person of {where} has no box of 4 and {count} joints with the '
                    f'codes 0 to 3 ({error!r}); get the file again') from None
  return {'category_id': 1, 'iscrowd': 0, 'bbox': box, 'area': box[2] * box[3],
          'keypoints': joints.ravel().tolist(), 'num_keypoints': int((joints[:, 2] > 0).sum()),
          'segms': person['segms']}


def _read_mask(rows, path, row):
  """Outlines filled, less the holes; drawn when asked for, since drawing all takes minutes."""
  try:
    shape = rows[row]
    size = shape['width'], shape['height']
    mask = masks.decode(shape['outer'], *size)
    return mask & ~masks.decode(shape['inner'], *size) if shape.get('inner') else mask
  except (KeyError, TypeError, ValueError) as error:
    raise UserError(f'{path}: a mask has not the form outer, inner, width, height ({error}); get '
                    'the file again') from None
