"""Gradient checkpointing, and the estimate of memory that benchmarks/memory.py makes."""
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import memory
from dslope_jax import cli, systems
from dslope_jax.models.layers import BatchNorm, Conv, sum_relu
from dslope_jax.training import train_state, workdir
from dslope_jax.training.train_step import make_train_step
from tests import tiny

MODELS = {
  'simple_baseline': tiny.MODEL,
  'hrnet': dict(name='hrnet', width=8, stem_width=8, modules=(1, 1, 1), blocks=(2, 1, 1)),
  'vitpose': dict(name='vitpose', width=16, depth=2, heads=2, filters=(8, 8)),
  'hrformer': dict(name='hrformer', width=8, heads=1, modules=(1, 1, 1), blocks=1, bottlenecks=1),
  'lite_hrnet': dict(name='lite_hrnet', modules=(1, 1, 1), blocks=1)}
SIZE = (64, 96)
EXAMPLE = {'image': jax.ShapeDtypeStruct((1, SIZE[1], SIZE[0], 3), np.uint8)}


def built(name, pairs=8):
  """System, optimizer, shapes of its state, a batch."""
  system = systems.build(tiny.facts(5, SIZE), 'heatmap', model=MODELS[name])
  optimizer = optax.sgd(1.0, momentum=0.9)
  state = jax.eval_shape(lambda: train_state.create(system, optimizer, seed=0, example=EXAMPLE))
  rng = np.random.default_rng(0)
  batch = {'image': rng.integers(0, 256, (pairs, SIZE[1], SIZE[0], 3), np.uint8),
           'keypoints': rng.uniform(0, 64, (pairs, 5, 2)).astype(np.float32),
           'visibility': np.full((pairs, 5), 2, np.uint8)}
  return system, optimizer, state, batch


def estimated(name):
  """{remat: estimate}"""
  system, _, state, batch = built(name)
  losses = {remat: memory.as_compiled(system, ('net',), remat) for remat in (False, True)}
  return {remat: memory.estimate(loss, state, batch, ('net',)) for remat, loss in losses.items()}


def hand_made(learned, state, batch_stats, batch, part):
  """Its gradient needs a cosine and a product of shape (B,6); x, w and v are there anyway."""
  product = batch['x'] @ learned['net']['w']
  return (jnp.sin(product) @ learned['net']['v']).sum(), ({}, batch_stats)


def test_what_is_counted():
  params = {'net': {'w': jnp.ones((5, 6)), 'v': jnp.ones((6, 3))}}
  state = train_state.TrainState(jnp.zeros((), jnp.int32), params, {'net': {}}, (), {})
  batch = {'x': jnp.ones((8, 5))}
  whole = memory.estimate(hand_made, state, batch, ('net',))
  weights = (5 * 6 + 6 * 3) * 4
  assert whole == (weights + 4, weights, 8 * 5 * 4, 2 * 8 * 6 * 4)


@pytest.mark.parametrize('name', [
  pytest.param(name, marks=[pytest.mark.slow] * (name in ('hrformer', 'lite_hrnet')))
  for name in MODELS])
def test_remat_keeps_less(name):
  kept = {remat: needs.activations for remat, needs in estimated(name).items()}
  assert kept[True] < 0.8 * kept[False], kept


class Residual(nn.Module):
  """The kinds of layers there are, in a network that compiles at once."""

  @nn.compact
  def __call__(self, x, *, train=False):
    x = nn.relu(BatchNorm()(Conv(6, 3, 2)(x), train=train))
    return {'heatmaps': Conv(5)(sum_relu(x, BatchNorm()(Conv(6, 3)(x), train=train)))}


def trained(system, optimizer, batch, **options):
  """The state and terms after two steps, and the bytes the compiler reserves."""
  state = train_state.create(system, optimizer, seed=0, example=EXAMPLE)
  step = make_train_step(system, optimizer, trainable=('net',), **options)
  program = jax.jit(step).lower(state, batch).compile()
  for _ in range(2):
    state, terms = program(state, batch)
  found = program.memory_analysis()
  return (state, terms), found.argument_size_in_bytes + found.temp_size_in_bytes


def assert_alike(one, other):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), one, other)


@pytest.mark.slow
def test_remat_trains_alike_and_the_estimate_is_near_what_the_compiler_reserves():
  system, optimizer, _, batch = built('simple_baseline')
  plain, reserved = trained(system, optimizer, batch)
  again, _ = trained(system, optimizer, batch, remat=True)
  assert_alike(plain, again)
  assert 0.5 < sum(estimated('simple_baseline')[False]) / reserved < 2


def test_remat_of_a_batch_in_parts():
  system, optimizer, _, batch = built('simple_baseline')
  system = system._replace(networks={'net': Residual()})
  batch['keypoints'] = batch['keypoints'] / 2
  plain, _ = trained(system, optimizer, batch, accumulate=2)
  again, _ = trained(system, optimizer, batch, accumulate=2, remat=True)
  assert_alike(plain, again)


def test_remat_may_change_in_a_run(tmp_path):
  """Also in one of before there was such a field."""
  config = tiny.config()
  (tmp_path / 'checkpoints' / '1').mkdir(parents=True)
  old = json.loads(config.to_json_best_effort())
  del old['remat']
  (tmp_path / 'config.json').write_text(json.dumps(old))
  workdir.check_config(config, str(tmp_path), False)
  config.remat = True
  workdir.check_config(config, str(tmp_path), False)
  config.accumulate = 2
  with pytest.raises(ValueError, match='accumulate'):
    workdir.check_config(config, str(tmp_path), False)


def test_a_full_device_gets_a_hint(capsys):
  with pytest.raises(SystemExit), cli.checked():
    raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: 3 GiB more\nwere asked for')
  told = capsys.readouterr().err
  assert all(word in told for word in ('accumulate', 'remat=True', 'batch_size', '3 GiB more'))
  with pytest.raises(jax.errors.JaxRuntimeError), cli.checked():
    raise jax.errors.JaxRuntimeError('INTERNAL: a bug')
