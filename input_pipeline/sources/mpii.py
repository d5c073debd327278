"""MPII Human Pose in the form that HRNet made: annot/{train,valid,test}.json and gt_valid.mat."""
import functools
import os

import numpy as np

from dslope_jax import skeletons
from dslope_jax.errors import UserError
from input_pipeline.sources.checks import check_pictures, folder_is_there
from input_pipeline.sources.coco import read_json, read_row
from input_pipeline.sources.counts import check_counts
from input_pipeline.sources.mat_files import read_variable
from input_pipeline.sources.source import Source

_HOW_TO_GET = (
  "MPII is mpii_human_pose_v1.tar.gz from human-pose.mpi-inf.mpg.de (pictures, into images/) and "
  "the json and mat files published with HRNet (into annot/); then pass --config.data.root=FOLDER. "
  "To try the project without any data: python train.py --config configs/quickstart.py")
_NO_JOINTS = {'joints': [[0, 0]] * 16, 'joints_vis': [0] * 16}
# Of the square of a person's height that the person covers. MPII states no areas; COCO's people of
# whom nearly all joints are labelled cover 0.23 of the square of their box's longer side, which is
# a little less than their height. 0.53 of the box, as of other sets, would be that of a tight box.
_AREA_SHARE = 0.2
_HEAD_SHARE = 0.6  # PCKh: head size is this share of the head box's diagonal


def load(split, *, root, aspect=1.0, padding=1.25) -> Source:
  """The people of 'train', 'valid' or, without joints, 'test'.

  padding: factor of the annotated scale. aspect: width / height of the crops.

  Centre and scale are the annotated ones by HRNet's rule: centre lowered by 15 * scale, scale times
  `padding`, neither where the centre's x is -1, the mark of a missing one. Coordinates are made
  0-based. `box` is the square of 200 * scale, the person's height, around the lowered centre, which
  is nearer to the middle of the joints than the annotated one. `head_size` is the head size where
  gt_valid.mat gives head boxes (split 'valid'), else 0. Other numbers of people than the official
  22,246 and 2,958 are printed; those of the other split are an error.

  Raises FileNotFoundError or UserError, one line naming the file, the entry and the mend.
  """
  path = os.path.join(root, 'annot', f'{split}.json')
  folder = os.path.join(root, 'images')
  for needed, is_there in ((path, os.path.isfile), (folder, folder_is_there)):
    if not is_there(needed):
      raise FileNotFoundError(f"no '{needed}'. {_HOW_TO_GET}")
  entries = read_json(path)
  check_counts('mpii', split, path, people=len(entries))
  if split == 'test':
    entries = [e if not isinstance(e, dict) else _NO_JOINTS | e for e in entries]
  people = [_check(entry, path, i) for i, entry in enumerate(entries)]
  if split != 'test' and not any(visible.any() for _, visible, _, _ in people):
    raise UserError(f'{path}: nobody has a joint with joints_vis 1; get the file again')
  check_pictures([{'file_name': e['image']} for e in entries], folder, path, _HOW_TO_GET)
  joints, visible, center, scale = (np.array(x) for x in zip(*people, strict=True))
  stated = center[:, 0] != -1
  center[:, 1] += np.where(stated, 15 * scale, 0)
  center -= 1  # to 0-based
  crop_side = scale * np.where(stated, padding, 1)
  side = 200 * scale[:, None]
  files = np.array([os.path.join(folder, e['image']) for e in entries])
  images = {name: i + 1 for i, name in enumerate(sorted(set(files.tolist())))}
  return Source(
    name='mpii', split=split, skeleton=skeletons.MPII, folder=folder,
    image_id=np.array([images[f] for f in files.tolist()], np.int64),
    annotation_id=np.arange(1, len(entries) + 1), file=files,
    box=np.concatenate([center - side / 2, side, side], 1).astype(np.float32),
    area=(_AREA_SHARE * side[:, 0] ** 2).astype(np.float32),
    center=center.astype(np.float32),
    scale=(crop_side[:, None] * (1, 1 / aspect)).astype(np.float32),
    keypoints=(joints - 1).astype(np.float32) * visible[..., None],
    visibility=np.where(visible, 2, 0).astype(np.uint8),
    box_score=np.ones(len(entries), np.float32),
    head_size=_head_sizes(os.path.join(root, 'annot', f'gt_{split}.mat'), len(entries)),
    read=functools.partial(read_row, files, np.zeros((len(entries), 2), np.int32)))


def _check(entry, path, i):
  """(joints (16,2), visible (16,) bool, center (2,), scale) of one entry, 1-based."""
  try:
    if not isinstance(entry['image'], str):
      raise TypeError('its image is not a file name')
    joints = np.array(entry['joints'], np.float64).reshape(16, 2)
    visible = np.array(entry['joints_vis'], np.float64).reshape(16)
    center, scale = np.array(entry['center'], np.float64).reshape(2), float(entry['scale'])
  except (KeyError, OverflowError, TypeError, ValueError) as error:
    raise UserError(f'{path}: entry {i} is not an MPII person with image, center, scale, 16 '
                    f'joints and 16 joints_vis ({error}); mend or remove it') from None
  if not np.isfinite([*joints.ravel(), *center, scale]).all() or scale <= 0:
    raise UserError(f'{path}: entry {i} has a scale of {scale:g}, which must be above 0, or a '
                    'number that is not finite; mend or remove it')
  if not np.isin(visible, (0, 1)).all():
    raise UserError(f'{path}: entry {i} has a joints_vis that is neither 0 nor 1; mend or remove '
                    'it')
  return joints, visible > 0, center, scale


def _head_sizes(path, count):
  if not os.path.isfile(path):
    return np.zeros(count, np.float32)
  boxes = read_variable(path, 'headboxes_src')  # (corner, xy, person)
  if boxes.shape != (2, 2, count):
    raise UserError(f'{path}: head boxes of {boxes.shape[-1]} people, the json has {count}; the '
                    'two files are not of one release, get both anew')
  return (_HEAD_SHARE * np.linalg.norm(boxes[1] - boxes[0], axis=0)).astype(np.float32)
