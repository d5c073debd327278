"""Sets in COCO's form or near it, as a table: CrowdPose, AI Challenger, sub-JHMDB."""
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dslope_jax import skeletons
from dslope_jax.errors import UserError
from input_pipeline.sources import checks, coco
from input_pipeline.sources.counts import check_counts
from input_pipeline.sources.source import Source


def as_it_is(content, skeleton, path):
  return coco.check_lists(content, path, coco.COCO_LISTS)


class Set(NamedTuple):
  """How a set differs from COCO.

  name: in `counts`. files: usual names of the annotation file below root. official: {split: (file,
  picture folder)} of the form that the set was published in. read: path -> content of the file.
  convert: (content, skeleton, path) -> COCO dict. edits: {field: function of its numbers}, of
  'keypoints' (N,K,3) and 'bbox' (N,4).
  """
  name: str
  skeleton: skeletons.Skeleton
  files: tuple[str, ...]
  how_to_get: str
  official: dict[str, tuple[str, str]] = {}
  read: Callable = coco.parse_json
  convert: Callable = as_it_is
  edits: dict[str, Callable] = {}


def load_set(of, split, *, root, annotations='', images='', aspect=0.75, padding=1.25,
             skip_invalid=False) -> Source:
  """The labelled people of one split.

  annotations: json file below root, by default the first that exists of the usual names; the other
  options and errors as for `coco.load`; UserError also if the counts are those of another split.
  """
  file, pictures = of.official.get(split, ('', ''))
  files = (annotations,) if annotations else (*of.files, *filter(None, [file]))
  path, folder = coco.find_set(root, files, images or pictures, split, of.how_to_get)
  truth = of.convert(of.read(path), of.skeleton, path)
  for field, edit in of.edits.items():
    _edit(truth['annotations'], field, of.skeleton.num_keypoints, edit)
  check_counts(of.name, split, path, len(truth['images']), len(truth['annotations']))
  return coco.labelled_people(truth, split, path, folder, aspect, padding, skip_invalid,
                              of.skeleton, of.how_to_get)


def _edit(annotations, field, count, edit):
  """Edits a field in place; what has not the form it should is left for the checks."""
  shape = (-1, count, 3) if field == 'keypoints' else (-1, 4)
  table = checks.numbers([a.get(field) for a in annotations], 3 * count if len(shape) > 2 else 4)
  for annotation, values in zip(annotations, edit(table.reshape(shape)).reshape(table.shape),
                                strict=True):
    if np.isfinite(values[0]):
      annotation[field] = values.tolist()


# 'train', 'val', 'test' or 'trainval'; Li et al., CVPR 2019. The limbs are those of the 14 joints:
# the file's own `skeleton` field is COCO's. `ground_truth` keeps each picture's crowdIndex and, as
# published, a num_keypoints that leaves out head and neck.
_CROWDPOSE = Set(
  'crowdpose', skeletons.CROWDPOSE,
  ('json/crowdpose_{split}.json', 'annotations/crowdpose_{split}.json',
   'annotations/mmpose_crowdpose_{split}.json', 'crowdpose_{split}.json'),
  'CrowdPose is images.zip and the json files crowdpose_{train,val,test}.json linked from '
  'github.com/Jeff-sjtu/CrowdPose, unpacked into images/ and json/ of one folder; then pass '
  '--config.data.root=FOLDER')


def _aic_in_coco_form(entries, skeleton, path):
  """The official list as a COCO dict; pictures and people are numbered from 1 as they come."""
  if not isinstance(entries, list):
    return as_it_is(entries, skeleton, path)
  codes = {1: 2, 2: 1, 3: 0}  # visible, hidden, not labelled -> COCO's
  images, annotations = [], []
  for i, entry in enumerate(entries):
    try:
      images.append({'id': i + 1, 'file_name': f"{entry['image_id']}.jpg"})
      boxes, poses = entry['human_annotations'], entry['keypoint_annotations']
      for person, pose in poses.items():
        x1, y1, x2, y2 = boxes[person]
        joints = np.array(pose, np.float64).reshape(skeleton.num_keypoints, 3)
        joints[:, 2] = [codes[v] for v in joints[:, 2].tolist()]
        annotations.append({
          'id': len(annotations) + 1, 'image_id': i + 1, 'category_id': 1, 'iscrowd': 0,
          'bbox': [x1, y1, x2 - x1, y2 - y1], 'keypoints': joints.ravel().tolist()})
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
      raise UserError(f'{path}: entry {i} has not the form image_id, human_annotations (boxes of '
                      '4), keypoint_annotations (14 joints, codes 1 to 3) '
                      f'({error!r}); mend or remove it') from None
  return {'images': images, 'annotations': annotations, 'categories': [
    {'id': 1, 'name': 'person', 'keypoints': list(skeleton.names)}]}


# 'train' or 'val'; Wu et al., arXiv 1711.06475. In COCO's form, with COCO's codes of visibility, or
# the official list.
_AIC = Set(
  'aic', skeletons.AIC, ('annotations/aic_{split}.json',),
  'AI Challenger is the folders ai_challenger_keypoint_train_20170902 and '
  'ai_challenger_keypoint_validation_20170911 as they come out of the official archives; then pass '
  '--config.data.root=FOLDER, the folder above them',
  {'train': ('ai_challenger_keypoint_train_20170902/keypoint_train_annotations_20170909.json',
             'ai_challenger_keypoint_train_20170902/keypoint_train_images_20170902'),
   'val': ('ai_challenger_keypoint_validation_20170911/'
           'keypoint_validation_annotations_20170911.json',
           'ai_challenger_keypoint_validation_20170911/keypoint_validation_images_20170911')},
  convert=_aic_in_coco_form)


def _jhmdb(split, *, root, sub=1, annotations='', images='.', aspect=0.75, padding=1.25,
           skip_invalid=False) -> Source:
  """The people of 'train' or 'test' of one division of sub-JHMDB (Jhuang et al., ICCV 2013).

  sub: 1, 2 or 3; papers report the mean of the three. Boxes and joints of the file are counted from
  1 and made 0-based. The other options as for `load_set`.
  """
  if sub not in (1, 2, 3):
    raise UserError(f'data.loader.sub is {sub!r}, but sub-JHMDB has the divisions 1, 2 and 3')
  division = Set(
    'jhmdb', skeletons.JHMDB, (f'annotations/Sub{sub}_{{split}}.json',),
    'sub-JHMDB is the frames Rename_Images of jhmdb.is.tue.mpg.de and, in annotations/, the files '
    'Sub1_train.json to Sub3_test.json in COCO form; then pass --config.data.root=FOLDER',
    edits={'keypoints': lambda joints: joints - (1, 1, 0), 'bbox': lambda box: box - (1, 1, 0, 0)})
  return load_set(division, split, root=root, annotations=annotations, images=images, aspect=aspect,
                  padding=padding, skip_invalid=skip_invalid)


# {name: function load}
SETS = {'crowdpose': functools.partial(load_set, _CROWDPOSE),
        'aic': functools.partial(load_set, _AIC), 'jhmdb': _jhmdb}
