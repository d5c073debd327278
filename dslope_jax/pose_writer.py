"""What is predicted, as files: COCO results, a table, pictures and videos to look at."""
import contextlib
import csv
import dataclasses
import os
import tempfile

import cv2
import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.evaluation import drawing
from dslope_jax.metrics import keypoint_ap
from dslope_jax.output_files import UNFINISHED, JsonList, check_outputs, jpeg, lock, told
from dslope_jax.people_finder import PeopleInSpace
from dslope_jax.predictor import People
from dslope_jax.tracking import Tracks
from dslope_jax.visibility import PROBABILITIES
from input_pipeline.sources.media import Medium, Seen, utf8_path
from input_pipeline.sources.pictures import shown

_ABOVE = 192  # pixels of the least height of people from above
_COLUMNS = ('file', 'frame', 'track_id', 'image_id', 'score')


class Writer(contextlib.AbstractContextManager):
  """Writes poses.json, on request poses.csv, overlays/NAME.jpg of pictures and NAME.mp4 of videos,
  where people get ids and their joints are smoothed.

  media: all that will be added. problems: a line for every overlay or video that could not be
  written; poses are kept. Every file appears when it is whole; if an exception ends the block,
  those that are not are removed. Memory does not grow with the number of pictures. category: id of
  all people. in_space: they are `PeopleInSpace`: poses_3d.json, and people from above beside each
  picture.

  Raises OSError or UserError, one line: before anything is written if that would replace one of
  the media or if another run writes to the folder; later for poses that cannot be written, or are
  not finite.
  """

  def __init__(self, folder, skeleton, with_csv=False, media=(), category=1,
               in_space=False):
    self.folder, self._skeleton, self._category = folder, skeleton, category
    self.problems = []
    names = ['poses.json'] + ['poses.csv'] * with_csv + ['poses_3d.json'] * in_space
    check_outputs([os.path.join(folder, name) for name in names]
                  + [self._path(medium) for medium in media], [medium.path for medium in media])
    with told(overlays := os.path.join(folder, 'overlays')):
      os.makedirs(overlays, exist_ok=True)
    self._lock = lock(folder)
    with told(folder):
      self._parts = tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder)
      self._files = {name: open(self._part(name), 'w', encoding='utf-8', newline='',  # noqa: SIM115
                                errors='backslashreplace') for name in names}
    self._video, self._tracks, self._given = None, None, None
    self._json = JsonList(self._files['poses.json'])
    self._table = csv.writer(self._files['poses.csv']) if with_csv else None
    self._space = JsonList(self._files['poses_3d.json']) if in_space else None

  def __exit__(self, kind, *_):
    try:
      self._end_video(kind is None)
      if kind is None:
        self._finish()
    finally:
      for file in self._files.values():
        with contextlib.suppress(OSError):  # told already
          file.close()
      self._parts.cleanup()
      os.close(self._lock)

  def add(self, seen: Seen, people: People):
    """Writes the people of a picture or frame; frames of a video follow each other."""
    _check_finite(seen, people)
    ids = None
    if seen.frame is not None:
      self._turn_to(seen)
      ids, smooth = self._tracks(people.boxes, people.places, seen.frame / seen.rate)
      people = dataclasses.replace(people, keypoints=np.where(np.isnan(smooth), 0, smooth))
    entries = _entries(seen, people, ids, self._category)
    with told(os.path.join(self.folder, 'poses.json')):
      for entry in entries:
        self._json.add(entry)
      if self._table:
        self._add_rows(entries)
      if self._space:
        for entry in _entries_in_space(seen, people, ids):
          self._space.add(entry)
    picture = drawing.draw_people(
      seen.image, people.boxes, people.places,
      people.scores if people.right is None else people.right, people.visible, self._skeleton, ids)
    if self._space:
      picture = _with_people_above(picture, people, self._skeleton)
    if seen.frame is None:
      with self._decorative(seen.medium) as path:
        with open(self._part('overlay.jpg'), 'wb') as file:
          file.write(jpeg(picture))
        os.replace(file.name, path)
    else:
      self._add_frame(picture)

  def _finish(self):
    """Puts the poses into their places."""
    with told(os.path.join(self.folder, 'poses.json')):
      self._json.end()
      if self._space:
        self._space.end()
      if self._table and self._given is None:  # nobody was found
        self._begin_table(())
      for file in self._files.values():
        file.close()
      for name in self._files:
        os.replace(self._part(name), os.path.join(self.folder, name))

  def _path(self, medium: Medium):
    """Of the overlay or video."""
    below = ('overlays', medium.name + '.jpg') if medium.kind == 'picture' else (
      medium.name + '.mp4',)
    return os.path.join(self.folder, *below)

  def _part(self, name):
    return os.path.join(self._parts.name, name)

  @contextlib.contextmanager
  def _decorative(self, medium):
    """Within it, what cannot be written is a problem and does not end the run."""
    path = self._path(medium)
    try:
      with told(path):
        yield path
    except OSError as error:
      self.problems.append(str(error))

  def _begin_table(self, given):
    """The head of the table; given: the probabilities that joints have."""
    self._given = given
    joints = [f'{name}_{field}' for name in self._skeleton.names
              for field in ('x', 'y', 'score', *given)]
    self._table.writerow([*_COLUMNS, 'box_x', 'box_y', 'box_width', 'box_height', *joints])

  def _add_rows(self, entries):
    if entries and self._given is None:
      self._begin_table([field for field in PROBABILITIES if entries[0][field] is not None])
    for entry in entries:
      joints = np.column_stack([np.reshape(entry['keypoints'], (-1, 3)),
                                *(entry[field] for field in self._given)])
      self._table.writerow([*(entry[name] for name in _COLUMNS), *entry['bbox'],
                            *joints.ravel().tolist()])

  def _turn_to(self, seen):
    """Begins the video that a frame is of, if it is another than before."""
    if self._video and self._video.medium == seen.medium:
      return
    self._end_video(True)
    height, width = seen.image.shape[:2]
    if self._space:
      height, width = _with_side(height, width)
    size = max(16, width + width % 2), max(16, height + height % 2)  # the codec needs even sides
    with utf8_path(self._part('video.mp4')) as path:
      writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'mp4v'), seen.rate, size)
    self._video, self._tracks = _Video(seen.medium, writer, size), Tracks()

  def _add_frame(self, picture):
    width, height = self._video.size
    frame = np.zeros((height, width, 3), np.uint8)
    part = picture[:height, :width, ::-1]
    frame[:part.shape[0], :part.shape[1]] = part
    self._video.writer.write(frame)
    self._video.frames += 1

  def _end_video(self, whole):
    video, self._video = self._video, None
    if not video:
      return
    video.writer.release()
    if whole:
      with self._decorative(video.medium) as path:
        self._check_video(video)
        os.replace(self._part('video.mp4'), path)

  def _check_video(self, video):
    """OpenCV does not tell that a disk is full, so that what it wrote is looked at."""
    with utf8_path(self._part('video.mp4')) as path:
      made = cv2.VideoCapture(path)
      frames = round(made.get(cv2.CAP_PROP_FRAME_COUNT)) if made.isOpened() else 0
      made.release()
    if frames < video.frames:
      width, height = video.size
      raise OSError(0, f'{frames} of {video.frames} frames of {width}x{height} pixels are in it; '
                    'is there room?')


@dataclasses.dataclass
class _Video:
  """A video that is being written."""
  medium: Medium
  writer: cv2.VideoWriter
  size: tuple[int, int]
  frames: int = 0


def _check_finite(seen, people):
  values = (people.keypoints, people.scores, *(getattr(people, name) for name in (
    *PROBABILITIES, *(('keypoints_3d',) if isinstance(people, PeopleInSpace) else ()))))
  if not all(value is None or np.isfinite(value).all() for value in values):
    raise UserError(f'the weights give values that are not finite for {shown(seen.medium.path)}; '
                    'they are broken, or their training diverged: give others')


def _entries(seen, people, ids, category):
  """COCO results of the people of a picture, with what else is known of them."""
  rounded = lambda values, digits=4: np.asarray(values, np.float64).round(digits)
  entries = keypoint_ap.to_coco_results(
    [seen.image_id] * len(people), rounded(people.keypoints, 3), rounded(people.scores),
    rounded(keypoint_ap.rescore(people.scores, seen.scores)), category)
  for p, entry in enumerate(entries):
    entry |= {'bbox': rounded(people.boxes[p], 3).tolist(),
              'file': seen.medium.path, 'frame': seen.frame,
              'track_id': None if ids is None else int(ids[p])}
    entry |= {field: None if (values := getattr(people, field)) is None else
              rounded(values[p]).tolist() for field in PROBABILITIES}
  return entries


def _entries_in_space(seen, people: PeopleInSpace, ids):
  """A dict for each person of a picture, with the places of the joints that were found."""
  points, scores = people.keypoints_3d.astype(float).round(1), people.scores.astype(float).round(4)
  for p in range(len(people)):
    found = people.scores[p] > 0
    yield {'image_id': int(seen.image_id), 'file': seen.medium.path, 'frame': seen.frame,
           'track_id': None if ids is None else int(ids[p]),
           'keypoints_3d': [point if there else None for point, there in
                            zip(points[p].tolist(), found.tolist(), strict=True)],
           'unit': 'mm', 'confidence': scores[p].tolist(),
           'camera': people.camera.astype(float).round(3).tolist()}


def _with_side(height, width):
  """The size of a picture with people from above beside it."""
  height = max(height, _ABOVE)
  return height, width + height


def _with_people_above(picture, people: PeopleInSpace, skeleton):
  """A picture, and beside it a square with its people from above, up to whole metres."""
  h, w = picture.shape[:2]
  side, _ = _with_side(h, w)
  there = people.scores > 0
  furthest = people.keypoints_3d[..., 2][there].max(initial=0)
  metres = int(np.clip(np.ceil(furthest / 1000 + 0.5), 2, 1e6))
  above = drawing.draw_above(people.keypoints_3d, there, skeleton, (side, side), 1000 * metres)
  cv2.putText(above, f'{metres} m', (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255,) * 3, 1,
              cv2.LINE_AA)
  return np.hstack([np.pad(picture, ((0, side - h), (0, 0), (0, 0))), above])
