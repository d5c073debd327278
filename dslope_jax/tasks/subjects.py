"""A source of people as what poses are scored by."""
import numpy as np

from dslope_jax.evaluation.pose_scores import Subjects
from dslope_jax.metrics import people
from input_pipeline.sources.source import Source


def of_source(source: Source, detections=False) -> Subjects:
  """What scoring needs to know of a source; made once per set.

  detections: the rows are a detector's boxes, several of which can meet one person.
  """
  truth = source.as_coco()
  everybody = people.from_coco(truth, source.skeleton.num_keypoints)
  ids = {number: row for row, number in enumerate(everybody.annotation_id.tolist())}
  own = np.array([ids.get(number, -1) for number in source.annotation_id.tolist()], np.int64)
  flags = {a['id']: a['covered'] for a in truth['annotations'] if 'covered' in a}
  none = [0] * source.skeleton.num_keypoints
  covered = [flags.get(number, none) for number in source.annotation_id.tolist()]
  return Subjects(
    name=source.name, split=source.split, skeleton=source.skeleton, people=everybody, truth=truth,
    own=own, detections=detections, image_id=source.image_id, keypoints=source.keypoints,
    visibility=source.visibility, box=source.box, box_score=source.box_score,
    crop_area=source.scale.prod(1) * 200 ** 2, category_id=source.category_id,
    head_size=source.head_size, reference=source.reference,
    annotated_covered=np.array(covered, bool) if flags else None)
