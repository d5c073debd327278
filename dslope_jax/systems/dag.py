"""DAG: attention picks the features of the target person, a graph network corrects the pose.

Source: Xu et al., A comprehensive framework for occluded human pose estimation (ICASSP 2024), and
its published code, which is meant where a docstring says 'published'. Its answers are two:
'heatmap', the pose as the heatmaps have it, and 'refined', the same after the graph network.
"""
import jax
import jax.numpy as jnp
import numpy as np
import optax

from dslope_jax import heatmaps, losses, models
from dslope_jax.errors import UserError
from dslope_jax.systems import heatmap, joint_states
from dslope_jax.systems.base import Facts, Learner, System, normalise, single
from dslope_jax.visibility import is_labelled

_WEIGHTS = {'multi': 1.0, 'presence': 1e-5, 'pose': 0.01}  # published


def build(facts: Facts, view='occluded', states=False, **kwargs) -> System:
  """Networks 'net' and 'gcn' trained on one kind of crops.

  states: as for `heatmap.build`. The rest is that of `learner`.
  """
  made = learner(facts, view=view, **kwargs)
  return single(joint_states.add(made, facts, view) if states else made, view)


def learner(facts: Facts, model, gcn, view='occluded', sigma=3.0, codec='hrnet', joint_weights=None,
            mutual=None, weights=_WEIGHTS, coord_norm='crop', graph=True, reference=False
            ) -> Learner:
  """Heatmaps of the target person, and a graph network on their peaks.

  model: name and arguments of `models.build`, 'dag'. gcn: those of the graph network, 'pose_gcn'.
  view: the crops they are trained on, 'occluded' or 'clean'.
  sigma: of the target, in heatmap pixels. codec, joint_weights: as for `heatmap.learner`.
  mutual: of `heatmap.compare`; of the features the largest maps of stages 3 and 4 are compared.
  weights: factors of the loss terms: 'multi', heatmaps of everybody in the picture; 'presence',
    whether a joint is inside of it; 'pose', L1 distance of the refined coordinates.
  coord_norm: the rectangle in which coordinates are -1 to 1, 'crop', or as published 'box', that of
    the person.
  graph: False leaves the graph network out; the word 'no_graph' after the config's name sets it.
  reference: as published, a joint without a target counts as absent, and the graph network
    normalises by the batch at test, too.
  """
  rule, skeleton = heatmaps.codec(codec), facts.skeleton
  networks = {'net': models.build(**model, num_keypoints=skeleton.num_keypoints)}
  _check(skeleton, networks['net'], weights, coord_norm, graph)
  stride = 2 if networks['net'].double else 4
  map_size = facts.size[1] // stride, facts.size[0] // stride
  if graph:
    networks['gcn'] = models.build(**gcn, num_keypoints=skeleton.num_keypoints,
                                   heatmap_size=map_size, edges=skeleton.graph, reference=reference)
  to_crop = lambda points: heatmaps.to_crop(points, map_size[::-1], facts.size, rule.unbiased)

  def frame(inputs):
    """The rectangles x, y, width, height of `to_unit`."""
    return inputs[1] if coord_norm == 'box' else jnp.array([[0, 0, *facts.size]], jnp.float32)

  def run(forward, inputs):
    outputs = forward('net', normalise(inputs[0]))
    if not graph:
      return outputs
    maps = outputs['heatmaps']
    initial = to_unit(to_crop(jnp.stack(heatmaps.peaks(maps)[:2], -1)), frame(inputs))
    offset = forward('gcn', initial, maps)['offset']
    return outputs | {'refined': initial + offset, 'frame': frame(inputs)}

  def fit(outputs, batch):
    maps = outputs['heatmaps']

    def draw(keypoints, visibility):
      return heatmap.draw_targets({'keypoints': keypoints, 'visibility': visibility}, facts.size,
                                  maps.shape[2], sigma, joint_weights, codec)

    own = draw(batch['keypoints'], batch['visibility'])
    everybody = multi_targets(*own, batch['others'], draw) if 'parts' in outputs else None
    presence = presence_labels(own[1], batch) if 'presence_logits' in outputs else None
    truth = to_unit(batch['keypoints'], outputs['frame']) if graph else None
    return loss_terms(outputs, own, everybody, presence, truth, weights)

  def presence_labels(weight, batch):
    if reference:
      return weight > 0, True
    gone = batch['outside'] if view == 'occluded' else False
    return tuple(of['present'] for of in joint_states.targets(batch['visibility'], outside=gone))

  def predict(forward, inputs, *, flip=True, shift=True, with_heatmaps=False):
    """The arguments are those of `heatmap.learner`. As published the graph network gets the
    decoded peaks of both pictures, and the heatmaps of the upright one."""
    images, mirrored = normalise(inputs[0]), None
    outputs = forward('net', images, train=False)
    if flip and skeleton.flip_pairs is not None:
      mirrored = forward('net', images[:, :, ::-1], train=False)
    pose = heatmap.pose_of(outputs, mirrored, facts, rule, sigma, shift, with_heatmaps)
    if 'presence_logits' in outputs:
      chances = jax.nn.sigmoid(outputs['presence_logits'])
      if mirrored:
        back = jax.nn.sigmoid(mirrored['presence_logits'])[:, np.array(skeleton.flip_order)]
        chances = (chances + back) / 2
      pose['present'] = chances
    if not graph:
      return {'heatmap': pose}
    initial = to_unit(pose['keypoints'], frame(inputs))
    offset = forward('gcn', initial, outputs['heatmaps'], train=False)['offset']
    return {'heatmap': pose,
            'refined': pose | {'keypoints': from_unit(initial + offset, frame(inputs))}}

  def shapes(inputs):
    of_graph = {'gcn': networks['gcn'].example(inputs[0].shape[0])} if graph else {}
    return heatmap.image_shapes(inputs) | of_graph

  def compare(own, partner, batch):
    upper = lambda outputs: outputs | {'features': [stage[:1] for stage in outputs['features'][1:]]}
    return heatmap.compare(mutual, upper(own), upper(partner), batch, first_stage=3)

  more = ('box',) if coord_norm == 'box' else ()
  truth = ('keypoints', 'visibility') + ('others',) * networks['net'].attention + (
    'outside',) * (networks['net'].presence and view == 'occluded' and not reference)
  return Learner(networks, {'clean': ('image', *more), 'occluded': ('occluded_image', *more)},
                 truth, shapes, run, fit, compare, predict,
                 ('heatmap', 'refined') if graph else ('heatmap',), stride)


def _check(skeleton, network, weights, coord_norm, graph):
  """UserError for arguments of `learner` that do not fit."""
  if coord_norm not in ('crop', 'box'):
    raise UserError(f"system.coord_norm is 'crop' or 'box', not '{coord_norm}'")
  if set(weights) != set(_WEIGHTS):
    raise UserError(f'system.weights has the terms {", ".join(_WEIGHTS)}, not '
                    f'{", ".join(weights) or "none"}')
  for term, part, word in (('presence', network.presence, 'no_presence'),
                           ('pose', graph, 'no_graph')):
    if part and not weights[term]:
      raise UserError(f'system.weights.{term} is 0, so that nothing trains what it is of, and its '
                      f"answers mean nothing: leave it out by the word '{word}' after the config's "
                      'name')
  if graph and not skeleton.graph:
    raise UserError(f"DAG's graph needs limbs, and the keypoints of {skeleton.name} have none: "
                    "give the category a 'skeleton', or the word 'no_graph' after the config's "
                    'name')


def to_unit(points, frame):
  """(B,K,2) points of the crop in coordinates that are -1 to 1 in a rectangle (B or 1,4), x, y,
  width, height; sides are at least a pixel."""
  return 2 * (points - frame[:, None, :2]) / jnp.maximum(frame[:, None, 2:], 1) - 1


def from_unit(points, frame):
  """Inverse of `to_unit`."""
  return (points + 1) / 2 * jnp.maximum(frame[:, None, 2:], 1) + frame[:, None, :2]


def multi_targets(target, weight, others, draw):
  """Heatmaps (B,h,w,K) and weights (B,K) of everybody in the picture.

  target, weight: those of the person. others: (B,P,K,3) crop pixels and visibility of the other
  people, those without joints last. draw: (keypoints (B,K,2), visibility (B,K)) -> heatmaps,
  weights. The others count half (published).
  """
  visibility = others[..., 2]
  seen = is_labelled(visibility).any(-1)  # (B,P)
  # A loop as long as the fullest picture asks for: most have two or three people, not P.
  count = jnp.where(seen, jnp.arange(1, seen.shape[1] + 1), 0).max()

  def add(i, found):
    return jax.tree.map(jnp.maximum, found, draw(others[:, i, :, :2], visibility[:, i]))

  maps, weights = jax.lax.fori_loop(0, count, add, jax.tree.map(jnp.zeros_like, (target, weight)))
  return jnp.maximum(target, 0.5 * maps), jnp.maximum(weight, weights)


def loss_terms(outputs, own, everybody, presence, truth, weights=_WEIGHTS):
  """{term: scalar}, l_t, l_m, l_sem and l_p of the published code; a part that `outputs` do not
  have has none.

  outputs: heatmaps and parts (B,h,w,K), presence_logits (B,K), refined (B,K,2). own, everybody:
  targets (B,h,w,K) and weights (B,K) of `heatmaps` and of `parts`. presence: (B,K) labels of
  presence, and whether they are known. truth: (B,K,2) of the refined coordinates. weights: factors.
  """
  terms = {'heatmap': losses.heatmap_mse(outputs['heatmaps'], *own)}
  if 'parts' in outputs:
    terms['multi'] = weights['multi'] * losses.heatmap_mse(outputs['parts'], *everybody)
  if 'presence_logits' in outputs:
    logits, (present, known) = outputs['presence_logits'], presence
    cost = optax.sigmoid_binary_cross_entropy(logits, jnp.asarray(present, logits.dtype))
    terms['presence'] = weights['presence'] * (known * cost).mean()
  if 'refined' in outputs:
    distance = own[1][..., None] * jnp.abs(outputs['refined'] - truth)
    terms['pose'] = weights['pose'] * distance.mean()
  return terms
