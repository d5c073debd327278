"""Recognition: an embedding of a face's crop that tells identities apart; one network, or the
learner of a pair.

The network 'net' makes the embedding, 'head' the class logits of the identities that are trained
on. Only 'net' is predicted with.
"""
import jax
import jax.numpy as jnp

from dslope_jax import losses, margins, models
from dslope_jax.errors import UserError
from dslope_jax.systems.base import Facts, Learner, System, single
from dslope_jax.systems.heatmap import check_mutual, image_shapes


def build(facts: Facts, view='clean', **kwargs) -> System:
  """Networks 'net' and 'head' trained on one kind of crops.

  view: the crops they are trained on, 'clean' or 'occluded'. The rest is that of `learner`.
  """
  return single(learner(facts, **kwargs), view)


def learner(facts: Facts, model, loss='arcface', scale=64.0, margin=0.5, mutual=None) -> Learner:
  """An embedding network on crops; without `facts.classes` it has no head, and only predicts.

  model: name and arguments of `models.build`, 'iresnet' or 'embedding'.
  loss: 'softmax', 'arcface' or 'cosface', see `margins.with_margin`. scale: of the cosines that are
    logits. margin: radians ('arcface', published 0.5) or a difference of cosines ('cosface',
    published 0.4).
  mutual: of the pair, see `compare`.
  """
  if loss not in margins.KINDS:
    raise UserError(f"system.loss is one of {', '.join(margins.KINDS)}, not '{loss}'")
  if mutual is not None:
    check_mutual(mutual)
  network = models.build(**model)
  if not hasattr(network, 'dim'):
    raise UserError(f"system.model: '{model['name']}' puts out no embedding; take iresnet, or "
                    f"embedding with {model['name']} as its backbone")
  networks = {'net': network}
  if facts.classes:
    networks['head'] = models.build('class_centers', classes=facts.classes)

  def run(forward, images):
    outputs = forward('net', normalise(images[0]))
    return outputs | {'cosines': forward('head', outputs['embedding'])}

  def fit(outputs, batch):
    cost = margins.cross_entropy(outputs['cosines'], batch['identity'], loss, scale, margin)
    share = (batch.get('whole', batch)['identity'] >= 0).mean()  # -1: the picture is not readable
    return {loss: (cost * (batch['identity'] >= 0)).mean() / jnp.where(share > 0, share, 1)}

  def predict(forward, images, *, flip=True):
    """flip: add the embedding of the mirrored picture."""
    images = normalise(images[0])
    embedding = forward('net', images, train=False)['embedding']
    if flip:
      embedding += forward('net', images[:, :, ::-1], train=False)['embedding']
    return {'': {'embedding': margins.unit(embedding)}}

  def shapes(inputs):
    head = {'head': (jax.ShapeDtypeStruct((inputs[0].shape[0], network.dim), jnp.float32),)}
    return image_shapes(inputs) | (head if facts.classes else {})

  return Learner(networks, {'clean': ('image',), 'occluded': ('occluded_image',)}, ('identity',),
                 shapes, run, fit, lambda own, partner, batch: compare(mutual, scale, own, partner),
                 predict)


def compare(mutual, scale, own, partner):
  """The mutual terms of one network by name, with its detached partner.

  mutual: dict with kind, and for 'kl' temperature and features:
    'mse': {'stage1': ..., 'embedding': ...}, squared distances of the features and of the
      embeddings of unit length; 'distill': the same with smooth L1.
    'kl': {'kl': ...}, of the class distributions softmax(scale * cosines / temperature), without
      margins; with features also the terms of 'mse'.
    'none': {}.
  own, partner: outputs of `learner`'s run.
  """
  kind = mutual['kind']
  if kind == 'none':
    return {}
  terms = {}
  if kind == 'kl':
    terms['kl'] = losses.class_kl(scale * own['cosines'], scale * partner['cosines'],
                                  mutual['temperature']).mean()
    if not mutual['features']:
      return terms
  smooth = kind == 'distill'
  apart = losses.distances(margins.unit(own['embedding']), margins.unit(partner['embedding']),
                           smooth)
  return terms | losses.mutual_stages(own, partner, smooth, first_stage=1) | {
    'embedding': apart.sum(-1).mean()}


def normalise(images):
  """(B,H,W,3) uint8 RGB -> float32 from -1 to 1, as insightface's networks take them; floats pass
  as they are."""
  if images.dtype != jnp.uint8:
    return images
  return (images.astype(jnp.float32) - 127.5) / 127.5
