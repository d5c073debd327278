"""Boxes of people from a file, for any pictures and videos: COCO results, or COCO annotations."""
import itertools
import os
import re

import numpy as np

from dslope_jax import plausibility
from dslope_jax.errors import UserError, counted, quoted
from input_pipeline.sources import checks, coco, detections, media, pictures

_SMALLEST = 1e-3  # pixels of a side; less is no area
_LOOKED_AT = 200  # pictures whose sizes are looked up, where the file does not state them


class GivenBoxes:
  """Boxes of a json file, for the pictures and videos that they are looked up for.

  path: COCO results, a list of dicts with bbox, perhaps score, and `file` or `file_name` or
    image_id, and for videos `frame` (from 0); or COCO annotations, a dict with images and
    annotations. Of several categories that of people counts; `others` says how many boxes are not.
  min_score: boxes with a lower score are left out; `low` says how many.
  files: paths of what will be asked for. A name in the json belongs to the path that ends with it,
    else to that with its last part; an image_id to the path whose name ends with that number.

  category: id of people in the json, 1 where it has none.
  findings: what looks wrong with the boxes, `plausibility.Finding`s that are warnings. unnamed:
  files that the json does not name. by_last: {file: name in the json} where only the last part is
  the same.

  Raises OSError or UserError, one line: naming the entry that is wrong, the two files that one
  entry may mean, or that nothing fits.
  """

  def __init__(self, path, files, min_score=0.0):
    self.path, self._least, data = path, min_score, coco.parse_json(path)
    self._sizes, self._ids = {}, {}  # {name or number: stated size}, {(it, frame): image_id}
    self.others, self.by_last, self._asked = 0, {}, set()
    if isinstance(data, dict):
      entries, keys = self._annotations(coco.check_lists(data, path, ('images', 'annotations')))
    else:
      entries, keys = self._results(coco.check_lists(data, path, ()))
    self._read(entries, keys, min_score)
    self._new_ids = itertools.count(1 + max(self._ids.values(), default=0))
    self._key_of = self._match([str(file) for file in files])
    self.unnamed = [str(file) for file in files if str(file) not in self._key_of]
    self._asked_for = len(files)
    self._check()

  def __call__(self, file, frame=None):
    """((P,4) boxes x, y, width, height, (P,) scores, image_id) of a picture, or of a frame of a
    video. What the json does not name has nobody, and a new number."""
    key = self._key_of.get(str(file), str(file)), frame
    self._asked.add(key)
    rows = self._rows_of.get(key, [])
    number = self._ids[key] if key in self._ids else next(self._new_ids)
    return self._boxes[rows], self._scores[rows], number

  def told(self):
    """Lines for the user: what looks wrong, then where the boxes are from and what is left out."""
    file = pictures.shown(self.path)
    for found in self.findings:
      yield f"warning: {file}: {plausibility.line(found, 'entry')}"
    text = f'boxes: {file}'
    if self.low:
      text += f'; {self.low} score below {self._least} and are left out (--box_score)'
    if self.others:
      text += f'; {self.others} are of other categories than people and are left out'
    if self.by_last:
      first, name = next(iter(self.by_last.items()))
      text += (f"; {counted(len(self.by_last), 'file')} found by the last part of the name alone, "
               f'such as {pictures.shown(first)} for {pictures.shown(name)}')
    if self.unnamed:
      text += (f'; it does not name {len(self.unnamed)} of {self._asked_for} files, such as '
               f'{pictures.shown(self.unnamed[0])}, which have nobody then')
    yield text

  def reader(self, listed) -> media.Reader:
    """The pictures and frames of the media, with their boxes."""
    return media.Reader(listed, lambda medium, frame, _: self(medium.path, frame),
                        lambda medium: self.size(medium.path))

  def left_over(self) -> str:
    """A line about the boxes that were not asked for so far, '' without any."""
    rows = [row for key, of in self._rows_of.items() if key not in self._asked for row in of]
    if not rows:
      return ''
    name, frame = self._keys[rows[0]]
    where = 'without a frame' if frame is None else f'frame {frame}'
    return (f'{pictures.shown(self.path)}: {len(rows)} of its {len(self._keys)} boxes are on no '
            f'picture or frame that was read, such as entry {self._numbers[rows[0]]} '
            f'({quoted(name)}, {where})')

  def size(self, file) -> tuple[int, int]:
    """(width, height) that the json states of a picture; (0, 0) without."""
    return self._sizes.get(self._key_of.get(str(file)), (0, 0))

  def _annotations(self, data):
    images = checks.index_pictures(data, self.path)
    categories = coco.check_lists({'categories': []} | data, self.path, ('categories',)
                                  )['categories']
    people = [_whole(c.get('id')) for c in categories
              if c.get('keypoints') or c.get('name') == 'person']
    if not people and len(categories) > 1:
      raise UserError(f"{self.path}: none of its {len(categories)} categories is called 'person' "
                      'or has keypoints; leave only the boxes of people')
    self.category = next(iter(people or [_whole(c.get('id')) for c in categories]), 1) or 1
    for number, image in images.items():
      self._sizes[image['file_name']] = tuple(checks.stated_sizes([image])[0].tolist())
      self._name((image['file_name'], None), number)
    entries, keys = {}, []
    for i, entry in enumerate(data['annotations']):
      if _whole(entry.get('image_id')) not in images:
        raise UserError(f"{self.path}: annotation {i} is of a picture that 'images' does not list; "
                        'mend its image_id or remove it')
      if type(crowd := entry.get('iscrowd')) not in (int, bool, type(None)):
        raise UserError(f'{self.path}: annotation {i} has the iscrowd {quoted(crowd)}; it is 0 or '
                        '1, without quotes')
      if people and _whole(entry.get('category_id')) not in people:
        self.others += 1
      elif not crowd:
        entries[i] = entry
        keys.append((images[entry['image_id']]['file_name'], None))
    return entries, keys

  def _results(self, data):
    found = {_whole(entry.get('category_id')) for entry in data if isinstance(entry, dict)}
    person = found.pop() if len(found) == 1 else 1  # COCO's number
    self.category = person or 1
    entries, keys = {}, []
    for i, entry in enumerate(data):
      if not isinstance(entry, dict):
        raise UserError(f'{self.path}: entry {i} is {quoted(entry)}, not a dict; mend or remove it')
      name, number = entry.get('file', entry.get('file_name')), entry.get('image_id')
      frame = entry.get('frame')
      key = name if isinstance(name, str) and name else number
      whole = all(type(value) in (int, type(None)) for value in (number, frame))
      if not whole or type(key) not in (str, int):
        raise UserError(f'{self.path}: entry {i} names no picture: it needs a whole number as '
                        'image_id, or a path as file; a frame is a whole number, too')
      if _whole(entry.get('category_id')) == person:
        entries[i] = entry
        keys.append((key, frame))
        self._sizes[key] = 0, 0
        if number is not None:
          self._name(keys[-1], number)
    self.others = len(data) - len(entries)
    if data and not entries:
      raise UserError(f'{self.path}: its boxes are of {len(found)} categories, and none of these '
                      'is 1, the person; leave only the boxes of people')
    return entries, keys

  def _name(self, key, number):
    """Notes the image_id of a picture or frame."""
    if self._ids.setdefault(key, number) != number:
      raise UserError(f'{self.path}: {quoted(key[0])} has two numbers of pictures, '
                      f'{self._ids[key]} and {number}; leave one')

  def _read(self, entries, keys, min_score):
    """Keeps numbers, boxes, scores and keys of the entries that count, in arrays."""
    boxes = checks.numbers([e.get('bbox') for e in entries.values()], 4)
    scores = checks.numbers([[e.get('score', 1.0)] for e in entries.values()], 1)[:, 0]
    numbers = np.array(list(entries), np.int64)
    wrong = ~(np.abs(np.column_stack([boxes, scores])) < 1e9).all(1)
    if wrong.any():
      raise UserError(f'{self.path}: entry {numbers[wrong][0]} has no bbox of four numbers x, y, '
                      'width, height, or a score that is no number; mend or remove it')
    thin = boxes[:, 2:].min(1) < _SMALLEST
    self._flat = numbers[thin].tolist()
    keep = ~thin & (scores >= min_score)
    self.low = int((scores < min_score).sum())
    self._numbers, self._boxes = numbers[keep], boxes[keep].astype(np.float32)
    self._scores = scores[keep]
    self._keys, self._rows_of = [key for key, kept in zip(keys, keep, strict=True) if kept], {}
    for row, key in enumerate(self._keys):
      self._rows_of.setdefault(key, []).append(row)

  def _match(self, files):
    """{file: key of the json}."""
    by_end, by_number, out = {}, {}, {}
    for file in files:
      parts = _parts(file)
      for n in range(1, len(parts) + 1):
        by_end.setdefault(parts[-n:], []).append(file)
      number = re.search(r'(\d+)$', os.path.splitext(parts[-1])[0])
      if number:
        by_number.setdefault(int(number[1]), []).append(file)
    left = {}  # {last part of a name: keys whose whole name fits no file}
    for key in self._sizes:
      named = by_number.get(key, ()) if isinstance(key, int) else by_end.get(_parts(key), ())
      self._take(out, [key], named)
      if not named and isinstance(key, str):
        left.setdefault(_parts(key)[-1:], []).append(key)
    for last, keys in left.items():
      found = [file for file in by_end.get(last, ()) if file not in out]
      self._take(out, keys, found)
      self.by_last |= dict(zip(found, keys, strict=False))
    return out

  def _take(self, out, keys, files):
    if files and (len(keys) > 1 or len(files) > 1 or files[0] in out):
      raise UserError(f'{self.path}: {quoted(keys[0])} may mean {quoted(files[0])} as well as '
                      'another file or entry; give the pictures of one folder, or longer names')
    out |= dict(zip(files, keys, strict=False))

  def _check(self):
    """UserError if nothing fits or the boxes are no pixels of x, y, width, height."""
    if self._numbers.size and not self._key_of:
      raise UserError(f'{self.path}: none of its {len(self._numbers)} boxes is on a picture that '
                      f'was given; it names {quoted(next(iter(self._sizes)))}')
    seen = {key: _size(file) for file, key in [*self._key_of.items()][:_LOOKED_AT]
            if not self._sizes[key][0]}
    sizes = [seen.get(key, self._sizes[key]) for key, _ in self._keys]
    self.findings = detections.findings_of_boxes(
      self._boxes, np.array(sizes).reshape(-1, 2), self._numbers, self._flat, self.path)


def _whole(value):
  return value if type(value) is int else None


def _parts(name):
  return tuple(part for part in re.split(r'[/\\]', name) if part not in ('', '.'))


def _size(file):
  """(width, height) of a picture as it is seen; (0, 0) of anything else."""
  try:
    header = pictures.checked_header(file, pictures.read_file(file))
  except OSError:
    return 0, 0
  size = header.width, header.height
  return size[::-1] if header.orientation > 4 else size
