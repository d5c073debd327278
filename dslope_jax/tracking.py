"""The same people from frame to frame: ids by the overlap of boxes, and joints without jitter."""
import numpy as np
from scipy.optimize import linear_sum_assignment

from input_pipeline.geometry import iou


class Tracker:
  """Ids of the boxes of a video, from 1.

  A frame's boxes and the last ones of known people are matched so that the sum of overlaps is
  highest (Hungarian method: Kuhn, Naval Research Logistics 1955). min_iou: of a pair. patience:
  frames for which somebody who is not seen is remembered.
  """

  def __init__(self, min_iou=0.3, patience=30):
    self.min_iou, self.patience = min_iou, patience
    self.known, self._frame, self._next = {}, 0, 1  # {id: (its last box, that box's frame)}

  def __call__(self, boxes) -> np.ndarray:
    """(P,) ids of the boxes (P,4) of the next frame."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    self._frame += 1
    self.known = {i: (box, seen) for i, (box, seen) in self.known.items()
                   if self._frame - seen <= self.patience + 1}
    names, out = list(self.known), np.zeros(len(boxes), np.int64)
    overlap = iou([self.known[i][0] for i in names], boxes)
    overlap[overlap < self.min_iou] = 0  # no pair, and no part of the sum
    for row, column in zip(*linear_sum_assignment(-overlap), strict=True):
      if overlap[row, column] > 0:
        out[column] = names[row]
    for column in np.flatnonzero(out == 0):
      out[column], self._next = self._next, self._next + 1
    self.known |= {int(i): (box, self._frame) for i, box in zip(out, boxes, strict=True)}
    return out


class OneEuro:
  """One-Euro filter of a point set: strong smoothing at rest, little lag in movement.

  x' = a x + (1 - a) x'_before, a = 1 / (1 + 1 / (2 pi f dt)), f = cutoff + beta |v|, and v is the
  change of x smoothed in the same way with f = 1 Hz. Source: Casiez, Roussel and Vogel, CHI 2012,
  section 3. |v| is the length of each point's own velocity. A point that is NaN was not seen;
  when it is seen again, its filter begins anew.
  cutoff: Hz. beta: Hz for one unit of length a second.
  """

  def __init__(self, cutoff=1.0, beta=2.0):
    self.cutoff, self.beta, self._last = cutoff, beta, None

  def __call__(self, points, time: float, unit: float = 1.0) -> np.ndarray:
    """Smoothed points (K,D) of this time in seconds, which must rise; unit: of length."""
    points = np.asarray(points, np.float64)
    if self._last is None:
      self._last = points, np.zeros_like(points), time
      return points
    before, velocity, then = self._last
    fresh = np.isnan(before)
    before, velocity = np.where(fresh, points, before), np.where(fresh, 0, velocity)
    step = time - then
    velocity = velocity + _share(1.0, step) * ((points - before) / step - velocity)
    speed = np.linalg.norm(velocity, axis=-1, keepdims=True) / unit
    points = before + _share(self.cutoff + self.beta * speed, step) * (points - before)
    self._last = points, velocity, time
    return points


class Tracks:
  """Ids and smoothed joints of the people of one video; speeds are in sides of their boxes."""

  def __init__(self):
    self._tracker, self._filters = Tracker(), {}

  def __call__(self, boxes, keypoints, time: float):
    """((P,) ids, (P,K,2) smoothed keypoints) of the next frame; NaN for joints not found."""
    ids = self._tracker(boxes)
    self._filters = {i: self._filters.get(i) or OneEuro() for i in self._tracker.known}
    smooth = [self._filters[i](points, time, max(1.0, *box[2:])) for i, points, box in
              zip(ids.tolist(), keypoints, boxes, strict=True)]
    return ids, np.array(smooth).reshape(np.shape(keypoints))


def _share(frequency, step):
  """The share of the new value in an exponential average."""
  return 1 / (1 + 1 / (2 * np.pi * frequency * step))
