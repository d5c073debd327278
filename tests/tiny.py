"""The smallest run there is: a world of few people and a network of few channels."""
import flax.linen as nn
import jax
import numpy as np
from ml_collections import ConfigDict

from configs import common
from dslope_jax.models import layers
from dslope_jax.skeletons import Skeleton
from dslope_jax.systems.base import Facts

# It compiles several times faster than the smallest HRNet.
MODEL = dict(name='simple_baseline', depth=10, width=8, filters=(8, 8, 8), dtype='float32')


def config(kind='mse', steps=6, batch_size=4, **data):
  """A D-Slope config that trains in seconds; a kind of None gives the plain system."""
  c = common.dslope(kind) if kind else common.top_down()
  c.duration, c.batch_size = f'{steps} steps', batch_size
  c.system.model = ConfigDict(MODEL)
  c.data.update(dict(name='synthetic', size=(32, 64)) | data)
  if c.data.name == 'synthetic':
    del c.data.root
    c.data.loader = ConfigDict(dict(num_people=30, size=(64, 96)))
  c.data.bank.num_people = 10
  c.evals.val.update(common.evaluation('val', 'pck') | dict(
    batch_size=8, data=dict(name='', root='', loader=dict(num_people=10))))
  for spec in c.optim.values():
    spec.schedule = 'constant'
  c.log_every, c.save_every, c.eval_every = '2 steps', '2 steps', f'{steps} steps'
  return c


def get_config(argument=''):
  """'exact' computes in float64 (with JAX_ENABLE_X64) and evaluates nothing; 'plain' is one
  network instead of the pair; 'coco' reads a COCO folder instead of the world and
  evaluates nothing."""
  data = dict(name='coco', root='', train_split='train') if 'coco' in argument else {}
  c = config(None if 'plain' in argument else 'mse', steps=24, batch_size=8, **data)
  if 'exact' in argument:
    c.system.model.dtype = 'float64'
  if 'exact' in argument or 'coco' in argument:
    c.evals = {}
  return c


def facts(num_keypoints, size=(32, 32)):
  """What data of so many keypoints without names or sides tell a system."""
  names = tuple(f'point {i}' for i in range(num_keypoints))
  return Facts(Skeleton(names, limbs=(), sigmas=(0.1,) * num_keypoints, flip_pairs=()), size)


class SmallDag(nn.Module):
  """Outputs of the form of models/dag.py from three convolutions: it compiles in a second."""
  num_keypoints: int
  dtype: str
  double = attention = presence = True

  @nn.compact
  def __call__(self, images, *, train=False):
    norm = lambda x, name: nn.relu(layers.BatchNorm(name=name)(x, train=train))
    x = norm(layers.Conv(6, 3, 2, name='conv1')(images.astype(self.dtype)), 'bn1')
    stages = [x, norm(layers.Conv(6, 3, name='conv2')(x), 'bn2')]
    heads = [layers.Conv(self.num_keypoints, 3, name=name)(stages[1]).astype(
      'float64' if self.dtype == 'float64' else 'float32')
      for name in ('heatmaps', 'parts', 'presence')]
    return {'heatmaps': heads[0], 'parts': heads[1], 'presence_logits': heads[2].mean((1, 2)),
            'features': [[], [stages[0], stages[0]], [stages[1]]]}


def shaken(tree, seed=1):
  """The weights plus noise: nothing is zero, and no factor hides a part."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda x: x + rng.normal(0, 0.2, x.shape).astype(x.dtype), tree)
