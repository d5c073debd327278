"""D-Slope / MoEPose: GNet sees the crop, ENet its occluded partner; they teach each other."""
import inspect

from dslope_jax import models, systems
from dslope_jax.errors import UserError
from dslope_jax.systems import heatmap, joint_states
from dslope_jax.systems.base import HALVES, Facts, System, pair


def build(facts: Facts, model, mutual, learner='heatmap', shared=False, covered_weight=1.0,
          states=False, **kwargs) -> System:
  """Two networks under one loss.

  model: name and arguments of `models.build`, or {'gnet': ..., 'enet': ...} with those of each; of
    two architectures only the heatmaps can be compared, so 'kl' without features, or 'none'.
  mutual: a dict with
    kind: 'mse' (published: squared distance of features and heatmaps), 'kl' (KL divergence of the
      heatmaps as spatial distributions), 'distill' (smooth L1 from a frozen GNet to ENet), 'none'.
    weights: factor of the term in the loss of each network; published 1e-5 for GNet and 1e-3 for
      ENet ('mse'), 1e-5 for ENet ('distill').
    temperature: of the softmax in 'kl'. features: whether 'kl', or 'mse' of lifting networks, adds
      the squared distance of the features.
    average: the partner that a network learns from is its moving average (mean teacher; needs
      `ema_decay`).
  learner: the system whose learner each half is. The rest is the learner's.
  shared: one network 'net' with a head for each half, 'gnet' and 'enet', instead of two networks.
  covered_weight: factor of joints under a patch, or beyond a new border of the picture, in ENet's
    loss; squared there, as all joint weights are.
  states: whether each half has a second network, 'gnet_states' and 'enet_states', that tells which
    joints are in sight and in the picture, see `joint_states.add`; one, 'states', where shared;
    none for the GNet of 'distill', which does not learn.
  """
  mutual = dict(mutual)
  heatmap.check_mutual(mutual)
  each = {half: models.of_network(model, half) for half in ('gnet', 'enet')}
  if each['gnet'] != each['enet'] and heatmap.compares_features(mutual):
    raise UserError(f"system.mutual.kind '{mutual['kind']}' compares the features of two networks "
                    "of one architecture; for gnet and enet of different ones choose 'kl' without "
                    "features, or 'none'")
  make = systems.module(learner).learner
  options = {'gnet': {}, 'enet': {}}
  if covered_weight != 1:
    options['enet']['covered_weight'] = covered_weight
  if shared:
    _check_shared(each, mutual)
    for head, half in enumerate(options):
      options[half]['head'] = (head, len(options))
  taken = inspect.signature(make).parameters
  odd = {name for given in options.values() for name in given} - set(taken)
  if odd:
    fields = {'head': 'shared', 'covered_weight': 'covered_weight'}
    raise UserError(f"system.learner '{learner}' knows no "
                    f"{', '.join('system.' + fields[name] for name in sorted(odd))}; leave it out")
  if 'view' in taken:
    options = {half: given | {'view': HALVES[half]} for half, given in options.items()}
  halves = {half: make(facts, model=own, mutual=mutual, **options[half], **kwargs)
            for half, own in each.items()}
  taught = ('enet',) if mutual['kind'] == 'distill' else ('gnet', 'enet')
  for half in taught if states else ():
    halves[half] = joint_states.add(halves[half], facts, HALVES[half])
  return pair(halves, mutual['weights'], taught, mutual.get('average', False), shared)


def _check_shared(each, mutual):
  if each['gnet'] != each['enet'] or mutual['kind'] == 'distill':
    raise UserError("system.shared is one network with two heads: give one system.model, and "
                    "another system.mutual.kind than 'distill', whose GNet does not learn")
