"""Picture files as they come: what is read is right, what is refused costs nothing."""
import io
import os
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from dslope_jax.errors import UserError, one_line, quoted
from input_pipeline import stream
from input_pipeline.sources import mat_files, picture_headers, pictures
from input_pipeline.sources.pictures import read_picture
from tests.refusals import fails

SIZE = (96, 64)
RGB = cv2.resize(np.random.default_rng(0).integers(0, 255, (8, 12, 3), np.uint8), SIZE)


def written(path, **options):
  """The content of the texture saved in the format of the ending."""
  Image.fromarray(RGB).save(path, **options)
  return path.read_bytes()


def exif(orientation, order='<'):
  """An APP1 segment, by hand: one directory with the orientation alone."""
  block = ((b'II' if order == '<' else b'MM') + struct.pack(order + 'HIH', 42, 8, 1)
           + struct.pack(order + 'HHIHHI', 0x112, 3, 1, orientation, 0, 0))
  body = b'Exif\0\0' + block
  return b'\xff\xe1' + struct.pack('>H', len(body) + 2) + body


def resized_jpeg(content, width, height):
  """A JPEG whose header states another size."""
  at = content.index(b'\xff\xc0')
  return content[:at + 5] + struct.pack('>HH', height, width) + content[at + 9:]


def png(width, height, bits=1):
  """A PNG of zeros, which packs to next to nothing."""
  def chunk(kind, body):
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
  pack = zlib.compressobj(9)
  row = b'\0' * (1 + -(-width * bits // 8))
  packed = b''.join(pack.compress(row) for _ in range(height)) + pack.flush()
  return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, bits, 0, 0,
                                                           0, 0))
          + chunk(b'IDAT', packed) + chunk(b'IEND', b''))


@pytest.mark.parametrize('size', [(64, 64), (0, 0)], ids=['stated', 'not stated'])
def test_bombs_are_refused_by_their_header(tmp_path, size, monkeypatch):
  def never(*_):
    raise AssertionError('decoded')
  monkeypatch.setattr(cv2, 'imdecode', never)
  jpeg = resized_jpeg(cv2.imencode('.jpg', np.zeros((64, 64, 3), np.uint8))[1].tobytes(), 20000,
                      20000)
  webp = b'RIFF\x32\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0' + (16382).to_bytes(3, 'little') * 2
  bombs = {'a.jpg': (jpeg, '20000x20000'), 'a.png': (png(16000, 16000), '16000x16000'),
           'a.webp': (webp, '16383x16383'), 'a.gif': (b'GIF89a' + b'\xff' * 40, '65535x65535'),
           'a.bmp': (b'BM' + struct.pack('<12xIii', 40, 30000, -30000), '30000x30000'),
           'a.ppm': (b'P6 # 3 4\n 30000\n30000 255\n', '30000x30000')}
  for name, (content, stated) in bombs.items():
    (tmp_path / name).write_bytes(content)
    assert len(content) < 50_000
    tracemalloc.start()
    fails(lambda name=name: read_picture(str(tmp_path / name), size), name, stated,
          str(pictures.MAX_PIXELS), kind=OSError)
    assert tracemalloc.get_traced_memory()[1] < 2 ** 20
    tracemalloc.stop()


def test_another_size_is_refused_before_decoding(tmp_path, monkeypatch):
  (tmp_path / 'a.png').write_bytes(png(4000, 4000))
  assert read_picture(str(tmp_path / 'a.png'), (4000, 4000)).shape == (4000, 4000, 3)
  monkeypatch.setattr(cv2, 'imdecode', None)
  fails(lambda: read_picture(str(tmp_path / 'a.png'), (64, 64)), 'is 4000x4000', 'says 64x64',
        'mend width and height', kind=OSError)


def test_special_files_are_not_opened(tmp_path):
  os.mkfifo(tmp_path / 'pipe.jpg')
  os.symlink('/dev/zero', tmp_path / 'zero.jpg')
  (tmp_path / 'folder.jpg').mkdir()
  with open(tmp_path / 'huge.jpg', 'wb') as file:
    file.truncate(2 ** 40)  # sparse
  reasons = {'pipe': 'no regular file', 'zero': 'no regular file', 'folder': 'directory',
             'huge': 'more than', 'none': 'No such file'}
  for name, reason in reasons.items():
    fails(lambda name=name: read_picture(str(tmp_path / f'{name}.jpg')), name,
          'cannot be opened', reason, kind=OSError)
  fails(lambda: read_picture('a\0b'), "'a\\x00b'", 'cannot be opened', kind=OSError)


@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation_in_jpeg(tmp_path, orientation, order):
  path = tmp_path / 'a.jpg'
  plain = written(path)
  stored = read_picture(str(path))
  path.write_bytes(plain[:2] + exif(orientation, order) + plain[2:])
  upright = np.array(ImageOps.exif_transpose(Image.open(path)))
  np.testing.assert_array_equal(read_picture(str(path), SIZE), stored)
  np.testing.assert_array_equal(read_picture(str(path)), stored)  # without a size: as stored
  np.testing.assert_array_equal(read_picture(str(path), upright=True), upright)
  if orientation < 5:
    fails(lambda: read_picture(str(path), SIZE[::-1]), '96x64', '64x96', kind=OSError)
  else:
    np.testing.assert_array_equal(read_picture(str(path), SIZE[::-1]), upright)
    fails(lambda: read_picture(str(path), (50, 60)), f'EXIF orientation {orientation}',
          'turned size', kind=OSError)


@pytest.mark.parametrize('ending', ['png', 'webp', 'tif'])
def test_exif_orientation_elsewhere(tmp_path, ending):
  for orientation in range(5, 9):
    tags = Image.Exif()
    tags[0x112] = orientation
    path = tmp_path / f'{orientation}.{ending}'
    written(path, exif=tags, **({'lossless': True} if ending == 'webp' else {}))
    upright = ImageOps.exif_transpose(Image.open(path).convert('RGB'))
    np.testing.assert_array_equal(read_picture(str(path), SIZE[::-1]), np.array(upright))


def test_damaged_exif_counts_as_none(tmp_path):
  path = tmp_path / 'a.jpg'
  plain = written(path)
  for block in (b'', b'II*\0', b'XX*\0\x08\0\0\0', b'II*\0\xff\xff\xff\xff', exif(99)[10:]):
    body = b'Exif\0\0' + block
    path.write_bytes(plain[:2] + b'\xff\xe1' + struct.pack('>H', len(body) + 2) + body + plain[2:])
    assert picture_headers.read(path.read_bytes()).orientation == 1
    assert read_picture(str(path)).shape == (64, 96, 3)


def test_deep_pictures_are_scaled_by_their_range(tmp_path):
  deep = RGB[..., ::-1].astype(np.uint16) * 257
  for ending in ('png', 'tif'):
    path = str(tmp_path / f'a.{ending}')
    cv2.imwrite(path, deep)
    np.testing.assert_array_equal(read_picture(path), RGB)
    cv2.imwrite(path, deep >> 4)
    fails(lambda path=path: read_picture(path), '16 bits', 'no value above', '8 bits',
          kind=OSError)
    cv2.imwrite(path, deep * 0)
    assert not read_picture(path).any()
  cv2.imwrite(str(tmp_path / 'float.tif'), RGB.astype(np.float32))
  fails(lambda: read_picture(str(tmp_path / 'float.tif')), '32 bits', kind=OSError)


@pytest.mark.parametrize('mode', ['L', 'LA', 'RGBA', 'P', 'CMYK', '1'])
def test_every_mode_is_rgb_as_pillow_has_it(tmp_path, mode):
  image = Image.fromarray(RGB).convert(mode)
  for ending in {'CMYK': ('jpg', 'tif'), 'LA': ('png',)}.get(mode, ('png', 'tif')):
    path = tmp_path / f'a.{ending}'
    image.save(path)
    wanted = np.array(Image.open(path).convert('RGB')).astype(int)
    assert np.abs(read_picture(str(path)) - wanted).max() <= 2, ending


FORMATS = ('jpg', 'png', 'webp', 'gif', 'bmp', 'tif', 'ppm', 'jp2', 'avif')


@pytest.mark.parametrize('ending', FORMATS)
def test_formats_and_cut_files(tmp_path, ending):
  path = tmp_path / f'a.{ending}'
  whole = written(path)
  header = picture_headers.read(whole)
  assert header == (*SIZE, 8, 1)
  assert np.abs(read_picture(str(path), SIZE).astype(int) - RGB).mean() < 10
  for share in (0.05, 0.5, 0.95):
    path.write_bytes(whole[:int(share * len(whole))])
    fails(lambda: read_picture(str(path)), 'is broken', kind=OSError)


@given(st.binary(max_size=300), st.sampled_from(FORMATS), st.data())
def test_damaged_headers_never_end_in_a_traceback(noise, ending, data):
  out = io.BytesIO()
  Image.fromarray(RGB).save(out, {'jpg': 'JPEG', 'tif': 'TIFF', 'jp2': 'JPEG2000'}.get(
    ending, ending.upper()))
  whole = out.getvalue()
  at = data.draw(st.integers(0, len(whole)))
  for content in (noise, whole[:12] + noise, whole[:at] + noise + whole[at + len(noise):]):
    try:
      header = picture_headers.read(content)
      assert header.width > 0 and header.height > 0
    except UserError:
      pass


def test_what_follows_a_jpeg_is_no_harm(tmp_path):
  path = tmp_path / 'a.jpg'
  for options in ({}, {'progressive': True}, {'quality': 95, 'subsampling': 0}):
    whole = written(path, **options)
    wanted = read_picture(str(path))
    film = b'\0\0\0\x18ftypmp42' + b'\xff\xda\0\x08' * 5000 + b'\xff\xd8\xff'
    for tail in (film, b'\0' * 5000, whole, b'\xff' * 9):  # Motion Photo, padding, MPO
      path.write_bytes(whole + tail)
      np.testing.assert_array_equal(read_picture(str(path)), wanted)
    path.write_bytes(whole[:-40] + b'\0' * 3000)
    fails(lambda: read_picture(str(path)), 'ends too early', kind=OSError)


def test_a_jpeg_of_countless_scans_is_refused(tmp_path):
  """Each would cost a pass over the picture."""
  whole = written(tmp_path / 'a.jpg', progressive=True)
  first = whole.index(b'\xff\xda')
  scan = whole[first:first + 40].replace(b'\xff\xd9', b'')
  (tmp_path / 'a.jpg').write_bytes(whole[:first] + scan * 500 + whole[first:])
  fails(lambda: read_picture(str(tmp_path / 'a.jpg')), 'more than 200 scans', kind=OSError)


def test_mat_files_that_unpack_to_gigabytes(tmp_path):
  path = tmp_path / 'a.mat'
  scipy.io.savemat(path, {'joints': np.zeros((2 ** 26,))}, do_compression=True)  # 512 MB
  assert path.stat().st_size < 2 ** 20
  tracemalloc.start()
  fails(lambda: mat_files.read_variable(str(path), 'joints'), path, 'unpacks to more')
  assert tracemalloc.get_traced_memory()[1] < 2 ** 24
  tracemalloc.stop()
  scipy.io.savemat(path, {'joints': np.eye(3)}, do_compression=True)
  np.testing.assert_array_equal(mat_files.read_variable(str(path), 'joints'), np.eye(3))


# ---- names in messages

@pytest.mark.parametrize('name', ['\x1b[2J', 'a\nerror: b', 'caf\udce9', '\u202ecod', 'a' * 10**6])
def test_names_in_messages(name):
  for text in (str(UserError(f'file {name} is odd; mend it')), quoted(name), one_line(name)):
    assert text.isprintable()
    assert len(text) < 5000
    text.encode('utf-8')
  assert str(UserError('é is kept')) == 'é is kept'


class _Files:
  """A Maker of numbers; some rows cannot be read."""
  seed = 0

  def __init__(self, count, broken):
    self.count, self.broken = count, broken

  def __len__(self):
    return self.count

  def train(self, index, row):
    if row in self.broken:
      raise OSError(f'file {row} is torn')
    return {'x': np.float32(1)}

  def blank(self, row):
    return {'x': np.float32(0)}

  def name(self, row):
    return f'{row}\udce9'


@pytest.mark.parametrize('workers', [0, 1])
def test_unreadable_files_are_told_with_the_reason(capsys, workers):
  batches = stream.train_stream(_Files(40, {3, 5}), batch_size=8, max_unreadable=2,
                                num_workers=workers)
  total = sum(float(next(batches)['x'].sum()) for _ in range(5))
  batches.close()
  assert total == 38
  printed = capsys.readouterr().out
  assert printed.count('file 3 is torn; it counts as without labels') == 1
  assert printed.count('\n') == 2


@pytest.mark.parametrize('count', [4, 1000])
def test_a_stream_of_nothing_stops_with_the_first_reason(count):
  batches = stream.train_stream(_Files(count, set(range(count))), batch_size=8,
                                max_unreadable=10**6)
  fails(lambda: [next(batches) for _ in range(9)], 'no file can be read', 'is torn', kind=OSError)
