"""Whole D-Slope steps against the published training loop (mutual and distilling)."""
import gzip
import json

import jax
import numpy as np
import pytest

from dslope_jax import systems
from dslope_jax.systems import heatmap
from dslope_jax.training import optimizers
from dslope_jax.training.train_state import TrainState
from dslope_jax.training.train_step import make_train_step
from dslope_jax.weights import pytorch
from tests import tiny
from tests.golden.dslope import golden_rule
from tests.golden_data import GOLDEN, nhwc, relative_error, state_dict, torch_names

RECORD = json.loads(gzip.decompress((GOLDEN / 'dslope_step/main.json.gz').read_bytes()))
INPUTS = np.load(GOLDEN / 'dslope_step/main_inputs.npz')
CASE = RECORD['case']
SIZES = dict(width=8, modules=(1, 1, 1), blocks=(1, 1, 1))
WHO = {'student': 'enet', 'teacher': 'gnet'}
ADAM = dict(lr=CASE['lr'], schedule='constant', warmup='0 steps', boundaries=(), factor=0.1,
            weight_decay=0.0, clip=0.0, frozen=False)


def make_run(kind, dtype):
  """Step function and first state of the recorded loop."""
  weights = {'gnet': 1e-5, 'enet': 1e-3 if kind == 'mse' else 1e-5}
  system = systems.build(tiny.facts(17, (CASE['W'], CASE['H'])), 'dslope',
                         model=dict(name='hrnet', **SIZES),
                         mutual=dict(kind=kind, weights=weights), sigma=CASE['sigma'])
  learners = ('enet', 'gnet') if kind == 'mse' else ('enet',)
  optimizer, _ = optimizers.build({n: ADAM for n in learners}, system.networks, 3, 1)
  trees = {}
  for who, name in WHO.items():
    state = state_dict('dslope_step/keys_main.json', CASE[f'{who}_seed'], dtype=dtype)
    trees[name] = pytorch.convert('hrnet', state, num_keypoints=17, **SIZES)
  params = {n: t['params'] for n, t in trees.items()}
  stats = {n: t['batch_stats'] for n, t in trees.items()}
  state = TrainState(np.int32(0), params, stats, optimizer.init(params), {})
  return jax.jit(make_train_step(system, optimizer, trainable=learners)), state


def make_batch(i, dtype):
  shape = (CASE['batch'], 3, CASE['H'], CASE['W'])
  clean = golden_rule.normal(CASE['input_seed'], f'clean{i}', shape)
  occluded = golden_rule.occluded(CASE['input_seed'], f'occ{i}', clean)
  np.testing.assert_array_equal(occluded[0], INPUTS[f'occluded{i}_sample0'])
  return {'image': nhwc(clean).astype(dtype), 'occluded_image': nhwc(occluded).astype(dtype),
          'keypoints': INPUTS[f'joints{i}'][..., :2].astype(np.float32),
          'visibility': (INPUTS[f'joints_vis{i}'][..., 0] > 0).astype(np.uint8)}


def recorded_target(i):
  return {'target': nhwc(INPUTS[f'target{i}']).astype(np.float64),
          'target_weight': INPUTS[f'target_weight{i}'][..., 0].astype(np.float64)}


def test_drawn_targets_equal_the_recorded_ones():
  for i in range(3):
    target, weight = heatmap.draw_targets(make_batch(i, np.float32), (CASE['W'], CASE['H']),
                                          CASE['W'] // 4, CASE['sigma'])
    np.testing.assert_allclose(target, recorded_target(i)['target'], atol=1e-6)
    np.testing.assert_array_equal(weight, recorded_target(i)['target_weight'])


def check_terms(terms, want, who, weight, rtol):
  name = WHO[who]
  for key in ('stage2', 'stage3', 'stage4', 'heatmap'):
    np.testing.assert_allclose(terms[f'{name}/mutual_{key}'], want[key], rtol=rtol)
  np.testing.assert_allclose(terms[f'{name}/heatmap'], want['joints_mse'], rtol=rtol)
  total = want['joints_mse'] + weight * sum(want[k] for k in ('stage2', 'stage3', 'stage4',
                                                              'heatmap'))
  np.testing.assert_allclose(total, want['total'], rtol=1e-6)
  return want['total']


@pytest.mark.slow
@pytest.mark.parametrize('kind,record', [('mse', 'mutual'), ('distill', 'distill')])
def test_three_steps_float64(kind, record, monkeypatch):
  # The recorded targets were rounded to float32 by another exp(); at 1e-8 that would show.
  monkeypatch.setattr(heatmap, 'draw_targets',
                      lambda batch, *_: (batch['target'], batch['target_weight']))
  tensors = np.load(GOLDEN / 'dslope_step/main_tensors.npz')
  with jax.enable_x64(True):
    step, state = make_run(kind, np.float64)
    frozen = jax.tree.map(np.copy, (state.params['gnet'], state.batch_stats['gnet']))
    for i, want in enumerate(RECORD[record]['float64']):
      state, terms = step(state, make_batch(i, np.float64) | recorded_target(i))
      total = 0
      for who in [w for w in WHO if w in want]:
        weight = 1e-3 if (kind, who) == ('mse', 'student') else 1e-5
        total += check_terms(terms, want[who], who, weight, 1e-8)
        norm = np.sqrt(sum(v ** 2 for v in want[f'grad_l2_{who}'].values()))
        np.testing.assert_allclose(terms[f'{WHO[who]}/grad_norm'], norm, rtol=1e-8)
        got = torch_names(state.params[WHO[who]]) | torch_names(state.batch_stats[WHO[who]])
        for key, value in want[f'after_{who}'].items():
          if not key.endswith('num_batches_tracked'):
            np.testing.assert_allclose(np.linalg.norm(got[key]), value['l2'], rtol=1e-8)
            np.testing.assert_allclose(got[key].sum(), value['sum'], rtol=1e-8, atol=1e-8)
            first = got[key].reshape(-1)[:5]
            np.testing.assert_allclose(first, value['first5'][:5], rtol=1e-8, atol=1e-9)
      np.testing.assert_allclose(terms['loss'], total, rtol=1e-8)
    for who in WHO:
      prefix = f'{record}/float64/after_step3/{who}/'
      got = torch_names(state.params[WHO[who]]) | torch_names(state.batch_stats[WHO[who]])
      for key in [k for k in tensors.files if k.startswith(prefix)]:
        assert relative_error(got[key[len(prefix):]], tensors[key]) < 1e-6
  if kind == 'distill':  # the frozen teacher keeps weights and statistics bit for bit
    now = (state.params['gnet'], state.batch_stats['gnet'])
    jax.tree.map(np.testing.assert_array_equal, frozen, jax.device_get(now))


@pytest.mark.parametrize('kind,record', [('distill', 'distill')])  # it compiles faster
def test_one_step_float32(kind, record):
  step, state = make_run(kind, np.float32)
  want = RECORD[record]['float32'][0]
  state, terms = step(state, make_batch(0, np.float32))
  for who in [w for w in WHO if w in want]:
    check_terms(terms, want[who], who, 1e-3 if (kind, who) == ('mse', 'student') else 1e-5, 1e-5)
    norm = np.sqrt(sum(v ** 2 for v in want[f'grad_l2_{who}'].values()))
    np.testing.assert_allclose(terms[f'{WHO[who]}/grad_norm'], norm, rtol=5e-3)
    got = torch_names(state.params[WHO[who]]) | torch_names(state.batch_stats[WHO[who]])
    for key, value in want[f'after_{who}'].items():
      if not key.endswith('num_batches_tracked'):
        # Adam steps by +-lr where a gradient is rounding noise.
        np.testing.assert_allclose(got[key].reshape(-1)[:5], value['first5'][:5],
                                   atol=2 * CASE['lr'])


def test_distilling_refuses_a_learning_teacher():
  system = systems.build(tiny.facts(17, (CASE['W'], CASE['H'])), 'dslope',
                         model=dict(name='hrnet', **SIZES),
                         mutual=dict(kind='distill', weights={'gnet': 0., 'enet': 1e-5}))
  optimizer, _ = optimizers.build({'gnet': ADAM, 'enet': ADAM}, system.networks, 3, 1)
  _, state = make_run('distill', np.float32)
  state = state.replace(opt_state=optimizer.init(state.params))
  step = make_train_step(system, optimizer, trainable=('gnet', 'enet'))
  with pytest.raises(ValueError, match='optim.gnet.frozen=True'):
    jax.eval_shape(step, state, make_batch(0, np.float32))
