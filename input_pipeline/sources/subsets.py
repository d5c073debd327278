"""Parts of a data set that are scored on their own."""
import dataclasses

import numpy as np

from dslope_jax.errors import UserError
from dslope_jax.visibility import HIDDEN, is_labelled
from input_pipeline import geometry
from input_pipeline.sources.source import Source

_LABELLED, _HIDDEN, _OVERLAP = 8, 0.3, 0.3


def chosen(source: Source, name: str) -> Source:
  """The people of a subset; '' for all. In the ground truth the others count as without labels, so
  that they are neither found nor missed. Raises UserError for another name."""
  if not name:
    return source
  if name != 'occluded':
    raise UserError(f"data.loader.subset is 'occluded', or '' for everybody, not '{name}'")
  rows = occluded(source)
  if not len(rows):
    raise UserError(f'{source.name} {source.split} has nobody who is occluded: at least '
                    f"{_LABELLED} labelled joints are asked for; leave data.loader.subset ''")
  kept = set(source.annotation_id[rows].tolist())
  people = [a if a['id'] in kept else a | {'num_keypoints': 0}
            for a in source.ground_truth['annotations']]
  return dataclasses.replace(source.subset(rows), name=f'{source.name} {name}',
                             ground_truth=source.ground_truth | {'annotations': people})


def occluded(source: Source) -> np.ndarray:
  """Rows of people with 8 or more labelled joints of whom 30 % are hidden (v = 1), or whose box
  overlaps that of another annotated person by an intersection over union above 0.3.

  This project's own definition, of an occluded part of COCO's validation set; not the MSCOCO-RE of
  DAG's paper, which was never published.
  """
  boxes = {}  # as annotated, by picture and person
  for person in source.ground_truth['annotations']:
    if not person.get('iscrowd', 0):
      boxes.setdefault(person['image_id'], {})[person['id']] = person['bbox']
  labelled = is_labelled(source.visibility).sum(1)
  rows, hidden = [], (source.visibility == HIDDEN).sum(1) >= _HIDDEN * labelled
  for row in np.flatnonzero(labelled >= _LABELLED).tolist():
    others = dict(boxes.get(int(source.image_id[row]), {}))
    own = others.pop(int(source.annotation_id[row]))
    near = others and geometry.iou(own, list(others.values())).max() > _OVERLAP
    if near or hidden[row]:
      rows.append(row)
  return np.array(rows, np.int64)
