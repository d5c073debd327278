"""predict.py as it is typed: pictures, boxes, videos, tables, and what goes wrong."""
import csv
import functools
import json
import pathlib
import re
import signal
import tracemalloc

import cv2
import jax
import numpy as np
import pytest

import predict
from dslope_jax.predictor import Predictor
from input_pipeline.sources import media
from input_pipeline.sources.pictures import read_picture
from tests.predict import folders
from tests.predict.test_media import write_picture, write_video
from tests.predict.typed import caller


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """(work folder of one network, folder of its data)."""
  folder = tmp_path_factory.mktemp('plain')
  return folders.make(folder, kind=None)[1], folder / 'data'


_predictor = functools.cache(Predictor)  # what a test has compiled, others need not


@pytest.fixture
def command(run, tmp_path, capsys, monkeypatch):
  """Runs predict.py with arguments; gives (poses, printed) of the folder 'out'."""
  out = tmp_path / 'out'
  monkeypatch.setattr(predict, 'Predictor', _predictor)
  return caller(out, 'poses.json', capsys, ['--weights', run[0]])


def test_whole_pictures(command, run, tmp_path):
  files = sorted((run[1] / 'val').iterdir())[:2]
  elsewhere = write_picture(tmp_path / 'other' / files[0].name)
  poses, printed = command('--csv', *files, elsewhere)
  assert 'none are given' in printed and '3 pictures, 3 people; 0 problems' in printed
  wanted = _predictor(str(run[0]), skeleton=None, size=None)([*files, elsewhere])
  for number, (pose, people, file) in enumerate(zip(poses, wanted, files, strict=False), start=1):
    assert list(pose) == ['image_id', 'category_id', 'keypoints', 'score', 'bbox', 'file', 'frame',
                          'track_id', 'right', 'visible', 'present']
    assert (pose['image_id'], pose['file'], pose['frame']) == (number, str(file), None)
    assert pose['bbox'] == [0, 0, 96, 128]
    joints = np.column_stack([people.keypoints[0], people.scores[0]])
    np.testing.assert_allclose(np.reshape(pose['keypoints'], (-1, 3)), joints, atol=6e-4)
  stem = files[0].stem  # the same name in two folders
  assert {p.name for p in (command.out / 'overlays').iterdir()} == {
    f'{stem}.jpg', f'other_{stem}.jpg', f'{files[1].stem}.jpg'}
  assert read_picture(command.out / 'overlays' / f'{stem}.jpg').shape == (128, 96, 3)
  head, *rows = csv.reader((command.out / 'poses.csv').open(newline=''))
  assert head[:5] == ['file', 'frame', 'track_id', 'image_id', 'score'] and len(rows) == 3
  assert head[9:12] == ['nose_x', 'nose_y', 'nose_score'] and len(head) == 9 + 3 * 17
  assert [float(x) for x in rows[1][9:]] == poses[1]['keypoints']


def test_boxes_by_file_and_its_own_results_as_boxes(command, run):
  truth_file = run[1] / 'annotations/person_keypoints_val.json'
  truth = json.loads(truth_file.read_text())
  poses, printed = command('--boxes', truth_file, run[1])
  assert '12 pictures, 6 people' in printed and 'does not name 6 of 12 files' in printed
  assert [(p['image_id'], p['bbox']) for p in poses] == [
    (a['image_id'], a['bbox']) for a in truth['annotations']]
  own = command.out / 'poses.json'
  again, _ = command('--boxes', own, '--box_score', '-1', run[1] / 'val')  # replaced meanwhile
  scores = [pose.pop('score') for pose in again]  # times that of the box, which is the pose's
  np.testing.assert_allclose(scores, np.square([pose.pop('score') for pose in poses]), rtol=1e-3)
  assert again == poses


def test_people_have_the_category_of_their_boxes(command, run, tmp_path):
  file = next((run[1] / 'val').iterdir())
  boxes = tmp_path / 'boxes.json'
  boxes.write_text(json.dumps([{'file': file.name, 'image_id': 5, 'category_id': 7, 'score': 1.0,
                                'bbox': [1, 1, 40, 80]}]))
  (pose,), printed = command('--boxes', boxes, file)
  assert (pose['image_id'], pose['category_id']) == (5, 7)
  assert '1 picture, 1 person; 0 problems' in printed


def test_nobody_is_legal(command, run, tmp_path):
  boxes = tmp_path / 'boxes.json'
  boxes.write_text('[]')
  poses, printed = command('--boxes', boxes, '--csv', run[1] / 'val')
  assert poses == [] and '6 pictures, 0 people' in printed
  assert len(list((command.out / 'overlays').iterdir())) == 6
  assert len((command.out / 'poses.csv').read_text().splitlines()) == 1


def test_a_video_with_ids(command, tmp_path):
  video = write_video(tmp_path / 'walk.mp4', frames=6, size=(64, 48))
  boxes = tmp_path / 'boxes.json'
  boxes.write_text(json.dumps([
    {'file': 'walk.mp4', 'frame': frame, 'image_id': 100 + frame, 'category_id': 1, 'score': 1.0,
     'bbox': [x + frame, 4, 20, 40]} for frame, x in ((1, 2), (1, 35), (2, 35), (4, 2), (6, 2))]))
  poses, printed = command('--boxes', boxes, video)
  assert '6 frames, 4 people; 0 problems' in printed
  assert "1 of its 5 boxes are on no picture or frame that was read, such as entry 4" in printed
  assert [p['frame'] for p in poses] == [1, 1, 2, 4]
  assert [p['track_id'] for p in poses] == [1, 2, 2, 1]
  assert [p['image_id'] for p in poses] == [101, 101, 102, 104]
  made = cv2.VideoCapture(str(command.out / 'walk.mp4'))
  assert made.get(cv2.CAP_PROP_FRAME_COUNT) == 6 and made.get(cv2.CAP_PROP_FPS) == 10
  ok, frame = made.read()
  assert ok and frame.shape == (48, 64, 3)
  assert not list(command.out.glob('*.part*')) and not list((command.out / 'overlays').iterdir())


def test_a_long_video_takes_little_memory(command, tmp_path):
  """Of 140 MB of frames a few are held at once."""
  video = write_video(tmp_path / 'long.avi', frames=600, size=(320, 240), codec='MJPG')
  (tmp_path / 'short').mkdir()
  boxes = tmp_path / 'boxes.json'
  boxes.write_text(json.dumps([{'file': 'long.avi', 'frame': frame, 'category_id': 1,
                                'bbox': [1, 1, 100, 200]} for frame in range(0, 600, 64)]))
  command('--boxes', boxes, write_video(tmp_path / 'short/long.avi', frames=1))  # compiles
  tracemalloc.start()
  poses, printed = command('--boxes', boxes, video)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert '600 frames, 10 people' in printed and len(poses) == 10
  assert peak < 60e6, peak


def test_what_is_broken_is_named_and_the_rest_done(command, run, tmp_path):
  folder = tmp_path / 'in'
  write_picture(folder / 'one_pixel.png')
  cv2.imwrite(str(folder / 'one_pixel.png'), np.zeros((1, 1, 3), np.uint8))
  (folder / 'broken.jpg').write_bytes(next((run[1] / 'val').iterdir()).read_bytes()[:700])
  (folder / 'text.mp4').write_text('no video')
  write_video(folder / 'tiny.mp4', frames=2, size=(2, 2))
  poses, printed = command('--boxes', 'whole', folder)
  assert len(poses) == 3 and '1 picture, 2 frames, 3 people; 2 problems' in printed
  assert 'broken.jpg' in printed and 'text.mp4' in printed and 'none are given' not in printed
  made = cv2.VideoCapture(str(command.out / 'tiny.mp4'))
  assert made.read()[1].shape == (16, 16, 3)  # the smallest that is written


@pytest.mark.parametrize('arguments, part', [
  (['no.jpg'], "called 'no.jpg'"), (['97'], 'camera 97 cannot be opened'),
  (['9' * 20], 'no picture, video, folder or camera'),
  (['http://a/b.jpg'], 'is an address'),
  (['--out', '{data}/annotations/person_keypoints_val.json', '{data}'], 'is a file, give a'),
  (['--boxes', 'no.json', '{data}'], "'no.json'"),
  (['--boxes', 'whole', '--detector', 'a.onnx', '{data}'], 'not from both'),
  (['--size', '64x96', '{data}'], 'was trained with 32x64 crops'),
  (['--weights', 'no.pth', '{data}'], "'no.pth'"),
  (['--weights', '{run}:enet', '{data}'], "gives net, not 'enet'")])
def test_refused_in_one_line(command, run, tmp_path, monkeypatch, arguments, part):
  monkeypatch.chdir(tmp_path)
  arguments = [text.format(data=run[1], run=run[0]) for text in arguments]
  assert part in command(*arguments, code=1)
  assert not command.out.exists() or not list(command.out.glob('poses*'))


@pytest.mark.parametrize('arguments', [['--lifts', 'w', 'a.jpg'], ['--size', '64', 'a.jpg'], [],
                                       ['--box_score', 'nan', 'a.jpg']])
def test_wrong_flags(command, arguments):
  command(*arguments, code=2)


def test_files_of_a_run_before_stay_until_they_are_replaced(command, run, monkeypatch):
  file = next((run[1] / 'val').iterdir())
  poses, _ = command(file)
  with np.errstate(all='ignore'):
    broken = _predictor(str(run[0]), skeleton=None, size=None)
    monkeypatch.setattr(broken, 'weights', jax.tree.map(lambda leaf: leaf * np.inf, broken.weights))
    assert 'give values that are not finite' in command('--csv', file, code=1)
  assert json.loads((command.out / 'poses.json').read_text()) == poses
  assert sorted(p.name for p in command.out.iterdir()) == ['overlays', 'poses.json']
  assert pathlib.Path(file).exists()


def test_inputs_are_not_replaced_and_own_overlays_not_read(command, run, tmp_path):
  command.out.mkdir()
  video = write_video(command.out / 'walk.mp4', frames=2, size=(16, 16))
  before = video.read_bytes()
  assert 'is one of the inputs' in command(video, code=1)
  assert video.read_bytes() == before and [*command.out.iterdir()] == [video]
  video.rename(command.out / 'walk.mkv')
  write_picture(command.out / 'a.jpg')
  for _ in range(2):
    poses, _ = command('--boxes', 'whole', command.out / '**/*.jpg', command.out / '*.mkv')
    assert [pathlib.Path(pose['file']).name for pose in poses] == ['a.jpg', 'walk.mkv', 'walk.mkv']
  assert 'walk.mp4' in command('--boxes', 'whole', command.out, code=1)


def test_stopped_by_a_signal(command, run, monkeypatch):
  """What was predicted is written."""
  seen = media.Reader._seen

  def second_is_last(reader, medium, *given):
    if reader._number == 1:
      signal.raise_signal(signal.SIGINT)
    return seen(reader, medium, *given)

  monkeypatch.setattr(media.Reader, '_seen', second_is_last)
  with pytest.raises(SystemExit) as raised:
    command(run[1] / 'val')
  assert raised.value.code == 75
  assert len(json.loads((command.out / 'poses.json').read_text())) == 2


def test_the_example_of_the_docs(run, tmp_path, monkeypatch, capsys):
  page = pathlib.Path(predict.__file__).parent / 'docs/predict.md'
  code, = re.findall(r'```python\n(.*?)```', page.read_text(), re.S)
  monkeypatch.chdir(tmp_path)
  pathlib.Path('WORKDIR').symlink_to(run[0])
  pathlib.Path('picture.jpg').write_bytes(next((run[1] / 'val').iterdir()).read_bytes())
  exec(code, {})
  about, shapes = capsys.readouterr().out.splitlines()
  assert "'WORKDIR', step 7" in about and shapes == '(1, 17, 2) (1, 17)'
