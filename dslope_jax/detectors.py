"""People by an ONNX detector: YOLOX, RTMDet and RT-DETR, told by what they put out.

Classes are COCO's 80, of which 0 is the person, or the person alone.
"""
import os
from typing import NamedTuple

import cv2
import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.files import check_file, first_line
from input_pipeline.geometry import iou

_GREY = 114  # around pictures, as all of them were trained
_NMS = 0.65  # YOLOX's own
# RTMDet's, in BGR order (mmdet's configs); YOLOX takes pixels as they are.
_MEAN, _DEVIATION = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
_FORMS = """YOLOX as (1,N,5+classes), YOLOX or RTMDet with NMS as dets (1,N,5) and labels (1,N), \
RT-DETR as labels, boxes and scores, or as logits (1,N,classes) and boxes (1,N,4)"""


class Found(NamedTuple):
  """Boxes (N,4) x, y, width, height in pixels, best first, and their scores (N,) 0 to 1."""
  boxes: np.ndarray
  scores: np.ndarray


class Detector:
  """Finds people by an ONNX file: detector(picture) -> Found.

  min_score: of what is found. `about` says which detector it was taken for.
  Raises UserError for a file that cannot be read or puts out something else, and without the
  package onnxruntime.
  """

  def __init__(self, path, min_score=0.3):
    self.path, self.min_score = path, min_score
    try:
      import onnxruntime
    except ImportError:
      raise UserError("a detector needs the package onnxruntime: pip install -e '.[onnx]'"
                      ) from None
    check_file(path)
    onnxruntime.set_default_logger_severity(4)
    try:
      self._session = onnxruntime.InferenceSession(
        path, providers=onnxruntime.get_available_providers())
    except Exception as error:  # it has no common type
      raise UserError(f"'{path}' is no ONNX file that onnxruntime can run ({first_line(error)})"
                      ) from None
    inputs, self._outputs = self._session.get_inputs(), self._session.get_outputs()
    self.form = _form(self._outputs, path)
    height, width = inputs[0].shape[2:] if len(inputs[0].shape) == 4 else (None, None)
    self._size = tuple(n if isinstance(n, int) and n > 0 else 640 for n in (width, height))
    self._inputs = inputs
    self.about = f"'{path}': {self.form}, {self._size[0]}x{self._size[1]}"

  def __call__(self, picture) -> Found:
    """picture: (H,W,3) uint8 RGB."""
    prepare, read = _KINDS[self.form]
    image, back = prepare(picture, self._size)
    kind = np.float16 if 'float16' in self._inputs[0].type else np.float32
    given = {self._inputs[0].name: np.ascontiguousarray(image.transpose(2, 0, 1)[None], kind)}
    if len(self._inputs) > 1:  # of RT-DETR: the size that its boxes come in
      given[self._inputs[1].name] = np.array([picture.shape[1::-1]], np.int64)
    try:
      outputs = self._session.run(None, given)
    except Exception as error:  # it has no common type
      raise UserError(f"'{self.path}' does not run on a picture ({first_line(error)})") from None
    corners, scores = read(_sorted(outputs, self._outputs), self._size, picture.shape[1::-1])
    corners = corners.astype(np.float64) * back
    return _people(corners, scores, picture.shape[1::-1], self.min_score,
                   _NMS if self.form == 'yolox' else 1.0)


def _form(outputs, path):
  """Which detector has these outputs; only the last sides and the types are looked at."""
  shapes = [(len(o.shape), o.shape[-1] if o.shape else None, 'int' in o.type) for o in outputs]
  ranks = sorted((rank, last if rank == 3 else None) for rank, last, _ in shapes if rank)
  if len(ranks) == 1 and ranks[0][0] == 3 and isinstance(ranks[0][1], int) and ranks[0][1] > 5:
    return 'yolox'
  lasts = [last for rank, last in ranks if rank == 3]
  if [rank for rank, _ in ranks] == [2, 3] and lasts == [5]:
    return 'yolox with nms' if 'yolox' in os.path.basename(path).lower() else 'rtmdet'
  if [rank for rank, _ in ranks] == [2, 2, 3] and lasts == [4]:
    return 'rt-detr'
  if [rank for rank, _ in ranks] == [3, 3] and 4 in lasts:
    return 'rt-detr logits'
  found = ', '.join(f'{o.name} {tuple(o.shape)}' for o in outputs[:8])
  raise UserError(f"'{path}' puts out {found}, which is none of the known detectors: {_FORMS}")


def _sorted(outputs, described):
  """Outputs in the order boxes, scores or logits, labels."""
  place = lambda pair: (pair[0].ndim != 3 or pair[0].shape[-1] not in (4, 5), 'int' in pair[1].type)
  return [output[0] for output, _ in sorted(zip(outputs, described, strict=True), key=place)]


def _letterbox(picture, size):
  """(picture in BGR on grey, in the upper left; factor of the way back)."""
  height, width = picture.shape[:2]
  ratio = min(size[0] / width, size[1] / height)
  inner = max(1, round(width * ratio)), max(1, round(height * ratio))
  out = np.full((size[1], size[0], 3), _GREY, np.uint8)
  out[:inner[1], :inner[0]] = cv2.resize(picture[..., ::-1], inner, interpolation=cv2.INTER_LINEAR)
  return out, 1 / ratio


def _standard_letterbox(picture, size):
  image, back = _letterbox(picture, size)
  return (image - np.float32(_MEAN)) / np.float32(_DEVIATION), back


def _stretch(picture, size):
  """The picture stretched to the size, 0 to 1; boxes come in pixels of the picture."""
  return cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR) / np.float32(255), 1.0


def _read_yolox(outputs, size, _):
  """(N,5+classes): centre and logarithm of the sides in cells of three grids, or decoded pixels."""
  rows = outputs[0].astype(np.float64)
  center, side, score = rows[:, :2], rows[:, 2:4], rows[:, 4] * rows[:, 5:].max(1)
  person = rows[:, 5:].argmax(1) == 0
  # Logarithms of at most log(size / 8); a decoded set of boxes always has one of 20 pixels.
  if side.max(initial=0) < 20:
    cells, strides = _grid(size)
    if len(cells) != len(rows):
      raise UserError(f'the detector puts out {len(rows)} boxes, its grids have {len(cells)} cells')
    center, side = (center + cells) * strides, np.exp(side) * strides
  return np.concatenate([center - side / 2, center + side / 2], 1)[person], score[person]


def _grid(size):
  """Corners of all cells (N,2) of strides 8, 16, 32, row by row, and their strides (N,1)."""
  cells, strides = [], []
  for stride in (8, 16, 32):
    y, x = np.mgrid[:size[1] // stride, :size[0] // stride]
    cells.append(np.stack([x.ravel(), y.ravel()], 1))
    strides.append(np.full((x.size, 1), stride))
  return np.concatenate(cells), np.concatenate(strides)


def _read_dets(outputs, *_):
  person = outputs[1] == 0
  return outputs[0][person, :4], outputs[0][person, 4]


def _read_boxes(outputs, *_):
  boxes, scores, labels = outputs
  return boxes[labels == 0], scores[labels == 0]


def _read_logits(outputs, _, picture_size):
  """Centre and sides in shares of the picture, and a logit for every class."""
  boxes, logits = (x.astype(np.float64) for x in outputs)
  scores = 1 / (1 + np.exp(-logits))
  corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
  return corners * np.tile(picture_size, 2), scores[:, 0]


# {form: (picture, size -> network's picture (h,w,3), factor of boxes back), (outputs, size, size of
# the picture -> corners x1, y1, x2, y2 (N,4), scores (N,))}
_KINDS = {'yolox': (_letterbox, _read_yolox), 'yolox with nms': (_letterbox, _read_dets),
          'rtmdet': (_standard_letterbox, _read_dets), 'rt-detr': (_stretch, _read_boxes),
          'rt-detr logits': (_stretch, _read_logits)}


def _people(corners, scores, picture_size, min_score, threshold):
  """`Found` of corners (N,4), clipped to the picture, those of a pixel and more; of two that
  overlap more than the threshold, the better one."""
  corners = np.clip(corners, 0, np.tile(picture_size, 2))
  boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
  keep = (scores >= min_score) & (boxes[:, 2:] >= 1).all(1) & np.isfinite(boxes).all(1)
  boxes, scores = boxes[keep], np.asarray(scores, np.float64)[keep]
  order, kept = np.argsort(-scores, kind='stable'), []
  while order.size:
    kept.append(order[0])
    order = order[1:][iou(boxes[order[:1]], boxes[order[1:]])[0] <= threshold]
  return Found(boxes[kept], scores[kept])
