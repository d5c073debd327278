"""HUPOR: 3D poses of several people; a detector of what is visible, a network that adds what is
hidden, and one that corrects the poses (Liu et al., Explicit Occlusion Reasoning for Multi-person
3D Human Pose Estimation, 2022).

The detector alone, trained on all joints, is SMAP (Zhen et al., 2020): stage 'detect' with
visible_only False. Where a docstring says published, it means the code of HUPOR and SMAP. Lengths
are cm, coordinates pixels of the network's picture.
"""
import functools

import jax
import jax.numpy as jnp

from dslope_jax import absolute_pose, models, part_maps, part_noise
from dslope_jax.association import THRESHOLDS
from dslope_jax.association.parts import ANCHORS
from dslope_jax.errors import UserError
from dslope_jax.skeletons import MPI15
from dslope_jax.systems import hupor_losses, hupor_people
from dslope_jax.systems.base import Facts, System, normalise
from dslope_jax.systems.hupor_people import VIEWS

NETWORKS = ('detector', 'reasoner', 'refiner')
STAGES = {'detect': ('detector',), 'reason': ('reasoner',), 'refine': ('refiner',), 'all': NETWORKS}
_SHARES = 'thresholds.support', 'noise.lost_limbs', 'noise.false_height', 'noise.peak'


def build(facts: Facts, detector, reasoner=None, refiner=None, stage='all', view='clean',
          visible_only=True, max_people=20, max_peaks=32, thresholds=(), noise=(),
          detected_share=0.5, student_weight=1.0, joint_dropout=0.1, reference=False) -> System:
  """Networks 'detector', 'reasoner' and 'refiner', and what is made of their maps.

  detector, reasoner, refiner: name and arguments of `models.build`, 'smap', 'dsed' and
    'refine_net'. Without a reasoner people are put together from the detector's maps alone.
  stage: what is trained: 'detect', 'reason' or 'refine', one network, those before it frozen; or
    'all', all of them in one step, none of which gets a gradient of another's loss.
  view: the pictures that are trained on, 'clean' or 'occluded'.
  visible_only: the detector is to find visible joints, v = 2; False: also hidden ones.
  max_people: P of the answers. max_peaks: peaks of a joint that are kept in a picture.
  thresholds: {field of `association.Thresholds`: number}.
  noise: {field of `part_noise.Noise`: number}, of the drawn maps that the reasoner is trained on.
  detected_share: probability that it is trained on the detector's maps instead; it grows from 0 in
    the first quarter of the run. Above 0 stage 'reason' needs pictures.
  student_weight: of the loss of the maps that the reasoner makes as in a test, without its teacher;
    the weight grows from 0 in the first quarter of the run.
  joint_dropout: probability that a joint is hidden from the refiner in training.
  reference: as published: units, thresholds and flip test of the published code; the reasoner is
    trained on clean maps and with its teacher alone; the refiner reads pixels and cm.
  """
  kept = _networks(stage, dict(detector=detector, reasoner=reasoner, refiner=refiner))
  networks = {name: _build(name, model, reference) for name, model in kept.items()}
  _check(facts, view, thresholds, noise)
  if reference:
    if stage == 'all':
      raise UserError("system.reference trains one network after the other: set system.stage")
    detected_share, student_weight, joint_dropout = 0.0, 0.0, 0.0
  made = hupor_people.Settings(
    facts.size, max_people, max_peaks,
    THRESHOLDS['reference' if reference else 'default']._replace(**dict(thresholds)), reference,
    names=tuple(networks), trained=tuple(n for n in STAGES[stage] if n in networks), view=view,
    visible_only=visible_only, detected_share=detected_share, student_weight=student_weight,
    noise=None if reference else part_noise.Noise()._replace(**dict(noise)),
    joint_dropout=joint_dropout)
  image, people = VIEWS[view]
  truth = (people, 'valid', 'camera', 'has_depth', 'channels', 'ignore')
  fields = {'loss': (image,) * made.sees_pictures + truth,
            'predict': tuple(image for image, _ in VIEWS.values()) + ('camera',)}
  return System(networks, fields, functools.partial(_inputs, networks),
                functools.partial(hupor_losses.loss, made), functools.partial(predict, made))


def predict(made, forward, batch, *, flip=True, peak=0.0):
  """Rows 'detector', and as far as there are such networks 'reasoned' and 'refined'.

  Each has keypoints (B,P,15,2), keypoints_3d (B,P,15,3) in the camera's frame, scores (B,P,15), 0
  for a joint that was not found, valid (B,P) and overflow (B,), how many peaks and people found no
  room. flip: average the maps with those of the mirrored picture. peak: in place of that of the
  thresholds, if above 0.
  """
  camera, out = hupor_people.network_camera(batch['camera']), {}
  made = made._replace(limits=made.limits._replace(peak=peak)) if peak else made
  for name, (image, _) in VIEWS.items():
    if image in batch:
      rows = _answers(made, forward, batch[image], camera, flip)
      out |= {f'{row}/{name}': fields for row, fields in rows.items()}
  return out


def _answers(made, forward, images, camera, flip):
  """The rows of `predict` for pictures."""
  mirror = (lambda x: x[:, :, ::-1]) if made.reference else part_maps.mirror_picture
  pictures = [images, mirror(images)] if flip else [images]
  seen = [forward('detector', normalise(picture), train=False) for picture in pictures]
  whole = _merged(seen, made.reference)
  rows = {'detector': whole}
  if 'reasoner' in made.names:
    maps = [forward('reasoner', maps, train=False) for maps in seen]
    rows['reasoned'] = whole | _merged(maps, made.reference)
  joined = jax.tree.map(lambda *values: jnp.concatenate(values), *rows.values())
  people = made.located(joined, jnp.tile(camera, (len(rows), 1)))  # compiled once for all
  out = {}
  for row, (found, poses) in zip(rows, _split(people, len(rows)), strict=True):
    out[row] = hupor_people.answer(found, poses)
  if 'refiner' in made.names:
    features = made.refiner_input(found, poses, True)
    offsets = made.unit * forward('refiner', features, train=False)['pose']
    better = absolute_pose.refined(poses, offsets.reshape(*poses.shape[:2], -1))
    out['refined'] = hupor_people.answer(found, absolute_pose.reprojected(better, poses), camera)
  return out


def _inputs(networks, example):
  image = jax.ShapeDtypeStruct(example['image'].shape, jnp.float32)
  return {name: (image,) if name == 'detector' else network.example()
          for name, network in networks.items()}


def _networks(stage, given):
  """{name: model} of the networks that a stage has."""
  if stage not in STAGES:
    raise UserError(f"system.stage is one of {', '.join(STAGES)}, not '{stage}'")
  last = STAGES[stage][-1]
  names = NETWORKS[:NETWORKS.index(last) + 1]
  if given[last] is None:
    raise UserError(f"system.stage '{stage}' trains the {last}, and system.{last} is not given")
  return {name: given[name] for name in names if given[name] is not None}


def _build(name, model, reference):
  model = dict(model)
  if 'reference' in model:
    raise UserError(f'system.{name}.reference is that of the system: set system.reference')
  own = {'limbs': len(MPI15.limbs), 'reference': reference} if name != 'refiner' else {}
  anchors = {'anchors': len(ANCHORS)} if name == 'detector' else {}
  return models.build(**model | own | anchors, num_keypoints=MPI15.num_keypoints)


def _check(facts, view, thresholds, noise):
  if facts.skeleton != MPI15:
    raise UserError(f'several people are put together by the joints of {MPI15.name}, and the '
                    f'data have those of {facts.skeleton.name}')
  if view not in VIEWS:
    raise UserError(f"system.view is one of {', '.join(VIEWS)}, not '{view}'")
  for field, given, known in (('thresholds', thresholds, THRESHOLDS['default']._fields),
                              ('noise', noise, part_noise.Noise._fields)):
    odd = sorted(set(dict(given)) - set(known))
    if odd:
      raise UserError(f"system.{field} has the numbers {', '.join(known)}, not {', '.join(odd)}")
    for name, value in dict(given).items():
      if wanted := _wrong_number(f'{field}.{name}', value):
        raise UserError(f'system.{field}.{name} is {value}, must be {wanted}')


def _wrong_number(name, value):
  """What this number of thresholds or noise must be and is not, in words, or ''."""
  is_number = lambda one: isinstance(one, (int, float)) and 0 <= one < float('inf')
  if name == 'noise.dropped':
    fine = isinstance(value, (list, tuple)) and len(value) == 2 and all(map(is_number, value))
    return '' if fine and value[0] <= value[1] <= 1 else 'a lower and a higher share, 0 to 1'
  if not is_number(value):
    return 'a number of 0 or more'
  return '0 to 1' if name in _SHARES and value > 1 else ''


def _merged(outputs, reference):
  """The maps of a picture, or the mean with those of the mirrored one. As published heatmaps are
  summed, and depths are those of the picture itself."""
  names = [name for name in ('maps', 'relative_depth', 'anchor_depth') if name in outputs[0]]
  first = {name: outputs[0][name] for name in names}
  if len(outputs) == 1:
    return first
  other = part_maps.mirrored(outputs[1])
  if reference:
    double = jnp.where(jnp.arange(first['maps'].shape[-1]) < MPI15.num_keypoints, 2, 1)
    return first | {'maps': (first['maps'] + other['maps']) / 2 * double}
  return jax.tree.map(lambda a, b: (a + b) / 2, first, other)


def _split(tree, parts):
  """A tree of arrays (parts * B,...) as so many trees."""
  return [jax.tree.map(lambda x, i=i: jnp.split(x, parts)[i], tree) for i in range(parts)]
