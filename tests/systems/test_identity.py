"""Recognition: loss, mutual terms and predictions of one network and of a pair."""
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dslope_jax import losses, margins, systems
from dslope_jax.systems import identity
from dslope_jax.systems.base import Facts, Forward
from dslope_jax.training import train_state
from dslope_jax.training.train_step import make_train_step
from tests import tiny
from tests.refusals import fails

SIZE, CLASSES, B = (16, 16), 3, 6
MODEL = dict(name='iresnet', depth=10, width=4, dim=8)
MUTUAL = dict(kind='kl', weights={'gnet': 0.1, 'enet': 0.1}, temperature=4.0, features=True)
SYSTEMS = {'one': dict(name='identity', view='occluded', loss='cosface', margin=0.2),
           'pair': dict(name='dslope', learner='identity', mutual=MUTUAL, margin=0.2)}
RNG = np.random.default_rng(0)
OUTPUTS = [{'embedding': jnp.asarray(RNG.normal(size=(B, 8))),
            'cosines': jnp.asarray(RNG.uniform(-1, 1, (B, CLASSES))),
            'features': [[jnp.asarray(RNG.normal(size=(B, 2, 2, 3)))] for _ in range(4)]}
           for _ in range(2)]


def build(name, classes=CLASSES, **changes):
  return systems.build(Facts(size=SIZE, classes=classes), model=MODEL, scale=16.0,
                       **SYSTEMS[name] | changes)


@pytest.fixture(scope='module')
def batch():
  pictures = np.random.default_rng(0).integers(0, 256, (B, *SIZE, 3), np.uint8)
  hidden = pictures.copy()
  hidden[:, 4:8, 4:8] = 0
  return {'image': pictures, 'occluded_image': hidden,
          'identity': np.array([0, 1, 2, 0, 1, 2], np.int32)}


def example(batch):
  return {k: jax.ShapeDtypeStruct((1, *v.shape[1:]), v.dtype) for k, v in batch.items()}


@pytest.mark.parametrize('name', SYSTEMS)
def test_one_batch_is_overfitted(name, batch):
  system = build(name)
  steps = 120
  optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, steps))
  state = train_state.create(system, optimizer, seed=0, example=example(batch))
  step = jax.jit(make_train_step(system, optimizer, trainable=tuple(system.networks)))
  found = []
  for _ in range(steps):
    state, terms = step(state, {k: batch[k] for k in system.fields['loss']})
    found.append({k: v for k, v in terms.items() if k.endswith(('/cosface', '/arcface'))})
  first, last = jax.device_get((found[0], found[-1]))
  assert len(first) == (1 if name == 'one' else 2)
  for term in first:
    assert last[term] < first[term] / 50, (term, first[term], last[term])


@pytest.mark.parametrize('name', SYSTEMS)
def test_predictions_are_unit_embeddings_of_the_picture_alone(name, batch):
  system = build(name)
  assert set(system.fields['predict']) == {'image', 'occluded_image'}
  assert 'identity' in system.fields['loss']
  weights = train_state.init_weights(system, 0, example(batch))
  weights['params'] = tiny.shaken(weights['params'])
  predict = jax.jit(lambda batch, weights: system.predict(
    Forward(system.networks, weights['params'], weights['batch_stats']), batch))
  found = predict({k: v for k, v in batch.items() if k != 'identity'}, weights)
  rows = ['net'] if name == 'one' else ['gnet', 'enet']
  assert set(found) == {f'{row}/{view}' for row in rows for view in ('clean', 'occluded')}
  for fields in found.values():
    np.testing.assert_allclose(np.linalg.norm(fields['embedding'], axis=1), 1, rtol=1e-5)
  # A mirrored picture has the embedding of the picture.
  mirrored = predict({k: batch[k][:, :, ::-1] for k in ('image', 'occluded_image')}, weights)
  for row, fields in found.items():
    np.testing.assert_allclose(fields['embedding'], mirrored[row]['embedding'], atol=1e-5)
  # Without classes the same embeddings come of the embedding networks alone.
  alone = build(name, classes=0)
  assert set(alone.networks) == set(rows) == set(alone.inputs(example(batch)))
  run = Forward(alone.networks, *({n: weights[kind][n] for n in rows}
                                  for kind in ('params', 'batch_stats')))
  again = jax.jit(lambda batch: alone.predict(run, batch))(
    {k: v for k, v in batch.items() if k != 'identity'})
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, again)


def of(mutual):
  made = identity.learner(Facts(size=SIZE, classes=CLASSES), MODEL, 'cosface', 8.0, 0.3, mutual)
  return made.fit, lambda own, partner: made.compare(own, partner, {})


def test_the_loss_is_that_of_the_margin_and_leaves_unreadable_pictures_out(batch):
  fit, _ = of(None)
  whole = fit(OUTPUTS[0], batch)['cosface']
  each = margins.cross_entropy(OUTPUTS[0]['cosines'], batch['identity'], 'cosface', 8.0, 0.3)
  assert float(whole) == pytest.approx(float(each.mean()))
  labels = np.array([0, -1, 2, 0, -1, 2], np.int32)
  known = fit(OUTPUTS[0], {'identity': labels})['cosface']
  assert float(known) == pytest.approx(float(each[labels >= 0].mean()))
  # The mean over micro-batches is that of the whole batch.
  parts = [fit({'cosines': OUTPUTS[0]['cosines'][i::2]}, {
    'identity': labels[i::2], 'whole': {'identity': labels}})['cosface'] for i in (0, 1)]
  assert float(sum(parts) / 2) == pytest.approx(float(known))
  assert fit(OUTPUTS[0], {'identity': np.full(B, -1)})['cosface'] == 0


def test_the_mutual_terms():
  own, partner = OUTPUTS
  unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
  squares = {f'stage{i + 1}': float(np.square(a - b).mean()) for i, ((a,), (b,)) in enumerate(
    zip(own['features'], partner['features'], strict=True))}
  apart = unit(own['embedding']) - unit(partner['embedding'])
  squares['embedding'] = float(np.square(apart).sum(1).mean())
  p, q = (np.exp(4.0 * np.asarray(o['cosines'])) for o in (partner, own))
  p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
  kl = {'kl': float((p * np.log(p / q)).sum(1).mean())}
  wanted = {'mse': squares, ('kl', True): kl | squares, ('kl', False): kl, 'none': {}}
  for key, terms in wanted.items():
    kind, features = key if isinstance(key, tuple) else (key, False)
    _, compare = of(MUTUAL | dict(kind=kind, features=features, temperature=2.0))
    found = compare(own, partner)
    assert found.keys() == terms.keys()
    for name, value in terms.items():
      assert float(found[name]) == pytest.approx(value, rel=1e-4), (key, name)
  _, compare = of(MUTUAL | dict(kind='distill'))
  smooth = np.where(abs(apart) < 1, apart ** 2 / 2, abs(apart) - 0.5).sum(1).mean()
  assert float(compare(own, partner)['embedding']) == pytest.approx(smooth, rel=1e-4)
  _, compare = of(MUTUAL)
  total = lambda own, partner: sum(compare(own, partner).values())
  own_gradient, none = jax.grad(total, argnums=(0, 1))(own, partner)
  assert all(not leaf.any() for leaf in jax.tree.leaves(none))
  assert all(leaf.any() for leaf in jax.tree.leaves(own_gradient))


def test_class_kl_of_equal_logits_is_zero():
  logits = OUTPUTS[0]['cosines']
  np.testing.assert_allclose(losses.class_kl(logits, logits, 0.5), 0, atol=1e-6)


def test_what_is_refused():
  fails(lambda: build('one', loss='triplet'), 'softmax, arcface, cosface', 'triplet')
  fails(lambda: build('pair', mutual=MUTUAL | dict(kind='l1')), 'mutual.kind')
  facts = Facts(size=SIZE, classes=3)
  fails(lambda: systems.build(facts, name='identity', model=dict(name='class_centers', classes=3)),
        "'class_centers' puts out no embedding")
  fails(lambda: build('pair', shared=True), 'system.shared')
  fails(lambda: systems.build(facts, model={
    'gnet': MODEL, 'enet': MODEL | dict(width=8)}, **SYSTEMS['pair']), 'one architecture')
