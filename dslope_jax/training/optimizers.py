"""Durations, learning-rate schedules, and one optax transformation per network."""
import re

import jax
import optax


def to_steps(duration: str, steps_per_epoch: float) -> int:
  """'210 epochs', '0.5 epochs' or '1000 steps' as a whole number of steps.

  Raises ValueError for any other text.
  """
  return round(to_interval(duration, steps_per_epoch))


def to_interval(duration: str, steps_per_epoch: float) -> float:
  """The same, not rounded: ten intervals of '1 epoch' are as long as '10 epochs'."""
  match = re.fullmatch(r'\s*(\d+(?:\.\d+)?)\s*(epoch|step)s?\s*', duration)
  if not match:
    raise ValueError(f"a duration reads like '210 epochs' or '1000 steps', not '{duration}'")
  number, unit = float(match[1]), match[2]
  return number * (steps_per_epoch if unit == 'epoch' else 1)


def make_schedule(lr, schedule, total, warmup, boundaries=(), factor=0.1):
  """Learning rate by step.

  schedule: 'constant'; 'multistep', times `factor` at each of `boundaries` (published: 0.1 at
  epochs 170 and 200 of 210); 'cosine', to zero at `total`. All times are steps. The first
  `warmup` steps rise linearly from lr / 100.
  """
  if schedule == 'constant':
    main = optax.constant_schedule(lr)
  elif schedule == 'multistep':
    main = optax.piecewise_constant_schedule(lr, {b - warmup: factor for b in boundaries})
  elif schedule == 'cosine':
    main = optax.cosine_decay_schedule(lr, max(total - warmup, 1))
  else:
    raise ValueError(f"optim.*.schedule is 'constant', 'multistep' or 'cosine', not '{schedule}'")
  if not warmup:
    return main
  return optax.join_schedules([optax.linear_schedule(lr / 100, lr, warmup), main], [warmup])


def build(specs: dict, networks, total: int, steps_per_epoch: float, depths=None):
  """One transformation over {network: params}, and {network: schedule} for the log.

  specs: {network: dict(lr, schedule, warmup, boundaries, factor, weight_decay, clip, layer_decay,
  frozen)}, times as durations; a network without a spec is frozen too. weight_decay > 0 makes Adam
  AdamW, for kernels only (not biases, norms, position embeddings); clip > 0 clips the network's own
  gradient norm; layer_decay < 1 slows every layer below the head by that factor more.
  depths: {network: function (path, number of blocks) -> layer number, or None}, for layer_decay.
  Raises ValueError for a spec of a network that the system does not have, or a layer_decay of a
  model that counts no layers.
  """
  unknown = set(specs) - set(networks)
  if unknown:
    raise ValueError(f'optim names {sorted(unknown)}, but the networks are {sorted(networks)}')
  specs = {name: spec for name, spec in specs.items() if not spec['frozen']}
  if not specs:
    raise ValueError(f'every network ({sorted(networks)}) is frozen; there is nothing to train')
  transforms, schedules = {'frozen': optax.set_to_zero()}, {}
  for name, spec in specs.items():
    schedules[name] = make_schedule(
      spec['lr'], spec['schedule'], total, to_steps(spec['warmup'], steps_per_epoch),
      [to_steps(b, steps_per_epoch) for b in spec['boundaries']], spec['factor'])
    adam = (optax.adamw(schedules[name], weight_decay=spec['weight_decay'], mask=_is_kernel)
            if spec['weight_decay'] else optax.adam(schedules[name]))
    clip = optax.clip_by_global_norm(spec['clip']) if spec['clip'] else optax.identity()
    slow = _slow_layers(name, spec.get('layer_decay', 1.0), depths)
    transforms[name] = optax.chain(clip, adam, slow)
  labels = {name: name if name in specs else 'frozen' for name in networks}
  return optax.partition(transforms, labels), schedules


def _is_kernel(params):
  return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key.endswith('kernel'), params)


def _slow_layers(name, decay, depths):
  """Scales updates by decay ** (layers between the parameter and the head)."""
  if decay == 1:
    return optax.identity()
  depth_of = (depths or {}).get(name)
  if depth_of is None:
    raise ValueError(f'optim.{name}.layer_decay is {decay}, but its model counts no layers; set it '
                     'to 1')

  def scale(updates, params=None):
    paths = [[k.key for k in path][1:] for path, _ in
             jax.tree_util.tree_leaves_with_path(updates)]  # without the network's name
    blocks = len({path[0] for path in paths if path[0].startswith('blocks_')})
    below = lambda path: blocks + 1 - depth_of([k.key for k in path][1:], blocks)
    return jax.tree_util.tree_map_with_path(lambda p, u: u * decay ** below(p), updates)

  return optax.stateless(scale)
