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


def _plain(view, model, duration, size=(64, 96), **fields):
  """One network on the pictures of a view; model: the HRNet of the config where it is empty."""
  model = {'system.model': model} if model else {}
  return Arm(f'lspet_hrnet.py:{view}', model | {'data.size': size, 'duration': duration} | fields)


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
  'regime_hrnet_64_ce': _plain('clean', {}, '11 epochs', **{'system.loss': 'ce'}),
  'regime_hrnet_96_ce': _plain('clean', {}, '7 epochs', (96, 128), **{'system.loss': 'ce'}),
  'world_hrnet_64': _world(_plain('clean', {}, '9 epochs')),
  'regime_hrnet_64_started': _started(_plain('clean', {}, '11 epochs'), 'world_hrnet_64'),
  'regime_hrnet_128': _plain('clean', {}, '5 epochs', (128, 128)),
  'regime_hrnet_96_long': _plain('clean', {}, '40 epochs', (96, 128)),
}

# Network, crops and rate of the arms below are those of the configs.
_LENGTH = {'duration': '20 epochs'}
_OCCLUDED = 'severity2,severity4'
_HALF = 'none:2,severity2:1,severity4:1'  # half of the pictures clean
_QUARTER = 'none:2,severity2:3,severity4:3'
# `published` leaves a third of its pictures clean: a third clean, as it covers, and by severities.
_THIRDS = 'none:1,published:3,severity2:1,severity4:1'
_KL = {'system.mutual.weights.gnet': 0.002, 'system.mutual.weights.enet': 0.02}
_FROZEN = {'optim.gnet.frozen': True}
_JOINED = _FROZEN | {'duration': '1 steps', 'optim.enet.lr': 1e-9}
_TAUGHT = _FROZEN | {'system.mutual.weights.gnet': 0.0, 'system.mutual.weights.enet': 0.02}


def _single(view, recipe=_OCCLUDED, start='', **fields):
  return Arm(f'lspet_hrnet.py:{view}', _LENGTH | {'data.recipe': recipe} | fields,
             {'net': start} if start else {})


def _pair(argument, recipe=_OCCLUDED, fields=None, start=None):
  return Arm(f'clspet_hrnet.py:published,{argument}',
             _LENGTH | {'data.recipe': recipe} | (fields or {}), start or {})


_GNET = {'gnet': 'plain_clean:net'}
_BOTH = _GNET | {'enet': 'plain_clean:net'}

# One network. Without a mutual term a pair is two of these: its GNet is plain_clean, its ENet
# plain_occluded.
SINGLES = {
  'plain_clean': _single('clean'),
  'plain_occluded': _single('occluded'),
  'plain_half': _single('occluded', _HALF),
  'plain_quarter': _single('occluded', _QUARTER),
  'plain_published': _single('occluded', 'published'),
  'plain_curriculum': _single('occluded', 'severity1>severity2>severity4'),
  'plain_covered': _single('occluded', **{'system.covered_weight': 2 ** 0.5}),
  # ENet started from the converged GNet has seen twice the pictures; the others of that length.
  'occluded_from_clean': _single('occluded', start='plain_clean:net'),
  'half_from_clean': _single('occluded', _HALF, start='plain_clean:net'),
  'clean_from_clean': _single('clean', start='plain_clean:net'),
  'plain_clean_long': _single('clean', duration='40 epochs'),
  'plain_half_long': _single('occluded', _HALF, duration='40 epochs'),
  'plain_clean_then_half': _single('occluded', f'none>{_HALF}', duration='40 epochs'),
  'plain_clean_then_thirds': _single('occluded', f'none>{_THIRDS}', duration='40 epochs'),
}
PAIRS = {
  'pair_mse': _pair('mse'),
  'pair_mse_published': _pair('mse', 'published'),
  'pair_kl': _pair('kl', fields=_KL),
  'pair_kl_quarter': _pair('kl', _QUARTER, _KL),
  'mean_teacher': _pair('kl', fields=_KL | {'system.mutual.average': True, 'ema_decay': 0.999}),
  'one_trunk': _pair('none,shared'),
  'one_trunk_kl': _pair('kl,shared', fields=_KL),
  'distill': _pair('distill', start=_GNET),
  'distill_kl': _pair('kl', fields=_TAUGHT, start=_GNET),
  # Networks of other arms as pairs, so that their mixtures are scored.
  'two_networks': _pair('none', fields=_JOINED, start=_GNET | {'enet': 'plain_occluded:net'}),
  'two_from_clean': _pair('none', _HALF, _JOINED, {
    'gnet': 'clean_from_clean:net', 'enet': 'none_half_from_clean:enet'}),
  # The default of the config, trained whole, and its two networks trained alone.
  'pair_long': Arm('clspet_hrnet.py', {}),
  'two_long': _pair('none', _HALF, _JOINED, {
    'gnet': 'plain_clean_long:net', 'enet': 'plain_clean_then_half:net'}),
  'none_half_from_clean': _pair('none', _HALF, _FROZEN, _BOTH),
  'distill_kl_from_clean': _pair('kl', fields=_TAUGHT, start=_BOTH),
  'distill_kl_half_from_clean': _pair('kl', _HALF, _TAUGHT, _BOTH),
  'distill_kl_quarter_from_clean': _pair('kl', _QUARTER, _TAUGHT, _BOTH),
}

# What the parts of DAG are worth, at equal steps: on LSPET, whose people to paste come from a bank
# cut from COCO (--bank), and on rendered people. The network is that of the configs.
_STEPS, _PARTS = '1500 steps', {
  'plain': ('lspet_hrnet.py:clean', {}),
  'masks_paste': ('lspet_hrnet.py:occluded', {'data.recipe': 'mask_joints+instance_paste'}),
  'dag': ('lspet_dag_hrnet.py', {}),
  'dag_no_graph': ('lspet_dag_hrnet.py:no_graph', {})}


def _part(config, fields):
  return Arm(config, {'duration': _STEPS, 'data.size': (64, 96)} | fields)


DAG = {f'lspet_{name}': _part(*part) for name, part in _PARTS.items()} | {
  f'world_{name}': _world(_part(*part)) for name, part in _PARTS.items()}
ARMS = REGIMES | SINGLES | PAIRS | DAG
