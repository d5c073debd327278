"""The arms of the experiments on LSPET: config files, and what each changes in them.

An arm whose networks start from those of another names it in `start`; both have one seed then.
"""
from typing import NamedTuple


class Arm(NamedTuple):
  """config: a file of configs/, with its argument. fields: {field of it: value}.
  start: {network: 'ARM:its network'}, which it is initialised with. data: whether it trains on
  LSPET, and not on data that the config makes itself."""
  config: str
  fields: dict
  start: dict = {}
  data: bool = True


def _plain(view, model, duration, size=(64, 96)):
  """One network on the pictures of a view; model: the HRNet of the config where it is empty."""
  model = {'system.model': model} if model else {}
  return Arm(f'lspet_hrnet.py:{view}', model | {
    'data.size': size, 'duration': duration, 'optim.net.lr': 2e-3})


_RESNET = dict(name='simple_baseline', depth=18, width=16, filters=(32, 32, 32), dtype='float32')
_LITE = dict(name='lite_hrnet', modules=(1, 2, 1), width=24, stem_width=24, dtype='float32')


def _world(arm):
  """The arm's network on rendered people, to start others from."""
  return arm._replace(data=False, fields=arm.fields | {
    'data.name': 'synthetic', 'data.root': '', 'data.bank.num_people': 300,
    'data.augmentation.rotation': 45.0, 'evals.val.split': 'test',
    'data.loader': dict(num_people=6000, size=(96, 128), seed=0, people=(1, 2)),
    'evals.val.data': dict(name='', root='', loader=dict(num_people=500))})


def _started(arm, start):
  return arm._replace(fields=arm.fields | {'fresh_head': True}, start={'net': f'{start}:net'})


# Learning curves of plain networks on clean pictures; lengths of 9 minutes on one core each.
REGIMES = {
  'regime_hrnet_64': _plain('clean', {}, '11 epochs'),
  'regime_resnet_96': _plain('clean', _RESNET, '12 epochs', (96, 128)),
  'regime_hrnet_96': _plain('clean', {}, '7 epochs', (96, 128)),
  'regime_resnet_64': _plain('clean', _RESNET, '15 epochs'),
  'regime_lite_64': _plain('clean', _LITE, '3 epochs'),
  'regime_lite_96': _plain('clean', _LITE, '2 epochs', (96, 128)),
  'world_hrnet_64': _world(_plain('clean', {}, '9 epochs')),
  'regime_hrnet_64_started': _started(_plain('clean', {}, '11 epochs'), 'world_hrnet_64'),
}
ARMS = REGIMES
