"""AI Challenger's human keypoints (Wu et al., arXiv 1711.06475): 14 joints, 1 means visible."""
import numpy as np

from dslope_jax import skeletons
from input_pipeline.sources import coco
from input_pipeline.sources.counts import check_counts
from input_pipeline.sources.source import Source

_OFFICIAL = {
  'train': ('ai_challenger_keypoint_train_20170902', 'keypoint_train_annotations_20170909.json',
            'keypoint_train_images_20170902'),
  'val': ('ai_challenger_keypoint_validation_20170911',
          'keypoint_validation_annotations_20170911.json',
          'keypoint_validation_images_20170911')}
_HOW_TO_GET = (
  'AI Challenger is the folders ai_challenger_keypoint_train_20170902 and '
  'ai_challenger_keypoint_validation_20170911 as they come out of the official archives; then pass '
  '--config.data.root=FOLDER, the folder above them')
_VISIBILITY = {1: 2, 2: 1, 3: 0}  # visible, hidden, not labelled -> COCO's codes


def load(split, *, root, annotations='', images='', aspect=0.75, padding=1.25,
         skip_invalid=False) -> Source:
  """The labelled people of 'train' or 'val'.

  annotations: json file below root, by default the first that exists of two:
  annotations/aic_{split}.json (COCO form with COCO's codes of visibility) and the official file (a
  list with the set's own codes, which are turned into COCO's; pictures and people are numbered
  from 1 as they come).
  The other options and errors as for `coco.load`; ValueError also if the counts are those of
  another split.
  """
  above, file, pictures = _OFFICIAL.get(split, ('', f'aic_{split}.json', ''))
  names = (annotations,) if annotations else ('annotations/aic_{split}.json', f'{above}/{file}')
  if not images and above:
    images = f'{above}/{pictures}'
  path, folder = coco.find_set(root, names, images, split, _HOW_TO_GET)
  content = coco.parse_json(path)
  truth = (_in_coco_form(content, path) if isinstance(content, list)
           else coco.check_lists(content, path, coco.COCO_LISTS))
  check_counts('aic', split, path, len(truth['images']), len(truth['annotations']))
  return coco.labelled_people(truth, split, path, folder, aspect, padding, skip_invalid,
                              skeletons.AIC, _HOW_TO_GET)


def _in_coco_form(entries, path):
  images, annotations = [], []
  for i, entry in enumerate(entries):
    try:
      images.append({'id': i + 1, 'file_name': f"{entry['image_id']}.jpg"})
      boxes, poses = entry['human_annotations'], entry['keypoint_annotations']
      for person, pose in poses.items():
        annotations.append(_person(boxes[person], pose)
                           | {'id': len(annotations) + 1, 'image_id': i + 1})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
      raise ValueError(f'{path}: entry {i} has not the form image_id, human_annotations (boxes of '
                       '4), keypoint_annotations (14 joints, codes 1 to 3) '
                       f'({error!r}); mend or remove it') from None
  return {'images': images, 'annotations': annotations, 'categories': [
    {'id': 1, 'name': 'person', 'keypoints': list(skeletons.AIC.names)}]}


def _person(box, pose):
  joints = np.array(pose, np.float64).reshape(skeletons.AIC.num_keypoints, 3)
  joints[:, 2] = [_VISIBILITY[v] for v in joints[:, 2].tolist()]
  x1, y1, x2, y2 = box
  return {'category_id': 1, 'iscrowd': 0, 'bbox': [x1, y1, x2 - x1, y2 - y1],
          'keypoints': joints.ravel().tolist()}
