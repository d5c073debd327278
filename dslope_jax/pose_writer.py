"""What is predicted, as files: COCO results, a table, pictures and videos to look at."""
import contextlib
import csv
import dataclasses
import json
import os

import cv2
import numpy as np

from dslope_jax.evaluation import drawing
from dslope_jax.metrics import keypoint_ap
from dslope_jax.predictor import People
from dslope_jax.tracking import Tracks
from input_pipeline.sources.media import Seen

_PROBABILITIES = ('right', 'visible', 'present')
_COLUMNS = ('file', 'frame', 'track_id', 'image_id', 'score')


class Writer(contextlib.AbstractContextManager):
  """Writes poses.json, on request poses.csv, overlays/NAME.jpg of pictures and NAME.mp4 of videos,
  where people get ids and their joints are smoothed.

  Every file appears when it is whole; if an exception ends the block, those that are not are
  removed. Memory does not grow with the number of pictures. category: id of all people.
  """

  def __init__(self, folder, skeleton, with_csv=False, category=1):
    self.folder, self._skeleton, self._category = folder, skeleton, category
    os.makedirs(os.path.join(folder, 'overlays'), exist_ok=True)
    self._parts, self._video, self._tracks = {}, None, None
    self._table, self._given = None, None
    self._json, self._before = self._open('poses.json'), '\n'
    self._json.write('[')
    if with_csv:
      self._table = csv.writer(self._open('poses.csv', newline=''))

  def __exit__(self, kind, *_):
    self._end_video(kind is None)
    self._json.write('\n]\n')
    if self._table and self._given is None:  # nobody was found
      self._begin_table(())
    for path, file in self._parts.items():
      file.close()
      if kind is None:
        os.replace(path + '.part', path)
      else:
        os.remove(path + '.part')

  def add(self, seen: Seen, people: People):
    """Writes the people of a picture or frame; frames of a video follow each other."""
    ids = None
    if seen.frame is not None:
      self._turn_to(seen)
      ids, smooth = self._tracks(people.boxes, people.keypoints, seen.frame / seen.rate)
      people = dataclasses.replace(people, keypoints=smooth)
    entries = _entries(seen, people, ids, self._category)
    for entry in entries:
      self._json.write(self._before + json.dumps(entry))
      self._before = ',\n'
    if self._table:
      self._add_rows(entries)
    picture = drawing.draw_people(
      seen.image, people.boxes, people.keypoints,
      people.scores if people.right is None else people.right, people.visible, self._skeleton, ids)
    if seen.frame is None:
      path = os.path.join(self.folder, 'overlays', seen.medium.name + '.jpg')
      _, content = cv2.imencode('.jpg', picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
      with open(path + '.part', 'wb') as file:
        file.write(content)
      os.replace(path + '.part', path)
    else:
      self._add_frame(picture)

  def _begin_table(self, given):
    """The head of the table; given: the probabilities that joints have."""
    self._given = given
    joints = [f'{name}_{field}' for name in self._skeleton.names
              for field in ('x', 'y', 'score', *given)]
    self._table.writerow([*_COLUMNS, 'box_x', 'box_y', 'box_width', 'box_height', *joints])

  def _add_rows(self, entries):
    if entries and self._given is None:
      self._begin_table([field for field in _PROBABILITIES if field in entries[0]])
    for entry in entries:
      joints = np.column_stack([np.reshape(entry['keypoints'], (-1, 3)),
                                *(entry[field] for field in self._given)])
      self._table.writerow([*(entry[name] for name in _COLUMNS), *entry['bbox'],
                            *joints.ravel().tolist()])

  def _turn_to(self, seen):
    """Begins the video that a frame is of, if it is another than before."""
    if self._video and self._video[0] == seen.medium:
      return
    self._end_video(True)
    height, width = seen.image.shape[:2]
    size = max(16, width + width % 2), max(16, height + height % 2)  # the codec needs even sides
    path = os.path.join(self.folder, seen.medium.name)
    writer = cv2.VideoWriter(path + '.part.mp4', cv2.VideoWriter_fourcc(*'mp4v'), seen.rate, size)
    if not writer.isOpened():
      raise OSError(f"cannot write video '{path}.mp4' of {size[0]}x{size[1]}")
    self._video, self._tracks = (seen.medium, writer, size, path), Tracks()

  def _add_frame(self, picture):
    _, writer, size, _ = self._video
    frame = np.zeros((size[1], size[0], 3), np.uint8)
    shown = picture[:size[1], :size[0], ::-1]
    frame[:shown.shape[0], :shown.shape[1]] = shown
    writer.write(frame)

  def _end_video(self, whole):
    if self._video:
      _, writer, _, path = self._video
      writer.release()
      self._video = None
      if whole:
        os.replace(path + '.part.mp4', path + '.mp4')
      else:
        os.remove(path + '.part.mp4')

  def _open(self, name, **options):
    path = os.path.join(self.folder, name)
    self._parts[path] = open(path + '.part', 'w', encoding='utf-8', **options)  # noqa: SIM115
    return self._parts[path]


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
    entry |= {field: rounded(values[p]).tolist() for field in _PROBABILITIES
              if (values := getattr(people, field)) is not None}
  return entries
