"""Any keypoint set in COCO's format: COCO itself, CrowdPose, OCHuman in COCO form, your own."""
import codecs
import functools
import json
import os
from typing import Any, TypedDict

import msgspec
import numpy as np

from dslope_jax import skeletons
from dslope_jax.errors import UserError, quoted
from input_pipeline import workers
from input_pipeline.geometry import box_to_center_scale
from input_pipeline.sources import categories, checks, findings, masks, subsets
from input_pipeline.sources.pictures import read_picture
from input_pipeline.sources.source import Source

HOW_TO_GET = (
  "COCO 2017 is train2017.zip, val2017.zip and annotations_trainval2017.zip from cocodataset.org, "
  "unpacked into one folder (for test-dev image_info_test2017.zip and test2017.zip); then pass "
  "--config.data.root=FOLDER. To try the project without any "
  "data: python train.py --config configs/quickstart.py")

_OF_COCO = 'annotations/person_keypoints_{split}.json'
_OWN = 'Check config.data.root, and annotations and images of config.data.loader'


def load(split, *, root, annotations=_OF_COCO, images='',
         aspect=0.75, padding=1.25, skip_invalid=False, category='', subset='',
         skeleton='') -> Source:
  """The labelled people of one split; DensePose-COCO's files also give masks of body parts.

  root: folder. annotations: json file below root, '{split}' in it is replaced. images: picture
  folder below root ('.': the root), likewise; without it the folders '{split}', 'images/{split}'
  and 'images' are tried, in this order. aspect: width / height of the crops. padding: the box is
  enlarged by this factor, 1.25 for COCO. skip_invalid: leave out invalid annotations and say how
  many, instead of stopping. category: name or id of the one to read, where the file has people of
  several whose keypoints differ; those with the same keypoints are read as one. subset:
  'occluded' for those of `subsets.occluded` alone. skeleton: a known set of as many keypoints, such
  as '300w', whose names, sides, limbs and sigmas stand in place of the file's; empty for its own.

  Raises FileNotFoundError or UserError, one line naming the file, the annotation and the mend.
  """
  how_to_get = HOW_TO_GET if annotations == _OF_COCO else _OWN
  path, folder = find_set(root, (annotations,), images, split, how_to_get)
  truth = parse_json(path, _File)
  if isinstance(truth, dict) and 'images' in truth and 'annotations' not in truth:
    return pictures_only(check_lists(truth, path, ('images', 'categories')), split, path, folder,
                         skeleton)
  check_lists(truth, path, COCO_LISTS)
  people = labelled_people(truth, split, path, folder, aspect, padding, skip_invalid,
                           how_to_get=how_to_get, chosen=category, known=skeleton)
  return subsets.chosen(people, subset)


def labelled_people(truth, split, path, folder, aspect, padding, skip_invalid, skeleton=None,
                    how_to_get=HOW_TO_GET, chosen='', known='') -> Source:
  """The Source of the labelled people in the content of a file, with its findings.

  skeleton: the keypoints of a set that is known; its category then needs to name none. chosen: the
  category. known: name of a known skeleton, for a set that is not. Arguments and errors as for
  `load`; how_to_get: last sentence of the message for missing pictures.
  """
  listed, said = categories.choose(truth, path, skeleton, chosen)
  if known:
    listed = [categories.as_known(category, known, path) for category in listed]
  skeleton = skeleton or categories.skeleton_of(listed[0], path)
  people, scored = checks.labelled_people(truth, listed, skeleton, path, skip_invalid)
  source = make_source(people, split, skeleton, path, folder, aspect, padding,
                       truth | {'annotations': scored, 'categories': listed}, how_to_get)
  return findings.checked(source, path, said + findings.without_keypoints(truth, listed))


def pictures_only(truth, split, path, folder, known='') -> Source:
  """A Source of nobody on the pictures of a file without annotations, as of COCO's test-dev: a
  detector's boxes make people of it. A category without keypoints, 'person', has COCO's. known: as
  for `labelled_people`."""
  category = next((c for c in truth['categories'] if c.get('keypoints') or
                   c.get('name') == 'person'), {'id': 1, 'name': 'person'})
  skeleton = skeletons.COCO
  if category.get('keypoints') and known:
    category = categories.as_known(category, known, path)
  if category.get('keypoints'):
    skeleton = categories.skeleton_of(category, path)
  checks.index_pictures(truth, path)
  checks.check_pictures(truth['images'], folder, path, HOW_TO_GET)
  k = skeleton.num_keypoints
  pairs, none = np.zeros((0, 2), np.float32), np.zeros(0, np.int64)
  return Source(
    name=os.path.splitext(os.path.basename(path))[0], split=split, skeleton=skeleton,
    image_id=none, annotation_id=none, file=np.zeros(0, str), box=np.zeros((0, 4), np.float32),
    center=pairs, scale=pairs, keypoints=np.zeros((0, k, 2), np.float32),
    visibility=np.zeros((0, k), np.uint8), box_score=np.zeros(0, np.float32), folder=folder,
    read=functools.partial(read_row, [], []),
    ground_truth=truth | {'annotations': [], 'categories': [
      category | {'keypoints': list(skeleton.names)}]})


class _Annotation(TypedDict, total=False):
  """What is read of an annotation: the fields that COCO's own tools know, and `covered`, which
  exported benchmarks have. Outlines make up most of a file and few are ever drawn, so they stay
  json text until `masks.parsed` reads it."""
  id: Any
  image_id: Any
  category_id: Any
  bbox: Any
  area: Any
  iscrowd: Any
  ignore: Any
  keypoints: Any
  num_keypoints: Any
  covered: Any
  segmentation: msgspec.Raw
  dp_masks: msgspec.Raw


class _File(TypedDict, total=False):
  images: Any
  annotations: list[_Annotation]
  categories: Any


COCO_LISTS = ('images', 'annotations', 'categories')


def find_set(root, annotations, images, split, how_to_get=HOW_TO_GET):
  """(path of the annotation file, picture folder): the first of several names that exists.

  annotations: names below root; '{split}' in them and in `images`, which is as for `load`, is
  replaced. Raises FileNotFoundError that ends with how_to_get.
  """
  paths = [os.path.join(root, name.replace('{split}', split)) for name in annotations]
  path = next((p for p in paths if os.path.isfile(p)), None)
  if path is None:
    folder, missing = os.path.dirname(paths[0]), "' or '".join(paths)
    there = sorted(name for name in os.listdir(folder) if name.endswith('.json')) if (
      os.path.isdir(folder)) else []
    raise FileNotFoundError(
      f"no annotation file '{missing}' (split '{split}')"
      + f'; there are {", ".join(map(quoted, there[:9]))}' * bool(there) + f'. {how_to_get}')
  return path, _picture_folder(root, images, split, how_to_get)


def make_source(people, split, skeleton, path, folder, aspect, padding, truth=None,
                how_to_get=HOW_TO_GET) -> Source:
  """The Source of `People` of one file; raises FileNotFoundError if a picture is missing."""
  checks.check_pictures(people.images, folder, path, how_to_get)
  annotations, images, sizes, box, keypoints = people
  center, scale = box_to_center_scale(box.T, aspect, padding)
  above, entries = os.path.join(folder, ''), workers.Local(annotations)
  files = np.array([above + e['file_name'] for e in images])
  return Source(
    name=os.path.splitext(os.path.basename(path))[0], split=split, skeleton=skeleton, file=files,
    image_id=np.array([e['id'] for e in images], np.int64),
    annotation_id=np.array([a['id'] for a in annotations], np.int64),
    box=box.astype(np.float32), folder=folder, ground_truth=truth, center=center, scale=scale,
    keypoints=keypoints[..., :2].astype(np.float32),
    visibility=keypoints[..., 2].astype(np.uint8),
    box_score=np.ones(len(images), np.float32), read=functools.partial(read_row, files, sizes),
    mask=functools.partial(masks.read_mask, entries, sizes, path),
    parts=functools.partial(masks.read_parts, entries, sizes, path))


def read_json(path, keys=(), form=Any):
  """A json file: a dict with a list of dicts under each of `keys`, or a list if there are none.

  form: as for `parse_json`.
  Raises OSError or UserError naming the file, the place and what is missing.
  """
  return check_lists(parse_json(path, form), path, keys)


def parse_json(path, form=Any):
  """Whatever a json file holds; raises OSError or UserError naming the file.

  form: of the content, as a type of msgspec; fields that it does not name are passed over.
  """
  try:
    with open(path, 'rb') as f:
      content = f.read()
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
      return msgspec.json.decode(content, type=form)
    except (msgspec.MsgspecError, RecursionError, ValueError):
      return json.loads(content.decode())  # it knows NaN, too, and says what is wrong
  except OSError as error:
    raise OSError(f"cannot read '{path}' ({error.strerror}); check the path") from None
  except (ValueError, RecursionError) as error:
    raise UserError(f'{path}: not a readable json file ({error}); get the file again') from None


def check_lists(data, path, keys):
  """The content of a file if it has the form that `read_json` names, else UserError."""
  if type(data) is not (dict if keys else list):
    wanted = f'dict with the lists {", ".join(keys)}' if keys else 'list'
    raise UserError(f'{path}: holds a {type(data).__name__}, not a {wanted}; give the path of '
                    'another file')
  missing = [k for k in keys if not isinstance(data.get(k), list)]
  if missing:
    raise UserError(f'{path}: lacks the list(s) {missing}; this is not a COCO annotation file')
  for key in keys:
    odd = next((i for i, entry in enumerate(data[key]) if not isinstance(entry, dict)), None)
    if odd is not None:
      raise UserError(f"{path}: entry {odd} of '{key}' is not a dict; get or mend the file")
  return data


def read_row(files, sizes, row):
  """`Source.read` of a set whose pictures are files."""
  return read_picture(str(files[row]), tuple(sizes[row].tolist()))


def _picture_folder(root, images, split, how_to_get):
  tried = [images.replace('{split}', split)] if images else [split, f'images/{split}', 'images']
  for name in tried:
    if checks.folder_is_there(os.path.join(root, name)):
      return os.path.join(root, name)
  raise FileNotFoundError(f"no picture folder {' or '.join(tried)} in '{root}'. {how_to_get}")
