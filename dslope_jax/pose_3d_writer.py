"""What is lifted, as files: poses in 3D, and a sheet of each track from two sides."""
import os
import tempfile

import numpy as np
import tqdm

from dslope_jax.errors import UserError
from dslope_jax.evaluation import drawing
from dslope_jax.output_files import UNFINISHED, JsonList, check_outputs, jpeg, lock, told
from input_pipeline.sources.media import name_of

_ROWS = 6  # frames of a sheet


def write(folder, lifter, tracks, sizes, skeleton, inputs=()) -> list[str]:
  """Lifts tracks and writes poses_3d.json and sides/NAME_TRACK.jpg; returns a line for every sheet
  that could not be written.

  tracks: list of `tracks.Track`s of this skeleton. sizes: {file: (W, H)} of the videos.
  inputs: paths of files that must not be replaced. poses_3d.json appears when it is whole.
  Raises OSError or UserError, one line.
  """
  sides, problems = os.path.join(folder, 'sides'), []
  path = os.path.join(folder, 'poses_3d.json')
  sheets = [os.path.join(sides, name) for name in _names(tracks)]
  check_outputs([path, *sheets], inputs)
  with told(sides):
    os.makedirs(sides, exist_ok=True)
  held = lock(folder)
  try:
    with (tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder) as parts, told(path),
          open(os.path.join(parts, 'poses.json'), 'w', encoding='utf-8') as file):
      poses_json = JsonList(file)
      for track, sheet in zip(tqdm.tqdm(tracks, unit=' tracks'), sheets, strict=True):
        joints, confidence = lifter.joints(track.keypoints, track.confidence, skeleton)
        poses = lifter.poses(joints, confidence, sizes[track.file])
        if not np.isfinite(poses).all():
          raise UserError('the lifting weights give poses that are not finite for track_id '
                          f'{track.track_id}; they are broken, or their training diverged: give '
                          'others')
        for entry in _entries(track, poses, confidence, lifter.unit):
          poses_json.add(entry)
        problems += _draw(sheet, os.path.join(parts, 'sheet.jpg'), track, joints, confidence,
                          poses, lifter.facts.skeleton)
      poses_json.end()
      file.close()
      os.replace(file.name, path)
  finally:
    os.close(held)
  return problems


def _names(tracks):
  """Of the sheets: those of two files differ."""
  taken, names = set(), {}
  for track in tracks:
    if track.file not in names:
      names[track.file] = name_of(track.file or 'track', None, taken)
  return [f'{names[track.file]}_{track.track_id}.jpg' for track in tracks]


def _entries(track, poses, confidence, unit):
  """A dict for each frame."""
  poses, confidence = np.round(poses.astype(float), 2 if unit == 'mm' else 5), confidence.round(4)
  for number, (pose, sure) in enumerate(zip(poses.tolist(), confidence.tolist(), strict=True)):
    yield {'file': track.file, 'frame': track.first + number, 'track_id': track.track_id,
           'keypoints_3d': pose, 'unit': unit, 'confidence': sure}


def _draw(path, part, track, joints, confidence, poses, skeleton):
  """Writes the sheet of a track, whole or not at all; returns [what is wrong] if it cannot be."""
  frames = np.unique(np.linspace(0, len(poses) - 1, _ROWS).round().astype(int)).tolist()
  reach = 1.1 * max(np.abs(poses[frames]).max(), 1e-6)
  rows = [[drawing.draw_points(joints[f], confidence[f] > 0, skeleton),
           drawing.draw_sides(poses[f], skeleton, reach)] for f in frames]
  picture = drawing.sheet(rows, ('2D keypoints', 'from the camera, and from the side'),
                          [f'frame {track.first + f}' for f in frames])
  try:
    with told(path):
      with open(part, 'wb') as file:
        file.write(jpeg(picture))
      os.replace(part, path)
  except OSError as error:
    return [str(error)]
  return []
