"""A folder of pictures a person: FOLDER/PERSON/*.jpg, or FOLDER/PERSON/VIDEO/*.jpg."""
import dataclasses
import functools
import os
from typing import NamedTuple

import numpy as np

from dslope_jax.errors import UserError, counted, quoted
from input_pipeline.identities import identity_set
from input_pipeline.identities.identity_set import NO_VIDEO, Identities
from input_pipeline.sources import media, pictures

_SPLITS = 'train', 'val', 'test'
_HELD_OUT = 0.2  # of the identities, where nothing else parts a folder


class Listed(NamedTuple):
  """The pictures below a folder: the person of each (N,), the path below it (N,), the number of the
  video or -1 (N,), and notes of what is not read."""
  person: list
  file: list
  video: list
  notes: list


def load(split, *, root, folder='', held_out=0, seed=0) -> Identities:
  """The pictures below a folder; each folder in it is a person, each folder in that one a video.

  folder: below root, '{split}' in it is replaced. Without it the folder of the split where the root
  has folders train, val or test; else the root, whose people are divided into train and val.
  held_out: so many people, drawn by seed, are val and the others train; 0: all of the folder, and
  a fifth where there is no other way to part train from val. seed: of that draw.

  The face fills its picture, see `face_crops`. Pictures are turned upright as their EXIF says.
  Raises UserError, one line naming the folder and the mend.
  """
  path, divided = _folder(root, folder, split)
  listed = list_people(path)
  people = from_list('face_folders', split, path, listed)
  if divided and not held_out:
    held_out = max(1, round(_HELD_OUT * len(people.names)))
  return identity_set.divided(people, held_out, seed)


def _folder(root, folder, split):
  """(folder of the people, whether they must be divided into splits)."""
  if not os.path.isdir(root):
    raise UserError(f"there is no folder '{root}'; pass --config.data.root=FOLDER, which has a "
                    'folder of pictures for each person')
  if not folder:
    there = [name for name in _SPLITS if os.path.isdir(os.path.join(root, name))]
    if not there:
      return root, True
    if split not in there:
      raise UserError(f"'{root}' has the splits {', '.join(there)}, not '{split}'; name one of "
                      'these, or a folder below it by data.loader.folder')
  path = os.path.normpath(os.path.join(root, (folder or split).replace('{split}', split)))
  if not os.path.isdir(path):
    raise UserError(f"there is no folder '{path}'; check data.loader.folder")
  return path, False


def list_people(folder) -> Listed:
  """What is below a folder of people, in the order of names. Raises UserError if nothing is."""
  found, odd, empty = Listed([], [], [], []), [], []
  videos = 0
  is_picture = lambda name: name.lower().endswith(media.PICTURES)
  odd += filter(is_picture, _names(folder, os.path.isfile))  # of nobody
  for person in _names(folder, os.path.isdir):
    before = len(found.file)
    for below in ('', *_names(os.path.join(folder, person), os.path.isdir)):
      path = os.path.join(folder, person, below)
      names = _names(path, lambda entry, below=below: below or not os.path.isdir(entry))
      good = [name for name in names
              if is_picture(name) and os.path.isfile(os.path.join(path, name))]
      odd += [os.path.join(person, below, name) for name in names if name not in good]
      found.file.extend(os.path.join(person, below, name) for name in good)
      found.video.extend([videos if below else NO_VIDEO] * len(good))
      videos += bool(below)
    found.person.extend([person] * (len(found.file) - before))
    if len(found.file) == before:
      empty.append(person)
  if not found.file:
    loose = any('/' not in name for name in odd)
    raise UserError(f"'{folder}' has {'pictures, but ' * loose}no folders with pictures; each "
                    "person's pictures are in a folder of their own, FOLDER/PERSON/PICTURE.jpg")
  for paths, word, what in ((empty, 'folder', ' without pictures'),
                            (odd, 'file', ', no picture of a person')):
    if paths:
      found.notes.append(f'left out: {counted(len(paths), word)}{what}, such as '
                         f'{quoted(paths[0])}')
  return found


def from_list(name, split, folder, listed: Listed) -> Identities:
  """The set of what was listed below a folder."""
  names, identity = identity_set.numbered(listed.person)
  files = np.array(listed.file)
  return Identities(
    name, split, names, identity, files, np.array([identity_set.key(f) for f in listed.file]),
    functools.partial(_read, folder, files), np.array(listed.video, np.int64),
    folder=folder, notes=tuple(listed.notes))


def only(people: Identities, chosen) -> Identities:
  """The pictures of the identities that are chosen: name -> bool."""
  wanted = np.array([chosen(name) for name in people.names])
  found = people.subset(np.flatnonzero(wanted[people.identity]))
  return dataclasses.replace(found, notes=people.notes)


def _names(folder, kind):
  """Names in a folder of files or folders, sorted, without hidden ones."""
  try:
    return sorted(name for name in os.listdir(folder)
                  if not name.startswith('.') and kind(os.path.join(folder, name)))
  except OSError as error:
    raise UserError(f"cannot list '{folder}' ({error.strerror}); check its permissions") from None


def _read(folder, files, row):
  return pictures.read_picture(os.path.join(folder, str(files[row])), upright=True)
