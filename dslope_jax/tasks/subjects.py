"""A set of people as scoring needs it."""
import dataclasses

import numpy as np

from dslope_jax.evaluation.pose_scores import Subjects
from dslope_jax.metrics import people as people_lib
from input_pipeline.sources.source import Source


def of_source(source: Source, detections: bool = False) -> Subjects:
  """The people of a source; detections: its rows are a detector's boxes."""
  truth, ids = source.as_coco(), source.annotation_id
  people = people_lib.from_coco(truth, source.skeleton.num_keypoints)
  # A box that met nobody has no labelled joint, whatever its id.
  shown = np.isin(ids, people.annotation_id) & source.labelled.any(1)
  own = np.full(len(ids), -1)
  own[shown] = people.rows(ids[shown])
  keypoints = people.keypoints.copy()
  keypoints[own[shown]] = source.keypoints[shown]  # those of a dict may be rounded
  return Subjects(
    name=source.name, split=source.split, skeleton=source.skeleton,
    people=dataclasses.replace(people, keypoints=keypoints), truth=truth, own=own,
    detections=detections,
    image_id=source.image_id, annotation_id=ids, box_score=source.box_score, box=source.box,
    crop_area=source.scale.prod(1) * 200 ** 2, category_id=source.category_id,
    head_size=source.head_size, reference=source.reference)
