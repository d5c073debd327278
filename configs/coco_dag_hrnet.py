"""DAG on COCO 2017: HRNet-W32 with attention and a graph network, 192x256, 210 epochs.

Paper: Xu et al., A comprehensive framework for occluded human pose estimation (ICASSP 2024).
Command: python train.py --config configs/coco_dag_hrnet.py --config.data.root=COCO
  arguments after a colon: w48, 384x288 (height x width), clean / occluded; without one part of it:
  no_masks, no_paste, no_attention, no_graph, no_guidance, no_presence, double_only (a plain HRNet
  on clean crops, but for maps of twice the size); with more: spatial_attention (as drawn in the
  paper, not in its code), hops3, hops4, gcn_decay (the graph network's learning rate falls, too);
  pair: D-Slope over DAG, with a kind of mutual term as in coco_dag_hrnet.py:pair,kl; states
Files: as for ccoco_hrnet.py.
Expected: not known; the paper's tables could not be had. HRNet alone: 74.4 AP (published).
Time: not measured.
"""
from ml_collections import ConfigDict

from configs import common
from dslope_jax.errors import UserError

_WORDS = ('no_masks', 'no_paste', 'no_attention', 'no_graph', 'no_guidance', 'no_presence',
          'double_only', 'spatial_attention', 'hops3', 'hops4', 'gcn_decay', 'pair')
_GRAPH = {'no_guidance', 'hops3', 'hops4', 'gcn_decay'}
_CONTRADICTIONS = dict(  # word: those that would do nothing beside it
  no_graph=_GRAPH, double_only=_GRAPH | {'spatial_attention', 'occluded'},
  no_attention={'spatial_attention'}, hops3={'hops4'},
  clean={'occluded', 'no_masks', 'no_paste'})


def get_config(argument=''):
  return dag(argument, common.on_coco, dict(w32=dict(width=32), w48=dict(width=48)))


def dag(argument, on=lambda config: config, models=None):
  """DAG with the words of an argument, on a data set such as `common.on_coco`.

  The optimizers and loss weights are those of its published code. models: as for
  `common.use_arguments`.
  """
  words = argument.split(',')
  config = on(common.dslope('kl') if 'pair' in words else common.top_down())
  for field in {'loss', 'covered_weight', 'shared'} & set(config.system):
    del config.system[field]
  if 'view' in config.system:
    config.system.view = 'occluded'  # before the words, of which 'clean' is one
  common.use_arguments(config, argument, models, _WORDS)
  _refuse_contradictions(words)
  _add_graph(config)
  config.system.sigma += 1  # the published rule for maps of twice the size
  if 'double_only' in words:
    words += ['no_masks', 'no_paste', 'no_attention', 'no_presence', 'no_graph']
  config.data.recipe = '+'.join(name for name, word in (
    ('mask_joints', 'no_masks'), ('instance_paste', 'no_paste')) if word not in words) or 'none'
  system, graphs = config.system, [name for name in config.optim if name.endswith('gcn')]
  system.model.attention = 'no_attention' not in words
  system.model.spatial_attention = 'spatial_attention' in words
  system.model.presence = 'no_presence' not in words
  system.graph = 'no_graph' not in words
  system.gcn.guidance = 'no_guidance' not in words
  system.gcn.hops = 3 if 'hops3' in words else 4 if 'hops4' in words else 2
  for name in graphs:
    of_maps = config.optim['net' if name == 'gcn' else name.removesuffix('_gcn')]
    config.optim[name].frozen = of_maps.frozen
    if 'gcn_decay' in words:
      config.optim[name] = ConfigDict(of_maps.to_dict())
    else:
      config.optim[name].schedule = 'constant'
    if 'no_graph' in words:
      del config.optim[name], config.init_from[name]
  return config


def _refuse_contradictions(words):
  for word, others in _CONTRADICTIONS.items():
    if word in words and others & set(words):
      other = min(others & set(words))
      raise UserError(f"config arguments '{word}' and '{other}' contradict: leave one out")


def _add_graph(config):
  """All fields of DAG to a config of one heatmap network, or of a pair."""
  system = config.system
  if system.name == 'heatmap':
    system.name = 'dag'
  else:
    system.learner = 'dag'
  system.update(ConfigDict(dict(
    coord_norm='crop', graph=True, reference=False,
    weights=dict(multi=1.0, presence=1e-5, pose=0.01),
    gcn=dict(name='pose_gcn', width=128, hops=2, guidance=True))))
  system.model.update(ConfigDict(dict(
    name='dag', attention=True, spatial_attention=False, presence=True, double=True,
    random_instance_scale=False)))
  for half in [name for name in ('net', 'gnet', 'enet') if name in config.optim]:
    name = 'gcn' if half == 'net' else f'{half}_gcn'
    config.optim[name], config.init_from[name] = ConfigDict(common.adam()), ''
