"""Pictures, folders, videos and cameras as a user names them, picture by picture."""
import contextlib
import glob
import math
import os
import tempfile
from typing import NamedTuple

os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')  # what is wrong with a video is told by us
import cv2
import numpy as np

from dslope_jax.errors import UserError
from input_pipeline.sources import picture_headers, pictures

PICTURES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.gif', '.tif', '.tiff', '.jp2', '.avif',
             '.pbm', '.pgm', '.ppm')
_VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv', '.flv', '.ts')
_PLAYLISTS = (b'ffconcat', b'#extm3u', b'[playlist]', b'v=0', b'<?xml', b'<mpd', b'<smooth')
_GAP = 30  # frames in a row that may be broken before a video counts as ended


class Medium(NamedTuple):
  """path: of a file, or the number of a camera. kind: 'picture', 'video' or 'camera'. name: for
  what is written about it, unlike all others and without an ending."""
  path: str
  kind: str
  name: str


class Seen(NamedTuple):
  """A picture, or a frame of a video, and the boxes of its people.

  image: (H,W,3) uint8 RGB. boxes: (P,4) x, y, width, height. scores: (P,) of them. frame: number
  from 0, None of a picture. rate: frames a second.
  """
  medium: Medium
  image: np.ndarray
  image_id: int
  boxes: np.ndarray
  scores: np.ndarray
  frame: int | None = None
  rate: float = 25.0


class Reader:
  """Iterating gives all pictures and frames of the media, as `Seen`.

  find_boxes: (medium, frame, image) -> (boxes, scores, image_id or None). size_of: medium -> the
  size that its annotations state, (0, 0) without: pictures are turned upright then, see
  `read_picture`. total: how many there are, None where nobody knows. problems: a line for all that
  could not be read so far.
  """

  def __init__(self, media, find_boxes, size_of=lambda medium: (0, 0)):
    self.media, self._find_boxes, self._size_of = media, find_boxes, size_of
    self.total = len(media) if all(medium.kind == 'picture' for medium in media) else None
    self.problems, self._number = [], 0

  def __iter__(self):
    for medium in self.media:
      try:
        if medium.kind == 'picture':
          size = self._size_of(medium)
          yield self._seen(medium, pictures.read_picture(medium.path, size, upright=not size[0]))
        else:
          yield from self._frames(medium)
      except OSError as error:
        self.problems.append(str(error))

  def _frames(self, medium):
    video = Video(medium)
    for number, image in video:
      yield self._seen(medium, image, number, video.rate)
    if video.broken:
      self.problems.append(f'video {pictures.shown(medium.path)}: {len(video.broken)} frames '
                           f'cannot be decoded, the first is {video.broken[0]}')
    if video.problem:
      self.problems.append(video.problem)

  def _seen(self, medium, image, frame=None, rate=25.0):
    self._number += 1
    boxes, scores, image_id = self._find_boxes(medium, frame, image)
    return Seen(medium, image, self._number if image_id is None else image_id, boxes, scores,
                frame, rate)


def whole(medium, frame, image):
  """A `find_boxes` of `Reader`: the picture is one box."""
  return np.array([(0, 0, *image.shape[1::-1])], np.float32), np.ones(1), None


def find(inputs, but_not='') -> list[Medium]:
  """What the inputs name: files, folders with all that is below them, patterns, camera numbers.

  but_not: the folder that is written to: it is not looked into; where it is an input itself, its
  overlays are left out, as they are of patterns. Raises UserError for an input that names nothing.
  """
  found = {}
  for text in inputs:
    paths = _paths(text, os.path.realpath(but_not) if but_not else os.devnull)
    found |= dict.fromkeys(paths) if paths else {text: 'camera'}
  taken, out = set(), []
  for path, kind in found.items():
    out.append(Medium(path, kind or _kind(path), name_of(path, kind, taken)))
  return out


def _paths(text, but_not):
  """Paths of files; [] for a camera."""
  if os.path.isdir(text):
    listed = (os.path.join(folder, file) for folder, below, files in os.walk(text)
              if not _sort(below, folder, but_not) for file in sorted(files))
    paths = [path for path in listed if path.lower().endswith(PICTURES + _VIDEOS)]
    if not paths:
      raise UserError(f'folder {pictures.shown(text)} holds no pictures or videos '
                      f"({', '.join(PICTURES[:3])} ... {', '.join(_VIDEOS[:3])} ...); give "
                      'another, or the files themselves')
    return paths
  if os.path.lexists(text):
    return [text]
  if text.isdecimal() and text.isascii() and len(text) < 10:
    return []
  paths = sorted(path for path in glob.glob(text, recursive=True)
                 if os.path.isfile(path) and path.lower().endswith(PICTURES + _VIDEOS)
                 and os.path.realpath(os.path.dirname(path)) != os.path.join(but_not, 'overlays'))
  if not paths:
    raise UserError(f'no picture, video, folder or camera is called {pictures.shown(text)}; check '
                    'the path')
  return paths


def _sort(below, folder, but_not):
  """Puts the folders that are walked next in order, without those to leave out."""
  own = but_not, os.path.join(but_not, 'overlays')
  below[:] = sorted(name for name in below if not name.startswith('.')
                    and os.path.realpath(os.path.join(folder, name)) not in own)


def _kind(path):
  """By the ending or, where it says nothing, by what the file holds."""
  if path.lower().endswith(PICTURES):
    return 'picture'
  if path.lower().endswith(_VIDEOS):
    return 'video'
  try:
    picture_headers.read(pictures.read_file(path))
  except UserError:
    return 'video'
  except OSError:  # told when it is read
    pass
  return 'picture'


def name_of(path, kind, taken):
  """A name for what is written about a file, which is added to those that are taken: the file's
  own, then with its folder's before it, then with a number. kind: 'camera' or None."""
  folder, file = os.path.split(path)
  stem = f'camera{path}' if kind else os.path.splitext(file)[0]
  above = os.path.basename(os.path.abspath(folder))
  names = [stem, f'{above}_{stem}', *(f'{stem}_{n}' for n in range(2, len(taken) + 3))]
  name = next(name for name in names if name.lower() not in taken)  # some disks know no case
  taken.add(name.lower())
  return name


class Video:
  """The frames of a video file or camera: iterating gives (number from 0, (H,W,3) uint8 RGB).

  rate: frames a second. count: of frames as the file states it, 0 where unknown. broken: numbers of
  frames that could not be decoded so far; the others keep their number and time. problem: a line
  about an end that came too early, or ''.
  Raises OSError if there is nothing to read.
  """

  def __init__(self, medium: Medium):
    self._is_file = medium.kind == 'video'
    self._what = (f'video {pictures.shown(medium.path)}' if self._is_file
                  else f'camera {medium.path}')
    if self._is_file:
      _check_video(medium.path, self._what)
      with utf8_path(medium.path) as path:
        self._capture = cv2.VideoCapture(path)
    else:
      self._capture = cv2.VideoCapture(int(medium.path))
    get = lambda field: _number(self._capture.get(field))
    if not self._capture.isOpened():
      raise OSError(f'{self._what} cannot be opened; ' + (
        'it is broken or of an unknown format' if self._is_file else 'is it there, and free?'))
    if get(cv2.CAP_PROP_FRAME_WIDTH) * get(cv2.CAP_PROP_FRAME_HEIGHT) > pictures.MAX_PIXELS:
      raise OSError(f'{self._what} has frames of more than {pictures.MAX_PIXELS} pixels')
    rate = get(cv2.CAP_PROP_FPS)
    self.rate = rate if 0.1 <= rate <= 1000 else 25.0
    self.count = max(0, round(get(cv2.CAP_PROP_FRAME_COUNT))) if self._is_file else 0
    self.broken, self.problem = [], ''

  def __iter__(self):
    number, failed = 0, 0
    try:
      while failed < _GAP and not (failed and number >= self.count):
        ok, frame = self._capture.read()
        if ok and frame is not None and frame.size:
          yield number, np.ascontiguousarray(frame[..., ::-1])
          self.broken += range(number - failed, number)
          failed = -1
        failed, number = failed + 1, number + 1
    finally:
      self._capture.release()
    read = number - failed
    if read == 0:
      self.problem = f'{self._what} has no frame that can be read'
    elif self.count - read > max(2, self.count // 50):  # headers may be wrong by a few
      self.problem = f'{self._what} ends after {read} of {self.count} frames'


@contextlib.contextmanager
def utf8_path(path):
  """Within it, an absolute path of the same file that OpenCV can open: a name that is no UTF-8 ends
  the process."""
  path = os.path.abspath(path)
  try:
    path.encode()
  except UnicodeEncodeError:
    with tempfile.TemporaryDirectory() as folder:
      ending = os.path.splitext(path)[1].encode('ascii', 'ignore').decode()
      link = os.path.join(folder, 'video' + ending)
      os.symlink(path, link)
      yield link
  else:
    yield path


def _check_video(path, what):
  """OSError for what FFmpeg must not open: no file, or a list of other files to play."""
  if not os.path.isfile(path):
    raise OSError(f'{what} is no file, or a link to nothing')
  try:
    with open(path, 'rb') as file:
      start = file.read(64)
  except OSError as error:
    raise OSError(f'{what} cannot be opened ({error.strerror})') from None
  if start.removeprefix(b'\xef\xbb\xbf').lstrip().lower().startswith(_PLAYLISTS):
    raise OSError(f'{what} is a text that lists files to play; give these files themselves')


def _number(value):
  return value if math.isfinite(value) else 0.0
