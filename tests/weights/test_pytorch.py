"""Weights in and out: every layout, the way back, and files that must be refused."""
import argparse
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy

from dslope_jax import models
from dslope_jax.training import init_from
from dslope_jax.weights import files as weight_files
from dslope_jax.weights import pytorch
from tests import runs, tiny
from tests.refusals import fails
from tests.weights import torch_writer

TINY = {'hrnet': dict(width=8, modules=(1, 1, 1), blocks=(1, 1, 1)),
        'simple_baseline': dict(depth=18, width=8, filters=(8, 8, 8)),
        'vitpose': dict(width=24, depth=2, heads=2, filters=(8, 8)),
        'hrformer': dict(width=8, heads=1, modules=(1, 1, 1), blocks=1, bottlenecks=1),
        'lite_hrnet': dict(modules=(1, 1, 1), blocks=1)}
SIZE = (64, 96)


def random_variables(name, num_keypoints=5, size=SIZE, **kwargs):
  module = models.build(name, num_keypoints=num_keypoints, **(kwargs or TINY[name]))
  shapes = jax.eval_shape(module.lazy_init, jax.random.key(0),
                          jax.ShapeDtypeStruct((1, size[1], size[0], 3), 'float32'))
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda s: rng.standard_normal(s.shape).astype(np.float32), shapes)


def check_equal(one, other):
  assert jax.tree.structure(one) == jax.tree.structure(other)
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('name', TINY)
@pytest.mark.parametrize('prefixed', [False, True])
def test_round_trip_through_a_file_is_the_identity(name, prefixed, tmp_path):
  variables = random_variables(name)
  pytorch.save(tmp_path, name, {'num_keypoints': 5}, variables, prefixed)
  plain = safetensors.numpy.load_file(tmp_path / 'model.safetensors')  # what other programs do
  assert all(k.startswith(('backbone.', 'keypoint_head.')) == prefixed for k in plain)
  converted, certificate = pytorch.load_file(tmp_path, name, TINY[name], SIZE)
  check_equal(converted.variables, variables)
  assert certificate['keys_used'] == len(plain) and not converted.dropped + converted.fresh
  assert certificate['sha256'] == weight_files.sha256(tmp_path / 'model.safetensors')


def state(name, **kwargs):
  return pytorch.to_state_dict(name, random_variables(name, **kwargs), False)


def write(path, tensors):
  safetensors.numpy.save_file(tensors, path)
  return str(path)


@pytest.mark.parametrize('prefix', [
  'module.', 'module.backbone.', '_orig_mod.module.', 'model.', 'net.', 'student.', 'a.b.c.'])
def test_prefixes_and_counters_are_taken_off(prefix, tmp_path):
  tensors = {prefix + k: v for k, v in state('simple_baseline').items()}
  tensors[prefix + 'bn1.num_batches_tracked'] = np.array(7)
  file = write(tmp_path / 'a.safetensors', tensors)
  converted, _ = pytorch.load_file(file, 'simple_baseline', TINY['simple_baseline'], SIZE)
  check_equal(converted.variables, random_variables('simple_baseline'))


def test_classification_weights_give_the_backbone_and_say_what_stays_fresh(tmp_path):
  tensors = {k: v for k, v in state('simple_baseline').items()
             if not k.startswith(('final_layer', 'deconv_layers'))}
  tensors |= {'fc.weight': np.zeros((10, 4), np.float32), 'fc.bias': np.zeros(10, np.float32)}
  file = write(tmp_path / 'r.safetensors', tensors)
  fresh = random_variables('simple_baseline', num_keypoints=5)
  marked = jax.tree.map(lambda x: x + 100, fresh)
  network = models.build('simple_baseline', **TINY['simple_baseline'], num_keypoints=5)
  weights, text = init_from.load(file, 'gnet', marked, network, SIZE)
  assert 'stays fresh: deconv_layers_0, deconv_layers_1' in text and 'final_layer' in text
  np.testing.assert_array_equal(weights['params']['conv1']['kernel'],
                                fresh['params']['conv1']['kernel'])
  np.testing.assert_array_equal(weights['params']['final_layer']['bias'],
                                marked['params']['final_layer']['bias'])
  del tensors['layer1.0.conv1.weight']
  with pytest.raises(ValueError, match='missing params/layer1_0/conv1/kernel'):
    pytorch.load_file(write(tmp_path / 's.safetensors', tensors), 'simple_baseline',
                            TINY['simple_baseline'] | {'num_keypoints': 5}, SIZE)


def test_another_number_of_keypoints_asks_for_a_flag(tmp_path):
  file = write(tmp_path / 'a.safetensors', state('simple_baseline', num_keypoints=16))
  arguments = TINY['simple_baseline'] | {'num_keypoints': 17}
  with pytest.raises(ValueError, match='misshapen final_layer.weight.*fresh_head'):
    pytorch.load_file(file, 'simple_baseline', arguments, SIZE)
  converted, _ = pytorch.load_file(file, 'simple_baseline', arguments, SIZE, fresh_head=True)
  assert 'final_layer' not in converted.variables['params']


def test_position_embeddings_are_interpolated(tmp_path):
  """A smooth field of places keeps its values at the corners of another grid."""
  tensors = state('vitpose', size=(64, 96))  # 4 x 6 patches: not square, so 4 to 3 is assumed
  y, x = np.mgrid[:8, :6]
  field = np.stack([x / 5, y / 7] + [np.full((8, 6), i) for i in range(22)], -1)
  tensors['pos_embed'] = np.concatenate([np.ones((1, 1, 24)), field.reshape(1, 48, 24)],
                                        1).astype(np.float32)
  file = write(tmp_path / 'v.safetensors', tensors)
  converted, _ = pytorch.load_file(file, 'vitpose', TINY['vitpose'], (192, 256))
  assert converted.resized == ['pos_embed']
  got = converted.variables['params']['pos_embed']
  assert got.shape == (1, 1 + 16 * 12, 24)
  np.testing.assert_array_equal(got[:, 0], 1)
  grid = got[0, 1:].reshape(16, 12, 24)
  assert np.abs(np.diff(grid[..., 0], axis=0)).max() < 1e-5  # x does not depend on the row
  assert (np.diff(grid[:, 1:-1, 0], axis=1) > 0).all() and (np.diff(grid[1:-1, :, 1], axis=0) >
                                                           0).all()
  np.testing.assert_allclose(grid[..., 23], 21, rtol=1e-5)


def test_mmpose_1_names_of_vitpose():
  names = {'patch_embed.proj': 'backbone.patch_embed.projection', 'last_norm': 'backbone.ln1',
           'blocks.1.norm1': 'backbone.layers.1.ln1', 'blocks.1.norm2': 'backbone.layers.1.ln2',
           'blocks.1.mlp.fc1': 'backbone.layers.1.ffn.layers.0.0',
           'blocks.1.mlp.fc2': 'backbone.layers.1.ffn.layers.1',
           'blocks.1.attn': 'backbone.layers.1.attn', 'final_layer': 'head.final_layer'}
  given = {f'{name}.weight': np.zeros(1) for name in names.values()}
  assert set(pytorch.canonical('vitpose', given)) == {f'{k}.weight' for k in names}


def test_prefixes_before_backbone_and_head(tmp_path):
  """As Lightning has mmpose's networks, with other modules beside them."""
  tensors = {f'model.net.{k}': v for k, v in pytorch.to_state_dict(
    'simple_baseline', random_variables('simple_baseline'), True).items()}
  tensors |= {'loss.weight': np.ones(3, np.float32), 'ema.decay': np.ones(1, np.float32)}
  converted, _ = pytorch.load_file(write(tmp_path / 'a.safetensors', tensors), 'simple_baseline',
                                   TINY['simple_baseline'], SIZE)
  check_equal(converted.variables, random_variables('simple_baseline'))


def test_two_networks_in_one_file_have_to_be_named(tmp_path):
  tensors = {f'{name}.module.{k}': v + i for i, name in enumerate(('student', 'teacher'))
             for k, v in state('simple_baseline').items()}
  file = write(tmp_path / 'a.safetensors', tensors)
  load = lambda network='': pytorch.load_file(file, 'simple_baseline', TINY['simple_baseline'],
                                              SIZE, network)[0].variables
  fails(load, file, "'student.module.'", "'teacher.module.'", 'say which after a colon')
  check_equal(load('teacher'), jax.tree.map(lambda x: x + 1, load('student')))
  fails(lambda: load('enet'), file, "no network 'enet'")


def mae(size=(64, 64), prefix=''):
  """Weights of a masked auto-encoder: a class token, a decoder, another name of the last norm."""
  tensors = {prefix + k.replace('last_norm', 'norm'): v
             for k, v in state('vitpose', size=size).items()
             if not k.startswith(('final_layer', 'deconv_layers'))}
  rng = np.random.default_rng(1)
  tensors |= {f'{prefix}{key}': rng.standard_normal(shape).astype(np.float32) for key, shape in (
    ('cls_token', (1, 1, 24)), ('mask_token', (1, 1, 12)), ('decoder_pos_embed', (1, 17, 12)),
    ('decoder_norm.weight', (12,)), ('decoder_blocks.0.norm1.weight', (12,)))}
  return tensors


@pytest.mark.parametrize('fresh_head', [False, True])
@pytest.mark.parametrize('prefix', ['', 'backbone.', 'model.'])
def test_masked_auto_encoders_give_the_backbone(prefix, fresh_head, tmp_path):
  file = tmp_path / 'mae_small.pth'
  file.write_bytes(torch_writer.zipped({'model': {k: torch_writer.tensor(v) for k, v in mae(
    prefix=prefix).items()}, 'args': argparse.Namespace(lr=0.1)}))
  fresh = random_variables('vitpose', size=(64, 128))  # 32 places, the file has 16
  marked = jax.tree.map(lambda x: x + 100, fresh)
  network = models.build('vitpose', **TINY['vitpose'], num_keypoints=5)
  weights, text = init_from.load(str(file), 'gnet', marked, network, (64, 128), fresh_head)
  for part in ('deconv_layers_0', 'final_layer', 'resized: pos_embed', 'not used: 5 keys'):
    assert part in text
  np.testing.assert_array_equal(weights['params']['last_norm']['scale'],
                                mae()['norm.weight'])
  np.testing.assert_array_equal(weights['params']['final_layer']['bias'],
                                marked['params']['final_layer']['bias'])
  assert weights['params']['pos_embed'].shape == (1, 33, 24)


def test_a_class_token_beside_a_head_is_left_out(tmp_path):
  tensors = state('vitpose') | {'backbone.cls_token': np.zeros((1, 1, 24), np.float32)}
  converted, _ = pytorch.load_file(write(tmp_path / 'v.safetensors', tensors), 'vitpose',
                                   TINY['vitpose'], SIZE)
  check_equal(converted.variables, random_variables('vitpose'))
  assert converted.dropped == ['cls_token']


def test_query_without_key_is_refused(tmp_path):
  tensors = {'backbone.encoder.layer.0.attention.attention.query.weight': np.zeros((3, 3), 'f4')}
  file = write(tmp_path / 'v.safetensors', tensors)
  fails(lambda: pytorch.load_file(file, 'vitpose', TINY['vitpose'], SIZE), file, 'missing')


BASELINE = ('simple_baseline', TINY['simple_baseline'])
ODD = {
  'integers': ('conv1.weight', lambda v: v.astype(np.int32), 'conv1.weight holds int32'),
  'booleans': ('bn1.weight', lambda v: v > 0, 'bn1.weight holds bool'),
  'scalar head': ('final_layer.weight', lambda v: v[0, 0, 0, 0], 'misshapen final_layer.weight'),
  'flat head': ('final_layer.weight', lambda v: v.ravel(), 'misshapen final_layer.weight'),
  'flat deconvolution': ('deconv_layers.0.weight', lambda v: v.ravel(), 'misshapen deconv'),
  'kernel of three axes': ('conv1.weight', lambda v: v[0], 'misshapen conv1.weight'),
  'another width': ('bn1.bias', lambda v: v[:3], 'misshapen bn1.bias')}


@pytest.mark.parametrize('case', ODD)
def test_weights_of_another_kind_are_refused(case, tmp_path):
  key, change, part = ODD[case]
  tensors = state('simple_baseline')
  file = write(tmp_path / 'a.safetensors', tensors | {key: np.array(change(tensors[key]))})
  fails(lambda: pytorch.load_file(file, *BASELINE, SIZE), file, part)


@pytest.mark.parametrize('shape', [(1, 0, 24), (1, 1, 24), (1, 2, 24), (1, 12, 24), (2, 25, 24),
                                   (1, 25, 7), (25,), ()])
def test_odd_position_embeddings(shape, tmp_path):
  file = write(tmp_path / 'v.safetensors', state('vitpose') | {
    'backbone.pos_embed': np.zeros(shape, np.float32), 'pos_embed': np.zeros(shape, np.float32)})
  try:
    pytorch.load_file(file, 'vitpose', TINY['vitpose'], SIZE)
  except ValueError as error:
    assert 'misshapen pos_embed' in str(error) and '\n' not in str(error)
  else:
    assert shape == (1, 2, 24)  # one place fills them all


@pytest.mark.parametrize('arguments', [
  dict(width='abc'), dict(width=None), dict(width=0), dict(width=-8), dict(depth=7), dict(depth=[]),
  dict(filters=3), dict(filters='abc'), dict(num_keypoints='x'), dict(num_keypoints=-1),
  dict(wide=3)])
def test_odd_arguments_are_one_line(arguments, tmp_path):
  file = write(tmp_path / 'a.safetensors', state('simple_baseline'))
  fails(lambda: pytorch.load_file(file, 'simple_baseline', TINY['simple_baseline'] | arguments,
                                  SIZE), *arguments)


def torch_baseline(width=8, num_keypoints=5):
  """The simple baseline of 18 layers in PyTorch, with random running statistics."""
  import torch
  from torch import nn

  class Block(nn.Module):
    def __init__(self, before, after, stride):
      super().__init__()
      self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
      self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
      self.bn1, self.bn2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)
      if before != after:
        self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False),
                                        nn.BatchNorm2d(after))

    def forward(self, x):
      y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
      return (y + (self.downsample(x) if hasattr(self, 'downsample') else x)).relu()

  class Network(nn.Module):
    def __init__(self):
      super().__init__()
      self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
      before = width
      for stage in range(4):
        after = width * 2 ** stage
        blocks = [Block(before, after, 1 if before == after else 2), Block(after, after, 1)]
        setattr(self, f'layer{stage + 1}', nn.Sequential(*blocks))
        before = after
      layers = []
      for _ in range(3):
        layers += [nn.ConvTranspose2d(before, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
        before = 8
      self.deconv_layers = nn.Sequential(*layers)
      self.final_layer = nn.Conv2d(8, num_keypoints, 1)

    def forward(self, x):
      x = nn.functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
      for stage in range(4):
        x = getattr(self, f'layer{stage + 1}')(x)
      return self.final_layer(self.deconv_layers(x))

  torch.manual_seed(0)
  network = Network().eval()
  for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
    norm.running_mean.normal_(0, 0.1)
    norm.running_var.uniform_(0.5, 1.5)
  return network


def test_heatmaps_equal_those_of_the_original_torch_module(tmp_path):
  """A PyTorch network through its own file: the same heatmaps; and back, loaded strictly."""
  torch = pytest.importorskip('torch')
  network = torch_baseline()
  torch.save({'model': network.state_dict()}, tmp_path / 'a.pth')
  converted, certificate = pytorch.load_file(tmp_path / 'a.pth', 'simple_baseline',
                                             TINY['simple_baseline'], SIZE)
  assert certificate['arguments']['num_keypoints'] == 5
  image = np.random.default_rng(0).standard_normal((1, 96, 64, 3)).astype(np.float32)
  with torch.no_grad():
    theirs = network(torch.from_numpy(image.transpose(0, 3, 1, 2).copy())).numpy()
  ours = models.build('simple_baseline', **certificate['arguments']).apply(
    converted.variables, image)['heatmaps']
  np.testing.assert_allclose(np.transpose(ours, (0, 3, 1, 2)), theirs, rtol=0,
                             atol=1e-5 * np.abs(theirs).max())
  changed = pytorch.to_state_dict('simple_baseline', random_variables('simple_baseline'))
  network.load_state_dict({k: torch.from_numpy(v) for k, v in changed.items()}, strict=False)
  for key, value in changed.items():
    np.testing.assert_array_equal(network.state_dict()[key], value)


# ---- the command, and runs that start from files

def command(*arguments):
  return subprocess.run([sys.executable, 'tools/convert_weights.py', *arguments],
                        cwd=runs.ROOT, capture_output=True, text=True)


@pytest.mark.slow
def test_command_imports_and_certifies(tmp_path):
  file = write(tmp_path / 'a.safetensors', state('simple_baseline'))
  out = tmp_path / 'out'
  done = command(file, '--out', str(out))  # the file's keys tell the architecture
  assert done.returncode == 0, done.stderr
  certificate = json.loads((out / 'certificate.json').read_text())
  assert certificate['arguments']['num_keypoints'] == 5
  assert certificate['sha256'] == weight_files.sha256(file)
  assert json.loads((out / 'config.json').read_text())['width'] == 8
  headless = write(tmp_path / 'b.safetensors', {k: v for k, v in state('simple_baseline').items()
                                                if not k.startswith(('final', 'deconv'))})
  done = command(headless, '--model', 'simple_baseline', '--set', 'depth=18', 'width=8',
                 'filters=(8,8,8)', '--out', str(tmp_path / 'trunk'))
  assert done.returncode == 0 and 'final_layer/kernel; see' in done.stdout
  assert 'num_keypoints' not in json.loads((tmp_path / 'trunk/config.json').read_text())
  kept = safetensors.numpy.load_file(tmp_path / 'trunk/model.safetensors')
  assert kept.keys() == safetensors.numpy.load_file(headless).keys()
  wrong = command(file, '--model', 'simple_baseline', '--out', str(out))
  assert wrong.returncode == 1 and 'weights do not fit simple_baseline' in wrong.stderr
  assert wrong.stderr.startswith('error: ') and wrong.stderr.count('\n') == 1
  assert "its keys are those of simple_baseline with {'depth': 18, 'width': 8" in wrong.stderr
  assert command('--out', str(out)).stderr.startswith('error: give a weight file, or --workdir')


@pytest.mark.slow
def test_runs_start_from_files_and_give_them_back(tmp_path):
  """train -> export -> train from the file: both networks begin with the exported weights."""
  from train import train
  config = tiny.config(steps=1)
  config.evals = {}
  first = str(tmp_path / '2026-11-25_12:30:00')  # a colon is no sign of a network
  state_, _ = train(config, first)
  for network in ('gnet', 'enet'):
    name, kwargs, variables = pytorch.export(first, network)
    check_equal(variables['params'], jax.device_get(state_.params[network]))
    pytorch.save(tmp_path / network, name, kwargs, variables)
  config = tiny.config(steps=1)
  config.evals = {}
  config.optim.gnet.lr = config.optim.enet.lr = 0.0
  config.init_from.gnet = str(tmp_path / 'enet')  # exchanged, to see that each takes its own
  config.init_from.enet = first + ':gnet'
  again, _ = train(config, str(tmp_path / 'b'))
  check_equal(jax.device_get(again.params['gnet']), jax.device_get(state_.params['enet']))
  check_equal(jax.device_get(again.params['enet']), jax.device_get(state_.params['gnet']))
