"""Labeled Faces in the Wild (Huang et al. 2007), and sets that are laid out like it."""
import dataclasses
import os

import numpy as np

from dslope_jax.errors import UserError, counted, quoted
from input_pipeline.identities import face_folders
from input_pipeline.identities.identity_set import Identities
from input_pipeline.sources import pictures

_FOLDERS = 'lfw', 'lfw-deepfunneled', 'lfw_funneled', '.'
_PAIRS = {'val': 'pairsDevTest.txt', 'test': 'pairs.txt'}
_PEOPLE = 'peopleDevTrain.txt'
_SIDE = 250  # pixels of LFW's own pictures
_FACE = 1 / 2.2  # of it is the box of the detector that LFW was cut by (its technical report)


def load(split, *, root, images='', pairs='') -> Identities:
  """LFW by its lists: 'test' has the pairs and folds of pairs.txt, 'val' those of pairsDevTest.txt,
  and 'train' the people of peopleDevTrain.txt, without it those who are in none of pairs.txt.

  images: folder below root of the folders of people, whose pictures are called PERSON_0001.jpg;
  without it lfw, lfw-deepfunneled, lfw_funneled and the root are tried. pairs: list below root, for
  any split but train. Pictures in no pair are left out. In pictures of 250x250, the size of LFW's
  own, the face is the middle 1 / 2.2 of a side; in others it fills the picture.

  Raises UserError, one line naming the file, the line in it and the mend.
  """
  folder = _folder(root, images)
  people = face_folders.from_list('lfw', split, folder, face_folders.list_people(folder))
  if split == 'train':
    path = os.path.join(root, _PEOPLE)
    found = _of_training(path, people) if os.path.isfile(path) else _untested(root, people)
  else:
    name = pairs or _PAIRS.get(split)
    if not name:
      raise UserError(f"lfw has the splits train, val and test, not '{split}'; name a list of "
                      'pairs by data.loader.pairs')
    found = _with_pairs(people, *read_pairs(os.path.join(root, name), people))
  return _with_boxes(found)


def _folder(root, images):
  tried = [images] if images else _FOLDERS
  for name in tried:
    path = os.path.normpath(os.path.join(root, name))
    if os.path.isdir(path):
      return path
  raise UserError(f"there is no folder {' or '.join(tried)} in '{root}'; pass --config.data.root="
                  'FOLDER, which has pairs.txt and the folder lfw')


def _lines(path):
  """[(number, fields)] of a list; names have no spaces."""
  try:
    with open(path, encoding='utf-8') as file:
      lines = file.read().splitlines()
  except (OSError, ValueError) as error:
    raise UserError(f"cannot read '{path}' ({error}); it is a list of LFW, from its page "
                    "(vis-www.cs.umass.edu/lfw)") from None
  return [(number, line.split()) for number, line in enumerate(lines, 1) if line.strip()]


def read_pairs(path, people: Identities):
  """((M,3) rows a, b, same, (M,) folds or None) of a list of pairs.

  Its first line has the number of folds and that of pairs of one person in each, or the latter
  alone. Then each fold has as many lines PERSON NUMBER NUMBER and PERSON NUMBER PERSON NUMBER.
  """
  rows = {os.path.splitext(os.path.basename(file))[0]: row
          for row, file in enumerate(people.file.tolist())}
  if len(rows) < len(people):
    raise UserError(f'{path}: the folders of people have two pictures of one name, so that a pair '
                    'is not clear; name them PERSON_0001, PERSON_0002 and so on')
  (_, header), *lines = _lines(path) or [(1, [])]
  if len(header) not in (1, 2) or not all(field.isdecimal() for field in header):
    raise UserError(f'{path}: line 1 is not the number of folds and that of pairs of one person in '
                    'each; get the file again')
  folds, each = (int(field) for field in (['1', *header])[-2:])
  pairs = [_pair(path, number, fields, rows) for number, fields in lines]
  if len(pairs) != 2 * folds * each or not pairs:
    raise UserError(f'{path}: by line 1 there are {2 * folds * each} pairs, but {len(pairs)} '
                    'follow; get the file again')
  return np.array(pairs, np.int64), (
    np.repeat(np.arange(folds), 2 * each) if len(header) == 2 else None)


def _pair(path, number, fields, rows):
  """(row, row, whether of one person) of a line."""
  same = len(fields) == 3
  if len(fields) not in (3, 4) or not all(f.isdecimal() for f in (*fields[1::2], fields[-1])):
    raise UserError(f"{path}: line {number} is not 'PERSON NUMBER NUMBER' or 'PERSON NUMBER PERSON "
                    "NUMBER'; mend the line")
  first, second = (fields[0], fields[1]), (fields[0], fields[2]) if same else (fields[2], fields[3])
  if first == second or not same and first[0] == second[0]:
    raise UserError(f'{path}: line {number} names one {"picture" if same else "person"} twice; '
                    'mend the line')
  found = [f'{person}_{int(count):04d}' for person, count in (first, second)]
  missing = next((name for name in found if name not in rows), None)
  if missing:
    raise UserError(f'{path}: line {number}: there is no picture {quoted(missing)} in the folders '
                    'of people; get the pictures again, or another list')
  return (*(rows[name] for name in found), int(same))


def _with_pairs(people, pairs, folds):
  """The pictures that are in pairs, with these."""
  rows, places = np.unique(pairs[:, :2], return_inverse=True)
  found = people.subset(rows)
  left = len(people) - len(rows)
  notes = [f'{left} pictures are in no pair and left out'] * (left > 0)
  again = len(pairs) - len(np.unique(np.sort(pairs[:, :2]), axis=0))
  notes += [f'{counted(again, "pair")} of the list repeat others, and count again'] * (again > 0)
  return dataclasses.replace(
    found, pairs=np.column_stack([places.reshape(-1, 2), pairs[:, 2]]), folds=folds,
    notes=(*people.notes, *notes))


def _of_training(path, people):
  """The people of a list of PERSON COUNT, whose first line is their number."""
  (_, header), *lines = _lines(path) or [(1, [])]
  if header != [str(len(lines))] or not all(
      len(fields) == 2 and fields[1].isdecimal() for _, fields in lines):
    raise UserError(f'{path}: line 1 is not the number of the {len(lines)} lines PERSON COUNT that '
                    'follow; get the file again')
  listed = {fields[0]: number for number, fields in lines}
  missing = next(iter(listed.keys() - set(people.names)), None)
  if missing:
    raise UserError(f'{path}: line {listed[missing]}: there is no folder of {quoted(missing)}; get '
                    'the pictures again, or another list')
  there = dict(zip(people.names, np.bincount(people.identity).tolist(), strict=True))
  for number, (person, count) in lines:
    if there[person] < int(count):
      raise UserError(f'{path}: line {number}: {quoted(person)} has {count} pictures, and the '
                      f'folder {there[person]}; get the pictures again')
  return face_folders.only(people, listed.__contains__)


def _untested(root, people):
  """Everybody of whom no pair is tested."""
  pairs, _ = read_pairs(os.path.join(root, _PAIRS['test']), people)
  tested = {people.names[i] for i in people.identity[pairs[:, :2]].ravel().tolist()}
  found = face_folders.only(people, lambda name: name not in tested)
  note = f'{len(tested)} people of pairs.txt are left out of training'
  return dataclasses.replace(found, notes=(*found.notes, note))


def _with_boxes(people):
  if not len(people):
    return people
  path = people.path(0)
  header = pictures.checked_header(path, pictures.read_file(path))
  if (header.width, header.height) != (_SIDE, _SIDE):
    return people
  side = _SIDE * _FACE
  box = np.array([(_SIDE - side) / 2] * 2 + [side] * 2, np.float32)
  return dataclasses.replace(people, box=np.tile(box, (len(people), 1)))
