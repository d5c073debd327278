"""What a user names as input, and videos as they come."""
import pathlib

import cv2
import numpy as np
import pytest

from input_pipeline.sources import media
from tests.refusals import fails


def write_picture(path, value=9):
  path.parent.mkdir(parents=True, exist_ok=True)
  cv2.imwrite(str(path), np.full((6, 8, 3), value, np.uint8))
  return path


def write_video(path, frames=5, size=(64, 48), rate=10, codec='mp4v'):
  """Frame i is 20 i + 30 all over, or nearly so; returns its path."""
  writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), rate, size)
  assert writer.isOpened()
  for i in range(frames):
    writer.write(np.full((size[1], size[0], 3), (20 * i + 30) % 256, np.uint8))
  writer.release()
  return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for name in ('p/b.png', 'p/a.jpg', 'p/sub/a.jpg', 'p/.hidden/c.jpg', 'p/out/overlays/a.jpg'):
    write_picture(pathlib.Path(name))
  pathlib.Path('p/notes.txt').write_text('no picture')
  return tmp_path


def test_what_inputs_name(folder):
  found = media.find(['p'], but_not='p/out')
  assert [(m.path, m.kind, m.name) for m in found] == [
    ('p/a.jpg', 'picture', 'a'), ('p/b.png', 'picture', 'b'), ('p/sub/a.jpg', 'picture', 'sub_a')]
  assert [m.path for m in media.find(['p/*.jpg', 'p/a.jpg', 'p/**/a.*'])] == [
    'p/a.jpg', 'p/out/overlays/a.jpg', 'p/sub/a.jpg']  # each once
  write_picture(pathlib.Path('q/sub/A.png'))
  names = [m.name for m in media.find(['p/sub', 'q/sub', '3', 'p/a.jpg', 'p/b.png'])]
  assert names == ['a', 'sub_A', 'camera3', 'p_a', 'b']
  pathlib.Path('3').write_bytes(pathlib.Path('p/a.jpg').read_bytes())
  assert media.find(['3'])[0].kind == 'picture'  # a file comes before a camera
  pathlib.Path('clip').write_bytes(b'RIFF0000AVI LIST')
  assert media.find(['clip'])[0].kind == 'video'


def test_what_was_written_is_no_input(folder):
  write_picture(pathlib.Path('p/out/own.png'))
  assert [m.path for m in media.find(['p/out'], but_not='p/out')] == ['p/out/own.png']
  assert [m.path for m in media.find(['p/**/a.*'], but_not='p/out')] == ['p/a.jpg', 'p/sub/a.jpg']


def test_what_names_nothing(folder):
  pathlib.Path('empty').mkdir()
  for text in ('x.jpg', 'p/*.tiff', '-1', '٣', '9' * 20):
    fails(lambda text=text: media.find([text]), 'no picture, video, folder or camera', text)
  fails(lambda: media.find(['empty']), "folder 'empty' holds no pictures")


def frames_of(path):
  video = media.Video(media.Medium(str(path), 'video', 'v'))
  return video, list(video)


def test_frames_of_a_video(tmp_path):
  video, frames = frames_of(write_video(tmp_path / 'v.mp4'))
  assert (video.rate, video.count, video.broken, video.problem) == (10, 5, [], '')
  assert [number for number, _ in frames] == [0, 1, 2, 3, 4]
  for number, image in frames:
    assert image.shape == (48, 64, 3) and image.dtype == np.uint8
    assert abs(image.mean() - (20 * number + 30)) < 5


def test_frames_are_rgb(tmp_path):
  writer = cv2.VideoWriter(str(tmp_path / 'v.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 5, (32, 32))
  writer.write(np.full((32, 32, 3), (200, 100, 0), np.uint8))  # BGR
  writer.release()
  _, [(_, image)] = frames_of(tmp_path / 'v.avi')
  assert np.abs(image.mean((0, 1)) - (0, 100, 200)).max() < 6


def test_broken_frames_keep_their_numbers(tmp_path):
  path, rng = tmp_path / 'v.mp4', np.random.default_rng(0)
  writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 10, (160, 120))
  for _ in range(60):
    coarse = rng.integers(0, 255, (12, 16, 3)).astype(np.uint8)
    writer.write(cv2.resize(coarse, (160, 120)))
  writer.release()
  data = bytearray(path.read_bytes())
  data[3000:9000] = rng.integers(0, 255, 6000).astype(np.uint8).tobytes()
  path.write_bytes(data)
  video, frames = frames_of(path)
  assert video.broken and len(frames) + len(video.broken) == 60
  assert sorted([*video.broken, *(number for number, _ in frames)]) == list(range(60))


def test_what_is_no_video(tmp_path):
  whole = write_video(tmp_path / 'whole.avi', frames=40, codec='MJPG').read_bytes()
  (tmp_path / 'cut.avi').write_bytes(whole[:len(whole) * 2 // 3])
  video, frames = frames_of(tmp_path / 'cut.avi')
  assert 10 < len(frames) < 39 and f'ends after {len(frames)} of 40 frames' in video.problem
  write_video(tmp_path / 'none.mp4', frames=0)
  (tmp_path / 'empty.mp4').write_bytes(b'')
  (tmp_path / 'text.mp4').write_text('no video')
  for name in ('none', 'empty', 'text'):
    fails(lambda name=name: frames_of(tmp_path / f'{name}.mp4'), f'{name}.mp4', 'cannot be opened',
          kind=OSError)
  for text in ('ffconcat version 1.0\nfile whole.avi', '\ufeff\n#EXTM3U\nwhole.avi'):
    (tmp_path / 'list\033[2J.mkv').write_text(text)
    fails(lambda: frames_of(tmp_path / 'list\033[2J.mkv'), 'lists files', r"list\x1b[2J.mkv'",
          kind=OSError)
  fails(lambda: frames_of(tmp_path), 'is no file', kind=OSError)
  fails(lambda: media.Video(media.Medium('97', 'camera', 'c')), 'camera 97 cannot be opened',
        kind=OSError)


def test_a_video_whose_name_is_no_utf8(tmp_path):
  path = tmp_path / 'v\udcff.mp4'
  write_video(tmp_path / 'v.mp4').rename(path)
  assert len(frames_of(path)[1]) == 5


def test_what_is_no_file_is_a_problem_among_others(folder):
  found = media.find(['/dev/null', 'p/a.jpg'])
  reader = media.Reader(found, lambda *_: (np.zeros((0, 4)), np.zeros(0), None))
  assert [picture.medium.path for picture in reader] == ['p/a.jpg']
  assert len(reader.problems) == 1 and "'/dev/null' cannot be opened" in reader.problems[0]
