"""Exported files say what the predictor says, on every platform, or are refused."""
import contextlib
import hashlib
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dslope_jax import exporting, models
from dslope_jax.evaluation import confidences
from dslope_jax.metrics import calibration
from dslope_jax.predictor import Predictor
from dslope_jax.weights import pytorch
from dslope_jax.weights.files import digest
from tests.predict import folders
from tests.refusals import fails
from tools import export as tool

FITS = {'right': {'gnet': {'kind': 'isotonic', 'x': [0.0, 3.0, 9.0], 'y': [0.1, 0.1, 0.9]},
                  'enet': {'kind': 'isotonic', 'x': [1.0, 6.0], 'y': [0.2, 0.7]}},
        'visible': {'gnet': {'kind': 'isotonic', 'x': [4.0], 'y': [0.3]},
                    'enet': {'kind': 'isotonic', 'x': [0.0, 9.0], 'y': [0.0, 1.0]}},
        'gates': {'gnet+enet': {
          'gate': {'kind': 'logistic', 'mean': [0.0] * 4, 'deviation': [1.0] * 4,
                   'weights': [0.0] * 4, 'bias': 0.0},
          'reach': None, 'fits': None, 'context': False}}, 'people': 3}


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """Work folder of a pair that was calibrated; UDP's steps on maps like noise have no bounds."""
  _, workdir = folders.make(tmp_path_factory.mktemp('pair'), codec='hrnet')
  (workdir / 'eval_7/val').mkdir(parents=True)
  (workdir / 'eval_7/val/calibration.json').write_text(json.dumps(FITS))
  return workdir


@pytest.fixture(scope='module')
def pair(run):
  """(predictor by the pick of both networks, its reference on noise: on pictures with flat areas
  random transformers divide by next to nothing)."""
  predictor = Predictor(f'{run}:pick', dtype='float32')
  return predictor, exporting.Reference(predictor, exporting.trial_crops(predictor, 4)[:4])


@pytest.mark.parametrize('name', ['gnet', 'enet'])
@pytest.mark.parametrize('field', ['right', 'visible'])
def test_probabilities_are_those_of_the_calibration(field, name):
  scores = np.linspace(-1, 10, 45, dtype=np.float32).reshape(9, 5)
  found = exporting._apply(FITS[field][name], jnp.asarray(scores))
  np.testing.assert_allclose(found, calibration.apply(FITS[field][name], scores), atol=1e-6)


@pytest.mark.parametrize('answer', ['average', 'confidence', 'pick', 'gate'])
def test_mixtures_are_those_of_python(pair, answer):
  """Also the gate with a reach, beyond which one network is taken, and with embeddings."""
  drawn = np.random.default_rng(0)
  gate = {'gate': calibration.fit_logistic(drawn.normal(size=(99, 12)), drawn.random(99) < 0.5),
          'reach': 0.2, 'fits': [FITS['right'][name] for name in ('gnet', 'enet')], 'context': True}
  poses = [{'keypoints': drawn.uniform(0, 60, (3, 5, 2)), 'scores': drawn.uniform(0, 8, (3, 5)),
            'embedding': drawn.normal(size=(3, 3))} for _ in range(2)]
  poses[1]['keypoints'][:, :2] = poses[0]['keypoints'][:, :2] + 1  # within reach
  poses[0]['scores'][0] = 0
  predictor = types.SimpleNamespace(fits=FITS | {'gates': {'gnet+enet': gate}},
                                    members=('gnet/clean', 'enet/clean'))
  found = exporting._mixture(predictor, answer, jax.tree.map(
    lambda leaf: jnp.asarray(leaf, jnp.float32), poses))
  wanted = confidences.with_mixtures(dict(zip(predictor.members, poses, strict=True)),
                                     [('gnet', 'enet')], predictor.fits)[f'{answer}/clean']
  for field, values in zip(('keypoints', 'scores'), found, strict=True):
    np.testing.assert_allclose(values, wanted[field], rtol=2e-5)


def test_there_is_no_cpu_form_for_any_platform(tmp_path, monkeypatch):
  """A ResNet with Bottlenecks has all layers that have one."""
  arguments = dict(depth=50, width=4, filters=(4, 4, 4), num_keypoints=17)
  network = models.build('simple_baseline', **arguments)
  shapes = jax.eval_shape(network.lazy_init, jax.random.key(0),
                          jax.ShapeDtypeStruct((1, 64, 32, 3), jnp.float32))
  weights = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes)
  pytorch.save(tmp_path, 'simple_baseline', arguments, weights)
  predictor = Predictor(tmp_path, size=(32, 64), flip=False)
  marks = 'inlineable', 'dot_general'  # of CPU forms
  assert not any(mark in exporting.exported(predictor).mlir_module() for mark in marks)
  monkeypatch.setattr(exporting, 'plain_forms', contextlib.nullcontext)
  text = exporting.exported(predictor).mlir_module()
  assert all(mark in text for mark in marks)


def test_the_function_for_jax(pair):
  """It takes any number of crops, and is the predictor."""
  predictor, reference = pair
  exported = exporting.exported(predictor)
  assert exported.platforms == ('cpu', 'cuda', 'tpu')
  call = jax.jit(exported.call)
  found = reference.parity(call, 'it')
  assert found['joints'] == 4 * 17
  assert found['near_ties_of'].keys() == {'maximum', 'neighbours', 'networks'}
  assert found['near_ties'] < 50  # a random network's maps are like noise
  assert found['right'] < 1e-5
  shapes = jax.eval_shape(call, jax.ShapeDtypeStruct((3, 64, 32, 3), jnp.uint8))
  assert {name: leaf.shape for name, leaf in shapes.items()} == {
    'keypoints': (3, 17, 2), 'scores': (3, 17), 'right': (3, 17), 'visible': (3, 17),
    'heatmaps_gnet': (3, 16, 8, 17), 'heatmaps_enet': (3, 16, 8, 17)}


def test_what_differs_is_refused(pair):
  _, reference = pair
  maps = {name: value.copy() for name, value in reference.maps.items()}
  own = reference.wanted | maps
  assert reference.parity(lambda _: own, 'it')['keypoints'] == 0
  moved = own | {'keypoints': own['keypoints'] + np.float32([0.002, 0])}
  fails(lambda: reference.parity(lambda _: moved, 'it'), 'keypoints by 0.002 px')
  other = own | {'heatmaps_gnet': own['heatmaps_gnet'] * 1.001}
  fails(lambda: reference.parity(lambda _: other, 'it'), 'heatmaps differ by 0.001')
  nothing = own | {'heatmaps_gnet': own['heatmaps_gnet'] * np.nan}
  fails(lambda: reference.parity(lambda _: nothing, 'it'), 'heatmaps differ by nan')


def test_near_ties():
  maps = np.zeros((1, 7, 7, 5))
  maps[0, 3, 3] = 1
  maps[0, 3, 2], maps[0, 2, 3] = 0.5, 0.5  # else those beside the peak are level
  maps[0, 5, 5, 1] = 1 - 1e-6  # a second peak
  maps[0, 5, 5, 2] = 1 - 1e-4
  maps[0, 3, 4, 3] = 0.5 + 1e-6  # level beside the peak
  maps[0, ..., 4] = -1
  maps[0, 3, 3, 4] = 1e-6  # hardly above 0
  ties = exporting.near_ties(maps, by_sign=True)
  assert ties['maximum'].tolist() == [[False, True, False, False, True]]
  assert ties['neighbours'].tolist() == [[False, False, False, True, False]]
  assert exporting.near_ties(maps, by_sign=False).keys() == {'maximum'}


@pytest.mark.parametrize('answer', ['average', 'pick', 'gate'])
def test_equally_sure_networks_are_near_a_tie_where_one_is_taken(run, answer):
  """Not where both have the same place; a mean moves by next to nothing."""
  predictor = Predictor(f'{run}:{answer}')
  gate = {'gate': FITS['gates']['gnet+enet']['gate'] | {'weights': [-1.0, 1.0, 0.0, 0.0]},
          'reach': 0.1, 'fits': [FITS['right'][name] for name in ('gnet', 'enet')],
          'context': False}
  predictor.fits = FITS | {'gates': {'gnet+enet': gate}}
  places = np.float32([[[[0, 0], [9, 9], [5, 5], [0, 9]]], [[[3, 0], [9, 9], [9, 5], [9, 9]]]])
  # 6 and 4 mean 0.5, by the curves of their networks.
  scores = np.float32([[[6, 6, 6, 2]], [[4, 4, 5, 4]]])
  poses = {name: {'keypoints': of[0], 'scores': of[1]} for name, of in zip(
    predictor.members, zip(places, scores, strict=True), strict=True)}
  assert exporting._undecided(predictor, poses).tolist() == [
    [answer in ('pick', 'gate'), False, False, False]]


@pytest.mark.slow
def test_the_command(run, tmp_path):
  pytest.importorskip('flatbuffers', reason='needs flatbuffers')
  out = tmp_path / 'out'
  tool.main(['--weights', f'{run}:enet', '--out', str(out)])
  assert sorted(p.name for p in out.iterdir()) == ['certificate.json', 'predictor.stablehlo']
  said = json.loads((out / 'certificate.json').read_text())
  predictor = Predictor(f'{run}:enet')
  content = (out / 'predictor.stablehlo').read_bytes()
  assert said['files']['predictor.stablehlo']['sha256'] == hashlib.sha256(content).hexdigest()
  assert said['files']['predictor.stablehlo']['versions']['jax'] == jax.__version__
  assert said['weights_sha256'] == digest(predictor.weights)
  assert said['weights'].startswith("'run', step 7") and 'JAX refuses' in said['expiry']
  assert said['crop'] == {'padding': 1.25, 'span': [32, 64]}
  assert said['keypoints'] == list(predictor.facts.skeleton.names) and said['size'] == [32, 64]
  shapes = jax.eval_shape(exporting.load_stablehlo(out / 'predictor.stablehlo'),
                          jax.ShapeDtypeStruct((5, 64, 32, 3), jnp.uint8))
  assert shapes['keypoints'].shape == (5, 17, 2)
  fails(lambda: tool.export(tool._parse(['--weights', f'{run}:enet', '--out', str(out)])),
        'holds an export (certificate.json, predictor.stablehlo)')
  (tmp_path / 'broken').write_bytes(content[:1000])
  fails(lambda: exporting.load_stablehlo(tmp_path / 'broken'), "broken' cannot be read by JAX")


def test_the_gate_is_exported_where_it_is_the_answer(run):
  predictor = Predictor(run, dtype='float32')
  assert predictor.answer == 'gate'
  reference = exporting.Reference(predictor, exporting.trial_crops(predictor, 4)[:4])
  found = reference.parity(jax.jit(exporting.exported(predictor).call), 'it')
  assert found['near_ties'] % 17 == 0 and found['near_ties'] < 4 * 17 and found['right'] < 1e-5


def test_onnx(pair):
  pytest.importorskip('jax2onnx', reason='needs jax2onnx')
  predictor, reference = pair
  call = exporting.load_onnx(exporting.to_onnx(predictor))
  assert reference.parity(call, 'it')['right'] < 1e-5
  assert call(reference.crops[:3])['heatmaps_enet'].shape == (3, 16, 8, 17)
