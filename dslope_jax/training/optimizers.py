"""Durations, learning-rate schedules, and one optax transformation per network."""
import re

import jax
import optax

from dslope_jax.errors import UserError


def to_steps(duration: str, steps_per_epoch: float, field='a duration') -> int:
  """'210 epochs', '0.5 epochs' or '1000 steps' as a whole number of steps.

  Raises UserError, which names the field, for any other text.
  """
  return round(to_interval(duration, steps_per_epoch, field))


def to_interval(duration: str, steps_per_epoch: float, field='a duration') -> float:
  """The same, not rounded: ten intervals of '1 epoch' are as long as '10 epochs'."""
  match = re.fullmatch(r'\s*(\d+(?:\.\d+)?)\s*(epoch|step)s?\s*', duration)
  if not match:
    raise UserError(f"{field} reads like '210 epochs' or '1000 steps', not '{duration}'")
  number, unit = float(match[1]), match[2]
  return number * (steps_per_epoch if unit == 'epoch' else 1)


def due_steps(every: dict, steps_per_epoch: float, total: int):
  """(step, field) -> whether that field falls due, always at the last step.

  every: {field: duration}, such as {'save_every': '1 epoch'}. Raises UserError for one of zero.
  """
  intervals = {field: to_interval(text, steps_per_epoch, field) for field, text in every.items()}
  for field, interval in intervals.items():
    if interval <= 0:
      raise UserError(f"{field} is '{every[field]}', must be longer than nothing; for never give "
                      'more than the duration of the run')
  intervals = {field: max(1.0, interval) for field, interval in intervals.items()}
  return lambda step, field: (step // intervals[field] > (step - 1) // intervals[field]
                              or step == total)


def make_schedule(lr, schedule, total, warmup, boundaries=(), factor=0.1, epoch=1.0,
                  warmup_from=0.01):
  """Learning rate by step.

  schedule: 'constant'; 'multistep', times `factor` at each of `boundaries` (published: 0.1 at
  epochs 170 and 200 of 210); 'exponential', times `factor` after each epoch from the end of the
  warm-up; 'cosine' and 'linear', to zero at `total`. All times are steps. The first `warmup` steps
  rise linearly from lr * warmup_from.
  """
  rest = max(total - warmup, 1)
  if schedule == 'constant':
    main = optax.constant_schedule(lr)
  elif schedule == 'multistep':
    scales = {}
    for step in boundaries:  # several may round to one step
      scales[step - warmup] = scales.get(step - warmup, 1) * factor
    main = optax.piecewise_constant_schedule(lr, scales)
  elif schedule == 'exponential':
    main = optax.exponential_decay(lr, epoch, factor, staircase=True)
  elif schedule == 'cosine':
    main = optax.cosine_decay_schedule(lr, rest)
  elif schedule == 'linear':
    main = optax.linear_schedule(lr, 0, rest)
  else:
    raise UserError("optim.*.schedule is 'constant', 'multistep', 'exponential', 'cosine' or "
                    f"'linear', not '{schedule}'")
  if not warmup:
    return main
  return optax.join_schedules([optax.linear_schedule(lr * warmup_from, lr, warmup), main], [warmup])


# Fields of a spec that may be missing.
_OPTIONAL = dict(warmup_from=0.01, l2=0.0, decay='kernels', beta2=0.999, amsgrad=False,
                 layer_decay=1.0)


def build(specs: dict, networks, total: int, steps_per_epoch: float, depths=None):
  """One transformation over {network: params}, and {network: schedule} for the log.

  specs: {network: dict(lr, schedule, warmup, boundaries, factor, weight_decay, clip, frozen)}, and
    the fields of `_OPTIONAL`; times as durations. A network without a spec is frozen too.
  depths: {network: function (path, number of blocks) -> layer number, or None}, for layer_decay.

  weight_decay: decoupled from the gradient (AdamW). l2: added to the gradient as l2 * parameter
    (PyTorch's Adam with weight_decay). decay: 'kernels' spares biases, norms and position
    embeddings from both, 'all' nothing.
  beta2: decay of the second moments; smaller in short runs.
  amsgrad: divides by the largest second moment so far; the largest of bias-corrected ones, where
    PyTorch corrects the largest.
  clip > 0 clips the network's own gradient norm, before l2.
  layer_decay < 1 slows every layer below the head by that factor more.
  Raises UserError for a spec of a network that the system does not have, an unknown choice, or a
  layer_decay of a model that counts no layers.
  """
  unknown = set(specs) - set(networks)
  if unknown:
    raise UserError(f'optim names {sorted(unknown)}, but the networks are {sorted(networks)}')
  specs = {name: spec for name, spec in specs.items() if not spec['frozen']}
  if not specs:
    raise UserError(f'every network ({sorted(networks)}) is frozen; there is nothing to train')
  transforms, schedules = {'frozen': optax.set_to_zero()}, {}
  for name, spec in specs.items():
    spec = _OPTIONAL | spec
    schedules[name] = make_schedule(
      spec['lr'], spec['schedule'], total,
      to_steps(spec['warmup'], steps_per_epoch, f'optim.{name}.warmup'),
      [to_steps(b, steps_per_epoch, f'optim.{name}.boundaries') for b in spec['boundaries']],
      spec['factor'], steps_per_epoch, spec['warmup_from'])
    slow = _slow_layers(name, spec['layer_decay'], depths)
    transforms[name] = optax.chain(*_adam(spec, schedules[name]), slow)
  labels = {name: name if name in specs else 'frozen' for name in networks}
  return optax.partition(transforms, labels), schedules


def _adam(spec, schedule):
  """The transformations of one network's gradient, in order."""
  masks = {'kernels': _is_kernel, 'all': None}
  if spec['decay'] not in masks:
    raise UserError(f"optim.*.decay is 'kernels' or 'all', not '{spec['decay']}'")
  decay = lambda rate: optax.add_decayed_weights(rate, masks[spec['decay']])
  if spec['clip']:
    yield optax.clip_by_global_norm(spec['clip'])
  if spec['l2']:
    yield decay(spec['l2'])
  scale = optax.scale_by_amsgrad if spec['amsgrad'] else optax.scale_by_adam
  yield scale(b2=spec['beta2'])
  if spec['weight_decay']:
    yield decay(spec['weight_decay'])
  yield optax.scale_by_learning_rate(schedule)


def _is_kernel(params):
  return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key.endswith('kernel'), params)


def _slow_layers(name, decay, depths):
  """Scales updates by decay ** (layers between the parameter and the head)."""
  if decay == 1:
    return optax.identity()
  depth_of = (depths or {}).get(name)
  if depth_of is None:
    raise UserError(f'optim.{name}.layer_decay is {decay}, but its model counts no layers; set it '
                    'to 1')

  def scale(updates, params=None):
    paths = [[k.key for k in path][1:] for path, _ in
             jax.tree_util.tree_leaves_with_path(updates)]  # without the network's name
    blocks = len({path[0] for path in paths if path[0].startswith('blocks_')})
    below = lambda path: blocks + 1 - depth_of([k.key for k in path][1:], blocks)
    return jax.tree_util.tree_map_with_path(lambda p, u: u * decay ** below(p), updates)

  return optax.stateless(scale)
