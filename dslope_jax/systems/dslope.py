"""D-Slope / MoEPose: GNet sees the crop, ENet its occluded partner; they teach each other."""
from dslope_jax import losses, models
from dslope_jax.systems.base import System, normalise
from dslope_jax.systems.heatmap import image_shapes, make_fit, make_predict

_PARTNER = {'gnet': 'enet', 'enet': 'gnet'}
_KINDS = ('kl', 'mse', 'distill', 'none')


def build(num_keypoints, model, mutual, sigma=2.0, loss='mse', joint_weights=None,
          codec='hrnet'):
  """Two networks under one loss.

  model: name and arguments of `models.build`, or {'gnet': ..., 'enet': ...} with those of each; of
    two architectures only the heatmaps can be compared, so 'kl' without features, or 'none'.
  sigma, loss, joint_weights, codec: as in the plain system.
  mutual: a dict with
    kind: 'mse' (published: squared distance of features and heatmaps), 'kl' (KL divergence of the
      heatmaps as spatial distributions), 'distill' (smooth L1 from a frozen GNet to ENet), 'none'.
    weights: {'gnet': w, 'enet': w}; published 1e-5 and 1e-3 ('mse'), 1e-5 for ENet ('distill').
    temperature: of 'kl'. features: whether 'kl' adds the squared distance of the features.
  """
  mutual = dict(mutual)
  kind = mutual['kind']
  if kind not in _KINDS:
    raise ValueError(f"system.mutual.kind is one of {_KINDS}, not '{kind}'")
  each = {name: models.of_network(model, name) for name in _PARTNER}
  if each['gnet'] != each['enet'] and (kind in ('mse', 'distill') or
                                       kind == 'kl' and mutual['features']):
    raise ValueError(f"system.mutual.kind '{kind}' compares the features of two networks of one "
                     "architecture; for gnet and enet of different ones choose 'kl' without "
                     "features, or 'none'")
  networks = {name: models.build(**each[name], num_keypoints=num_keypoints) for name in _PARTNER}
  fit = make_fit(loss, sigma, joint_weights, codec)
  learners = ('enet',) if kind == 'distill' else ('gnet', 'enet')

  def loss_fn(forward, batch, step):
    if kind == 'distill' and 'gnet' in forward.trainable:
      raise ValueError("mutual.kind 'distill' teaches ENet from a frozen GNet: set "
                       'optim.gnet.frozen=True and init_from.gnet')
    outputs = {'gnet': forward('gnet', normalise(batch['image'])),
               'enet': forward('enet', normalise(batch['occluded_image']))}
    total, terms = 0.0, {}
    for name in learners:
      own, partner = outputs[name], outputs[_PARTNER[name]]
      term = fit(own['heatmaps'], batch)
      distances = _distances(mutual, own, partner, batch)
      total += term + mutual['weights'][name] * sum(distances.values())
      terms[f'{name}/heatmap'] = term
      terms |= {f'{name}/mutual_{key}': value for key, value in distances.items()}
    return total, terms

  return System(networks, image_shapes(networks), loss_fn, make_predict(networks))


def _distances(mutual, own, partner, batch):
  """The mutual terms of one network by name; the partner is detached in each of them."""
  kind = mutual['kind']
  if kind == 'none':
    return {}
  if kind in ('mse', 'distill'):
    return losses.mutual_mse(own, partner, smooth_l1=kind == 'distill')
  labelled, of_all = ((b['visibility'] > 0).astype('float32')
                      for b in (batch, batch.get('whole', batch)))
  kl = losses.mutual_kl(own['heatmaps'], partner['heatmaps'], labelled, mutual['temperature'],
                        of_all.mean())
  if not mutual['features']:
    return {'kl': kl}
  stages = losses.mutual_mse(own, partner)
  del stages['heatmap']  # the KL term stands in its place
  return {'kl': kl} | stages
