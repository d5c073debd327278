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

from dslope_jax import absolute_pose, models, part_losses, part_maps, part_noise
from dslope_jax.association import THRESHOLDS
from dslope_jax.association.matching import match
from dslope_jax.association.parts import ANCHORS, PELVIS, STRIDE
from dslope_jax.errors import UserError
from dslope_jax.skeletons import MPI15
from dslope_jax.systems import hupor_people
from dslope_jax.systems.base import Facts, System, normalise
from dslope_jax.systems.hupor_people import network_camera
from dslope_jax.visibility import VISIBLE, is_labelled

NETWORKS = ('detector', 'reasoner', 'refiner')
STAGES = {'detect': ('detector',), 'reason': ('reasoner',), 'refine': ('refiner',), 'all': NETWORKS}
VIEWS = {'clean': ('image', 'people'), 'occluded': ('occluded_image', 'occluded_people')}
_FLAT = MPI15.num_keypoints + 2 * len(MPI15.limbs)  # maps that come before the relative depths
_FULL = 3  # scale of the maps that the teacher sees
_NEAR = 30 / 832  # distance of pelvises of one person, at most, over the picture's width
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
  trained = [name for name in STAGES[stage] if name in networks]
  noise = None if reference else part_noise.Noise()._replace(**dict(noise))
  limits = THRESHOLDS['reference' if reference else 'default']._replace(**dict(thresholds))
  if reference:
    if stage == 'all':
      raise UserError("system.reference trains one network after the other: set system.stage")
    detected_share, student_weight, joint_dropout = 0.0, 0.0, 0.0
  sees = trained != ['reasoner'] or detected_share > 0
  unit = 1.0 if reference else hupor_people.CM
  located = functools.partial(hupor_people.located, size=facts.size, max_people=max_people,
                              max_peaks=max_peaks, reference=reference)
  refiner_input = functools.partial(hupor_people.refiner_input, width=facts.size[0],
                                    reference=reference)

  def loss(forward, batch):
    _check_frozen(forward, trained, networks)
    camera, people = network_camera(batch['camera']), people_of(batch, VIEWS[view][1])
    channels = batch['channels'].at[:, _FLAT:].multiply(batch['has_depth'][:, None])
    counted = channels, batch['ignore']
    total, terms = 0.0, {}

    def add(name, cost, parts):
      nonlocal total
      total += cost
      terms.update({f'{name}/{term}': value for term, value in (parts | {'loss': cost}).items()})

    encode = lambda **options: part_maps.encode(people, facts.size, reference=reference, **options)
    detected = forward('detector', normalise(batch[VIEWS[view][0]])) if sees else None
    maps = jax.lax.stop_gradient(detected) or {}
    if 'detector' in trained:
      add('detector', *part_losses.detection_loss(
        detected['stages'], encode(visible_only=visible_only), *counted, reference=reference))
    ramp = part_losses.distillation_weight(forward.progress, 1)
    if 'reasoner' in trained:
      drawn = part_noise.draw(forward.key('noise'), people, facts.size, noise, reference)
      shown = _mixed(forward.key('mix'), drawn, maps, ramp * detected_share) if maps else drawn
      labels = encode(visible_only=False)
      full = {name: labels[name][:, _FULL] for name in ('maps', 'relative_depth')}
      taught = forward('reasoner', shown, full)
      cost, parts = part_losses.reasoning_loss(taught, labels, ramp, *counted, reference=reference)
      if student_weight > 0:  # last, so that the batch statistics are most of what a test meets
        answered = forward('reasoner', shown)
        parts['student'] = part_losses.map_loss(answered['stages'], labels, *counted)
        cost += ramp * student_weight * parts['student']
        maps |= answered
      add('reasoner', cost, parts)
    elif 'refiner' in trained and 'reasoner' in networks:
      maps |= forward('reasoner', maps)
    if 'refiner' in trained:
      add('refiner', *refining_loss(forward, jax.lax.stop_gradient(maps), camera, people))
    return total, terms

  def refining_loss(forward, maps, camera, people):
    """Squared distance of the corrected poses from those of the people that they are matched to."""
    found, poses = located(maps, camera, limits)
    counts = people['visibility'][..., PELVIS]
    counts = counts == VISIBLE if reference else is_labelled(counts)
    rows = match(*(jnp.where(there[..., None], places, jnp.inf) for there, places in (
      (counts, people['joints'][..., PELVIS, :]),
      (found['valid'], STRIDE * found['joints'][..., PELVIS, :2]))), _NEAR * facts.size[0])
    pick = lambda values: jnp.take_along_axis(
      values, jnp.maximum(rows, 0).reshape(*rows.shape, *[1] * (values.ndim - 2)), 1)
    truth = absolute_pose.back_project(people['joints'], people['depth'], camera)
    truth, known = pick(truth), pick(people['depth'] > 0)  # also of joints beyond the picture
    seen = ~jax.random.bernoulli(forward.key('joints'), joint_dropout, known.shape)
    seen = seen.at[..., PELVIS].set(True)
    features = refiner_input(found, poses, seen)
    filled = filled_rows(rows.ravel() >= 0)
    offsets = forward('refiner', features[filled])['pose'].reshape(-1, 15, 3)
    way = (truth - truth[..., PELVIS, None, :]).reshape(-1, 15, 3)[filled] / unit
    known = (known & (rows >= 0)[..., None]).reshape(-1, 15)[filled].at[:, PELVIS].set(False)
    count = jnp.maximum(known.sum(), 1)
    squares = jnp.where(known[..., None], jnp.square(offsets - way), 0).sum(-1)
    distance = unit * jnp.sqrt(jnp.maximum(squares, 1e-12))
    return squares.sum() / count, {
      'distance': jnp.where(known, distance, 0).sum() / count,
      'matched': (rows >= 0).sum() / jnp.maximum(counts.sum(), 1)}

  def predict(forward, batch, *, flip=True, peak=0.0):
    """flip: average the maps with those of the mirrored picture. peak: in place of that of the
    thresholds, if above 0. Rows are 'detector', and as far as
    there are such networks 'reasoned' and 'refined'; each has keypoints (B,P,15,2), keypoints_3d
    (B,P,15,3) in the camera's frame, scores (B,P,15), 0 for a joint that was not found, valid (B,P)
    and overflow (B,), how many peaks and people found no room."""
    camera, out = network_camera(batch['camera']), {}
    own = limits._replace(peak=peak) if peak else limits
    for name, (image, _) in VIEWS.items():
      if image in batch:
        rows = answers(forward, batch[image], camera, flip, own)
        out |= {f'{row}/{name}': fields for row, fields in rows.items()}
    return out

  def answers(forward, images, camera, flip, limits):
    pictures = [images] + [images[:, :, ::-1] if reference else part_maps.mirror_picture(images)
                           ] * flip
    seen = [forward('detector', normalise(picture), train=False) for picture in pictures]
    whole = _merged(seen, reference)
    rows = {'detector': whole}
    if 'reasoner' in networks:
      maps = [forward('reasoner', maps, train=False) for maps in seen]
      rows['reasoned'] = whole | _merged(maps, reference)
    joined = jax.tree.map(lambda *values: jnp.concatenate(values), *rows.values())
    people = located(joined, jnp.tile(camera, (len(rows), 1)), limits)  # compiled once for all
    out = {}
    for row, (found, poses) in zip(rows, _split(people, len(rows)), strict=True):
      out[row] = hupor_people.answer(found, poses)
    if 'refiner' in networks:
      features = refiner_input(found, poses, True)
      offsets = unit * forward('refiner', features, train=False)['pose']
      better = absolute_pose.refined(poses, offsets.reshape(*poses.shape[:2], -1))
      out['refined'] = hupor_people.answer(found, absolute_pose.reprojected(better, poses), camera)
    return out

  def inputs(example):
    image = jax.ShapeDtypeStruct(example['image'].shape, jnp.float32)
    return {name: (image,) if name == 'detector' else network.example()
            for name, network in networks.items()}

  image, people = VIEWS[view]
  truth = (people, 'valid', 'camera', 'has_depth', 'channels', 'ignore')
  fields = {'loss': (image,) * sees + truth,
            'predict': tuple(image for image, _ in VIEWS.values()) + ('camera',)}
  return System(networks, fields, inputs, loss, predict)


def people_of(batch, field='people') -> dict:
  """The people of a batch as `part_maps.encode` takes them, from (B,P,15,6) x, y, X, Y, Z, v."""
  rows, camera = batch[field], batch['camera']
  return {'joints': rows[..., :2],
          'depth': rows[..., 4] * batch['has_depth'][:, None, None],
          'visibility': rows[..., 5] * batch['valid'][..., None],
          'focal': camera[:, 0] * camera[:, 4]}


def filled_rows(valid):
  """(N,) row numbers in which those that are not valid (N,) are replaced by the valid ones, again
  and again, so that norms see nothing else; as they are if none is valid."""
  order = jnp.argsort(~valid, stable=True)
  return order[jnp.arange(len(valid)) % jnp.where(valid.any(), valid.sum(), len(valid))]


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


def _check_frozen(forward, trained, networks):
  """Raises UserError if a network would be trained that this stage has no loss for."""
  learning = [name for name in networks if name in forward.trainable and name not in trained]
  if learning:
    fields = [f'{section}.{name}{value}' for name in learning
              for section, value in (('optim', '.frozen=True'), ('init_from', ''))]
    raise UserError(f"this stage trains {' and '.join(trained)} alone: set {', '.join(fields)}")


def _mixed(key, drawn, detected, share):
  """The drawn maps of most pictures, and the detected ones of a share of them."""
  chosen = jax.random.bernoulli(key, share, (len(drawn['maps']), 1, 1, 1))
  return {name: jnp.where(chosen, detected[name], maps) for name, maps in drawn.items()}


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
