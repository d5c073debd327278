"""CrowdPose evaluation: AP and AR of 14 joints, and AP by how crowded the picture is."""
import contextlib
import io
import itertools

import numpy as np
from pycocotools.cocoeval import COCOeval

from dslope_jax.errors import UserError
from dslope_jax.metrics import keypoint_ap
from dslope_jax.skeletons import CROWDPOSE

STATISTICS = ('AP', 'AP50', 'AP75', 'AR', 'AR50', 'AR75', 'AP(easy)', 'AP(medium)', 'AP(hard)')
# Below the first easy, below the second medium. The paper says 0.1 and 0.8; the official evaluator
# and those made from it, whose numbers papers print, use 0.2.
CROWD_LEVELS = (0.2, 0.8)


def crowdpose_ap(ground_truth, results, image_ids=None, levels=CROWD_LEVELS):
  """AP and AR of results on CrowdPose, by pycocotools.

  ground_truth: COCO dict as `input_pipeline.crowdpose` gives it, every picture with a crowdIndex;
  it is left as it is. A person's area is 0.53 * box width * height, whatever `area` says; those
  whose num_keypoints is 0 are ignored, a count that as published leaves out head and neck.
  results: list of dicts as from `keypoint_ap.to_coco_results`, 14 joints; at most 20 poses per
  picture count. image_ids: the pictures to evaluate, all if None. levels: crowd indices that part
  easy from medium from hard.
  Returns a dict of floats 0..1 under `STATISTICS`, not rounded (the official evaluator rounds the
  levels to 4 decimals); nan for a level without people.
  Raises UserError as `keypoint_ap.coco_ap` does, and for a picture without a crowdIndex.
  """
  people = [{k: v for k, v in a.items() if k != 'area'} for a in ground_truth['annotations']]
  truth, poses = keypoint_ap.indexed(ground_truth | {'annotations': people}, results,
                                     CROWDPOSE.num_keypoints, image_ids)
  crowding = _crowding(ground_truth, truth.getImgIds())
  with contextlib.redirect_stdout(io.StringIO()):
    evaluation = _CrowdPoseEval(truth, poses)
    evaluation.evaluate()
    precision, recall = evaluation.tables(list(crowding))
    table = _summary(precision, recall)
    low, high = levels
    for name, inside in (('easy', lambda c: c < low), ('medium', lambda c: low <= c < high),
                         ('hard', lambda c: high <= c)):
      precision, _ = evaluation.tables([i for i, c in crowding.items() if inside(c)])
      table[f'AP({name})'] = _mean(precision)
  return table


class _CrowdPoseEval(COCOeval):
  """COCO's evaluation with CrowdPose's sigmas, over all sizes at once; matched once, read often."""

  def __init__(self, truth, poses):
    super().__init__(truth, poses, 'keypoints')
    self.params.kpt_oks_sigmas = np.array(CROWDPOSE.sigmas)
    self.params.areaRng, self.params.areaRngLbl = [[0, 1e10]], ['all']

  def tables(self, image_ids):
    """precision (T,R,...) and recall (T,...) over some of the pictures that were matched."""
    chosen, matched, all_ids = set(image_ids), self.evalImgs, self.params.imgIds
    self.params.imgIds = [i for i in all_ids if i in chosen]
    self._paramsEval.imgIds = self.params.imgIds
    self.evalImgs = [m for m, i in zip(matched, itertools.cycle(all_ids), strict=False)
                     if i in chosen]
    self.accumulate()
    self.evalImgs, self.params.imgIds = matched, all_ids
    return self.eval['precision'], self.eval['recall']


def _crowding(ground_truth, image_ids):
  """{picture: crowd index} of the pictures evaluated."""
  given = {image['id']: image.get('crowdIndex') for image in ground_truth['images']}
  for number in image_ids:
    if not isinstance(given[number], (int, float)) or not np.isfinite(given[number]):
      raise UserError(f'picture {number} has the crowdIndex {given[number]!r}, not a number; give '
                      "CrowdPose's own annotations, or evaluate by keypoint_ap.coco_ap")
  return {number: given[number] for number in image_ids}


def _summary(precision, recall):
  at50, at75 = 0, 5  # of the ten thresholds 0.50, 0.55, ... 0.95
  return {'AP': _mean(precision), 'AP50': _mean(precision[at50]), 'AP75': _mean(precision[at75]),
          'AR': _mean(recall), 'AR50': _mean(recall[at50]), 'AR75': _mean(recall[at75])}


def _mean(values):
  """Mean of a table, in which pycocotools marks by -1 that nobody was to be found."""
  known = values[values > -1]
  return float(known.mean()) if known.size else float('nan')
