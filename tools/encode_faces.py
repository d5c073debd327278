"""Embeddings of the faces in pictures and videos, which are near each other for one person.

  python tools/encode_faces.py --weights WORKDIR --out faces.npz folder 'photos/*.png'
  python tools/encode_faces.py --weights WORKDIR --boxes faces.json --points POINTSDIR \\
    --out faces.npz folder video.mp4

--weights: a run of the task recognition; WORKDIR:gnet for one network of a pair, WORKDIR:mean for
both. INPUT: pictures, folders with all that is below them, patterns in quotes, videos.
--boxes: of faces, COCO results or annotations; without them every picture is one face.
--points: weights of the alignment of faces, as predict.py takes them: the landmarks that they find
in the boxes bring each face onto the template of the training.

faces.npz has a row for each face: embedding (N,D) of unit length, so that the similarity of two
faces is the product of their rows; picture (N,), its path; frame (N,), -1 of a picture; box (N,4)
x, y, width, height.
"""
import argparse
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
if __name__ == '__main__':
  from dslope_jax import commands
  commands.begin()

import numpy as np
import tqdm

from dslope_jax import own_files
from dslope_jax.cli import checked, keep_compiled, say
from dslope_jax.errors import UserError, counted
from dslope_jax.face_encoder import FaceEncoder
from dslope_jax.files import local_path
from dslope_jax.predictor import Predictor
from input_pipeline.sources import media
from input_pipeline.sources.given_boxes import GivenBoxes
from input_pipeline.sources.pictures import shown


def _parse(argv):
  parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('inputs', nargs='+', metavar='INPUT')
  parser.add_argument('--weights', required=True, metavar='WORKDIR')
  parser.add_argument('--out', required=True, metavar='FILE.npz')
  parser.add_argument('--boxes', metavar='FILE', help='of faces: COCO results or annotations')
  parser.add_argument('--points', metavar='WEIGHTS', help='that find landmarks of faces')
  return parser.parse_args(argv)


def encode(given):
  """Writes the file."""
  if os.path.splitext(given.out)[1] != '.npz' or os.path.isdir(given.out):
    raise UserError(f'--out {shown(given.out)} is the name of a file that ends with .npz')
  listed = media.find(given.inputs, but_not=given.out)
  encoder = FaceEncoder(given.weights)
  say(f'weights: {encoder.about}')
  landmarks = Predictor(given.points) if given.points else None
  if landmarks:
    say(f'points: {landmarks.about}')
  reader, boxes = _reader(given, listed)
  rows = {'embedding': [], 'picture': [], 'frame': [], 'box': []}
  for seen in tqdm.tqdm(reader, unit=' pictures', total=reader.total):
    own = [seen.boxes] if given.boxes else None
    points = skeleton = None
    if landmarks:
      people, = landmarks([seen.image], own)
      points, skeleton = [people.keypoints], landmarks.facts.skeleton
    try:
      found, = encoder([seen.image], own, points, skeleton)
    except UserError as error:  # of landmarks that were found: the other pictures are not lost
      reader.problems.append(f'{shown(seen.medium.path)} is left out: {error}')
      continue
    rows['embedding'].extend(found)
    rows['picture'].extend([seen.medium.path] * len(found))
    rows['frame'].extend([-1 if seen.frame is None else seen.frame] * len(found))
    rows['box'].extend(seen.boxes)
  if not rows['picture'] and reader.problems:
    raise UserError(f'nothing could be read: {reader.problems[0]}')
  if boxes and (left := boxes.left_over()):
    say(f'warning: {left}')
  for problem in reader.problems:
    say(f'warning: {problem}')
  columns = {name: np.array(values) for name, values in rows.items()} | {
    'box': np.array(rows['box'], np.float32).reshape(-1, 4)}
  own_files.write_npz(given.out, columns, compressed=True)
  say(f"{counted(len(rows['box']), 'face')}, {counted(len(reader.problems), 'problem')}; "
      f'look at {shown(given.out)}')


def _reader(given, listed):
  """(`media.Reader` of the pictures with their boxes, the boxes of the file or None)."""
  if not given.boxes:
    say('boxes: none are given, so every picture is one face')
    return media.Reader(listed, media.whole), None
  boxes = GivenBoxes(given.boxes, [medium.path for medium in listed])
  for line in boxes.told():
    say(line)
  return boxes.reader(listed), boxes


def main(argv=None):
  given = _parse(argv)
  with checked():
    for name in ('out', 'boxes'):
      if getattr(given, name):
        setattr(given, name, local_path(getattr(given, name)))
    given.inputs = [local_path(text) for text in given.inputs]
    encode(given)


if __name__ == '__main__':
  commands.imported()
  keep_compiled()
  main()
