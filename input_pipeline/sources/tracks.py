"""Tracks: the 2D keypoints of one person in successive frames, from entries with a track_id."""
from typing import NamedTuple

import numpy as np

from dslope_jax import plausibility
from dslope_jax.errors import UserError, quoted
from input_pipeline.sources import checks, coco

_LARGEST = 2**53  # of frames and ids: a float64 holds all whole numbers below
_LONGEST = 1_000_000  # frames from the first to the last of a track


class Track(NamedTuple):
  """F frames without a gap. file: of the video, '' where it is not told. first: number of the first
  frame. keypoints: (F,K,2) pixels. confidence: (F,K), 0 to 1; 0 where nothing was found, such as in
  frames without an entry: there the joint is interpolated."""
  file: str
  track_id: int
  first: int
  keypoints: np.ndarray
  confidence: np.ndarray

  @property
  def missing(self) -> int:
    """How many frames, between the first and the last, have no joint that was found."""
    return int((self.confidence == 0).all(1).sum())


def read(path) -> list[Track]:
  """The tracks of COCO results, see `of_entries`. Raises OSError or UserError, one line."""
  return of_entries(coco.check_lists(coco.parse_json(path), path, ()), path)


def of_entries(entries, path) -> list[Track]:
  """One `Track` for each person, sorted by file and track_id.

  entries: dicts with frame, whole and from 0; track_id, whole; keypoints, x, y, score of each
    joint; perhaps file or file_name. They may have any order. A joint of score 0 was not found.
  path: of the file that they are from, for messages. Scores are clipped to 0 to 1.
  Raises UserError, naming the entry, where something is missing, there twice or no number.
  """
  if not entries:
    raise UserError(f'{path} holds no poses; give a file with tracks of people')
  keys = [_key(number, entry, path) for number, entry in enumerate(entries)]
  length = len(entries[0]['keypoints'])
  if length % 3:
    raise UserError(f'{path}: entry 0 has {length} numbers as keypoints, not x, y, score of each '
                    'joint; mend or remove it')
  values = checks.numbers([entry['keypoints'] for entry in entries], length)
  wrong = ~(np.abs(values) < 1e9).all(1)
  if wrong.any():
    raise UserError(f'{path}: the keypoints of entry {np.argmax(wrong)} are not {length} finite '
                    'numbers, x, y, score of as many joints as entry 0 has; mend or remove it')
  rows = {}
  for number, (file, track_id, frame) in enumerate(keys):
    of_track = rows.setdefault((file, track_id), {})
    if frame in of_track:
      raise UserError(f'{path}: entries {of_track[frame]} and {number} are both of track_id '
                      f'{track_id} in frame {frame}{_of(file)}; remove one')
    of_track[frame] = number
  return [_filled(*key, rows[key], values.reshape(len(values), -1, 3), path)
          for key in sorted(rows)]


def check_size(tracks, size, path):
  """Raises UserError where joints are not in the pixels of pictures of this size (W, H); other
  oddities are returned, `plausibility.Finding`s that are warnings."""
  keypoints = np.concatenate([track.keypoints for track in tracks])
  labelled = np.concatenate([track.confidence for track in tracks]) > 0
  table = plausibility.Table(
    np.concatenate([track.first + np.arange(len(track.keypoints)) for track in tracks]),
    np.tile(size, (len(keypoints), 1)), np.full((len(keypoints), 4), np.nan), keypoints, labelled)
  # A person who stays near the corner of the picture has small numbers, too.
  found = [f._replace(severity='warning') if f.kind == 'joints-are-percent' else f
           for f in plausibility.check(table)]
  plausibility.refuse(found, f'{path}, pictures of {size[0]}x{size[1]}', 'frame')
  return found


def _key(number, entry, path):
  """(file, track_id, frame) of an entry."""
  if not isinstance(entry, dict):
    raise UserError(f'{path}: entry {number} is {quoted(entry)}, not a dict; mend or remove it')
  file = entry.get('file', entry.get('file_name', ''))
  if not isinstance(file, str) or '\0' in file:
    raise UserError(f'{path}: the file of entry {number} is {quoted(file)}, not a name of a file')
  for field, least in (('frame', 0), ('track_id', None)):
    value = entry.get(field)
    if type(value) is not int or abs(value) >= _LARGEST or least is not None and value < least:
      raise UserError(f"{path}: entry {number} has the {field} {quoted(value)}, not a whole number"
                      f"{' from 0' * (least == 0)}; poses are lifted along tracks, so give each "
                      'entry its frame and the track_id of its person, as predict.py writes them '
                      'for videos')
  if not isinstance(entry.get('keypoints'), list) or not entry['keypoints']:
    raise UserError(f"{path}: entry {number} has no list of 'keypoints' x, y, score of each joint; "
                    'mend or remove it')
  return file, entry['track_id'], entry['frame']


def _of(file):
  return f' of {quoted(file)}' if file else ''


def _filled(file, track_id, rows, values, path):
  """The track of rows {frame: row} of values (N,K,3)."""
  known = np.array(sorted(rows))
  first, last = known[[0, -1]].tolist()
  if last - first >= _LONGEST:
    raise UserError(f'{path}: track_id {track_id}{_of(file)} goes from frame {first} to {last}, '
                    f'more than {_LONGEST} frames; give it another track_id after a long pause')
  found, steps = values[[rows[frame] for frame in known.tolist()]], np.arange(first, last + 1)
  keypoints = np.zeros((len(steps), values.shape[1], 2))
  for joint, (x, y, score) in enumerate(found.transpose(1, 2, 0)):
    seen = score > 0 if (score > 0).any() else slice(None)
    for axis, places in enumerate((x, y)):
      keypoints[:, joint, axis] = np.interp(steps, known[seen], places[seen])
  confidence = np.zeros(keypoints.shape[:2])
  confidence[known - first] = found[..., 2].clip(0, 1)
  return Track(file, track_id, first, keypoints, confidence)
