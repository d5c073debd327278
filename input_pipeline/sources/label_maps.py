"""Sets of label maps, pictures in which every pixel is the number of a label: CCP and CIHP.

Clothing Co-Parsing (CCP) has one person a picture and 59 labels of clothes; CIHP, of the
Look-into-Person benchmark, has several people and 20 labels. Only those parts are made that a
label settles: sleeves and trousers are not, since they hide where a limb begins.
"""
import dataclasses
import functools
import os

import cv2
import numpy as np

from dslope_jax import skeletons
from dslope_jax.errors import UserError
from input_pipeline.geometry import box_to_center_scale
from input_pipeline.sources.coco import read_json
from input_pipeline.sources.mat_files import read_variable
from input_pipeline.sources.pictures import checked_header, read_file, read_picture, shown
from input_pipeline.sources.source import Source

_HOW_TO_GET = (
  'Clothing Co-Parsing is bearpaw/clothing-co-parsing on GitHub, CIHP is published as '
  'instance-level_human_parsing at the Look into Person site; the options images, labels and '
  'instances say where their folders are below root')
_PICTURES, _MAPS = ('.jpg', '.jpeg', '.png'), ('.png', '.mat')
_MIN_SHARE = 0.005  # of the picture; what is smaller is no person that a cut-out could show
# Shares of a standing person's height: skin that is taller includes the chest, skin that begins
# lower is a shoulder, and a square with less than this side is an ear or a finger.
_FACE_HEIGHT, _FACE_TOP, _FACE_SIDE = 0.17, 0.12, 0.04


@dataclasses.dataclass(frozen=True)
class _LabelSet:
  """The labels in the order of their numbers, the folders, and whether a picture has one person."""
  labels: tuple[str, ...]
  images: str
  maps: str
  one_person: bool


_SETS = {
  'ccp': _LabelSet((
    'null', 'accessories', 'bag', 'belt', 'blazer', 'blouse', 'bodysuit', 'boots', 'bra',
    'bracelet', 'cape', 'cardigan', 'clogs', 'coat', 'dress', 'earrings', 'flats', 'glasses',
    'gloves', 'hair', 'hat', 'heels', 'hoodie', 'intimate', 'jacket', 'jeans', 'jumper',
    'leggings', 'loafers', 'necklace', 'panties', 'pants', 'pumps', 'purse', 'ring', 'romper',
    'sandals', 'scarf', 'shirt', 'shoes', 'shorts', 'skin', 'skirt', 'sneakers', 'socks',
    'stockings', 'suit', 'sunglasses', 'sweater', 'sweatshirt', 'swimwear', 't-shirt', 'tie',
    'tights', 'top', 'vest', 'wallet', 'watch', 'wedges'),
    'photos', 'annotations/pixel-level', one_person=True),
  'cihp': _LabelSet((
    'background', 'hat', 'hair', 'glove', 'sunglasses', 'upper-clothes', 'dress', 'coat', 'socks',
    'pants', 'torso-skin', 'scarf', 'skirt', 'face', 'left-arm', 'right-arm', 'left-leg',
    'right-leg', 'left-shoe', 'right-shoe'),
    'images', 'labels', one_person=False)}
_HEAD = ('hair', 'hat', 'glasses', 'sunglasses', 'earrings', 'face')
_FEET = ('boots', 'clogs', 'flats', 'heels', 'loafers', 'pumps', 'sandals', 'shoes', 'sneakers',
         'socks', 'wedges')
_PARTS = {'hand': ('glove', 'gloves'), 'foot': _FEET, 'left_arm': ('left-arm',),
          'right_arm': ('right-arm',), 'object': ('bag', 'purse', 'wallet')}


def load(split, *, root, labels_of, images='', labels='', instances='', names='', aspect=0.75,
         padding=1.25) -> Source:
  """The people of a set of label maps, with masks and parts but without labelled keypoints.

  labels_of: 'ccp' or 'cihp', what the numbers mean and where the folders are unless they are
  given. images, labels: folders below `root` of pictures and of label maps, which are grey png
  files or mat files with the variable `groundtruth`; '{split}' is replaced. A row's picture has
  the name of its map; pictures without a map are no part of the set. instances: folder of maps
  of the same names that number the people. Without it the whole map of 'ccp' is one person, and
  in 'cihp' every connected region that has a label is one, so that people who touch become one
  row. names: json file below `root`, a list of label names in another order of numbers.
  aspect, padding: as for `coco.load`.

  People smaller than 0.5 % of their picture are left out; the others are numbered from 1 in the
  order of the file names. Keypoints are COCO's, none of them labelled. `parts` has 'person' and,
  where they can be told, 'head', 'foot' (shoes and socks), 'hand' (gloves), 'object'
  (bags) and CIHP's bare arms and legs of known side, as 'arm' and 'leg'; each the largest piece.

  Raises FileNotFoundError, OSError or UserError, one line naming the file and the mend.
  """
  if labels_of not in _SETS:
    raise UserError(f'labels_of is one of {", ".join(_SETS)}, not {labels_of!r}')
  known = _SETS[labels_of]
  if names:
    known = dataclasses.replace(known, labels=_read_names(os.path.join(root, names)))
  folders = [folder and os.path.join(root, folder.replace('{split}', split))
             for folder in (images or known.images, labels or known.maps, instances)]
  people = [person for files in _matching_files(*folders) for person in _people(*files, known)]
  if not people:
    raise UserError(f"nobody in '{folders[1]}' covers {_MIN_SHARE:.1%} of a picture; check the "
                    'option labels')
  return _make_source(people, labels_of, split, known, folders[0], aspect, padding)


@dataclasses.dataclass(frozen=True)
class _Person:
  """A row: its files, its number in the picture, the (W, H) of its map, its box x, y, w, h."""
  picture: str
  map: str
  instance_map: str
  number: int
  size: tuple[int, int]
  box: tuple[int, int, int, int]


def _make_source(people, name, split, known, folder, aspect, padding):
  files = np.array([p.picture for p in people])
  number = {file: i + 1 for i, file in enumerate(dict.fromkeys(files.tolist()))}
  crops = [box_to_center_scale(p.box, aspect, padding) for p in people]
  joints = skeletons.COCO.num_keypoints
  return Source(
    name=name, split=split, skeleton=skeletons.COCO, folder=folder, file=files,
    image_id=np.array([number[f] for f in files.tolist()], np.int64),
    annotation_id=np.arange(1, len(people) + 1), box=np.array([p.box for p in people], np.float32),
    center=np.array([c for c, _ in crops]), scale=np.array([s for _, s in crops]),
    keypoints=np.zeros((len(people), joints, 2), np.float32),
    visibility=np.zeros((len(people), joints), np.uint8),
    box_score=np.ones(len(people), np.float32), read=functools.partial(_read, people),
    mask=functools.partial(_mask, people, known), parts=functools.partial(_parts, people, known))


def _read_names(path):
  """The label names of a json file; every one must be a name of a known set."""
  names = read_json(path)
  known = {name for s in _SETS.values() for name in s.labels}
  odd = next((i for i, name in enumerate(names) if str(name) not in known), None)
  if odd is not None or not names:
    what = 'no label' if odd is None else f'label {odd} called {names[odd]!r}'
    raise UserError(f'{path}: has {what}; the list may hold the label names of '
                    f'{" and ".join(_SETS)}, mend it or leave the option names out')
  return tuple(names)


def _matching_files(images, labels, instances):
  """(picture, map, instance map or '') of every label map, in the order of the names."""
  maps = _files(labels, _MAPS, 'label maps')
  pictures = _files(images, _PICTURES, 'pictures')
  numbered = _files(instances, _MAPS, 'instance maps') if instances else {}
  for folder, found in ((images, pictures), (instances, numbered)):
    missing = [] if not folder else [stem for stem in sorted(maps) if stem not in found]
    if missing:
      raise FileNotFoundError(f"'{folder}' has no file for {len(missing)} label maps, the first is "
                              f'{shown(maps[missing[0]])}; get the missing files or remove their '
                              'maps')
  return [(pictures[stem], maps[stem], numbered.get(stem, '')) for stem in sorted(maps)]


def _files(folder, endings, what):
  """{name without ending: path} of the files of a folder."""
  if not os.path.isdir(folder):
    raise FileNotFoundError(f"no folder '{folder}' of {what}. {_HOW_TO_GET}")
  found = {}
  for name in sorted(os.listdir(folder)):
    stem, ending = os.path.splitext(name)
    if ending.lower() in endings:
      if stem in found:
        raise UserError(f"'{folder}' has two files for '{stem}', '{name}' is one; remove one")
      found[stem] = os.path.join(folder, name)
  if not found:
    raise FileNotFoundError(f"'{folder}' has no {what} ({', '.join(endings)}). {_HOW_TO_GET}")
  return found


def read_map(path) -> np.ndarray:
  """(H,W) int64 numbers of a grey png file, or of the `groundtruth` of a mat file.

  Raises OSError for a file that cannot be read, UserError for one that is no map of numbers.
  """
  numbers = _read_mat(path) if path.lower().endswith('.mat') else _read_png(path)
  if numbers.ndim != 2 or not numbers.size:
    raise UserError(f"label map '{path}' is an array of shape {numbers.shape}, not of one number "
                    'a pixel; save it as a grey png file of label numbers')
  if numbers.dtype.kind not in 'uif' or (numbers != np.floor(numbers)).any():
    raise UserError(f"label map '{path}' holds other things than whole numbers; get it again")
  return numbers.astype(np.int64)


def _read_mat(path):
  try:
    return read_variable(path, 'groundtruth')
  except UserError as error:
    raise OSError(f'label map {error}') from None


def _read_png(path):
  data = read_file(path)
  checked_header(path, data)
  try:
    numbers = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
  except cv2.error:
    numbers = None
  if numbers is None:
    raise OSError(f'label map {shown(path)} is broken; get the file again')
  return numbers


def _people(picture, path, instance_map, known):
  """The `_Person` of everybody in a label map who is large enough."""
  labels = _read_labels(path, known)
  height, width = labels.shape
  regions = _regions(labels, instance_map, path, known)
  for number, area in zip(*np.unique(regions, return_counts=True), strict=True):
    if number > 0 and area >= _MIN_SHARE * labels.size:
      box = cv2.boundingRect((regions == number).astype(np.uint8))
      yield _Person(picture, path, instance_map, int(number), (width, height), tuple(box))


def _read_labels(path, known):
  labels = read_map(path)
  odd = labels[(labels < 0) | (labels >= len(known.labels))]
  if odd.size:
    raise UserError(f"label map '{path}' has the unknown label {odd[0]}, the known ones are 0 to "
                    f'{len(known.labels) - 1}; check the options labels_of and labels')
  return labels


def _regions(labels, instance_map, path, known):
  """(H,W) int64, the number of the person at a pixel, 0 where there is nobody."""
  if instance_map:
    regions = read_map(instance_map)
    if regions.shape != labels.shape:
      raise UserError(f"instance map '{instance_map}' is {regions.shape[1]}x{regions.shape[0]}, "
                      f"label map '{path}' is {labels.shape[1]}x{labels.shape[0]}; get both from "
                      'one release')
    return regions * (labels > 0)
  if known.one_person:
    return (labels > 0).astype(np.int64)
  return cv2.connectedComponents((labels > 0).astype(np.uint8))[1].astype(np.int64)


def _read(people, row):
  person = people[row]
  image = read_picture(person.picture)
  height, width = image.shape[:2]
  if (width, height) != person.size:
    raise OSError(f'picture {shown(person.picture)} is {width}x{height}, its label map '
                  f'{shown(person.map)} is {person.size[0]}x{person.size[1]}; get both from one '
                  'release')
  return image


def _labels_of_row(people, known, row):
  """(H,W) labels of a person, 0 elsewhere."""
  person = people[row]
  labels = _read_labels(person.map, known)
  return labels * (_regions(labels, person.instance_map, person.map, known) == person.number)


def _mask(people, known, row):
  return _labels_of_row(people, known, row) > 0


def _parts(people, known, row):
  return cut_parts(_labels_of_row(people, known, row), known.labels)


def cut_parts(labels, names) -> dict[str, np.ndarray]:
  """{part: (H,W) bool} of one person's (H,W) labels, which are 0 elsewhere; `load` says which.

  names: of the labels, in the order of their numbers.
  """
  def of(*wanted):
    return np.array([name in wanted for name in names])[labels]

  parts = {'head': _head(of(*_HEAD), of('skin'), labels > 0, 'skin' in names)}
  parts |= {part: of(*wanted) for part, wanted in _PARTS.items()}
  for side in ('left', 'right'):
    leg, shoe = of(f'{side}-leg'), of(f'{side}-shoe')
    piece = _largest(leg | shoe)
    parts[f'{side}_leg' if (piece & leg).any() else f'{side}_foot'] = piece
  parts = {part: _largest(mask) for part, mask in parts.items()}  # else two shoes are one patch
  return {'person': labels > 0} | {part: mask for part, mask in parts.items() if mask.any()}


def _head(top, skin, person, needs_face):
  """Hair, hat and glasses, and in sets without a face label the low pieces of skin that touch
  them; nothing where there is no such skin, since hair alone is not a head."""
  if not needs_face or not top.any():
    return top
  _, first, _, height = cv2.boundingRect(person.astype(np.uint8))
  near = cv2.dilate(top.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
  _, pieces, stats, _ = cv2.connectedComponentsWithStats(skin.astype(np.uint8))
  begin, tall = (stats[:, i] for i in (cv2.CC_STAT_TOP, cv2.CC_STAT_HEIGHT))
  fits = (tall <= _FACE_HEIGHT * height) & (begin - first <= _FACE_TOP * height)
  face = np.isin(pieces, [i for i in np.unique(pieces[near & skin]) if fits[i]]) & skin
  return top | face if face.sum() >= (_FACE_SIDE * height)**2 else np.zeros_like(top)


def _largest(mask):
  """The largest connected piece of a mask, or the empty mask."""
  count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
  return pieces == 1 + stats[1:, cv2.CC_STAT_AREA].argmax() if count > 1 else mask
