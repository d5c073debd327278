"""D-Slope / MoEPose: GNet sees the crop, ENet its occluded partner; they teach each other."""
from dslope_jax import models, systems
from dslope_jax.errors import UserError
from dslope_jax.systems import heatmap
from dslope_jax.systems.base import Facts, System, pair


def build(facts: Facts, model, mutual, learner='heatmap', **kwargs) -> System:
  """Two networks under one loss.

  model: name and arguments of `models.build`, or {'gnet': ..., 'enet': ...} with those of each; of
    two architectures only the heatmaps can be compared, so 'kl' without features, or 'none'.
  mutual: a dict with
    kind: 'mse' (published: squared distance of features and heatmaps), 'kl' (KL divergence of the
      heatmaps as spatial distributions), 'distill' (smooth L1 from a frozen GNet to ENet), 'none'.
    weights: {'gnet': w, 'enet': w}; published 1e-5 and 1e-3 ('mse'), 1e-5 for ENet ('distill').
    temperature: of 'kl'. features: whether 'kl' adds the squared distance of the features.
  learner: the system whose learner each half is. The rest is the learner's.
  """
  mutual = dict(mutual)
  heatmap.check_mutual(mutual)
  each = {half: models.of_network(model, half) for half in ('gnet', 'enet')}
  if each['gnet'] != each['enet'] and heatmap.compares_features(mutual):
    raise UserError(f"system.mutual.kind '{mutual['kind']}' compares the features of two networks "
                     "of one architecture; for gnet and enet of different ones choose 'kl' without "
                     "features, or 'none'")
  make = systems.module(learner).learner
  halves = {half: make(facts, model=own, mutual=mutual, **kwargs) for half, own in each.items()}
  taught = ('enet',) if mutual['kind'] == 'distill' else ('gnet', 'enet')
  return pair(halves, mutual['weights'], taught)
