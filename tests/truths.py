"""What a source holds, given back as if a network had predicted it."""
import numpy as np

from dslope_jax.metrics import keypoint_ap


def own_poses(source):
  """The annotated poses as COCO results of full score."""
  return keypoint_ap.to_coco_results(
    source.image_id, source.keypoints, np.ones(source.visibility.shape), np.ones(len(source)),
    source.category_id)


def average_precision_of_own(source):
  return keypoint_ap.coco_ap(source.ground_truth, own_poses(source), source.skeleton.sigmas)['AP']
