"""Face landmarks of 300W, COFW, WFLW and AFLW, from json files in COCO's form."""
import dataclasses

import numpy as np

from dslope_jax import skeletons
from input_pipeline.sources import coco
from input_pipeline.sources.checks import edit_joints
from input_pipeline.sources.counts import check_counts
from input_pipeline.sources.source import Source

_SETS = {'300w': skeletons.FACE_300W, 'cofw': skeletons.COFW, 'wflw': skeletons.WFLW,
         'aflw': skeletons.AFLW}
_NAMES = ('annotations/face_landmarks_{set}_{split}.json', 'annotations/{set}_{split}.json')
_TELLS_HIDDEN = ('cofw',)  # the others only tell that a point is labelled


def load(split, *, root, faces_of, annotations='', images='images', aspect=1.0, padding=1.25,
         skip_invalid=False) -> Source:
  """The faces of one split.

  faces_of: '300w' (68 points; train, valid, valid_common, valid_challenge, test), 'cofw' (29),
  'wflw' (98) or 'aflw' (19); train and test, and test_NAME for parts of the test set.
  annotations: json file below root, by default annotations/face_landmarks_{set}_{split}.json or
  annotations/{set}_{split}.json. Where every face has a centre and a scale (box side / 200), they
  are the crop's, times `padding`; else the box is. A point that is labelled is visible (2), but
  for COFW, which tells hidden ones. The other options and errors as for `coco.load`; ValueError
  also if the counts are those of another split.
  """
  if faces_of not in _SETS:
    raise ValueError(f'data.loader.faces_of is one of {sorted(_SETS)}, not {faces_of!r}')
  skeleton = _SETS[faces_of]
  names = [n.replace('{set}', faces_of) for n in _NAMES]
  how_to_get = (f'The json files of {faces_of} are those that MMPose publishes ({faces_of}_'
                "annotations.tar), the pictures come from the set's own page; pass "
                '--config.data.root=FOLDER')
  path, folder = coco.find_set(root, (annotations,) if annotations else names, images, split,
                               how_to_get)
  truth = coco.read_json(path, coco.COCO_LISTS)
  check_counts(faces_of, split, path, people=len(truth['annotations']))
  if faces_of not in _TELLS_HIDDEN:
    edit_joints(truth, skeleton, _labelled_is_visible)
  source = coco.labelled_people(truth, split, path, folder, aspect, padding, skip_invalid, skeleton,
                                how_to_get)
  return _with_crops(source, aspect, padding, path)


def _labelled_is_visible(joints):
  joints[:, 2] = np.where(joints[:, 2] == 1, 2, joints[:, 2])
  return joints


def _with_crops(source, aspect, padding, path):
  """The source with the centres and scales of the file, if every face has them."""
  by_id = {a['id']: a for a in source.ground_truth['annotations']}
  faces = [by_id[number] for number in source.annotation_id.tolist()]
  if not all('center' in face and 'scale' in face for face in faces):
    return source
  center, scale = [], []
  for face in faces:
    try:
      center.append(np.array(face['center'], np.float32).reshape(2))
      scale.append(float(face['scale']))
    except (TypeError, ValueError):
      scale.append(-1.0)
    if not (0 < scale[-1] < 1e6 and np.isfinite(center[-1]).all()):
      raise ValueError(f"{path}: annotation {face['id']}: its center and scale are not two finite "
                       'numbers and one above 0; mend the file')
  sides = np.array(scale)[:, None] * padding * np.array([1, 1 / aspect])
  return dataclasses.replace(source, center=np.array(center), scale=sides.astype(np.float32))
