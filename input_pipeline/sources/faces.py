"""Faces of 300W, COFW, WFLW and AFLW: MMPose's json files, WFLW's lists, 300W's .pts files and
AFLW's .mat file."""
import dataclasses
import functools
import os

import numpy as np

from dslope_jax import skeletons
from dslope_jax.errors import UserError, quoted
from input_pipeline.sources import aflw_file, checks, coco, point_files
from input_pipeline.sources.coco_sets import Set, as_it_is, load_set
from input_pipeline.sources.counts import check_counts
from input_pipeline.sources.source import Source

_FACES = {'300w': skeletons.FACE_300W, 'cofw': skeletons.COFW, 'wflw': skeletons.WFLW,
          'aflw': skeletons.AFLW}
_LIST = 'WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{split}.txt'
_OWN = {'wflw': (_LIST,), 'aflw': (aflw_file.NAME,)}
_OR_OWN = {'300w': 'or its own folders afw, helen, lfpw, ibug and 300W with .pts files, ',
           'wflw': 'or its own lists in WFLW_annotations, ',
           'aflw': f'or {aflw_file.NAME} of its common split, ',
           'cofw': 'or made of its own .mat files as docs/faces.md says, '}
_PICTURES = {'wflw': 'WFLW_images', 'aflw': 'flickr'}
_COMMON, _CHALLENGE = ('helen/testset', 'lfpw/testset'), ('ibug',)
_OF_300W = {  # the folders of the archives as they are, with .pts files
  'train': ('afw', 'helen/trainset', 'lfpw/trainset'), 'valid': _COMMON + _CHALLENGE,
  'valid_common': _COMMON, 'valid_challenge': _CHALLENGE,
  'test': ('300W/01_Indoor', '300W/02_Outdoor')}
# WFLW's six subsets, in the order of the flags of its lists; the names are those of MMPose's files.
WFLW_SUBSETS = 'largepose', 'expression', 'illumination', 'makeup', 'occlusion', 'blur'


def load(split, *, root, faces_of, annotations='', images='', aspect=1.0, padding=1.25,
         skip_invalid=False) -> Source:
  """The faces of one split, from json files as MMPose publishes them, WFLW's own lists, the .mat
  file of AFLW's common split, or 300W's own .pts files, whose boxes are those about their points.

  faces_of: '300w' (68 points; train, valid, valid_common, valid_challenge, test), 'cofw' (29),
  'wflw' (98) or 'aflw' (19); train and test, and test_NAME for parts of the test set. Where the
  faces have a centre and a scale (box side / 200), they are the crop's, times `padding`; else the
  box is. A point that is labelled is visible (2), but for COFW, which tells hidden ones.
  images: picture folder below root, by default 'images', or 'WFLW_images' or 'flickr' as the
  archives have it.
  Annotations have the field `subsets`, names of the parts of the set that a face is of: the six of
  WFLW where its own list is read, common and challenge of 300W's valid, and what a json file says.
  `reference` of AFLW is the box side of its protocol. The other options as for `load_set`.
  """
  if faces_of not in _FACES:
    raise UserError(f'data.loader.faces_of is one of {sorted(_FACES)}, not {faces_of!r}')
  names = tuple(f'annotations/{before}{faces_of}_{{split}}.json'
                for before in ('face_landmarks_', ''))
  if faces_of == '300w' and not annotations and not any(
      os.path.isfile(os.path.join(root, name.replace('{split}', split))) for name in names):
    source = _of_point_files(split, root, aspect, padding, skip_invalid)
    if source is not None:
      return source
  of = Set(
    faces_of, _FACES[faces_of], (*names, *_OWN.get(faces_of, ())),
    f'The json files of {faces_of} are those that MMPose publishes ({faces_of}_annotations.tar), '
    + _OR_OWN.get(faces_of, '') + "the pictures come from the set's own page; "
    'pass --config.data.root=FOLDER',
    read=_read, convert=functools.partial(_in_coco_form, split),
    edits={} if faces_of == 'cofw' else {
      'keypoints': lambda joints: joints + (joints[..., 2:] == 1) * (0, 0, 1)})
  if not images:
    of_archive = _PICTURES.get(faces_of, 'images')
    images = of_archive if os.path.isdir(os.path.join(root, of_archive)) else 'images'
  source = load_set(of, split, root=root, annotations=annotations, images=images, aspect=aspect,
                    padding=padding, skip_invalid=skip_invalid)
  return _with_crops(source, aspect, padding)


def _of_point_files(split, root, aspect, padding, skip_invalid):
  """The faces of 300W's own folders; None where there are none of this split."""
  folders = [name for name in _OF_300W.get(split, ()) if os.path.isdir(os.path.join(root, name))]
  if not folders:
    return None
  missing = [name for name in _OF_300W[split] if name not in folders]
  if missing:
    raise FileNotFoundError(f"'{root}' has {', '.join(folders)}, and not {', '.join(missing)}, "
                            f'which are of {split}, too; get the rest of 300W')
  truth = point_files.coco_form(root, folders, skeletons.FACE_300W)
  if split == 'valid':
    _name_parts_of_300w(truth)
  check_counts('300w', split, root, people=len(truth['images']))
  return coco.labelled_people(truth, split, os.path.join(root, f'300w_{split}'), root, aspect,
                              padding, skip_invalid, skeletons.FACE_300W)


def _read(path):
  """Content of a json file, or the lines of a list."""
  if path.endswith('.mat'):
    return None  # its reader needs the split
  if not path.endswith('.txt'):
    return coco.parse_json(path)
  try:
    with open(path, encoding='utf-8') as file:
      return file.read().splitlines()
  except (OSError, ValueError) as error:
    raise UserError(f"cannot read '{path}' ({error}); get the file again") from None


def _in_coco_form(split, content, skeleton, path):
  if path.endswith('.txt'):
    return _of_list(content, skeleton, path)
  if path.endswith('.mat'):
    return aflw_file.coco_form(path, split, skeleton)
  truth = as_it_is(content, skeleton, path)
  for annotation in truth['annotations']:
    named = annotation.get('subsets')
    if named is None:  # null is not stated
      continue
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
      raise UserError(f"{path}: annotation {quoted(annotation.get('id'))}: its subsets are "
                      f'{quoted(named)}, not a list of names; mend the file')
  if skeleton is skeletons.FACE_300W and split == 'valid':
    _name_parts_of_300w(truth)
  return truth


def _name_parts_of_300w(truth):
  """The pictures of ibug are the challenging ones, those of helen and lfpw the common ones."""
  files = {entry.get('id'): str(entry.get('file_name')) for entry in truth['images']
           if isinstance(entry.get('id'), int)}
  for annotation in truth['annotations']:
    number = annotation.get('image_id')
    file = files.get(number, '') if isinstance(number, int) else ''
    part = next((part for word, part in (('ibug', 'challenge'), ('helen', 'common'),
                                         ('lfpw', 'common')) if word in file), None)
    if part and 'subsets' not in annotation:
      annotation['subsets'] = [part]


def _of_list(lines, skeleton, path):
  """WFLW's list as a COCO dict: a face a line, 98 points, a box x1, y1, x2, y2, six flags, a file.

  The boxes are those of the list; MMPose's json files have other centres and scales.
  """
  count, images, annotations = 2 * skeleton.num_keypoints, {}, []
  for number, line in enumerate(filter(str.strip, lines), 1):
    fields = line.split(maxsplit=count + 10)
    try:
      values = np.array(fields[:-1], np.float64)
      flags = values[count + 4:].tolist()
      if len(values) != count + 10 or not set(flags) <= {0, 1}:
        raise ValueError(f'{len(fields)} fields, flags {flags}')
    except ValueError as error:
      raise UserError(f'{path}: line {number} is not {count} coordinates, a box of 4, 6 flags of 0 '
                      f'or 1 and a file name ({error}); get the file again') from None
    x1, y1, x2, y2 = values[count:count + 4].tolist()
    picture = images.setdefault(fields[-1], {'id': len(images) + 1, 'file_name': fields[-1]})
    points = np.column_stack([values[:count].reshape(-1, 2), np.full(count // 2, 2)])
    annotations.append({
      'id': number, 'image_id': picture['id'], 'category_id': 1, 'iscrowd': 0,
      'bbox': [x1, y1, x2 - x1, y2 - y1], 'keypoints': points.ravel().tolist(),
      'subsets': [name for name, flag in zip(WFLW_SUBSETS, flags, strict=True) if flag]})
  return {'images': list(images.values()), 'annotations': annotations, 'categories': [
    {'id': 1, 'name': 'face', 'keypoints': list(skeleton.names)}]}


def _with_crops(source, aspect, padding):
  """The source with what its file states beside COCO's fields: centres and scales of the crops, and
  AFLW's box sides, which its NME divides by."""
  by_id = {a['id']: a for a in source.ground_truth['annotations']}
  annotations = [by_id[number] for number in source.annotation_id.tolist()]
  center = _stated('center', annotations, source, 2)
  scale, side = (_stated(field, annotations, source) for field in ('scale', 'box_size'))
  if center is not None and scale is not None:
    source = dataclasses.replace(source, center=center, scale=(
      scale * padding * (1, 1 / aspect)).astype(np.float32))
  if source.skeleton is skeletons.AFLW and side is not None:
    source = dataclasses.replace(source, reference=side[:, 0])
  return source


def _stated(field, annotations, source, count=1):
  """(N,count) float32 numbers of a field, a single one above 0; None where no face has it."""
  if not any(field in a for a in annotations):
    return None
  values = [a.get(field) for a in annotations]
  table = checks.numbers(values if count > 1 else [[v] for v in values], count)
  valid = (np.abs(table) < 1e9).all(1) & ((table[:, 0] > 0) if count == 1 else True)
  if not valid.all():
    raise UserError(f'{source.name} {source.split}: annotation '
                    f"{annotations[valid.argmin()]['id']}: its {field} is not {count} finite "
                    'number(s), a single one above 0; mend the file')
  return table.astype(np.float32)
