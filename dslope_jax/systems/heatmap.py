"""Heatmap networks: one plain network as a baseline, and the learner that pairs are made of."""
import jax
import jax.numpy as jnp

from dslope_jax import heatmaps, losses, models
from dslope_jax.errors import UserError
from dslope_jax.systems import joint_states
from dslope_jax.systems.base import Facts, Learner, System, normalise, single
from dslope_jax.visibility import is_labelled

_LOSSES = {'mse': losses.heatmap_mse, 'ohkm': losses.ohkm_mse, 'ce': losses.heatmap_ce}
_MUTUAL = ('kl', 'mse', 'distill', 'none')


def build(facts: Facts, view='clean', states=False, **kwargs) -> System:
  """A network 'net' trained on one kind of crops.

  view: the crops it is trained on, 'clean' or 'occluded'. states: whether a second network
  'states' tells which joints are in sight and in the picture, see `joint_states.add`. The rest is
  that of `learner`.
  """
  if view == 'clean' and kwargs.get('covered_weight', 1) != 1:
    raise UserError("system.covered_weight is of joints under patches, which view 'clean' has none "
                    "of; leave it 1, or train on 'occluded'")
  made = learner(facts, **kwargs)
  return single(joint_states.add(made, facts, view) if states else made, view)


def learner(facts: Facts, model, sigma=2.0, loss='mse', joint_weights=None, codec='hrnet',
            mutual=None, covered_weight=1.0, head=(0, 1)) -> Learner:
  """A heatmap network on crops.

  model: name and arguments of `models.build`. sigma: of the target, in heatmap pixels.
  loss: 'mse', 'ohkm' or 'ce', cross-entropy over the pixels: the heatmaps are then softmax
    distributions, scaled so that one as wide as the target has peak 1.
  joint_weights: K factors, or None (published for COCO: 1).
  codec: rule for targets and decoding, 'hrnet', 'dark' or 'udp'. mutual: of `compare`.
  covered_weight: factor of joints under a patch or beyond a new border of the picture, for a
    learner that sees the occluded view.
  head: (which, of how many) heads the network has; each has K heatmaps.
  """
  if loss not in _LOSSES:
    raise UserError(f"system.loss is one of {sorted(_LOSSES)}, not '{loss}'")
  rule = heatmaps.codec(codec)
  which, heads = head
  count = facts.skeleton.num_keypoints
  network = models.build(**model, num_keypoints=count * heads)

  def own_head(outputs):
    """The outputs with the heatmaps of this learner's head alone."""
    maps = outputs['heatmaps'][..., which * count:(which + 1) * count]
    if loss != 'ce':
      return outputs | {'heatmaps': maps}
    share = jax.nn.softmax(maps, axis=(1, 2))
    return outputs | {'logits': maps, 'heatmaps': 2 * jnp.pi * sigma ** 2 * share}

  def run(forward, images):
    return own_head(forward('net', normalise(images[0])))

  def fit(outputs, batch):
    maps = outputs['heatmaps']
    target, weight = draw_targets(batch, facts.size, maps.shape[2], sigma, joint_weights, codec)
    if covered_weight != 1:
      weight = jnp.where(batch['covered'] | batch['outside'], covered_weight * weight, weight)
    return {'heatmap': _LOSSES[loss](outputs.get('logits', maps), target, weight)}

  def predict(forward, images, *, flip=True, shift=True, with_heatmaps=False):
    """flip: average with the mirrored picture, if it is known which joints a mirror exchanges.
    shift: of the mirrored maps by a pixel, where the codec asks for it. with_heatmaps: put out the
    decoded maps, too."""
    images, mirrored = normalise(images[0]), None
    outputs = own_head(forward('net', images, train=False))
    if flip and facts.skeleton.flip_pairs is not None:
      mirrored = own_head(forward('net', images[:, :, ::-1], train=False))
    return {'': pose_of(outputs, mirrored, facts, rule, sigma, shift, with_heatmaps)}

  hidden = ('covered', 'outside') if covered_weight != 1 else ()
  return Learner({'net': network}, {'clean': ('image',), 'occluded': ('occluded_image',)},
                 ('keypoints', 'visibility', *hidden), image_shapes, run, fit,
                 lambda own, partner, batch: compare(mutual, own, partner, batch), predict)


def pose_of(outputs, mirrored, facts, rule, sigma, shift=True, with_heatmaps=False):
  """The fields of an output: keypoints (B,K,2) in crop pixels, scores (B,K) and, of a network that
  puts out features, their mean over the last stage as embedding (B,C).

  outputs, mirrored: of a network for images and for mirrored ones, or None. rule: the codec.
  The rest is as for `learner`'s predict.
  """
  maps = outputs['heatmaps']
  if mirrored is not None:
    maps = heatmaps.flip_merge(maps, mirrored['heatmaps'], facts.skeleton.flip_pairs,
                               shift and not rule.unbiased)
  keypoints, scores = rule.decode(maps, sigma)
  keypoints = heatmaps.to_crop(keypoints, maps.shape[2:0:-1], facts.size, rule.unbiased)
  pooled = [x.mean((1, 2)).astype(jnp.float32) for x in outputs.get('features', [[]])[-1]]
  embedding = {'embedding': jnp.concatenate(pooled, -1)} if pooled else {}
  shown = {'heatmaps': maps} if with_heatmaps else {}
  return {'keypoints': keypoints, 'scores': scores} | embedding | shown


def image_shapes(inputs):
  """`Learner.shapes` of one network that takes one batch of images."""
  return {'net': (jax.ShapeDtypeStruct(inputs[0].shape, jnp.float32),)}


def draw_targets(batch, size, heatmap_width, sigma, joint_weights=None, codec='hrnet'):
  """Heatmaps (B,h,w,K) and joint weights (B,K) of a batch; stride = crop width / heatmap width.

  size: (W, H) of the crops. Joints with v = 1 and v = 2 weigh alike (HRNet); a joint hidden by a
  patch keeps its weight.
  """
  labelled = is_labelled(batch['visibility']).astype('float32')
  target, weight = heatmaps.codec(codec).encode(batch['keypoints'], labelled, size,
                                                size[0] // heatmap_width, sigma)
  if joint_weights is not None:
    weight = weight * jnp.asarray(joint_weights, weight.dtype)
  return target, weight


def check_mutual(mutual):
  """Raises UserError for a mutual term that there is not."""
  if mutual['kind'] not in _MUTUAL:
    raise UserError(f"system.mutual.kind is one of {_MUTUAL}, not '{mutual['kind']}'")


def compares_features(mutual) -> bool:
  """Whether the term needs two networks of one architecture."""
  return mutual['kind'] in ('mse', 'distill') or mutual['kind'] == 'kl' and mutual['features']


def compare(mutual, own, partner, batch, first_stage=2):
  """The mutual terms of one network by name: {'kl': ...} or {'stage2': ..., 'heatmap': ...}.

  mutual: dict with kind, and for 'kl' temperature and features. own, partner: network outputs.
  first_stage: number of the first of their stages.
  """
  if mutual['kind'] == 'none':
    return {}
  if mutual['kind'] in ('mse', 'distill'):
    return losses.mutual_mse(own, partner, mutual['kind'] == 'distill', first_stage)
  labelled, of_all = (is_labelled(b['visibility']).astype('float32')
                      for b in (batch, batch.get('whole', batch)))
  kl = losses.mutual_kl(own['heatmaps'], partner['heatmaps'], labelled, mutual['temperature'],
                        of_all.mean())
  if not mutual['features']:
    return {'kl': kl}
  return {'kl': kl} | losses.mutual_stages(own, partner, first_stage=first_stage)
