"""SMAP's refinement network against the published one, and what goes in and comes out."""
import jax
import numpy as np

from dslope_jax import models
from dslope_jax.models import refine_net
from dslope_jax.weights import pytorch
from tests.golden import rule
from tests.golden_data import published_weights, relative_error
from tests.part_golden import golden


def test_outputs():
  arrays, meta = golden('refinenet_s36')
  module = models.build('refine_net', num_keypoints=15)
  weights = published_weights(module, module.example(), meta['seed'])
  x = rule.normal(meta['seed'], 'input', (meta['B'], 75)).reshape(-1, 15, 5)
  out = module.apply(pytorch.convert('refine_net', weights, num_keypoints=15), x)
  assert relative_error(out['pose'].reshape(-1, 45), arrays['out']) < 1e-5
  variables = jax.eval_shape(module.lazy_init, jax.random.key(0), *module.example())
  assert sum(x.size for x in jax.tree.leaves(variables['params'])) == 159469


def test_refined_people():
  """Three people, of whom one has a joint that was not found."""
  arrays, meta = golden('associate_s83')
  module = models.build('refine_net', num_keypoints=15)
  weights = published_weights(module, module.example(), meta['seed'])
  joints, pose = arrays['people_px_relz_f64'][..., :2], arrays['people_3d_f64'][..., :3]
  found = arrays['people_px_relz_f64'][..., 3] > 0
  assert found.shape == (3, 15) and not found.all()
  out = module.apply(pytorch.convert('refine_net', weights, num_keypoints=15),
                     refine_net.features(joints, pose, found, root=2))
  np.testing.assert_allclose(refine_net.refined(out['pose'], pose, root=2),
                             arrays['refined_3d_f64'][..., :3], atol=1e-3)


def test_features_and_pose():
  joints = np.float32([[[10, 20], [13, 24], [0, 0]]])
  pose = np.float32([[[1, 2, 300], [2, 2, 310], [0, 0, 0]]])
  found = np.array([[True, True, False]])
  np.testing.assert_array_equal(refine_net.features(joints, pose, found, 0), [
    [[10, 20, 1, 2, 300], [3, 4, 1, 0, 10], [0, 0, 0, 0, 0]]])
  offsets = np.float32([[[5, 5, 5], [1, 0, 9], [-1, 1, 20]]])
  np.testing.assert_array_equal(refine_net.refined(offsets, pose, 0), [
    [[1, 2, 300], [2, 2, 309], [0, 3, 320]]])
