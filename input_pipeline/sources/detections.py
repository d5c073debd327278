"""A detector's boxes instead of the ground-truth ones."""
import dataclasses
import functools
import os

import numpy as np

from dslope_jax import plausibility
from dslope_jax.errors import UserError
from input_pipeline.geometry import box_to_center_scale, iou
from input_pipeline.sources.checks import stated_sizes
from input_pipeline.sources.coco import read_json, read_row
from input_pipeline.sources.source import Source

# What a row has of its box, not of its person.
_OF_BOX = ('image_id', 'file', 'box', 'center', 'scale', 'box_score')


def with_detections(source: Source, path, *, aspect, padding, min_iou=0.5):
  """The same pictures with a detector's boxes (COCO result file) instead of the ground-truth ones.

  aspect, padding: those of the annotated boxes, so that a box has one crop, whoever found it.

  Each box takes the keypoints of the annotated person that it overlaps most, at least by min_iou;
  they place the occluder and are never shown to a network. A box that meets nobody has none; it
  counts as a false alarm, also on a picture without people.
  Returns the source, with the findings of the file beside its own, and the number of boxes on
  pictures that the source does not have.
  Raises UserError naming the file and the entry.
  """
  source.need_pictures("a detector's box")
  if not source.folder:
    raise UserError(f"a detector's box needs pictures in files, which {source.name} has not; "
                    "evaluate with boxes 'gt'")
  detections = read_json(path)
  truth = source.as_coco()
  categories = [category['id'] for category in truth['categories']]
  rows_of = {}
  for row, image in enumerate(source.image_id.tolist()):
    rows_of.setdefault(image, []).append(row)
  images = {image['id']: image for image in truth['images']}
  boxes, scores, entries, rows, numbers, flat, elsewhere = [], [], [], [], [], [], 0
  for i, d in enumerate(detections):
    try:
      if d.get('category_id', categories[0]) not in categories:
        continue
      box, score, image = [float(v) for v in d['bbox']], float(d['score']), int(d['image_id'])
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
      box, score, image = [], 0.0, None
    if len(box) != 4 or not (np.abs([*box, score]) < 1e9).all():
      raise UserError(f'{path}: entry {i} is not a detection with image_id, bbox (x, y, width, '
                      'height) and score; mend or remove it')
    if image not in images:
      elsewhere += 1
    elif min(box[2:]) <= 0:
      flat.append(i)
    else:
      overlap = iou(box, source.box[rows_of.get(image, [])])[0]
      near = overlap.size > 0 and overlap.max() >= min_iou
      rows.append(rows_of[image][int(overlap.argmax())] if near else -1)
      numbers.append(i)
      boxes.append(box)
      scores.append(score)
      entries.append(images[image])
  if not boxes:
    raise UserError(f'{path}: none of its {len(detections)} boxes is of category {categories[0]} '
                    f'and on a picture of {source.name} {source.split}; is it the file of another '
                    'split?')
  rows, boxes = np.array(rows), np.array(boxes, np.float32)
  found = findings_of_boxes(boxes, stated_sizes(entries), numbers, flat, path)
  center, scale = box_to_center_scale(boxes.T, aspect, padding)
  files = np.array([os.path.join(source.folder, e['file_name']) for e in entries])
  nobody = lambda column: np.zeros_like(column, shape=(1, *column.shape[1:]))  # row -1
  of_person = {name: np.concatenate([column, nobody(column)])[rows]
               for name, column in source.columns().items() if name not in _OF_BOX}
  return dataclasses.replace(
    source, **of_person, image_id=np.array([e['id'] for e in entries], np.int64), file=files,
    box=boxes, center=center, scale=scale, box_score=np.array(scores, np.float32),
    read=functools.partial(read_row, files, stated_sizes(entries)), ground_truth=truth,
    mask=lambda row: None, parts=lambda row: {},
    findings=(*source.findings, *found) if source.findings else tuple(found)), elsewhere


def findings_of_boxes(boxes, sizes, numbers, flat, path):
  """What looks wrong with a file of boxes; raises UserError if that is an error.

  boxes: (N,4) x, y, width, height. sizes: (N,2) of their pictures, 0 where unknown. numbers: (N,)
  entries of the file. flat: those without area, which are left out.
  """
  none = np.zeros((len(boxes), 0, 2))
  found = plausibility.check(plausibility.Table(
    np.array(numbers), sizes, boxes, none, none[..., 0] > 0))
  if flat:
    found.append(plausibility.Finding(
      'boxes-without-area', 'warning', f'{len(flat)} boxes without width or height are left out',
      len(flat), tuple(flat[:3]), 'have the detector leave them out'))
  plausibility.refuse(found, path, 'entry')
  return found
