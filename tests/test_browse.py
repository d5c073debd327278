"""tools/browse.py: the sheet shows the very samples that training sees, for any task."""
import dataclasses
import json
import pathlib

import cv2
import numpy as np
import pytest

from configs import ccoco_hrnet
from dslope_jax import tasks
from dslope_jax.evaluation import drawing
from input_pipeline import stream
from tests import data_sets, tiny, toy
from tests.refusals import fails
from tools.browse import browse


def row_of(sheet, row, columns, shape):
  """The pictures of a row of a sheet whose cells have this shape (h, w)."""
  (h, w), top = shape, 36 + row * (shape[0] + 18)
  return [sheet[top:top + h, i * w:(i + 1) * w] for i in range(columns)]


def test_pairs_of_the_embedded_world(tmp_path):
  config, path = tiny.config('kl', recipe='severity3'), tmp_path / 'sheet.png'
  captions = browse(config, str(path), 3)
  sheet = cv2.imread(str(path))[..., ::-1]
  assert sheet.shape == (18 + 3 * (18 + 256), 5 * 128, 3)  # crops of 64x32, four times as large
  batch = next(tasks.build(config, str(tmp_path)).stream(0))
  zoomed = lambda crop: crop.repeat(4, 0).repeat(4, 1)
  for row in range(3):
    clean, joints, occluded, covered, target = row_of(sheet, row, 5, (256, 128))
    np.testing.assert_array_equal(clean, zoomed(batch['image'][row]))
    np.testing.assert_array_equal(occluded, zoomed(batch['occluded_image'][row]))
    assert (joints != clean).any() and (covered != joints).any()
    x, y = (4 * batch['keypoints'][row][batch['visibility'][row] > 0]).astype(int).T
    inside = (x >= 0) & (x < 128) & (y >= 0) & (y < 256)
    at_joints = target[y[inside], x[inside]].astype(int)
    assert (at_joints[:, 0] > at_joints[:, 2] + 40).all()  # red there, blue elsewhere
    assert captions[row].startswith('annotation ') and ', covered: ' in captions[row]
  assert any(not text.endswith('nothing') for text in captions)


def test_a_curriculum_shows_every_stage(tmp_path):
  captions = browse(tiny.config('none', recipe='none>severity5'), str(tmp_path / 's.png'), 5)
  stages = [text.partition(', recipe ')[2].partition(',')[0] for text in captions]
  assert stages == ['none'] * 3 + ['severity5'] * 2
  assert [text.endswith('covered: nothing') for text in captions] == [True] * 3 + [False] * 2


def test_a_plain_network_on_a_coco_file_sees_no_patches(tmp_path):
  root = data_sets.write_coco(tmp_path / 'data')
  truth = json.loads(pathlib.Path(root, 'annotations/person_keypoints_train.json').read_text())
  pathlib.Path(root, 'train/000001.jpg').write_bytes(b'no picture')
  config = tiny.config(None, name='coco', root=root, train_split='train')
  path = tmp_path / 'new' / 'sheet.jpg'
  captions = browse(config, str(path), 4)
  assert sum('000001.jpg' in text and 'annotation' not in text for text in captions) == 1
  assert sorted(text for text in captions if 'annotation' in text) == [
    f"annotation {a['id']}, {a['image_id']:06d}.jpg" for a in truth['annotations'][1:]]
  assert cv2.imread(str(path)).shape == (18 + 4 * (18 + 256), 3 * 128, 3)


def test_a_task_without_crops(tmp_path):
  assert browse(toy.get_config('pair'), str(tmp_path / 'rings.png'), 2)[0].startswith('ring ')
  ring = row_of(cv2.imread(str(tmp_path / 'rings.png')), 0, 1, (192, 192))[0]
  assert {0, 128, 255} <= set(np.unique(ring))  # one point of each ring is left out


def test_refusals(tmp_path):
  fails(lambda: browse(tiny.config(), str(tmp_path / 'sheet.pdf'), 1), 'sheet.pdf', '.jpg')
  config = ccoco_hrnet.get_config()
  config.data.root = str(tmp_path)
  fails(lambda: browse(config, str(tmp_path / 'a.jpg'), 1), tmp_path, kind=OSError)


@dataclasses.dataclass(frozen=True)
class Numbers:
  """A maker whose samples are their own row and index."""
  seed: int = 5

  def __len__(self):
    return 7

  def train(self, index, row):
    if row == 3:
      raise OSError('three is cut')
    return {'number': np.int32(100 * index + row)}

  def blank(self, row):
    return {'number': np.int32(-1)}

  def name(self, row):
    return str(row)


def test_first_samples_are_those_of_the_stream():
  batches = stream.train_stream(Numbers(), batch_size=2, max_unreadable=1)
  streamed = [int(n) for _ in range(5) for n in next(batches)['number']]
  batches.close()
  first = stream.first_samples(Numbers(), 10)
  assert [int(s['number']) for s in first] == streamed and len(set(streamed)) > 7
  assert {s['unreadable'].item() for s in first if s['row'] == 3} == {b'three is cut'}


@pytest.mark.parametrize('captions', [(), ('one', 'two')])
def test_a_sheet_has_a_line_for_titles_and_for_each_caption(captions):
  picture = np.full((200, 100, 3), 77, np.uint8)
  sheet = drawing.sheet([[picture, picture]] * 2, ('a', 'b'), captions)
  assert sheet.shape == (18 + 400 + 18 * len(captions), 200, 3)
  assert (sheet[-200:] == 77).all() and sheet[:18, :100].any() and sheet[:18, 100:].any()
