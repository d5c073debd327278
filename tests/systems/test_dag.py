"""DAG: losses and targets by the published code's numbers, the parts of a step, and the pair."""
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import quickstart_dag
from dslope_jax import heatmaps, skeletons, systems
from dslope_jax.errors import UserError
from dslope_jax.systems import dag, heatmap
from dslope_jax.systems.base import Facts, Forward
from dslope_jax.tasks import top_down
from dslope_jax.training import train_state
from input_pipeline import geometry

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden/dag'


def golden(name):
  with np.load(GOLDEN / f'{name}.npz') as found:
    return {k: found[k] for k in found.files if k != 'meta'}


def maps(array):
  """(B,K,h,w) -> (B,h,w,K)"""
  return np.moveaxis(array, -3, -1)


def test_losses_and_coordinates_are_the_published_ones():
  g = golden('losses_s28')
  heat, size = jnp.array(maps(g['pose_maps_in'])), (48, 64)  # crops of twice the maps
  x, y, height = heatmaps.peaks(heat)
  np.testing.assert_array_equal(np.stack([x, y], -1), g['argmax_xy'])
  np.testing.assert_allclose(height, g['argmax_val'][..., 0], rtol=1e-6)
  pixel = g['scale_in'][:, :1] * 200 / size[0]  # picture pixels of a crop pixel
  frame = np.concatenate([(g['bbox_xywh_in'][:, :2] - g['center_in']) / pixel + np.array(size) / 2,
                          g['bbox_xywh_in'][:, 2:] / pixel], 1)
  initial = dag.to_unit(heatmaps.to_crop(jnp.stack([x, y], -1), (24, 32), size), frame)
  truth = dag.to_unit(g['gt_crop_xy_in'], frame)
  np.testing.assert_allclose(initial, g['pred_norm'], rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(truth, g['gt_norm'], rtol=1e-4, atol=1e-4)
  refined = initial + g['offset_in']
  picture = heatmaps.to_picture(dag.from_unit(refined, frame), g['center_in'], g['scale_in'], size)
  np.testing.assert_allclose(picture, g['refined_image_xy'], rtol=1e-4, atol=1e-3)
  chance, weight, everybody = g['context_in'], g['weight_in'][..., 0], g['multi_weight_in'][..., 0]
  outputs = {'heatmaps': heat, 'parts': maps(g['multi_maps_in']), 'refined': refined,
             'presence_logits': np.log(chance / (1 - chance))}
  targets = (maps(g['target_in']), weight), (maps(g['multi_target_in']), everybody)
  terms = dag.loss_terms(outputs, *targets, (weight > 0, True), truth)
  want = {'heatmap': g['l_t'], 'multi': g['l_m'], 'presence': 1e-5 * g['l_sem_unweighted'],
          'pose': 0.01 * g['l_p_unweighted']}
  assert set(terms) == set(want)
  for name, value in want.items():
    np.testing.assert_allclose(terms[name], value, rtol=1e-4, err_msg=name)
  np.testing.assert_allclose(sum(terms.values()), g['total'], rtol=1e-5)
  doubled = dag.loss_terms(outputs, *targets, (weight > 0, True), truth,
                           {'multi': 2.0, 'presence': 2e-5, 'pose': 0.02})
  for name in ('multi', 'presence', 'pose'):
    np.testing.assert_allclose(doubled[name], 2 * terms[name], rtol=1e-5)


def test_tested_poses_are_decoded_as_published():
  g = golden('losses_s28')
  points, scores = heatmaps.decode(jnp.array(maps(g['pose_maps_in'])))
  np.testing.assert_allclose(scores, g['test_decode_val'][..., 0], rtol=1e-6)
  picture = heatmaps.to_picture(points, g['center_in'], g['scale_in'], (24, 32))
  np.testing.assert_allclose(picture, g['test_decode_image_xy'], rtol=1e-4, atol=2e-3)


def test_targets_of_three_people_are_the_published_ones():
  g = golden('targets_s29')
  size = 192, 256
  matrix = geometry.affine(g['center_in'], g['scale200_in'], 0, size)
  crop = geometry.transform(g['joints_image_in'].astype(np.float64), matrix)
  seen = g['visible_in'][0] > 0
  np.testing.assert_allclose(crop[0][seen], g['joints_crop'][seen, :2], atol=1e-3)

  def draw(keypoints, visibility):
    batch = {'keypoints': keypoints, 'visibility': visibility}
    return heatmap.draw_targets(batch, size, 96, sigma=3.0)

  others = np.zeros((1, 5, 17, 3), np.float32)
  others[0, :2] = np.concatenate([crop[1:], 2 * g['visible_in'][1:, :, None]], -1)
  own = draw(jnp.array(crop[:1], jnp.float32), 2 * g['visible_in'][:1])
  np.testing.assert_allclose(own[0][0], maps(g['target']), atol=1e-5)
  np.testing.assert_array_equal(own[1][0], g['target_weight'][:, 0])
  np.testing.assert_array_equal(own[1][0] > 0, g['presence'] > 0)
  drawn, weight = dag.multi_targets(*own, jnp.array(others), draw)
  np.testing.assert_allclose(drawn[0], maps(g['multi_target']), atol=1e-5)
  np.testing.assert_array_equal(weight[0], g['multi_weight'][:, 0])
  assert (weight != own[1]).any() and float(jnp.abs(drawn - own[0]).max()) == 0.5
  alone, _ = dag.multi_targets(*own, jnp.zeros_like(others), draw)
  np.testing.assert_array_equal(alone, own[0])


@pytest.mark.parametrize('words', ['no_attention', 'no_graph', 'no_guidance', 'no_presence',
                                   'double_only', 'spatial_attention', 'hops4', 'clean', 'states'])
def test_every_word_has_a_loss_and_a_prediction(words):
  """Of the fields that its system asks for; traced, not compiled."""
  config = quickstart_dag.get_config(words)
  config.system.model.update(dict(width=8, stem_width=8))
  facts = Facts(skeletons.COCO, (32, 64))
  system = systems.build(facts, **config.system.to_dict())
  example = top_down.example(facts)
  weights = train_state.weight_shapes(system, example)

  def both(weights, batch):
    forward = Forward(system.networks, weights['params'], weights['batch_stats'])
    of = lambda use: {name: batch[name] for name in system.fields[use]}
    return system.loss(forward, of('loss'))[1], system.predict(forward, of('predict'))

  terms, outputs = jax.eval_shape(both, weights, example)
  gone = {'no_attention': {'multi'}, 'no_presence': {'presence'}, 'no_graph': {'pose'},
          'double_only': {'multi', 'presence', 'pose'}}.get(words, set())
  more = {'visible', 'present'} if words == 'states' else set()
  assert {term.removeprefix('net/') for term in terms} == (
    {'heatmap', 'multi', 'presence', 'pose'} - gone | more)
  readouts = {'heatmap', 'refined'} if 'pose' not in gone else {'heatmap'}
  assert {name.split('/')[1] for name in outputs} == readouts


@pytest.mark.parametrize('term, word', [('presence', 'no_presence'), ('pose', 'no_graph')])
def test_a_part_that_nothing_trains_is_refused(term, word):
  """Its answers, `present` or the refined pose, would be those of first weights."""
  config = quickstart_dag.get_config()
  config.system.weights[term] = 0.0
  facts = Facts(skeletons.COCO, (32, 64))
  with pytest.raises(UserError, match=f"system.weights.{term} is 0, .*'{word}'"):
    systems.build(facts, **config.system.to_dict())
  system = quickstart_dag.get_config(word).system
  system.weights[term] = 0.0
  assert systems.build(facts, **system.to_dict()).networks


def test_a_box_without_a_side_gives_finite_poses():
  points = jnp.array([[[3., 4.], [50., 60.]]])
  for frame in (jnp.array([[3., 4., 0., 0.]]), jnp.array([[3., 4., 20., 0.]])):
    unit = dag.to_unit(points, frame)
    assert jnp.isfinite(unit).all()
    np.testing.assert_allclose(dag.from_unit(unit, frame), points, rtol=1e-5)
