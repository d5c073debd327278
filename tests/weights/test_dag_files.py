"""Weight files of DAG: a pose network and a graph network, one file each."""
import json
import pathlib

import jax
import numpy as np
import pytest

from dslope_jax import models
from dslope_jax.predictor import Predictor
from dslope_jax.training import init_from
from dslope_jax.weights import architecture, pytorch
from tests.golden import rule
from tests.golden_data import published_weights
from tests.refusals import fails
from tests.weights import listings, torch_writer

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden/dag'
UNUSED = ['final_layer.bias', 'final_layer.weight']  # of the pose network
HRNET = dict(width=8, stem_width=64, modules=(1, 1, 1), blocks=(1, 1, 1))
TINY = {'dag': HRNET | dict(attention=True, spatial_attention=False, presence=True),
        'pose_gcn': dict(width=8, hops=2, blocks=2, guidance=True, sampler_width=16,
                         heatmap_size=(32, 32))}
LISTINGS = {
  'keys_dag_w32_256x192_coco': ('dag', dict(
    width=32, stem_width=64, modules=(1, 4, 3), blocks=(4, 4, 4), attention=True,
    spatial_attention=False, presence=True), 28555091),
  'keys_gcn_256x192_coco': ('pose_gcn', dict(
    width=128, hops=2, blocks=4, guidance=True, sampler_width=1024, heatmap_size=(128, 96)),
    14007425)}


@pytest.mark.parametrize('listing', LISTINGS)
def test_every_published_key_is_taken_and_given_back(listing):
  name, arguments, count = LISTINGS[listing]
  entries = json.loads((GOLDEN / f'{listing}.json').read_text())['entries']
  given = listings.taken_and_given_back(entries, name, arguments | {'num_keypoints': 17}, count,
                                        UNUSED if name == 'dag' else ())
  assert architecture.crop_size(name, given) == (192, 256)


def inputs(name):
  network = models.build(name, **TINY[name] | dict(num_keypoints=17))
  return network, network.example() if name == 'pose_gcn' else [
    jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)]


def write(path, tensors):
  path.write_bytes(torch_writer.zipped({'state_dict': {
    f'module.{key}': torch_writer.tensor(value) for key, value in tensors.items()}}))
  return str(path)


@pytest.fixture
def released(tmp_path):
  """{network: (file, its tensors)} of a small DAG."""
  out = {}
  for name in TINY:
    tensors = published_weights(*inputs(name), 3)
    if name == 'dag':
      tensors |= rule.weights([(key, (17, 8, 1, 1)[:1 if 'bias' in key else 4])
                               for key in UNUSED], 3)
    out[name] = write(tmp_path / f'{name}.pth', tensors), tensors
  return out


def fresh(name):
  return jax.tree.map(lambda leaf: np.full(leaf.shape, 100, np.float32), jax.eval_shape(
    inputs(name)[0].lazy_init, jax.random.key(0), *inputs(name)[1]))


def start(file, name, fresh_head=False):
  return init_from.load(file, 'net', fresh(name), inputs(name)[0], (64, 64), fresh_head)


@pytest.mark.parametrize('name', TINY)
def test_a_released_file_starts_a_network(name, released, tmp_path):
  file, tensors = released[name]
  converted, certificate = pytorch.load_file(file, '', {}, None)
  assert certificate['model'] == name
  assert certificate['arguments'] == TINY[name] | {'num_keypoints': 17}
  assert sorted(certificate['keys_dropped']) == (UNUSED if name == 'dag' else [])
  assert not certificate['fresh'] and certificate['keys_used'] == len(tensors) - 2 * (name == 'dag')
  weights, told = start(file, name)
  assert ("not used: 2 keys such as 'final_layer" in told) == (name == 'dag')
  assert 'stays fresh' not in told
  assert jax.tree.structure(weights) == jax.tree.structure(converted.variables)
  jax.tree.map(np.testing.assert_array_equal, weights, converted.variables)
  pytorch.save(tmp_path / 'out', name, certificate['arguments'], weights)
  again, _ = pytorch.load_file(tmp_path / 'out', '', {}, None)
  jax.tree.map(np.testing.assert_array_equal, weights, again.variables)


def test_weights_of_hrnet_fill_the_trunk(tmp_path):
  network = models.build('hrnet', num_keypoints=16, **HRNET)
  tensors = published_weights(network, inputs('dag')[1], 4)
  weights, told = start(write(tmp_path / 'hrnet.pth', tensors), 'dag')
  for part in ('stays fresh: channel_att, concat_predict, context_head_0, context_head_2, ',
               'context_head_3, context_predictor_0, kpt_layer, parts_predictor; not used: 2 keys'):
    assert part in told
  np.testing.assert_array_equal(weights['params']['kpt_layer']['bias'], 100)
  trunk = pytorch.to_state_dict('dag', {kind: {k: v for k, v in tree.items() if not k.startswith(
    models.trait('dag', 'HEAD'))} for kind, tree in weights.items()})
  assert trunk.keys() == tensors.keys() - set(UNUSED)
  for key, value in trunk.items():
    np.testing.assert_array_equal(value, tensors[key])
  del tensors['bn1.weight']
  fails(lambda: start(write(tmp_path / 'cut.pth', tensors), 'dag'), 'missing params/bn1/scale')


def test_a_fresh_head(released):
  weights, told = start(released['dag'][0], 'dag', fresh_head=True)
  assert 'stays fresh: channel_att' in told
  np.testing.assert_array_equal(weights['params']['kpt_layer']['bias'], 100)
  np.testing.assert_array_equal(weights['params']['bn1']['bias'], released['dag'][1]['bn1.bias'])
  # All of the graph network depends on the keypoints: it has no part that is left out.
  assert 'stays fresh' not in start(released['pose_gcn'][0], 'pose_gcn', fresh_head=True)[1]


def test_what_does_not_fit(released, tmp_path):
  file, tensors = released['dag']
  fails(lambda: pytorch.load_file(file, 'dag', HRNET | dict(num_keypoints=14), (64, 64)), file,
        'misshapen kpt_layer.weight', 'fresh_head')
  fails(lambda: pytorch.load_file(file, 'hrnet', HRNET, (64, 64)), file, 'unexpected channel_att',
        'its keys are those of dag')
  file, tensors = released['pose_gcn']
  own = TINY['pose_gcn'] | dict(num_keypoints=17)
  fails(lambda: pytorch.load_file(file, 'pose_gcn', own | dict(heatmap_size=(32, 24)), (64, 64)),
        file, 'misshapen FC.0.0.weight')
  fails(lambda: pytorch.load_file(file, 'pose_gcn', {}, (64, 64)), file,
        'give num_keypoints')
  fails(lambda: pytorch.load_file(file, '', dict(num_keypoints=5), None), file, 'needs edges')
  del tensors['gconv_output.bias']
  fails(lambda: start(write(tmp_path / 'cut.pth', tensors), 'pose_gcn'), 'gconv_output/bias')
  fails(lambda: Predictor(file), file, 'takes no pictures')
