"""Lifting: 3D poses of clips of 2D poses, root-relative; one network, or the learner of a pair.

Clips come normalised as `cameras.normalise_screen` does; a target may have any unit whose x changes
sign in a mirror. Sources: losses of Zhu et al., MotionBERT (ICCV 2023), and of Zhang et al., MixSTE
(CVPR 2022), as published with their code. PoseMoE (models/pose_moe.py) is a reconstruction, and
nothing is known of its losses.
"""
import jax
import jax.numpy as jnp

from dslope_jax import models
from dslope_jax.errors import UserError
from dslope_jax.systems.base import Facts, Learner, System, single

# MotionBERT's and TCPFormer's on Human3.6M.
_WEIGHTS = {'position': 1.0, 'scale': 0.5, 'velocity': 20.0, 'smoothness': 0.0, 'encoder': 0.0}
_POSES = 'keypoints_3d', 'encoder_keypoints_3d'  # outputs in the unit of the target
# MixSTE's, with its factors of Human3.6M's joints.
TRACK_B = dict(
  weights={'position': 1.0, 'scale': 0.0, 'velocity': 2.0, 'smoothness': 0.5, 'encoder': 0.0},
  joint_weights=(1, 1, 2.5, 2.5, 1, 2.5, 2.5, 1, 1, 1, 1.5, 1.5, 4, 4, 1.5, 4, 4))


def build(facts: Facts, view='clean', **kwargs) -> System:
  """A network 'net' trained on one kind of clips.

  view: the clips it is trained on, 'clean' or 'occluded'.

  The rest is that of `learner`.
  """
  return single(learner(facts, **kwargs), view)


def learner(facts: Facts, model, mutual=None, weights=_WEIGHTS, joint_weights=None,
            mixste_squared_loss=False, normalise='screen') -> Learner:
  """A lifting network on clips.

  model: name and arguments of `models.build`, 'pose_moe' or 'entangled'; `frames` are those of the
    data unless they are given.
  mutual: of the pair, see `compare`.
  weights: factors of the loss terms, see `loss_terms`; 'encoder' is above 0 where the model has
    encoder_heads.
  joint_weights: J factors of 'position' and 'smoothness', or None.
  mixste_squared_loss: half the square of the loss in its place, as MixSTE's published code has it;
    its mean over micro-batches is not that of the whole batch.
  normalise: 'screen', clips as they come; 'clip', the network sees each clip moved to its middle
    and scaled, see `extent`, and the loss is in this unit: people far and near weigh the same. The
    target must have the unit of the input.
  """
  skeleton, root = facts.skeleton, facts.skeleton.index('hip')
  _check(skeleton, mutual, weights, joint_weights, normalise)
  network = _network(facts, model, weights)

  def apply(forward, clips, **options):
    if normalise == 'screen':
      return forward('net', clips, **options)
    middle, unit = extent(clips[..., :2])
    clips = clips.at[..., :2].set((clips[..., :2] - middle) / unit)
    found = forward('net', clips, **options)
    return found | {name: found[name] * unit for name in _POSES if name in found} | {'unit': unit}

  def run(forward, inputs):
    return apply(forward, _joined(inputs))

  def fit(outputs, batch):
    truth = batch['keypoints_3d'] - batch['keypoints_3d'][:, :, root:root + 1]
    if normalise == 'clip':
      unit = outputs['unit']
      truth = truth / unit
      outputs = {name: outputs[name] / unit for name in _POSES if name in outputs}
    terms = loss_terms(outputs, truth, weights, joint_weights)
    return {'squared': sum(terms.values()) ** 2 / 2} if mixste_squared_loss else terms

  def predict(forward, inputs, *, flip=True):
    """flip: average with the mirrored clip, if it is known which joints a mirror exchanges. The
    root is put to 0, as published."""
    clips = _joined(inputs)
    found = _answers(apply(forward, clips, train=False))
    if flip and skeleton.flip_pairs is not None:
      other = _answers(apply(forward, mirrored(clips, skeleton), train=False))
      back = {name: mirrored(values, skeleton, moved=name != 'router')
              for name, values in other.items()}
      found = jax.tree.map(lambda a, b: (a + b) / 2, found, back)
    fixed = {name: values if name == 'router' else values.at[:, :, root].set(0)
             for name, values in found.items()}
    return {'': fixed}

  def shapes(inputs):
    b, t, j, _ = inputs[0].shape
    return {'net': (jax.ShapeDtypeStruct((b, t, j, network.input_channels), jnp.float32),)}

  inputs = ('keypoints_2d', 'confidence')[:network.input_channels - 1]
  views = {'clean': inputs, 'occluded': tuple(f'occluded_{name}' for name in inputs)}
  return Learner({'net': network}, views, ('keypoints_3d',), shapes, run, fit,
                 lambda own, partner, batch: compare(mutual, own, partner), predict)


def extent(keypoints):
  """Middle (B,1,1,2) of clips (B,T,J,2), and their size (B,1,1,1): the root mean square distance of
  the joints from the middle of their frame."""
  of_frame = keypoints.mean(2, keepdims=True)
  squares = jnp.square(keypoints - of_frame).sum(-1, keepdims=True)
  size = jnp.sqrt(jnp.maximum(squares.mean((1, 2), keepdims=True), 1e-12))
  return of_frame.mean(1, keepdims=True), size


def mirrored(values, skeleton, moved=True):
  """Clips (B,T,J,...) of the mirrored person: joints change places and, if `moved`, the first of
  the last axis its sign."""
  values = values[:, :, skeleton.flip_order]
  return values.at[..., 0].multiply(-1) if moved else values


def loss_terms(outputs, truth, weights=_WEIGHTS, joint_weights=None):
  """{term: scalar}, weighted; terms of weight 0, and of clips of one frame those over time, have
  none.

  outputs: of the network, keypoints_3d and maybe encoder_keypoints_3d (B,T,J,3). truth: (B,T,J,3).
  The terms are means over clips, frames and joints:
    position: Euclidean distance, with joint_weights (J,).
    scale: the same, after each frame of the prediction is scaled to fit best.
    velocity: distance of the differences of successive frames.
    smoothness: squared differences of the prediction's successive frames, with joint_weights.
    encoder: distance of x, y plus that of z, of the poses in front of PoseMoE's router.
  """
  pose = outputs['keypoints_3d']
  factors = 1 if joint_weights is None else jnp.asarray(joint_weights, pose.dtype)
  steps, true_steps = jnp.diff(pose, axis=1), jnp.diff(truth, axis=1)
  terms = {'position': lambda: (factors * _length(pose - truth)).mean(),
           'scale': lambda: _length(_fitting_scale(pose, truth) * pose - truth).mean()}
  if pose.shape[1] > 1:
    terms['velocity'] = lambda: _length(steps - true_steps).mean()
    terms['smoothness'] = lambda: (jnp.square(steps).mean(-1) * factors).mean()
  if 'encoder_keypoints_3d' in outputs:
    error = outputs['encoder_keypoints_3d'] - truth
    terms['encoder'] = lambda: _length(error[..., :2]).mean() + jnp.abs(error[..., 2]).mean()
  return {name: weights[name] * term() for name, term in terms.items() if weights[name]}


def compare(mutual, own, partner):
  """The mutual terms of one network by name; mean squared distances to the detached partner.

  mutual: dict with kind, 'mse' or 'none', and features, whether 'encoder_streams' and 'streams',
  means over the streams of a network, join 'pose' (default True). own, partner: network outputs.
  """
  if mutual['kind'] == 'none':
    return {}

  def distance(a, b):
    wide = jnp.promote_types(a.dtype, jnp.float32)
    return jnp.square(a.astype(wide) - jax.lax.stop_gradient(b).astype(wide)).mean()

  terms = {'pose': distance(own['keypoints_3d'], partner['keypoints_3d'])}
  for name in ('encoder_streams', 'streams'):
    if mutual.get('features', True) and name in own:
      pairs = zip(own[name], partner[name], strict=True)
      terms[name] = sum(distance(a, b) for a, b in pairs) / len(own[name])
  return terms


def _check(skeleton, mutual, weights, joint_weights, normalise):
  """UserError for arguments of `learner` that do not fit."""
  if set(weights) != set(_WEIGHTS):
    raise UserError(f'system.weights has the terms {", ".join(_WEIGHTS)}, not '
                    f'{", ".join(weights) or "none"}')
  if mutual is not None and mutual['kind'] not in ('mse', 'none'):
    raise UserError("system.mutual.kind of lifting networks is 'mse' or 'none', not "
                    f"'{mutual['kind']}'")
  if skeleton.index('hip') is None:
    raise UserError(f"poses are relative to the joint 'hip', and the keypoints of {skeleton.name} "
                    'have none')
  if joint_weights is not None and len(joint_weights) != skeleton.num_keypoints:
    raise UserError(f'system.joint_weights has {len(joint_weights)} numbers for the '
                    f'{skeleton.num_keypoints} keypoints of {skeleton.name}')
  if joint_weights is not None and not all(
      isinstance(weight, (int, float)) and weight >= 0 for weight in joint_weights):
    raise UserError('system.joint_weights are numbers, 0 or more')
  if normalise not in ('screen', 'clip'):
    raise UserError(f"system.normalise is 'screen' or 'clip', not '{normalise}'")


def _network(facts, model, weights):
  """The network of `learner`."""
  of_data = {'frames': facts.frames} if facts.frames else {}
  network = models.build(**of_data | dict(model), num_keypoints=facts.skeleton.num_keypoints,
                         root=facts.skeleton.index('hip'))
  if network.input_channels not in (2, 3):
    raise UserError(f'system.model.input_channels is 2 for x, y and 3 with the confidence, not '
                    f'{network.input_channels}')
  if (weights['encoder'] > 0) == (getattr(network, 'encoder_heads', 'none') == 'none'):
    raise UserError("system.weights.encoder above 0 and system.model.encoder_heads 'supervise' or "
                    "'probe' go together; set both, or 0 and 'none'")
  return network


def _joined(inputs):
  """(B,T,J,2 or 3) of keypoints (B,T,J,2) and, where it is among them, confidence (B,T,J)."""
  keypoints, *confidence = inputs
  return jnp.concatenate([keypoints, *(x[..., None] for x in confidence)], -1)


def _answers(outputs):
  """What a test shows: poses, and the router's weight (B,T,J) of the 2D stream."""
  found = {name: outputs[name] for name in _POSES if name in outputs}
  return found | ({'router': outputs['router'][..., 0]} if 'router' in outputs else {})


def _length(vectors):
  """(B,T,J) Euclidean, with a gradient also where it is 0."""
  return jnp.sqrt(jnp.maximum(jnp.square(vectors).sum(-1), 1e-18))


def _fitting_scale(pose, truth):
  """(B,T,1,1): the least-squares scale of each frame."""
  both = lambda a, b: (a * b).sum((2, 3), keepdims=True)
  return both(pose, truth) / jnp.maximum(both(pose, pose), 1e-12)
