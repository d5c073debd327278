"""MuCo-3DHP: one to four people of MPI-INF-3DHP put into one picture, with joints in space.

The form of Moon et al. (ICCV 2019): MuCo-3DHP.json, like COCO's, with 21 joints in pixels and mm,
and the pictures below unaugmented_set/ and augmented_set/.
"""
import collections
import os

import msgspec
import numpy as np

from dslope_jax.errors import UserError, counted
from input_pipeline.pictures import files, picture

_HOW_TO_GET = ('MuCo-3DHP.json, unaugmented_set/ and augmented_set/ are those that were published '
               'with "Camera Distance-aware Top-down Approach" (Moon et al.), for research only; '
               'then pass --config.data.root=FOLDER')
# Of the 21 joints, those of MPI15.
_OF_21 = np.array([1, 0, 14, 5, 6, 7, 11, 12, 13, 2, 3, 4, 8, 9, 10])


class _Image(msgspec.Struct):
  id: int
  width: int
  height: int
  file_name: str
  f: list[float]
  c: list[float]


class _Annotation(msgspec.Struct):
  image_id: int
  keypoints_img: msgspec.Raw
  keypoints_cam: msgspec.Raw
  keypoints_vis: msgspec.Raw


class _File(msgspec.Struct):
  images: list[_Image]
  annotations: list[_Annotation]


def load(split, *, root, annotations='MuCo-3DHP.json', images='', held_out=0.02,
         visibility='proxy'):
  """The pictures of 'train', 'val' or 'all'; the set itself has no parts.

  held_out: share of the pictures that is val, by their names; the people are the same eight on both
  sides. visibility: 'proxy', see `picture.gather`, as the set does not tell who is hidden; 'set':
  joints are visible, unless it says otherwise. Millimetres become cm.
  """
  path = os.path.join(root, annotations)
  content = files.read_json(path, _File, _HOW_TO_GET)
  ids = collections.Counter(image.id for image in content.images)
  if twice := [id for id, count in ids.items() if count > 1]:
    raise UserError(f'{path}: {counted(len(twice), "id")} of pictures are there twice, such as '
                    f'{twice[0]}; get the file again')
  if not 0 <= held_out <= 1:
    raise UserError(f'muco: held_out is {held_out}, must be a share of the pictures, 0 to 1')
  people = {}
  for number, annotation in enumerate(content.annotations):
    people.setdefault(annotation.image_id, []).append(_person(annotation, path, number))
  found = [_picture(entry, people.pop(entry.id, ()), path) for entry in content.images]
  if people:
    raise UserError(f'{path}: image_id {next(iter(people))} of an annotation matches no picture; '
                    'get the file again')
  found = files.chosen(split, found, lambda p: files.side(p.name, held_out), path)
  read = files.reader(os.path.join(root, images), found, path, _HOW_TO_GET)
  return picture.gather('muco', split, found, read, visibility=visibility)


def _person(annotation, path, number):
  """(15,2) pixels, (15,3) cm, (15,) visibility."""
  where = f"{path}: '{{}}' of annotation {number}".format
  points = files.numbers(annotation.keypoints_img, (21, 2), where('keypoints_img'))
  places = files.numbers(annotation.keypoints_cam, (21, 3), where('keypoints_cam'))
  seen = files.numbers(annotation.keypoints_vis, (21,), where('keypoints_vis'))
  return points[_OF_21], places[_OF_21] / 10, 2 * (seen[_OF_21] > 0)


def _picture(entry, people, path):
  camera = files.numbers(entry.f + entry.c, (4,), f"{path}: f and c of picture {entry.id}")
  points, places, visibility = (
    np.array(column).reshape(-1, 15, *last) for column, last in zip(
      zip(*people, strict=True) if people else ((), (), ()), ((2,), (3,), ()), strict=True))
  return picture.Picture(entry.file_name, (entry.width, entry.height), points, places,
                         visibility, camera, take=os.path.dirname(entry.file_name))
