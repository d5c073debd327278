"""Seconds of rescoring, suppression, AP and the occlusion report on drawn-up people, one process.

  python benchmarks/metrics.py [--quick] [--people 100000]

Pictures hold 1 to 9 people, often side by side; one box in ten is found twice.
"""
import pathlib
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from benchmarks import shared
from dslope_jax.metrics import keypoint_ap, occlusion, people, pose_errors
from dslope_jax.skeletons import COCO


def rows(quick=False, count=100_000):
  """(what, value, unit, reference, target) of all that is measured here."""
  truth, row, keypoints, joint_scores, areas = _draw(2_000 if quick else count)
  images = np.array([a['image_id'] for a in truth['annotations']])[row]
  seconds = {}

  def timed(name, function):
    before = time.perf_counter()
    result = function()
    seconds[name] = time.perf_counter() - before
    return result

  scores = timed('rescoring', lambda: keypoint_ap.rescore(joint_scores, np.ones(len(row))))
  kept = timed('suppression', lambda: keypoint_ap.select(images, keypoints, scores, areas,
                                                         COCO.sigmas))
  results = timed('as COCO results', lambda: keypoint_ap.to_coco_results(
    images[kept], keypoints[kept], joint_scores[kept], scores[kept]))
  timed('AP, pycocotools', lambda: keypoint_ap.coco_ap(truth, results, COCO.sigmas))
  crowd = timed('people as arrays', lambda: people.from_coco(truth, len(COCO.names)))
  match = timed('matching', lambda: pose_errors.match(crowd, images[kept], keypoints[kept],
                                                      COCO.sigmas))
  predictions = np.where(match[:, None, None] < 0, np.nan, keypoints[kept][match])
  right = timed('right joints', lambda: pose_errors.right_joints(
    predictions, crowd.keypoints, crowd.areas, COCO.sigmas))
  timed('report', lambda: occlusion.report(crowd, predictions, right, COCO))
  for name, value in seconds.items():
    yield name, value, 's', '', ''
  yield ('together', sum(seconds.values()), 's',
         f'{len(crowd)} people, {len(row)} boxes, {len(kept)} kept', '')


def main():
  parser = shared.parser(__doc__)
  parser.add_argument('--people', type=int, default=100_000)
  given = parser.parse_args()
  shared.show(rows(given.quick, given.people))


def _draw(count, seed=0):
  """A COCO dict of `count` people, and found boxes: person, pose, joint scores, area."""
  rng = np.random.default_rng(seed)
  picture = np.repeat(np.arange(count), rng.integers(1, 10, count))[:count]
  size = np.exp(rng.uniform(np.log(40), np.log(300), count))[:, None] * (0.5, 1)
  corner = rng.uniform(0, 1, (count, 2)) * (640, 480) - size / 2
  unit = rng.uniform(0, 1, (17, 2))
  joints = corner[:, None] + size[:, None] * (unit + rng.normal(0, 0.05, (count, 17, 2)))
  visibility = rng.choice(3, (count, 17), p=(0.3, 0.2, 0.5))
  labels = np.concatenate([joints, visibility[..., None]], -1).reshape(count, -1).tolist()
  boxes, area = np.concatenate([corner, size], 1).tolist(), 0.53 * size.prod(1)
  truth = {'images': [{'id': i, 'width': 640, 'height': 480} for i in range(picture[-1] + 1)],
           'categories': [{'id': 1}],
           'annotations': [{'id': i, 'image_id': int(picture[i]), 'category_id': 1,
                            'bbox': boxes[i], 'area': float(area[i]), 'keypoints': labels[i]}
                           for i in range(count)]}
  row = np.concatenate([np.arange(count), rng.integers(0, count, count // 10)])
  error = rng.gamma(2, 0.03, (count, 17, 1)) * rng.normal(0, 1, (count, 17, 2))
  error = error[row] + rng.normal(0, 0.003, (len(row), 17, 2))
  found = joints[row] + error * size[row, None, 1:]
  return truth, row, found, rng.uniform(0, 1, found.shape[:2]), size[row].prod(1) * 1.5625


if __name__ == '__main__':
  main()
