"""What a pair can be besides the published one: one trunk, weights of covered joints."""
import jax
import numpy as np
import pytest

from configs import clspet_hrnet
from dslope_jax import systems
from dslope_jax.skeletons import Skeleton
from dslope_jax.systems.base import Facts, Forward
from dslope_jax.training import optimizers, train_state
from dslope_jax.training.train_step import make_train_step
from tests import tiny

K = 3
NO_TERM = dict(kind='none', weights=dict(gnet=0.0, enet=0.0))


def batch(size=2):
  rng = np.random.default_rng(0)
  picture = lambda: rng.integers(0, 255, (size, 32, 32, 3), np.uint8)
  return {'image': picture(), 'occluded_image': picture(),
          'keypoints': rng.uniform(4, 28, (size, K, 2)).astype(np.float32),
          'visibility': np.full((size, K), 2, np.uint8),
          'covered': np.arange(size * K).reshape(size, K) % 2 == 0,
          'outside': np.zeros((size, K), bool)}


def build(**options):
  return systems.build(tiny.facts(K), 'dslope',
                       **{'model': tiny.MODEL, 'mutual': NO_TERM, **options})


def flat(system, values):
  """A Forward whose network puts out maps of these values, one a channel."""
  forward = Forward(system.networks, {}, {})
  maps = np.broadcast_to(np.float32(values), (2, 8, 8, len(values)))
  return type('Flat', (), {'__call__': lambda *_, **__: {'heatmaps': maps, 'features': [[maps]]},
                           'trainable': forward.trainable})()


def test_one_trunk_has_a_head_for_each_half():
  system = build(shared=True)
  assert set(system.networks) == {'net'} and system.networks['net'].num_keypoints == 2 * K
  ones, zeros = [1.0] * K, [0.0] * K
  _, clean = system.loss(flat(system, zeros + ones), batch())
  _, hidden = system.loss(flat(system, ones + zeros), batch())
  assert clean['gnet/heatmap'] < 0.1 < clean['enet/heatmap']
  assert hidden['enet/heatmap'] < 0.1 < hidden['gnet/heatmap']
  scores = {name: out['scores'] for name, out in
            system.predict(flat(system, [.5] * K + [.25] * K), batch()).items()}
  for name, score in scores.items():
    np.testing.assert_allclose(score, 0.5 if name.startswith('gnet') else 0.25, atol=1e-6)


def test_one_trunk_learns_from_both_views():
  config = clspet_hrnet.get_config('kl,shared')
  assert set(config.optim) == set(config.init_from) == {'net'} and config.system.shared
  system = build(shared=True, mutual=config.system.mutual.to_dict())
  optimizer, schedules = optimizers.build(config.optim.to_dict(), system.networks, 10, 1)
  example = {name: jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype) for name, x in batch().items()}
  state = train_state.create(system, optimizer, seed=0, example=example)
  before = jax.device_get(state.params['net']['final_layer']['kernel'])
  step = jax.jit(make_train_step(system, optimizer, trainable=schedules))
  for _ in range(2):
    state, terms = step(state, batch())
  change = np.abs(jax.device_get(state.params['net']['final_layer']['kernel']) - before)
  assert (change[..., :K].max() > 0) and (change[..., K:].max() > 0)
  assert float(terms['gnet/mutual_kl']) > 0


@pytest.mark.parametrize('options', [
  dict(mutual=dict(kind='distill', weights=NO_TERM['weights'])),
  dict(model=dict(gnet=tiny.MODEL, enet=tiny.MODEL | {'width': 4}))])
def test_one_trunk_is_one_network_that_learns(options):
  with pytest.raises(ValueError, match='system.shared'):
    build(shared=True, **options)


def test_covered_joints_weigh_in_the_loss_of_enet_alone():
  plain, heavy = build(), build(covered_weight=3.0)
  assert 'covered' not in plain.fields['loss'] and 'covered' in heavy.fields['loss']
  run, samples = flat(plain, [1.0] * K), batch()
  _, before = plain.loss(run, samples)
  _, after = heavy.loss(run, samples)
  assert after['gnet/heatmap'] == before['gnet/heatmap']
  _, none = heavy.loss(run, samples | {'covered': np.zeros((2, K), bool)})
  assert none['enet/heatmap'] == before['enet/heatmap']
  _, every = heavy.loss(run, samples | {'covered': np.ones((2, K), bool)})
  _, beyond = heavy.loss(run, samples | {'covered': np.zeros((2, K), bool),
                                         'outside': np.ones((2, K), bool)})
  assert beyond['enet/heatmap'] == every['enet/heatmap']
  np.testing.assert_allclose(every['enet/heatmap'], 9 * before['enet/heatmap'], rtol=1e-6)
  assert before['enet/heatmap'] < after['enet/heatmap'] < every['enet/heatmap']


def test_clean_pictures_have_no_covered_joints():
  build_plain = lambda view: systems.build(tiny.facts(K), 'heatmap', view=view, model=tiny.MODEL,
                                           covered_weight=2.0)
  assert 'covered' in build_plain('occluded').fields['loss']
  with pytest.raises(ValueError, match='covered_weight'):
    build_plain('clean')


def test_heatmaps_of_cross_entropy_have_peak_1_where_they_are_as_wide_as_the_target():
  system = systems.build(tiny.facts(K, (64, 64)), 'heatmap', model=tiny.MODEL, loss='ce', sigma=1.5)
  y, x = np.mgrid[:16, :16]
  logits = -((x - 9) ** 2 + (y - 6) ** 2) / (2 * 1.5 ** 2)
  maps = np.broadcast_to(np.float32(logits)[None, ..., None], (1, 16, 16, K))
  out = system.predict(lambda *_, **__: {'heatmaps': maps, 'features': [[maps]]}, {
    'image': np.zeros((1, 64, 64, 3), np.uint8)}, flip=False)['net/clean']
  np.testing.assert_allclose(out['scores'], 1, rtol=1e-3)
  np.testing.assert_allclose(out['keypoints'][0, 0], (36, 24), atol=2)


def test_an_embedding_is_the_mean_over_the_last_stage():
  system = systems.build(tiny.facts(K), 'heatmap', model=tiny.MODEL)
  rng = np.random.default_rng(0)
  first, high, low = (rng.normal(size=(1, side, side, channels)).astype(np.float32)
                      for side, channels in ((8, 2), (8, 3), (4, 5)))
  out = system.predict(
    lambda *_, **__: {'heatmaps': np.zeros((1, 8, 8, K), np.float32),
                      'features': [[first], [high, low]]},
    {'image': np.zeros((1, 32, 32, 3), np.uint8)}, flip=True)['net/clean']['embedding']
  np.testing.assert_allclose(out, np.concatenate([high.mean((1, 2)), low.mean((1, 2))], 1),
                             atol=1e-6)


def test_without_mirror_pairs_there_is_no_flip_test():
  skeleton = Skeleton(('one', 'two', 'three'), limbs=(), sigmas=(0.1,) * K)
  assert skeleton.flip_pairs is None
  system = systems.build(Facts(skeleton, (32, 32)), 'heatmap', model=tiny.MODEL)
  calls, maps = [], np.zeros((1, 8, 8, K), np.float32)
  system.predict(lambda *_, **__: calls.append(1) or {'heatmaps': maps},
                 {'image': np.zeros((1, 32, 32, 3), np.uint8)}, flip=True)
  assert len(calls) == 1
