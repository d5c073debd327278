"""The losses of HUPOR's stages, see `hupor`; lengths are cm."""
import jax
import jax.numpy as jnp

from dslope_jax import absolute_pose, part_losses, part_maps, part_noise
from dslope_jax.association.matching import match
from dslope_jax.association.parts import PELVIS, STRIDE
from dslope_jax.errors import UserError
from dslope_jax.skeletons import MPI15
from dslope_jax.systems.base import normalise
from dslope_jax.systems.hupor_people import VIEWS, network_camera, people_of
from dslope_jax.visibility import VISIBLE, is_labelled

_FLAT = MPI15.num_keypoints + 2 * len(MPI15.limbs)  # maps that come before the relative depths
_FULL = 3  # scale of the maps that the teacher sees
_NEAR = 30 / 832  # distance of pelvises of one person, at most, over the picture's width


def loss(made, forward, batch):
  """(scalar, {'NETWORK/TERM': scalar}) of the networks that are trained. made: a `Settings`."""
  _check_frozen(forward, made)
  image, people = VIEWS[made.view]
  people = people_of(batch, people)
  channels = batch['channels'].at[:, _FLAT:].multiply(batch['has_depth'][:, None])
  counted = channels, batch['ignore']
  found = {}
  detected = forward('detector', normalise(batch[image])) if made.sees_pictures else None
  maps = jax.lax.stop_gradient(detected) or {}
  if 'detector' in made.trained:
    labels = part_maps.encode(people, made.size, reference=made.reference,
                              visible_only=made.visible_only)
    found['detector'] = part_losses.detection_loss(detected['stages'], labels, *counted,
                                                   reference=made.reference)
  if 'reasoner' in made.trained:
    found['reasoner'], answered = _reasoning(made, forward, people, maps, counted)
    maps |= answered
  elif 'refiner' in made.trained and 'reasoner' in made.names:
    maps |= forward('reasoner', maps)
  if 'refiner' in made.trained:
    found['refiner'] = _refining(made, forward, jax.lax.stop_gradient(maps),
                                 network_camera(batch['camera']), people)
  terms = {f'{name}/{term}': value for name, (cost, parts) in found.items()
           for term, value in (parts | {'loss': cost}).items()}
  return sum(cost for cost, _ in found.values()), terms


def _reasoning(made, forward, people, detected, counted):
  """((cost, terms), maps that the reasoner answers, if it was asked). detected: maps of the
  detector, or {}."""
  ramp = part_losses.distillation_weight(forward.progress, 1)
  shown = part_noise.draw(forward.key('noise'), people, made.size, made.noise, made.reference)
  if detected:
    shown = _mixed(forward.key('mix'), shown, detected, ramp * made.detected_share)
  labels = part_maps.encode(people, made.size, reference=made.reference, visible_only=False)
  full = {name: labels[name][:, _FULL] for name in ('maps', 'relative_depth')}
  taught = forward('reasoner', shown, full)
  cost, parts = part_losses.reasoning_loss(taught, labels, ramp, *counted,
                                           reference=made.reference)
  answered = {}
  if made.student_weight > 0:  # last, so that the batch statistics are most of what a test meets
    answered = forward('reasoner', shown)
    parts['student'] = part_losses.map_loss(answered['stages'], labels, *counted)
    cost += ramp * made.student_weight * parts['student']
  return (cost, parts), answered


def _refining(made, forward, maps, camera, people):
  """Squared distance of the corrected poses from those of the people that they are matched to:
  (cost, terms)."""
  found, poses = made.located(maps, camera)
  counts = people['visibility'][..., PELVIS]
  counts = counts == VISIBLE if made.reference else is_labelled(counts)
  rows = match(*(jnp.where(there[..., None], places, jnp.inf) for there, places in (
    (counts, people['joints'][..., PELVIS, :]),
    (found['valid'], STRIDE * found['joints'][..., PELVIS, :2]))), _NEAR * made.size[0])
  pick = lambda values: jnp.take_along_axis(
    values, jnp.maximum(rows, 0).reshape(*rows.shape, *[1] * (values.ndim - 2)), 1)
  truth = absolute_pose.back_project(people['joints'], people['depth'], camera)
  truth, known = pick(truth), pick(people['depth'] > 0)  # also of joints beyond the picture
  seen = ~jax.random.bernoulli(forward.key('joints'), made.joint_dropout, known.shape)
  seen = seen.at[..., PELVIS].set(True)
  features = made.refiner_input(found, poses, seen)
  filled = filled_rows(rows.ravel() >= 0)
  offsets = forward('refiner', features[filled])['pose'].reshape(-1, 15, 3)
  way = (truth - truth[..., PELVIS, None, :]).reshape(-1, 15, 3)[filled] / made.unit
  known = (known & (rows >= 0)[..., None]).reshape(-1, 15)[filled].at[:, PELVIS].set(False)
  count = jnp.maximum(known.sum(), 1)
  squares = jnp.where(known[..., None], jnp.square(offsets - way), 0).sum(-1)
  distance = made.unit * jnp.sqrt(jnp.maximum(squares, 1e-12))
  return squares.sum() / count, {
    'distance': jnp.where(known, distance, 0).sum() / count,
    'matched': (rows >= 0).sum() / jnp.maximum(counts.sum(), 1)}


def filled_rows(valid):
  """(N,) row numbers in which those that are not valid (N,) are replaced by the valid ones, again
  and again, so that norms see nothing else; as they are if none is valid."""
  order = jnp.argsort(~valid, stable=True)
  return order[jnp.arange(len(valid)) % jnp.where(valid.any(), valid.sum(), len(valid))]


def _check_frozen(forward, made):
  """Raises UserError if a network would be trained that this stage has no loss for."""
  learning = [name for name in made.names
              if name in forward.trainable and name not in made.trained]
  if learning:
    fields = [f'{section}.{name}{value}' for name in learning
              for section, value in (('optim', '.frozen=True'), ('init_from', ''))]
    raise UserError(f"this stage trains {' and '.join(made.trained)} alone: set "
                    f"{', '.join(fields)}")


def _mixed(key, drawn, detected, share):
  """The drawn maps of most pictures, and the detected ones of a share of them."""
  chosen = jax.random.bernoulli(key, share, (len(drawn['maps']), 1, 1, 1))
  return {name: jnp.where(chosen, detected[name], maps) for name, maps in drawn.items()}
