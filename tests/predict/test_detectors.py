"""Detectors are told by what they put out; files of the same form stand in for them.

The files need the packages onnx and onnxruntime, which are no others' need.
"""
import sys

import numpy as np
import pytest

from dslope_jax import detectors
from dslope_jax.detectors import Detector
from tests.refusals import fails

SIZE, PICTURE = (64, 32), np.zeros((60, 40, 3), np.uint8)  # W, H of the network; H, W of a picture
RATIO = 32 / 60  # of the letterbox
# Corners in the picture: two people, one of them twice, one unsure, a dog; and one without area.
CORNERS = np.array([[2, 3, 20, 50], [22, 10, 38, 58], [3, 3, 20, 50], [5, 5, 30, 30],
                    [1, 1, 30, 55], [7, 7, 7, 9]], np.float32)
SCORES = np.array([0.9, 0.8, 0.7, 0.1, 0.95, 0.9], np.float32)
LABELS = np.array([0, 0, 0, 0, 16, 0])
PEOPLE = {'yolox': [0, 1], 'others': [0, 1, 2]}  # only YOLOX comes with its doubles


def classes(scores):
  """(N,80) scores of all classes."""
  out = np.zeros((len(scores), 80), np.float32)
  out[np.arange(len(scores)), LABELS] = scores
  return out


def raw_yolox():
  """The boxes as a network says them: some cells of three grids, the others empty."""
  cells, strides = detectors._grid(SIZE)
  out = np.zeros((len(cells), 85), np.float32)
  for i, corners in enumerate(CORNERS * RATIO):
    center, side = (corners[:2] + corners[2:]) / 2, np.maximum(corners[2:] - corners[:2], 1e-9)
    out[3 * i] = [*(center / strides[3 * i] - cells[3 * i]), *np.log(side / strides[3 * i]), 1.0,
                  *classes(SCORES)[i]]
  return out


def decoded_yolox():
  center, side = (CORNERS[:, :2] + CORNERS[:, 2:]) / 2, CORNERS[:, 2:] - CORNERS[:, :2]
  boxes = np.concatenate([center, side], 1) * RATIO
  return np.concatenate([boxes, np.ones((6, 1)), classes(SCORES)], 1).astype(np.float32)


def dets():
  return np.concatenate([CORNERS * RATIO, SCORES[:, None]], 1)


def logits():
  scores = np.clip(classes(SCORES), 1e-6, 1 - 1e-6)
  return np.log(scores / (1 - scores))


def shares():
  center, side = (CORNERS[:, :2] + CORNERS[:, 2:]) / 2, CORNERS[:, 2:] - CORNERS[:, :2]
  return np.concatenate([center, side], 1) / np.float32((40, 60, 40, 60))


FORMS = {  # {name of the file: (form, outputs by name)}
  'a': ('yolox', lambda: {'output': raw_yolox()}),
  'b': ('yolox', lambda: {'output': decoded_yolox()}),
  'yolox_m': ('yolox with nms', lambda: {'dets': dets(), 'labels': LABELS}),
  'rtmdet': ('rtmdet', lambda: {'dets': dets(), 'labels': LABELS}),
  'd': ('rt-detr', lambda: {'labels': LABELS, 'boxes': CORNERS, 'scores': SCORES}),
  'e': ('rt-detr logits', lambda: {'logits': logits(), 'pred_boxes': shares()})}


def write(path, outputs, second=False):
  """An ONNX file that puts out these arrays, each as the only one of a batch."""
  onnx = pytest.importorskip('onnx', reason='stand-ins for detectors are made with onnx')
  pytest.importorskip('onnxruntime', reason='detectors run in onnxruntime')
  helper, nodes, infos = onnx.helper, [], []
  for name, value in outputs.items():
    tensor = onnx.numpy_helper.from_array(value[None], name + '_values')
    nodes.append(helper.make_node('Constant', [], [name], value=tensor))
    infos.append(helper.make_tensor_value_info(name, tensor.data_type, value[None].shape))
  inputs = [helper.make_tensor_value_info('images', onnx.TensorProto.FLOAT, (1, 3, *SIZE[::-1]))]
  if second:
    inputs.append(helper.make_tensor_value_info('sizes', onnx.TensorProto.INT64, (1, 2)))
  graph = helper.make_graph(nodes, 'detector', inputs, infos)
  model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=9)
  onnx.save(model, path)
  return str(path)


@pytest.mark.parametrize('name', FORMS)
def test_people_of_every_form(name, tmp_path):
  form, outputs = FORMS[name]
  path = write(tmp_path / f'{name}.onnx', outputs(), second=form == 'rt-detr')
  detector = Detector(path, min_score=0.3)
  assert detector.form == form and f'{form}, 64x32' in detector.about
  boxes, scores = detector(PICTURE)
  wanted = PEOPLE['yolox' if form == 'yolox' else 'others']
  np.testing.assert_allclose(scores, SCORES[wanted], atol=1e-5)
  np.testing.assert_allclose(boxes[:, :2], CORNERS[wanted, :2], atol=1e-3)
  np.testing.assert_allclose(boxes[:, 2:], (CORNERS[:, 2:] - CORNERS[:, :2])[wanted], atol=1e-3)


def test_files_of_other_forms(tmp_path):
  other = write(tmp_path / 'v8.onnx', {'output0': np.zeros((84, 5, 2), np.float32)})
  fails(lambda: Detector(other), 'v8.onnx', 'output0 (1, 84, 5, 2)', 'none of the known detectors')
  (tmp_path / 'text.onnx').write_text('no network')
  fails(lambda: Detector(str(tmp_path / 'text.onnx')), 'is no ONNX file')
  fails(lambda: Detector(str(tmp_path / 'no.onnx')), 'no file', kind=FileNotFoundError)


def test_without_the_package(monkeypatch):
  monkeypatch.setitem(sys.modules, 'onnxruntime', None)
  fails(lambda: Detector('a.onnx'), "pip install -e '.[onnx]'")


def test_what_networks_are_shown():
  picture = np.full((60, 40, 3), (10, 20, 30), np.uint8)
  image, back = detectors._letterbox(picture, SIZE)
  assert image.shape == (32, 64, 3) and back == pytest.approx(60 / 32)
  assert image[0, 0].tolist() == [30, 20, 10] == image[31, 20].tolist()  # BGR
  assert image[0, 21].tolist() == [114] * 3
  image, _ = detectors._standard_letterbox(picture, SIZE)
  np.testing.assert_allclose(image[0, 0], [(30 - 103.53) / 57.375, (20 - 116.28) / 57.12,
                                           (10 - 123.675) / 58.395], rtol=1e-5)
  image, back = detectors._stretch(picture, SIZE)
  np.testing.assert_allclose(image, np.broadcast_to(np.divide((10, 20, 30), 255), (32, 64, 3)))
  assert detectors._letterbox(np.zeros((1, 1000, 3), np.uint8), SIZE)[0].shape == (32, 64, 3)


def test_people_without_any_package():
  """The numbers of every form are read alike."""
  for form, arrays in (('yolox', [raw_yolox()]), ('yolox', [decoded_yolox()]),
                       ('rtmdet', [dets(), LABELS]), ('rt-detr', [CORNERS, SCORES, LABELS]),
                       ('rt-detr logits', [shares(), logits()])):
    corners, scores = detectors._KINDS[form][1](arrays, SIZE, (40, 60))
    back = 1 if 'detr' in form else 1 / RATIO
    found = detectors._people(corners * back, scores, (40, 60), 0.3, 0.65)
    np.testing.assert_allclose(found.scores, [0.9, 0.8], atol=1e-5)
    np.testing.assert_allclose(found.boxes, [[2, 3, 18, 47], [22, 10, 16, 48]], atol=1e-3)
  fails(lambda: detectors._read_yolox([raw_yolox()[:-1]], SIZE, None), 'grids have 42 cells')
