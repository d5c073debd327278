"""Poses of the people in pictures and videos, by a run or by published weights; also in 3D.

  python predict.py --weights WORKDIR --out DIR picture.jpg folder 'photos/*.png' video.mp4 0
  python predict.py --weights hrnet_w32.pth --boxes results.json --out DIR folder
  python predict.py --weights WORKDIR:enet --detector yolox.onnx --csv --out DIR video.mp4
  python predict.py --weights HUPORDIR --focal 1500 --out DIR picture.jpg folder
  python predict.py --weights WORKDIR --lift LIFTDIR --out DIR video.mp4
  python predict.py --lift LIFTDIR --tracks poses.json --frame_size 1920x1080 --out DIR

--weights: a work folder (WORKDIR:enet for one network, WORKDIR:pick and others for a mixture), a
folder with model.safetensors, or a file of HRNet, SimpleBaseline, HRFormer, Lite-HRNet or ViTPose.
INPUT: pictures, folders with all that is below them, patterns in quotes, videos, camera numbers.

A run of the task bottom_up finds the people in whole pictures itself, with their places in space;
--focal is the focal length of the camera.

--lift: a run of the task lifting, or a published folder of one; LIFTDIR:gnet for one network.

DIR gets poses.json (COCO results, with file, frame and track_id), overlays/ of pictures, NAME.mp4
of videos and, with --csv, poses.csv; with --lift poses_3d.json and sides/ of the tracks of videos;
by a run of the task bottom_up poses_3d.json, and people from above beside each picture.
docs/predict.md says what is in them.
"""
if __name__ == '__main__':
  from dslope_jax import commands
  commands.begin()

import argparse
import contextlib
import math
import os
import sys

import numpy as np
import tqdm

from dslope_jax import joint_mapping, loading, plausibility, pose_3d_writer, skeletons
from dslope_jax.cli import checked, crop_size, keep_compiled, say
from dslope_jax.commands import STOPPED, StopSignal
from dslope_jax.detectors import Detector
from dslope_jax.errors import UserError, counted, quoted
from dslope_jax.files import local_path
from dslope_jax.lifter import Lifter
from dslope_jax.loading import BUCKETS
from dslope_jax.people_finder import PeopleFinder
from dslope_jax.pose_writer import Writer
from dslope_jax.predictor import USUAL, Predictor
from dslope_jax.tasks.base import PICTURES
from input_pipeline.sources import coco, media, tracks
from input_pipeline.sources.given_boxes import GivenBoxes
from input_pipeline.sources.pictures import shown

_PIXELS = 2**26  # of the pictures that are predicted together: 0.2 GB


def _parse(argv):
  parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('inputs', nargs='*', metavar='INPUT')
  parser.add_argument('--weights')
  parser.add_argument('--out', required=True, metavar='DIR')
  parser.add_argument('--boxes', metavar='FILE', help="of people: COCO results or annotations; "
                      "'whole': every picture is one box")
  parser.add_argument('--detector', metavar='ONNX', help='finds people: YOLOX, RTMDet or RT-DETR')
  parser.add_argument('--box_score', type=_score, default=0.3, metavar='SCORE',
                      help='boxes with a lower score are left out (0.3)')
  parser.add_argument('--size', type=crop_size, metavar='WxH', help='of crops, for weight files')
  parser.add_argument('--skeleton', metavar='NAME', choices=skeletons.KNOWN, help=(
    'of weight files, or tracks, with other keypoints than the 17 of COCO or 16 of MPII: '
    + ', '.join(skeletons.KNOWN)))
  parser.add_argument('--focal', type=_focal, metavar='PIXELS', help='focal length of the camera, '
                      'in pixels of the pictures, for a run of the task bottom_up')
  parser.add_argument('--csv', action='store_true', help='write poses.csv, too')
  parser.add_argument('--lift', metavar='LIFTDIR', help='3D poses of the people in videos, too')
  parser.add_argument('--tracks', metavar='FILE', help='lift what is in a file: COCO results with '
                      'frame and track_id, such as poses.json of videos; there is no INPUT then')
  parser.add_argument('--frame_size', type=crop_size, metavar='WxH', help='of their videos')
  parser.add_argument('--explain', action='help', help='the same as --help: there is no config')
  given = parser.parse_args(argv)
  _check_flags(parser, given)
  return given


def _check_flags(parser, given):
  """Ends the command where flags do not go together."""
  if given.tracks:
    needed = {'--lift': given.lift, '--frame_size': given.frame_size}
    odd = [f'--{name}' for name in ('weights', 'boxes', 'detector', 'size', 'focal', 'csv')
           if getattr(given, name)] + ['INPUT'] * bool(given.inputs)
    if odd:
      parser.error(f'--tracks has poses already: leave out {", ".join(odd)}')
  else:
    needed = {'--weights': given.weights, 'INPUT': given.inputs}
    if given.frame_size:
      parser.error('--frame_size is of --tracks; videos have their own')
  if missing := [name for name, value in needed.items() if not value]:
    parser.error(f'the following arguments are required: {", ".join(missing)}')


def _score(text):
  with contextlib.suppress(ValueError):
    if math.isfinite(score := float(text)):
      return score
  raise argparse.ArgumentTypeError(f'{quoted(text)} is no score; give a number as 0.3')


def _focal(text):
  with contextlib.suppress(ValueError):
    if 0 < (focal := float(text)) < 1e9:
      return focal
  raise argparse.ArgumentTypeError(f'{quoted(text)} is no focal length; give a number of pixels '
                                   'above 0, as 1500')


def _reader(given, listed):
  """(the `media.Reader` that the flags ask for, the boxes if a file has them or None); says where
  they are from."""
  if given.detector and given.boxes:
    raise UserError('boxes come from --boxes or from --detector, not from both')
  if given.detector:
    detector = Detector(given.detector, given.box_score)
    say(f'boxes: {detector.about}')
    return media.Reader(listed, lambda medium, frame, image: (*detector(image), None)), None
  if given.boxes in (None, 'whole'):
    if not given.boxes:
      say("boxes: none are given, so every picture is one person's box; give --boxes FILE (COCO "
          'results or annotations) or --detector ONNX, or --boxes whole if that is meant')
    return media.Reader(listed, media.whole), None
  boxes = GivenBoxes(given.boxes, [medium.path for medium in listed], given.box_score)
  for line in boxes.told():
    say(line)
  return boxes.reader(listed), boxes


def _nobody(medium, frame, image):
  return np.zeros((0, 4), np.float32), np.zeros(0), None


def _networks(given, listed):
  """(weights that predict, their `media.Reader`, the boxes if a file has them or None) that the
  flags ask for; says what they are."""
  if loading.takes(given.weights) == PICTURES:
    odd = [f'--{name}' for name in ('boxes', 'detector', 'size', 'skeleton', 'lift')
           if getattr(given, name)]
    if odd:
      raise UserError('these weights find the people in whole pictures, with their places in '
                      f'space: leave out {", ".join(odd)}')
    finder = PeopleFinder(given.weights)
    say(f'weights: {finder.about}')
    say('camera: ' + (
      f'focal length {given.focal:g} pixels' if given.focal else
      'no focal length is given, so the width of each picture is taken; all distances from the '
      'camera are true up to one factor then (--focal PIXELS)'))
    return finder, media.Reader(listed, _nobody), None
  if given.focal:
    raise UserError('--focal is of runs of the task bottom_up, which find people in space; leave '
                    'it out')
  predictor = Predictor(given.weights, skeleton=given.skeleton, size=given.size)
  say(f'weights: {predictor.about}')
  return predictor, *_reader(given, listed)


def _batches(reader, stopped):
  """Lists of `media.Seen` that are predicted together: they fill a call, and fit into memory."""
  batch = []
  for seen in reader:
    batch.append(seen)
    if (sum(len(s.boxes) for s in batch) >= BUCKETS[-1] or len(batch) >= BUCKETS[-1]
        or sum(s.image.size // 3 for s in batch) >= _PIXELS or seen.medium.kind == 'camera'):
      yield batch
      batch = []
    if stopped.raised:
      break
  if batch:
    yield batch


def predict(given):
  """Predicts what the flags ask for; returns whether it came to the end of all pictures."""
  listed = media.find(given.inputs, but_not=given.out)
  if given.lift and all(medium.kind == 'picture' for medium in listed):
    raise UserError('--lift needs people who move: give videos, or --tracks FILE; pictures alone '
                    'have no frames')
  predictor, reader, boxes = _networks(given, listed)
  in_space = isinstance(predictor, PeopleFinder)
  lifter = given.lift and _lifter(given.lift, predictor.facts.skeleton)
  left_out, counts, sizes = 0, {'picture': 0, 'frame': 0, 'person': 0}, {}
  with (StopSignal() as stopped,
        Writer(given.out, predictor.facts.skeleton, given.csv, reader.media,
               boxes.category if boxes else 1, in_space) as writer,
        tqdm.tqdm(unit=' pictures', total=reader.total) as bar):
    for batch in _batches(reader, stopped):
      found = predictor([seen.image for seen in batch],
                        given.focal if in_space else [seen.boxes for seen in batch])
      for seen, people in zip(batch, found, strict=True):
        if in_space:
          seen = seen._replace(boxes=people.boxes, scores=np.ones(len(people)))
        writer.add(seen, people)
        sizes[seen.medium.path] = seen.image.shape[1::-1]
        counts['picture' if seen.frame is None else 'frame'] += 1
        counts['person'] += len(people)
        left_out += people.left_out if in_space else 0
      bar.update(len(batch))
    if not counts['picture'] + counts['frame'] and reader.problems:
      raise UserError(f'nothing could be read: {reader.problems[0]}')
  reader.problems += writer.problems
  if boxes and not stopped.raised and (left := boxes.left_over()):
    say(f'warning: {left}')
  if left_out:
    say(f'warning: {left_out} peaks and people found no room in the answers; the run has room for '
        'system.max_people people and system.max_peaks peaks of a joint')
  for problem in reader.problems:
    say(f'warning: {problem}')
  found = [counted(count, what) for what, count in counts.items() if count or what == 'person']
  problems = counted(len(reader.problems), 'problem')
  say(f"{', '.join(found)}; {problems}; look at {shown(given.out)}")
  ended = not stopped.raised or all(medium.kind == 'camera' for medium in reader.media)
  if lifter and ended:
    _lift_videos(given.out, lifter, predictor.facts.skeleton, sizes, reader.media)
  return ended


def _lifter(weights, skeleton):
  """The `Lifter` of these weights, which takes this skeleton."""
  lifter = Lifter(weights)
  joint_mapping.weights(skeleton, lifter.facts.skeleton)
  say(f'lift: {lifter.about}; poses in {lifter.unit}'
      + (', scale unknown' if lifter.unit != 'mm' else ''))
  return lifter


def _lift_videos(out, lifter, skeleton, sizes, listed):
  """Lifts what was written to poses.json."""
  path = os.path.join(out, 'poses.json')
  entries = coco.parse_json(path)
  moving = [entry for entry in entries if entry['frame'] is not None]
  if len(moving) < len(entries):
    say(f'lift: left out {counted(len(entries) - len(moving), "pose")} of pictures, which have no '
        'frames')
  _lift(out, lifter, tracks.of_entries(moving, path) if moving else [], skeleton, sizes,
        [medium.path for medium in listed])


def lift_file(given):
  """Lifts the tracks of a file."""
  found = tracks.read(given.tracks)
  count = found[0].keypoints.shape[1]
  skeleton = skeletons.by_name(given.skeleton) if given.skeleton else USUAL.get(count)
  if skeleton is None or skeleton.num_keypoints != count:
    raise UserError(f'{given.tracks} has {count} keypoints; name the skeleton that has them '
                    f'(--skeleton), one of {", ".join(skeletons.KNOWN)}')
  for finding in tracks.check_size(found, given.frame_size, given.tracks):
    say(f"warning: {shown(given.tracks)}: {plausibility.line(finding, 'frame')}")
  lifter = _lifter(given.lift, skeleton)
  say(f'tracks: {shown(given.tracks)}, {count} keypoints of {skeleton.name}')
  _lift(given.out, lifter, found, skeleton, {track.file: given.frame_size for track in found},
        [given.tracks])


def _lift(out, lifter, found, skeleton, sizes, inputs):
  """Writes the poses of tracks, and says what they are."""
  problems = pose_3d_writer.write(out, lifter, found, sizes, skeleton, inputs)
  for problem in problems:
    say(f'warning: {problem}')
  frames, missing = sum(len(t.keypoints) for t in found), sum(t.missing for t in found)
  say(f'lifted: {counted(len(found), "track")}, {counted(frames, "frame")}'
      + (f', {missing} of them without a joint that was found, which are interpolated'
         if missing else '')
      + f"; {counted(len(problems), 'problem')}; look at {shown(out)}")


def main(argv=None):
  given = _parse(argv)
  with checked():
    for name in ('out', 'boxes', 'detector', 'tracks'):
      if getattr(given, name):
        setattr(given, name, local_path(getattr(given, name)))
    given.inputs = [local_path(text) for text in given.inputs]
    if os.path.exists(given.out) and not os.path.isdir(given.out):
      raise UserError(f"--out {shown(given.out)} is a file, give a folder")
    if given.tracks:
      lift_file(given)
    elif not predict(given):
      say('stopped by a signal; what was predicted until then is written'
          + ', and nothing was lifted' * bool(given.lift))
      sys.exit(STOPPED)


if __name__ == '__main__':
  commands.imported()
  keep_compiled()
  main()
