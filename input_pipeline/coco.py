"""Any keypoint set in COCO's format: COCO itself, CrowdPose, OCHuman in COCO form, your own."""
import dataclasses
import functools
import json
import os

import cv2
import numpy as np

from dslope_jax import skeletons
from input_pipeline import masks
from input_pipeline.entries import (
  check_box,
  check_entry,
  check_pictures,
  index_pictures,
  is_box,
  report,
)
from input_pipeline.source import Source
from input_pipeline.top_down import box_to_center_scale

HOW_TO_GET = (
  "COCO 2017 is train2017.zip, val2017.zip and annotations_trainval2017.zip from cocodataset.org, "
  "unpacked into one folder; then pass --config.data.root=FOLDER. To try the project without any "
  "data: python train.py --config configs/quickstart.py")


def load(split, *, root, annotations='annotations/person_keypoints_{split}.json', images='',
         aspect=0.75, padding=1.25, skip_invalid=False) -> Source:
  """The labelled people of one split; DensePose-COCO's files also give masks of body parts.

  root: folder. annotations: json file below it; images: picture folder below it ('.': the root).
  '{split}' in either is replaced; without `images` the folders '{split}', 'images/{split}' and
  'images' are tried, in this order. aspect: width / height of the crops. padding: of the box, 1.25
  for COCO. skip_invalid: leave out invalid annotations and say how many, instead of stopping.

  Raises FileNotFoundError or ValueError, one line naming the file, the annotation and the mend.
  """
  path, folder = find_set(root, (annotations,), images, split)
  truth = parse_json(path)
  if isinstance(truth, dict) and 'images' in truth and 'annotations' not in truth:
    return pictures_only(check_lists(truth, path, ('images', 'categories')), split, path, folder)
  check_lists(truth, path, COCO_LISTS)
  return labelled_people(truth, split, path, folder, aspect, padding, skip_invalid)


def labelled_people(truth, split, path, folder, aspect, padding, skip_invalid, skeleton=None,
                    how_to_get=HOW_TO_GET) -> Source:
  """The Source of the labelled people in the content of a file.

  skeleton: the keypoints of a set that is known; its category then needs to name none. Arguments
  and errors as for `load`; how_to_get: last sentence of the message for missing pictures.
  """
  category = _category(truth, path, skeleton)
  if skeleton is None:
    try:
      skeleton = skeletons.from_category(category)
    except (TypeError, ValueError) as error:
      raise ValueError(f"{path}: category {category['id']!r}: {error}; mend the category") from None
  people, scored = _labelled_people(truth, category, skeleton, path, skip_invalid)
  return make_source(people, split, skeleton, path, folder, aspect, padding,
                     truth | {'annotations': scored, 'categories': [category]}, how_to_get)


def pictures_only(truth, split, path, folder) -> Source:
  """A Source of nobody on the pictures of a file without annotations, as of COCO's test-dev: a
  detector's boxes make people of it. A category without keypoints, 'person', has COCO's."""
  category = next((c for c in truth['categories'] if c.get('keypoints') or
                   c.get('name') == 'person'), {'id': 1, 'name': 'person'})
  skeleton = skeletons.COCO
  if category.get('keypoints'):
    skeleton = skeletons.from_category(category)
  index_pictures(truth, path)
  check_pictures(truth['images'], folder, path, HOW_TO_GET)
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


def _category(truth, path, skeleton):
  """The category of the people; ValueError if there is none or it lists other keypoints."""
  category = next((c for c in truth['categories'] if isinstance(c.get('id'), int)
                   and (c.get('keypoints') or skeleton)), None)
  if category is None:
    raise ValueError(f"{path}: no category has an id and lists its 'keypoints' names; this is not "
                     'a keypoint set')
  given = category.get('keypoints')
  if skeleton and given and [str(n).lower().replace(' ', '_') for n in given] != list(
      skeleton.names):
    raise ValueError(f'{path}: its category lists {len(given)} keypoints, first {given[0]!r}, '
                     f"which are not the {skeleton.num_keypoints} of {skeleton.name}, first "
                     f"'{skeleton.names[0]}'; is it the file of another set? data.name 'coco' "
                     'reads any')
  return category


COCO_LISTS = ('images', 'annotations', 'categories')


def open_set(root, annotations, images, split):
  """(path of the json file, picture folder, content) of a set in COCO's format."""
  path, folder = find_set(root, (annotations,), images, split)
  return path, folder, read_json(path, COCO_LISTS)


def find_set(root, annotations, images, split, how_to_get=HOW_TO_GET):
  """(path of the annotation file, picture folder): the first of several names that exists.

  annotations: names below root; '{split}' in them and in `images`, which is as for `load`, is
  replaced. Raises FileNotFoundError that ends with how_to_get.
  """
  paths = [os.path.join(root, name.format(split=split)) for name in annotations]
  path = next((p for p in paths if os.path.isfile(p)), None)
  if path is None:
    missing = "' or '".join(paths)
    raise FileNotFoundError(f"no annotation file '{missing}'. {how_to_get}")
  return path, _picture_folder(root, images, split, how_to_get)


@dataclasses.dataclass(frozen=True)
class Example:
  """A valid annotation: its entry, its picture's, the clipped box, (K,3) x, y, visibility."""
  annotation: dict
  image: dict
  box: tuple
  keypoints: np.ndarray


def make_source(examples, split, skeleton, path, folder, aspect, padding, truth=None,
                how_to_get=HOW_TO_GET) -> Source:
  """The Source of examples of one file; raises FileNotFoundError if a picture is missing."""
  check_pictures([e.image for e in examples], folder, path, how_to_get)
  crops = [box_to_center_scale(e.box, aspect, padding) for e in examples]
  keypoints = np.array([e.keypoints for e in examples], np.float32)
  files = np.array([os.path.join(folder, e.image['file_name']) for e in examples])
  sizes = stated_sizes([e.image for e in examples])
  annotations = [e.annotation for e in examples]
  return Source(
    name=os.path.splitext(os.path.basename(path))[0], split=split, skeleton=skeleton, file=files,
    image_id=np.array([e.image['id'] for e in examples], np.int64),
    annotation_id=np.array([a['id'] for a in annotations], np.int64),
    box=np.array([e.box for e in examples], np.float32), folder=folder, ground_truth=truth,
    center=np.array([c for c, _ in crops]), scale=np.array([s for _, s in crops]),
    keypoints=keypoints[..., :2], visibility=keypoints[..., 2].astype(np.uint8),
    box_score=np.ones(len(examples), np.float32), read=functools.partial(read_row, files, sizes),
    mask=functools.partial(masks.read_mask, annotations, sizes, path),
    parts=functools.partial(masks.read_parts, annotations, sizes, path))


def read_json(path, keys=()):
  """A json file: a dict with a list of dicts under each of `keys`, or a list if there are none.

  Raises OSError or ValueError naming the file, the place and what is missing.
  """
  return check_lists(parse_json(path), path, keys)


def parse_json(path):
  """Whatever a json file holds; raises OSError or ValueError naming the file."""
  try:
    with open(path, encoding='utf-8') as f:
      return json.load(f)
  except OSError as error:
    raise OSError(f"cannot read '{path}' ({error.strerror}); check the path") from None
  except (ValueError, RecursionError) as error:
    raise ValueError(f'{path}: not a readable json file ({error}); get the file again') from None


def check_lists(data, path, keys):
  """The content of a file if it has the form that `read_json` names, else ValueError."""
  if type(data) is not (dict if keys else list):
    wanted = f'dict with the lists {", ".join(keys)}' if keys else 'list'
    raise ValueError(f'{path}: holds a {type(data).__name__}, not a {wanted}; give the path of '
                     'another file')
  missing = [k for k in keys if not isinstance(data.get(k), list)]
  if missing:
    raise ValueError(f'{path}: lacks the list(s) {missing}; this is not a COCO annotation file')
  for key in keys:
    odd = next((i for i, entry in enumerate(data[key]) if not isinstance(entry, dict)), None)
    if odd is not None:
      raise ValueError(f"{path}: entry {odd} of '{key}' is not a dict; get or mend the file")
  return data


def read_picture(path, size=(0, 0)):
  """(H,W,3) uint8 RGB of a picture file, as stored: EXIF rotation is ignored, as COCO does.

  size: the (width, height) that its annotation states, (0, 0) if it states none.
  Raises OSError naming the file if it is missing, broken, or of another size.
  """
  try:
    data = np.fromfile(path, np.uint8)
  except OSError as error:
    raise OSError(f"picture '{path}' cannot be opened ({error.strerror})") from None
  if _is_cut_jpeg(data):
    raise OSError(f"picture '{path}' is broken: the JPEG file ends too early")
  try:
    image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
  except cv2.error:  # an empty file, or a size beyond all measure
    image = None
  if image is None:
    raise OSError(f"picture '{path}' is broken or of an unknown format")
  h, w = image.shape[:2]
  if size[0] and (w, h) != tuple(size):
    raise OSError(f"picture '{path}' is {w}x{h}, its annotation says {size[0]}x{size[1]}")
  return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _is_cut_jpeg(data):
  """OpenCV fills what is missing of a JPEG file with grey, so the end is looked for here.

  The last scan must end with an end marker; within a scan neither marker can occur. It is nearly
  always in the last bytes; some files carry more after it.
  """
  if data[:2].tobytes() != b'\xff\xd8':
    return False
  for part in (data[-1024:], data):
    text = part.tobytes()
    if text.rfind(b'\xff\xd9') > text.rfind(b'\xff\xda'):
      return False
  return True


def stated_sizes(images):
  """(N,2) stated width and height of picture entries, 0 where none is stated."""
  return np.array([(e.get('width', 0), e.get('height', 0)) for e in images], np.int32)


def read_row(files, sizes, row):
  """`Source.read` of a set whose pictures are files."""
  return read_picture(str(files[row]), tuple(sizes[row].tolist()))


def _picture_folder(root, images, split, how_to_get):
  tried = [images.format(split=split)] if images else [split, f'images/{split}', 'images']
  for name in tried:
    if os.path.isdir(os.path.join(root, name)):
      return os.path.join(root, name)
  raise FileNotFoundError(f"no picture folder {' or '.join(tried)} in '{root}'. {how_to_get}")


def _labelled_people(truth, category, skeleton, path, skip_invalid):
  """Every person with a labelled joint, checked; crowds and unlabelled people are no examples.

  Second, the annotations of the category that a metric must know of: the valid ones, where the
  fields that crowds and unlabelled people may lack are filled in.
  """
  images = index_pictures(truth, path)
  people, scored, problems, seen = [], [], [], set()
  for annotation in truth['annotations']:
    if annotation.get('category_id') != category['id']:
      continue
    problem, person = _check(annotation, images, skeleton, seen)
    if problem:
      problems.append(f"annotation {annotation.get('id')!r}: {problem}")
      continue
    if person:
      people.append(person)
    if person or is_box(annotation.get('bbox')):
      empty = {} if annotation.get('keypoints') else {'keypoints': [0] * 3 * skeleton.num_keypoints}
      scored.append(annotation | empty)
  report(problems, path, skip_invalid)
  if not people:
    raise ValueError(f'{path}: no annotation of category {category["id"]} has a labelled keypoint '
                     'and a picture in this file; check category_id and image_id')
  return people, scored


def _check(annotation, images, skeleton, seen):
  """(what is wrong or None, the person or None if nothing is labelled)."""
  problem, image = check_entry(annotation, images, seen)
  if problem:
    return problem, None
  values = annotation.get('keypoints') or [0] * (3 * skeleton.num_keypoints)
  if not isinstance(values, list) or not all(isinstance(v, (int, float)) for v in values):
    return 'its keypoints are not a list of numbers', None
  keypoints = np.array([float(v) if abs(v) < 1e9 else np.nan for v in values])
  if len(keypoints) != 3 * skeleton.num_keypoints:
    return (f'has {len(keypoints)} keypoint numbers, {skeleton.num_keypoints} joints need '
            f'{3 * skeleton.num_keypoints} (x, y, v each)'), None
  keypoints = keypoints.reshape(-1, 3)
  bad = [v for v in keypoints[:, 2].tolist() if v not in (0, 1, 2)]
  if bad:
    return f'visibility {bad[0]:g} is not 0 (not labelled), 1 (hidden) or 2 (visible)', None
  if not np.isfinite(keypoints).all():
    return 'a keypoint is not a finite number', None
  if annotation.get('iscrowd') or not keypoints[:, 2].any():
    return None, None
  problem, box = check_box(annotation, image)
  return problem, None if problem else Example(annotation, image, box, keypoints)
