"""The fields of DAG's configs, and the words after their names; see `coco_dag_hrnet.py`."""
from ml_collections import ConfigDict

from configs import common

WORDS = ('no_masks', 'no_paste', 'no_attention', 'spatial_attention', 'no_graph', 'hops3', 'hops4',
         'no_guidance', 'no_presence', 'double_only', 'gcn_decay')


def dag():
  """DAG, trained on crops with masked joints and pasted people, by the weights of its code."""
  config = common.top_down(('net', 'gcn'))
  _with_graph(config)
  config.system.view = 'occluded'
  config.optim.gcn.schedule = 'constant'
  return config


def pair(kind='kl'):
  """D-Slope over DAG: all losses of DAG in each half, and a mutual term."""
  config = common.dslope(kind)
  config.system.learner = 'dag'
  del config.system.shared
  _with_graph(config)
  for half in ('gnet', 'enet'):
    config.optim[f'{half}_gcn'] = ConfigDict(common.adam() | dict(
      schedule='constant', frozen=config.optim[half].frozen))
    config.init_from[f'{half}_gcn'] = ''
  return config


def _with_graph(config):
  system = config.system
  del system.loss, system.covered_weight
  system.sigma += 1  # on maps of twice the size
  system.update(ConfigDict(dict(
    name='dag' if system.name == 'heatmap' else system.name, coord_norm='crop', graph=True,
    reference=False, weights=dict(multi=1.0, presence=1e-5, pose=0.01),
    gcn=dict(name='pose_gcn', width=128, hops=2, guidance=True))))
  system.model.update(ConfigDict(dict(
    name='dag', attention=True, spatial_attention=False, presence=True, double=True)))
  config.data.recipe = 'mask_joints+instance_paste'


def use_arguments(config, argument, models=None):
  """Applies the comma-separated words after the config file's name: WORDS, which leave out or add
  one part each, and those of `common.use_arguments`. double_only: a plain HRNet on clean crops
  whose maps have twice the size. gcn_decay: the graph network's rate falls as the other's does."""
  words = argument.split(',')
  before = config.system.sigma
  common.use_arguments(config, ','.join(w for w in words if w not in WORDS), models)
  if config.system.sigma != before:
    config.system.sigma += 1
  for half in [name for name in ('gnet', 'enet') if name in config.optim]:
    config.optim[f'{half}_gcn'].frozen = config.optim[half].frozen
  for word in words:
    if word in ('no_masks', 'no_paste', 'double_only'):
      gone = dict(no_masks=('mask_joints',), no_paste=('instance_paste',)).get(
        word, ('mask_joints', 'instance_paste'))
      left = [name for name in config.data.recipe.split('+') if name not in gone]
      config.data.recipe = '+'.join(left) or 'none'
    if word in ('no_attention', 'double_only'):
      config.system.model.attention = False
    if word in ('no_presence', 'double_only'):
      config.system.model.presence = False
    if word in ('no_graph', 'double_only'):
      config.system.graph = False
      for section in (config.optim, config.init_from):
        for name in [name for name in section if name.endswith('gcn')]:
          del section[name]
    if word == 'spatial_attention':
      config.system.model.spatial_attention = True
    if word in ('hops3', 'hops4'):
      config.system.gcn.hops = int(word[-1])
    if word == 'no_guidance':
      config.system.gcn.guidance = False
    if word == 'gcn_decay':
      for name in [name for name in config.optim if name.endswith('gcn')]:
        config.optim[name].schedule = 'multistep'
  return config
