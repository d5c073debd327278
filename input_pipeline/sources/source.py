"""The one form in which every annotated data set enters: people in columns."""
import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable

import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.skeletons import Skeleton
from dslope_jax.visibility import is_labelled
from input_pipeline import workers

_AREA_OF_BOX = 0.53  # CrowdPose's official evaluator: where no area is known, this share of the box


def _no_mask(row):
  return None


def _no_parts(row):
  return {}


@dataclasses.dataclass(frozen=True)
class Source(workers.Shared):
  """N people, one row each, in columns. The copy in a data worker shares their memory; it has no
  ground truth, and no masks that are drawn from annotations.

  Pixels are those of the full picture. A set is a function `load(split, **options) ->
  Source`: that of a file `input_pipeline/sources/<name>.py`, or one of the table in coco_sets.py.

  name, split: for messages and the protocol stamp.
  skeleton: the K keypoints.
  image_id, annotation_id: (N,) int64; annotation_id is unique.
  file: (N,) str, what `read` opens and what messages name.
  box: (N,4) float32 x, y, width, height.
  center: (N,2) float32; scale: (N,2) float32, padded box side / 200 (HRNet's convention).
  keypoints: (N,K,2) float32; visibility: (N,K) uint8, 0 not labelled, 1 hidden, 2 visible, 3
    outside of the picture, see docs/visibility.md.
  box_score: (N,) float32; 1 for ground-truth boxes.
  read: row -> (H,W,3) uint8 RGB, the picture, or the part of it that `frames` says; raises OSError
    if it cannot be read.
  mask: row -> (H,W) bool instance mask, or None where the person has none.
  parts: row -> {part: (H,W) bool}, masks of body parts where the set has them; a part's name is
    one of `bank.PARTS`, with left_ or right_ before it if the side is known.
  ground_truth: the annotations as a COCO dict, for COCO's own metric.
  Columns that are None where a set has no such thing:
  area: (N,) float32, square pixels of the person, where it is not 0.53 of the box.
  head_size: (N,) float32, the length that PCKh divides by; 0 where there is none.
  reference: (N,) float32, the length that NME divides by, where it is not a distance of points.
  keypoints_3d: (N,K,3) float32 mm, in the camera's frame: x right, y down, z forward.
  camera: (N,4) float32, focal length and principal point fx, fy, cx, cy, pixels of the picture.
  identity: (N,) int64, equal for rows that show the same person.

  folder: of the pictures, where they are files.
  findings: what looked wrong when the set was loaded, see findings.py; None if not looked at.
  frames: (N,4) int32, where `read` gives a part of a picture: x and y of its first pixel, how many
    pixels a side became one by their mean, and the width of the full picture.
  """
  name: str
  split: str
  skeleton: Skeleton
  image_id: np.ndarray
  annotation_id: np.ndarray
  file: np.ndarray
  box: np.ndarray
  center: np.ndarray
  scale: np.ndarray
  keypoints: np.ndarray
  visibility: np.ndarray
  box_score: np.ndarray
  read: Callable[[int], np.ndarray]
  mask: Callable[[int], np.ndarray | None] = _no_mask
  parts: Callable[[int], dict[str, np.ndarray]] = _no_parts
  ground_truth: dict | None = None
  area: np.ndarray | None = None
  head_size: np.ndarray | None = None
  reference: np.ndarray | None = None
  keypoints_3d: np.ndarray | None = None
  camera: np.ndarray | None = None
  identity: np.ndarray | None = None
  folder: str = ''
  frames: np.ndarray | None = None
  findings: tuple | None = None
  stays_behind = ('ground_truth',)

  def __len__(self):
    return len(self.annotation_id)

  def __getitem__(self, row: int) -> int:
    return int(row)

  def by_picture(self) -> list[np.ndarray]:
    """For each row the rows of the other people of its picture, ascending."""
    return self._by_picture

  @functools.cached_property
  def _by_picture(self):
    order = np.argsort(self.image_id, kind='stable')
    starts = np.unique(self.image_id[order], return_index=True)[1][1:]
    others = [order[:0]] * len(self)
    for rows in np.split(order, starts):
      for row in rows.tolist() if len(rows) > 1 else ():
        others[row] = rows[rows != row]
    return others

  @property
  def labelled(self) -> np.ndarray:
    """(N,K) bool: the keypoint has a place in the picture."""
    return is_labelled(self.visibility)

  @property
  def category_id(self) -> int:
    """What COCO results and detections of these people are marked with."""
    return self.ground_truth['categories'][0]['id'] if self.ground_truth else 1

  @property
  def digest(self) -> str:
    """Short hash of who is in the set and where: equal on every machine."""
    h = hashlib.sha256()
    for column in (self.image_id, self.annotation_id, self.box, self.keypoints, self.visibility):
      h.update(np.ascontiguousarray(column).tobytes())
    return h.hexdigest()[:12]

  def need_pictures(self, what):
    """Raises UserError where `read` gives parts of pictures; what: what needs whole ones."""
    if self.frames is not None:
      raise UserError(f'{what} needs whole pictures, but {self.name} {self.split} has crops only; '
                      'take the data set that they were prepared from')

  def crop_map(self, row, matrix):
    """A (2,3) map from the full picture of a row to a crop, as a map from what `read` gives."""
    if self.frames is None:
      return matrix
    x, y, shrink, _ = self.frames[row].astype(float)
    # Whole numbers are the centres of pixels, so this is the centre of the first one that is read.
    place = np.array([x, y]) + (shrink - 1) / 2
    return np.column_stack([matrix[:, :2] * shrink, matrix[:, :2] @ place + matrix[:, 2]])

  def picture_width(self, row, image) -> int:
    """Width of the full picture of a row; image: what `read` gave."""
    return image.shape[1] if self.frames is None else int(self.frames[row, 3])

  def columns(self) -> dict[str, np.ndarray]:
    """All arrays of N rows, by their field."""
    fields = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
    return {name: value for name, value in fields if isinstance(value, np.ndarray)}

  def subset(self, rows) -> 'Source':
    """The people of these rows, in this order; the ground truth keeps everybody."""
    rows = np.asarray(rows, np.int64)
    columns = {name: column[rows] for name, column in self.columns().items()}
    at = lambda function: functools.partial(_of_row, function, rows)
    return dataclasses.replace(self, **columns, read=at(self.read), mask=at(self.mask),
                               parts=at(self.parts))

  def as_coco(self) -> dict:
    """The annotations as a COCO dict: the set's own, or made from the columns."""
    if self.ground_truth is not None:
      return self.ground_truth
    flat = np.concatenate([self.keypoints, self.visibility[..., None]], -1).reshape(len(self), -1)
    boxes = self.box.astype(np.float64).round(3)
    areas = _AREA_OF_BOX * boxes[:, 2:].prod(1) if self.area is None else self.area
    people = [
      {'id': number, 'image_id': image, 'category_id': 1, 'iscrowd': 0, 'bbox': box, 'area': area,
       'num_keypoints': count, 'keypoints': keypoints}
      for number, image, box, area, count, keypoints in zip(
        self.annotation_id.tolist(), self.image_id.tolist(), boxes.tolist(), areas.tolist(),
        self.labelled.sum(1).tolist(), flat.round(3).tolist(), strict=True)]
    names = dict(zip(self.image_id.tolist(), self.file.tolist(), strict=True))
    above = os.path.join(self.folder, '')
    return {'images': [{'id': i, 'file_name': f.removeprefix(above)} for i, f in names.items()],
            'annotations': people,
            'categories': [{'id': 1, 'name': 'person', 'keypoints': list(self.skeleton.names),
                            'skeleton': [[a + 1, b + 1] for a, b in self.skeleton.limbs]}]}


def _of_row(function, rows, row):
  return function(int(rows[row]))
