"""Losses: arrays in, scalars out. Heatmaps are (B,h,w,K), joint weights (B,K)."""
import jax
import jax.numpy as jnp
import optax


def heatmap_mse(pred, target, weight=None):
  """Half the mean squared difference; the joint weight enters squared, as published (HRNet)."""
  return _per_joint(pred, target, weight).mean()


def ohkm_mse(pred, target, weight=None, top_k=8):
  """Online hard keypoint mining: mean over the top_k (at most K) worst joints of each sample.

  Chen et al., Cascaded Pyramid Network, 2018, as published with HRNet.
  """
  worst, _ = jax.lax.top_k(_per_joint(pred, target, weight), min(top_k, pred.shape[-1]))
  return worst.mean()


def heatmap_ce(logits, target, weight=None):
  """Cross-entropy of softmax(logits) over the pixels of a joint, with its target scaled to sum 1.

  A joint without a target costs nothing; the mean is over all joints (B,K).
  """
  target = target.reshape(target.shape[0], -1, target.shape[-1])
  target = target / jnp.maximum(target.sum(1, keepdims=True), 1e-6)
  cost = -(target * _log_distribution(logits, 1.0)).sum(1)
  return (cost if weight is None else cost * weight).mean()


def _per_joint(pred, target, weight):
  """(B,K) half the pixel mean of the squared weighted difference."""
  difference = pred - target
  if weight is not None:
    difference = difference * weight[:, None, None, :]
  return 0.5 * jnp.square(difference).mean((1, 2))


def mutual_kl(own, partner, weight=None, temperature=0.1, mean_weight=None):
  """KL(partner || own) of the spatial distributions, averaged over weighted joints.

  own, partner: heatmaps (B,h,w,K); each map becomes a distribution over its pixels by
  softmax(map / temperature). No gradient reaches the partner.
  mean_weight: mean weight of the whole batch, where these samples are a micro-batch of it: the mean
  over equal micro-batches is then the value of the whole batch.
  Deep Mutual Learning (Zhang et al., 2018), applied per joint.
  """
  log_q = _log_distribution(own, temperature)
  log_p = _log_distribution(jax.lax.stop_gradient(partner), temperature)
  kl = (jnp.exp(log_p) * (log_p - log_q)).sum(1)  # (B,K)
  if weight is None:
    return kl.mean()
  mean_weight = weight.mean() if mean_weight is None else mean_weight
  return (kl * weight).mean() / jnp.where(mean_weight > 0, mean_weight, 1)


def _log_distribution(heatmaps, temperature):
  b, h, w, k = heatmaps.shape
  return jax.nn.log_softmax(heatmaps.reshape(b, h * w, k) / temperature, axis=1)


def mutual_mse(own, partner, smooth_l1=False, first_stage=2):
  """Distances of features and heatmaps to those of the detached partner, by name.

  own, partner: network outputs, dicts with `heatmaps` and those of `mutual_stages`. Returns
  {'stage2': scalar, ..., 'heatmap': scalar}, means over all elements. The rest is as there.
  MoEPose / D-Slope, mutual training loop; the heatmap term ignores joint visibility.
  """
  heatmap = _mean(distances(own['heatmaps'], partner['heatmaps'], smooth_l1))
  return mutual_stages(own, partner, smooth_l1, first_stage) | {'heatmap': heatmap}


def mutual_stages(own, partner, smooth_l1=False, first_stage=2):
  """{'stage2': scalar, ...}: distances of features to those of the detached partner.

  own, partner: network outputs; `features` is a list of stages, each a list of branch maps. A
  stage's distance is the mean over its branches of the mean over elements.
  smooth_l1: see `distances`. first_stage: number of the first of the stages.
  """
  terms = {}
  stages = zip(own['features'], partner['features'], strict=True)
  for stage, (mine, theirs) in enumerate(stages, start=first_stage):
    found = [_mean(distances(a, b, smooth_l1)) for a, b in zip(mine, theirs, strict=True)]
    terms[f'stage{stage}'] = sum(found) / len(found)
  return terms


def distances(own, partner, smooth_l1=False):
  """Squared differences of arrays of one shape, float32 or wider; no gradient reaches the partner.

  smooth_l1: Huber distance with the switch at 1 instead of the square (the distilling variant).
  """
  wide = jnp.promote_types(own.dtype, jnp.float32)
  a, b = own.astype(wide), jax.lax.stop_gradient(partner).astype(wide)
  return optax.losses.huber_loss(a, b) if smooth_l1 else jnp.square(a - b)


def _mean(maps):
  return maps.mean((1, 2)).mean()  # in two steps: one long float32 sum loses digits


def class_kl(own, partner, temperature=1.0):
  """(B,) KL(partner || own) of the distributions softmax(logits / temperature), of logits (B,C). No
  gradient reaches the partner. Deep Mutual Learning (Zhang et al., 2018)."""
  log_q = jax.nn.log_softmax(own / temperature)
  log_p = jax.nn.log_softmax(jax.lax.stop_gradient(partner) / temperature)
  return (jnp.exp(log_p) * (log_p - log_q)).sum(-1)
