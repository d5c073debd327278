"""Every system learns: one batch is fitted until its loss is a hundredth of what it was."""
import dataclasses

import jax
import numpy as np
import optax
import pytest

from dslope_jax import systems
from dslope_jax.systems.base import Forward
from dslope_jax.training import train_state
from dslope_jax.training.train_step import make_train_step
from tests import tiny

SIZE, K, B = (32, 32), 3, 4
MUTUAL = dict(kind='kl', weights={'gnet': 1e-4, 'enet': 1e-4}, temperature=0.1, features=False)
SYSTEMS = {'heatmap': dict(name='heatmap', view='occluded'),
           'dslope, kl': dict(name='dslope', mutual=MUTUAL),
           'dag': dict(name='dag', gcn=dict(name='pose_gcn', width=16, sampler_width=16))}

QUICK = 'dslope, kl'
NAMES = [QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SYSTEMS if name != QUICK)]


def build(name):
  model = dict(tiny.MODEL, width=16, filters=(16, 16, 16))
  facts = tiny.facts(K, SIZE)
  if name == 'dag':
    model = dict(name='dag', width=16, stem_width=16, modules=(1, 1, 1), blocks=(1, 1, 1))
    facts = facts._replace(skeleton=dataclasses.replace(facts.skeleton, limbs=((0, 1), (1, 2))))
  return systems.build(facts, model=model, sigma=2.0 if name == 'dag' else 1.0, **SYSTEMS[name])


@pytest.fixture(scope='module')
def batch():
  rng = np.random.default_rng(0)
  pictures = rng.integers(0, 256, (B, *SIZE, 3), np.uint8)
  hidden = pictures.copy()
  hidden[:, 8:16, 8:16] = 0
  return {'image': pictures, 'occluded_image': hidden, 'visibility': np.full((B, K), 2, np.uint8),
          'keypoints': rng.uniform(4, 28, (B, K, 2)).astype(np.float32),
          'others': np.zeros((B, 2, K, 3), np.float32), 'outside': np.zeros((B, K), bool)}


@pytest.mark.parametrize('name', NAMES)
def test_one_batch_is_overfitted(name, batch):
  system = build(name)
  steps = 250
  optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, steps))
  example = {k: jax.ShapeDtypeStruct((1, *v.shape[1:]), v.dtype) for k, v in batch.items()}
  state = train_state.create(system, optimizer, seed=0, example=example)
  step = jax.jit(make_train_step(system, optimizer, trainable=tuple(system.networks)))
  fields = {k: batch[k] for k in system.fields['loss']}
  losses = []
  for _ in range(steps):
    state, terms = step(state, fields)
    losses.append({k: terms[k] for k in terms if k.endswith(('/heatmap', '/multi', '/pose'))})
  first, last = jax.device_get((losses[0], losses[-1]))
  for term in first:
    factor = 2 if term.endswith('/multi') else 100  # one convolution of the features of stage 3
    assert last[term] < first[term] / factor, (name, term, first[term], last[term])


@pytest.mark.parametrize('name', NAMES)
def test_the_truth_never_reaches_a_prediction(name, batch):
  system = build(name)
  example = {k: jax.ShapeDtypeStruct((1, *v.shape[1:]), v.dtype) for k, v in batch.items()}
  weights = train_state.init_weights(system, 0, example)
  assert set(system.fields['predict']) == {'image', 'occluded_image'}
  predict = lambda batch: system.predict(
    Forward(system.networks, weights['params'], weights['batch_stats']), batch)
  other = batch | {'keypoints': batch['keypoints'][::-1] + 1,
                   'visibility': np.zeros_like(batch['visibility'])}
  jax.tree.map(np.testing.assert_array_equal, predict(batch), predict(other))
