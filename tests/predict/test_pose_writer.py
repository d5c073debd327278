"""What is written where a disk, a name or another run is in the way."""
import contextlib
import json
import os
import resource

import numpy as np
import pytest

from dslope_jax import skeletons
from dslope_jax.pose_writer import Writer
from dslope_jax.predictor import People
from input_pipeline.sources.media import Medium, Seen
from tests.refusals import fails


@pytest.fixture
def folder(tmp_path):
  return str(tmp_path / 'out')


def seen(name='a', frame=None, size=(32, 32), path=None):
  medium = Medium(path or f'{name}.x', 'picture' if frame is None else 'video', name)
  image = np.random.default_rng(0).integers(0, 255, (*size, 3)).astype(np.uint8)
  return Seen(medium, image, 1, np.ones((1, 4)), np.ones(1), frame)


def person(**fields):
  return People(**{'boxes': np.array([[1, 2, 20, 20.0]]), 'keypoints': np.ones((1, 17, 2)),
                   'scores': np.ones((1, 17))} | fields)


def write(folder, *pictures, **options):
  """Writes a person on each; returns (files of the folder, problems)."""
  with Writer(folder, skeletons.COCO, media=[s.medium for s in pictures], **options) as writer:
    for picture in pictures:
      writer.add(picture, person())
  return sorted(os.listdir(folder)), writer.problems


@contextlib.contextmanager
def full_disk(size):
  """Within it no file may grow beyond `size` bytes."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_overlays_and_videos_that_fail_are_named_and_poses_kept(folder):
  with full_disk(6000):
    files, problems = write(folder, seen('a'), seen('b', size=(199, 199)),
                            *(seen('v', frame, (160, 160)) for frame in range(4)),
                            seen('n' * 255), seen('wide', size=(1, 65_501)))
  assert files == ['overlays', 'poses.json'] and os.listdir(f'{folder}/overlays') == ['a.jpg']
  parts = 'b.jpg', 'name too long', 'JPEG cannot hold 65501x1 pixels', 'v.mp4'
  assert len(problems) == 4 and all(map(str.__contains__, problems, parts))
  with open(f'{folder}/poses.json') as file:
    assert len(json.load(file)) == 8


def test_poses_that_cannot_be_written_leave_nothing(folder):
  with full_disk(2000):
    fails(lambda: write(folder, *[seen()] * 20), 'poses.json', 'too large', 'make room',
          kind=OSError)
  assert os.listdir(folder) == ['overlays']


def test_only_one_run_writes_to_a_folder(folder, tmp_path):
  os.makedirs(f'{folder}/.unfinished-of_a_killed_run')
  (tmp_path / 'mine').write_text('kept')
  os.symlink(tmp_path / 'mine', f'{folder}/poses.json')
  with Writer(folder, skeletons.COCO):
    fails(lambda: Writer(folder, skeletons.COCO), 'another run is writing')
  assert sorted(os.listdir(folder)) == ['overlays', 'poses.json']
  assert (tmp_path / 'mine').read_text() == 'kept'  # a link is replaced, not followed
  write(folder, seen())


def test_names_that_are_no_utf8(tmp_path):
  folder = str(tmp_path / 'out_\udce4')
  files, problems = write(folder, seen('\udcff'), seen('v\udcff', 0), with_csv=True)
  assert files == ['overlays', 'poses.csv', 'poses.json', 'v\udcff.mp4'] and not problems
  with open(f'{folder}/poses.csv', encoding='utf-8') as file:
    assert '\\udcff.x' in file.read()


def test_inputs_and_folders_in_the_way(folder, tmp_path):
  os.makedirs(f'{folder}/overlays/a.jpg')
  (tmp_path / 'w.mp4').write_text('an input')
  os.symlink(tmp_path / 'w.mp4', f'{folder}/w.mp4')
  fails(lambda: write(folder, seen('a')), 'a.jpg', 'is a folder')
  fails(lambda: write(folder, seen('w', 0, path=str(tmp_path / 'w.mp4'))), 'is one of the inputs')
  assert sorted(os.listdir(folder)) == ['overlays', 'w.mp4']


@pytest.mark.parametrize('field', ['scores', 'keypoints', 'right'])
def test_values_that_are_not_finite(folder, field):
  values = np.full((1, 17, 2) if field == 'keypoints' else (1, 17), -np.inf)

  def add():
    with Writer(folder, skeletons.COCO) as writer:
      writer.add(seen(), person(**{field: values}))
  fails(add, "not finite for 'a.x'")
  assert os.listdir(folder) == ['overlays']
