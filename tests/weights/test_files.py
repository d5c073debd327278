"""Weight files as programs write them, and files that are broken, hostile or something else."""
import argparse
import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dslope_jax.errors import UserError
from dslope_jax.files import local_path
from dslope_jax.weights import files
from tests.refusals import fails
from tests.weights.torch_writer import (
  KINDS,
  Made,
  Named,
  Storage,
  in_rows,
  parameter,
  tensor,
  zipped,
)

FORMATS = {'zip': zipped, 'rows': in_rows, 'old zip': lambda tree: zipped(tree, byteorder=None)}
of_formats = pytest.mark.parametrize('write', FORMATS.values(), ids=FORMATS)
W = np.arange(6, dtype=np.float32).reshape(2, 3)


def stored(path, content):
  path.write_bytes(content)
  return path


@of_formats
@pytest.mark.parametrize('dtype', KINDS)
def test_every_dtype(write, dtype, tmp_path):
  array = (np.arange(12) - 3).astype(dtype).reshape(3, 4)
  read = files.read(stored(tmp_path / 'a.pth', write({'w': tensor(array)})))['w']
  assert read.dtype == (np.float32 if array.dtype.kind == 'f' else array.dtype)
  np.testing.assert_array_equal(read, array)


@of_formats
def test_bfloat16(write, tmp_path):
  array = np.array([1, -2.5, 3e38, 1e-30], ml_dtypes.bfloat16)
  content = write({'w': tensor(array.view(np.int16), kind='BFloat16')})
  read = files.read(stored(tmp_path / 'a.pth', content))['w']
  np.testing.assert_array_equal(read, array.astype(np.float32))


def test_big_endian(tmp_path):
  read = files.read(stored(tmp_path / 'a.pth', zipped({'w': tensor(W)}, 'big')))
  np.testing.assert_array_equal(read['w'], W)


@of_formats
def test_views_of_one_storage(write, tmp_path):
  storage = Storage(np.arange(24, dtype=np.float32))
  tree = {'whole': tensor(W, storage=storage, shape=(4, 6), stride=(6, 1)),
          'turned': tensor(W, storage=storage, shape=(6, 4), stride=(1, 6)),
          'part': tensor(W, storage=storage, offset=7, shape=(2, 2), stride=(6, 2)),
          'one': tensor(W, storage=storage, offset=23, shape=(), stride=()),
          'none': tensor(W, storage=storage, shape=(0, 3), stride=(3, 1)),
          'same row': tensor(W, storage=storage, shape=(3, 4), stride=(0, 1))}
  read = files.read(stored(tmp_path / 'a.pth', write(tree)))
  whole = np.arange(24).reshape(4, 6)
  np.testing.assert_array_equal(read['whole'], whole)
  np.testing.assert_array_equal(read['turned'], whole.T)
  np.testing.assert_array_equal(read['part'], [[7, 9], [13, 15]])
  np.testing.assert_array_equal(read['same row'], [[0, 1, 2, 3]] * 3)
  assert read['one'] == 23 and read['none'].shape == (0, 3)


# ---- checkpoints of training programs: only the tensors are wanted

CHECKPOINTS = {
  'HRNet': dict(epoch=9, model='pose_hrnet', perf=np.float64(0.7), state_dict={'w': tensor(W)},
                best_state_dict={'w': tensor(W + 1)},
                optimizer=dict(state={0: dict(step=3, exp_avg=tensor(W * 0))},
                               param_groups=[dict(lr=1e-3, params=[0])])),
  'mmengine': dict(
    meta=dict(epoch=9, time='20230101', cfg='model = dict()', seed=np.int64(3),
              dataset_meta=dict(sigmas=np.ones(17), colors=np.zeros((17, 3), np.uint8))),
    message_hub=dict(log_scalars=dict(loss=Made(
      'mmengine.logging.history_buffer.HistoryBuffer',
      state=dict(_log_history=np.ones(3), _statistics_methods=Named('mmengine.mean'))))),
    param_schedulers=[dict(milestones=Made('collections.Counter', ({170: 1},)))],
    state_dict=Made('collections.OrderedDict', pairs=(('w', tensor(W)),),
                    state=dict(_metadata=dict(version=1)))),
  'Lightning': {
    'pytorch-lightning_version': '1.4', 'global_step': 3, 'state_dict': {'w': tensor(W)},
    'callbacks': {Named('pytorch_lightning.callbacks.ModelCheckpoint'): dict(best=tensor(W))},
    'hyper_parameters': Made('omegaconf.dictconfig.DictConfig', state={'a': 1}),
    'loops': {('a', ('b', 1)): Made('collections.deque', items=(1, 2))}},
  'MAE': dict(model={'w': tensor(W)}, args=argparse.Namespace(lr=0.1, blr=None)),
  'Parameters': dict(named=3, model={'w': parameter(W), 'counter': tensor(np.int64(3))}),
  'best accuracy is a tensor': dict(best_acc1=tensor(np.float32(3)), state_dict={'w': tensor(W)}),
  'a name of its own': dict(step=1, weights_of_run={'w': tensor(W)}),
  'tensor of a class': {'w': Made('torch._tensor._rebuild_from_type_v2', (
    Named('torch._utils._rebuild_tensor_v2'), Named('my.Tensor'), tensor(W).arguments, {}))}}


@of_formats
@pytest.mark.parametrize('program', CHECKPOINTS)
def test_checkpoints_of(program, write, tmp_path):
  read = files.read(stored(tmp_path / 'a.pth', write(CHECKPOINTS[program])))
  np.testing.assert_array_equal(read['w'], W)


PAIRS = {
  'dicts': dict(gnet_state_dict={'w': tensor(W)}, enet_state_dict={'w': tensor(W + 1)}),
  'prefixes': {f'{name}.w': tensor(W + i) for i, name in enumerate(('gnet', 'enet'))},
  'wrapped': {'state_dict': {f'module.{name}.w': tensor(W + i)
                             for i, name in enumerate(('general', 'expert'))}}}


@of_formats
@pytest.mark.parametrize('kind', PAIRS)
def test_networks_of_a_pair(kind, write, tmp_path):
  path = stored(tmp_path / 'a.pth', write(PAIRS[kind]))
  for i, name in enumerate(('gnet', 'enet')):
    np.testing.assert_array_equal(files.read(path, name)['w'], W + i)
  fails(lambda: files.read(path, 'teacher'), path, *(
    ["'teacher'", 'begin with'] if kind != 'dicts' else ['say which after a colon']))


def test_any_name_of_a_network(tmp_path):
  path = stored(tmp_path / 'a.pth', zipped({f'{name}.backbone.w': tensor(W + i)
                                            for i, name in enumerate(('student', 'teacher'))}))
  assert (files.read(path, 'teacher')['backbone.w'] == W + 1).all()


# ---- hostile and broken files

class Bomb:
  """Unpickling it makes a folder."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return os.mkdir, (self.path,)


@of_formats
def test_nothing_in_a_file_is_run(write, tmp_path):
  bomb = Bomb(str(tmp_path / 'made'))
  path = stored(tmp_path / 'a.pth', write({'state_dict': {'w': tensor(W)}, 'x': bomb}))
  np.testing.assert_array_equal(files.read(path)['w'], W)
  fails(lambda: files.read(stored(path, write(bomb))), path, 'no state dict', 'mkdir')
  assert not (tmp_path / 'made').exists()


ITSELF = {}
ITSELF['state_dict'] = ITSELF
LONG = Storage(W.ravel())
HOSTILE = {
  'holds itself': (ITSELF, 'no state dict'),
  'enormous by stride 0': ({'w': tensor(W, shape=(2**33,), stride=(0,))}, 'bytes'),
  'many copies': ({f'w{i}': tensor(W, storage=LONG, shape=(2**17,), stride=(0,))
                   for i in range(99)}, 'many times more'),
  'beyond its storage': ({'w': tensor(W, offset=1)}, "'w' cannot be read"),
  'beyond by stride': ({'w': tensor(W, stride=(99, 1))}, "'w' cannot be read"),
  'negative offset': ({'w': tensor(W, offset=-1)}, 'shape'),
  'shape of floats': ({'w': tensor(W, shape=(2., 3.))}, 'shape'),
  'shape of 2^70': ({'w': tensor(W, shape=(2**70, 0), stride=(1, 1))}, 'shape'),
  'no storage': ({'w': Made('torch._utils._rebuild_tensor_v2', (3, 0, (1,), (1,)))}, 'storage'),
  'sparse': ({'w': Made('torch._utils._rebuild_sparse_tensor', (Named('torch.sparse_coo'),
                                                                (tensor(W), tensor(W))))},
             "'w' is no dense tensor", '_rebuild_sparse_tensor'),
  'quantised': ({'v': tensor(W), 'w': Made('torch._utils._rebuild_qtensor', ())},
                "'w' is no dense tensor", '_rebuild_qtensor'),
  'meta': ({'w': Made('torch._utils._rebuild_meta_tensor_no_storage', ())}, 'is no dense tensor'),
  'quantised storage': ({'w': tensor(W, kind='QInt8')}, "'QInt8' are not read"),
  'float8': ({'w': Made('torch._utils._rebuild_tensor_v3', (
    *tensor(W, kind='Untyped').arguments, Named('torch.float8_e4m3fn')))}, 'float8_e4m3fn'),
  'not finite': ({'w': tensor(W * np.nan)}, "'w' holds values that are not finite"),
  'too large for float32': ({'w': tensor(np.array([1e300]))}, 'not finite'),
  'escape sequences': ({'\x1b[2J\n': tensor(W + np.inf)}, r'\x1b[2J\n'),
  'a whole model': (Made('pose_hrnet.PoseHighResolutionNet', state={'w': tensor(W)}),
                    'PoseHighResolutionNet', 'save the state_dict'),
  'no tensors': ({'epoch': 3, 'state_dict': {'a': 1}}, 'no state dict'),
  'a list': ([1], 'but other'),
  'nothing': (None, 'no state dict')}


@of_formats
@pytest.mark.parametrize('case', HOSTILE)
def test_hostile(case, write, tmp_path):
  tree, *parts = HOSTILE[case]
  path = stored(tmp_path / 'a.pth', write(tree))
  fails(lambda: files.read(path), path, *parts)


@pytest.mark.parametrize('write', [zipped, in_rows])
def test_files_that_are_cut(write, tmp_path):
  content = write({'v': tensor(W), 'w': tensor(W)})
  for size in (1, 30, len(content) // 2, len(content) - 30):
    fails(lambda size=size: files.read(stored(tmp_path / 'a.pth', content[:size])), tmp_path)


def _packed(make):
  file = io.BytesIO()
  make(file)
  return file.getvalue()


def _tar(file):
  with tarfile.open(fileobj=file, mode='w') as archive:
    archive.addfile(tarfile.TarInfo('model.pth'))


def _zip(file):
  with zipfile.ZipFile(file, 'w') as archive:
    archive.writestr('model.pth', b'x')


SOMETHING_ELSE = {
  'empty': (b'', 'is empty'),
  'web page': (b'\n<!DOCTYPE html><html><head><title>Virus scan</title>', 'a web page', 'browser'),
  'page without doctype': (b'<html lang="en">', 'a web page'),
  'refusal': (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', 'a web page'),
  'Git LFS': (b'version https://git-lfs.github.com/spec/v1\noid sha256:4d\n', 'git lfs pull'),
  'git-annex': (b'/annex/objects/SHA256E-s1--ab.pth\n', 'git annex get'),
  'JSON': (b'{"message": "Not Found"}', 'a JSON text'),
  'text': (b'Not found here at all', 'a text'),
  'tar': (_packed(_tar), 'an archive of tar; unpack'),
  'gzip': (gzip.compress(b'a'), 'gzip; unpack'),
  'zip': (_packed(_zip), "an archive of 'model.pth'"), 'zeros': (bytes(9000), 'full of zeros'),
  'HDF5': (b'\x89HDF\r\n\x1a\n' + bytes(90), 'HDF5'),
  'NumPy': (b'\x93NUMPY\1\0' + bytes(90), 'NumPy array'),
  'pickle': (pickle.dumps({'w': W}), 'not one of torch.save'),
  'bytes': (bytes(range(200, 250)), 'begins with'),
  'TorchScript': (zipped({'w': tensor(W)}, **{'constants.pkl': b'x'}), 'TorchScript', 'state_dict'),
  'compressed': (_packed(lambda file: zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED).writestr(
    'a/data.pkl', b'x' * 99)), 'not a readable PyTorch file')}


@pytest.mark.parametrize('case', SOMETHING_ELSE)
def test_something_else_in_place_of_weights(case, tmp_path):
  content, *parts = SOMETHING_ELSE[case]
  for name in ('a.pth', 'a.safetensors'):
    path = stored(tmp_path / name, content)
    fails(lambda path=path: files.read(path), path, *parts)


def test_what_is_no_file(tmp_path):
  os.mkfifo(tmp_path / 'pipe.pth')
  for path in (tmp_path, tmp_path / 'pipe.pth', '/dev/zero'):
    fails(lambda path=path: files.read(path), path, 'no ordinary file')
  fails(lambda: files.read(tmp_path / 'none.pth'), 'check the path', kind=FileNotFoundError)
  os.symlink('.git/annex/objects/ab', tmp_path / 'b.pth')
  fails(lambda: files.read(tmp_path / 'b.pth'), 'git annex get', kind=FileNotFoundError)
  path = tmp_path / 'huge.pth'
  with open(path, 'wb') as f:
    f.truncate(2**36)  # holes only
  fails(lambda: files.read(path), path, '64.0 GiB')


# ---- what PyTorch itself writes

@pytest.mark.filterwarnings('ignore')  # PyTorch warns of what it saves
@pytest.mark.parametrize('new', [True, False], ids=['zip', 'rows'])
def test_files_of_pytorch(new, tmp_path):
  torch = pytest.importorskip('torch')
  base, path = torch.randn(4, 6), tmp_path / 'a.pth'
  tree = {str(kind): torch.arange(6).to(kind) for kind in (
    torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool,
    torch.complex64)}
  tree |= {'turned': base.T, 'part': base[1:3, ::2], 'row': base[:1].expand(3, 6),
           'empty': base[:0], 'parameter': torch.nn.Parameter(base), 'one': torch.tensor(3.),
           'channels last': torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)}
  more = dict(optimizer=torch.optim.Adam([torch.nn.Parameter(base)]).state_dict(),
              args=argparse.Namespace(device=torch.device('cpu'), dtype=torch.float32))
  for saved in (tree, {'state_dict': tree} | more):
    for protocol in (2, 4):
      torch.save(saved, path, _use_new_zipfile_serialization=new, pickle_protocol=protocol)
      for key, read in files.read(path).items():
        want = tree[key].detach()
        want = (want.float() if want.is_floating_point() else want).numpy()
        assert read.dtype == want.dtype
        np.testing.assert_array_equal(read, want, key)
  for part, bad in (('sparse', base.to_sparse()), ('meta', base.to('meta')),
                    ('qtensor', torch.quantize_per_tensor(base, 0.1, 0, torch.qint8)),
                    ('uint16', torch.tensor([1], dtype=torch.uint16))):
    torch.save({'w': bad}, path, _use_new_zipfile_serialization=new)
    fails(lambda: files.read(path), path, "'w'", part)
  torch.save(torch.nn.Linear(2, 3), path, _use_new_zipfile_serialization=new)
  fails(lambda: files.read(path), path, 'modules.linear.Linear', 'save the state_dict')


# ---- safetensors

def safe(kind, shape, size, key='w', length=None, metadata=None):
  header = json.dumps({key: dict(dtype=kind, shape=shape, data_offsets=[0, size])}
                      | ({'__metadata__': metadata} if metadata else {})).encode()
  return struct.pack('<Q', len(header) if length is None else length) + header + bytes(size)


@pytest.mark.parametrize('length', [128 + 256, 150])  # the first byte is 128, as of a pickle
def test_safetensors(length, tmp_path):
  padding = length - len(safe('F32', [2], 8)) + 16 - len(', "__metadata__": {"a": ""}')
  content = safe('F32', [2], 8, metadata={'a': 'x' * padding})
  assert content[0] == length % 256
  np.testing.assert_array_equal(files.read(stored(tmp_path / 'a.pth', content))['w'], [0, 0])
  arrays = {kind: np.ones(3, kind) for kind in ('float16', 'float64', 'int64', ml_dtypes.bfloat16)}
  for kind, array in arrays.items():
    safetensors.numpy.save_file({'w': array}, tmp_path / 'a.safetensors')
    read = files.read(tmp_path / 'a.safetensors')['w']
    assert read.dtype == ('int64' if kind == 'int64' else 'float32') and (read == 1).all()


@pytest.mark.parametrize('content, part', [
  (safe('F8_E4M3', [1], 1), 'F8_E4M3'), (safe('F8_E5M2', [1], 1), 'F8_E5M2'),
  (safe('F4', [2], 1), 'F4'), (safe('C64', [1], 8), 'C64'), (safe('F32', [3], 4), 'readable'),
  (safe('F32', [1], 4)[:-1], 'readable'), (safe('F32', [2**62], 4), 'readable'),
  (safe('F32', [1], 4, length=2**40), 'readable')])
def test_safetensors_that_are_refused(content, part, tmp_path):
  path = stored(tmp_path / 'a.safetensors', content)
  fails(lambda: files.read(path), path, part)


# ---- names

def test_colons_in_paths(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  os.makedirs('runs/2026-11-25_12:30:00')
  os.makedirs('runs/2026-11-25_12:30')
  os.makedirs('C:')
  for text, parts in (('runs/2026-11-25_12:30:00', ('runs/2026-11-25_12:30:00', '')),
                      ('runs/2026-11-25_12:30:00:enet', ('runs/2026-11-25_12:30:00', 'enet')),
                      ('runs/2026-11-25_12:30:enet', ('runs/2026-11-25_12:30', 'enet')),
                      ('runs:enet', ('runs', 'enet')), ('none:enet', ('none:enet', '')),
                      (r'D:\a.pth', (r'D:\a.pth', '')), ('', ('', '')), ('runs:', ('runs', ''))):
    assert files.split_network(text) == parts


def test_home_folders_and_addresses(monkeypatch):
  monkeypatch.setenv('HOME', '/home/me')
  assert local_path('~/a:enet') == '/home/me/a:enet' and local_path('a/~b') == 'a/~b'
  assert local_path(r'C:\a') == r'C:\a' and local_path('runs/12:30:00') == 'runs/12:30:00'
  for text in ('gs://bucket/run', 's3:/bucket', 'hdfs://host:9/run', 'https://a.b/c.pth'):
    fails(lambda text=text: local_path(text), text, 'is an address')


# ---- mutations of good files

GOOD = [zipped({'state_dict': {'w': tensor(W), 'v': parameter(W)}, 'perf': np.float64(1)}),
        in_rows({'state_dict': {'w': tensor(W)}, 'meta': np.arange(3), 'a': {1, (2, 'x')}}),
        safe('F32', [2, 3], 24)]
TREE = {'state_dict': {'w': tensor(W), 'v': parameter(W)}, 'perf': np.float64(1), 'a': np.arange(9)}
with zipfile.ZipFile(io.BytesIO(zipped(TREE))) as _archive:
  PICKLE = _archive.read('archive/data.pkl')
EDITS = st.lists(st.tuples(st.sampled_from(['flip', 'cut', 'grow', 'copy']), st.integers(0, 2**16),
                           st.binary(min_size=1, max_size=6)), min_size=1, max_size=6)


def edited(content, edits):
  data = bytearray(content)
  for kind, place, new in edits:
    place %= len(data) + 1
    if kind == 'flip':
      data[place:place + len(new)] = new
    elif kind == 'cut':
      del data[place:place + new[0]]
    else:
      data[place:place] = new if kind == 'grow' else data[:place][-new[0]:]
  return bytes(data)


@settings(deadline=None, max_examples=400, database=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(GOOD)), EDITS)
@example(0, [('cut', 4, b'\1')])  # the archive begins before the file
def test_mutations_are_read_or_refused_in_one_line(tmp_path, which, edits):
  if which < len(GOOD):
    content = edited(GOOD[which], edits)
  else:  # the checksum of the archive is right
    content = zipped(TREE, **{'data.pkl': edited(PICKLE, edits)})
  path = stored(tmp_path / 'a.pth', content)
  try:
    read = files.read(path)
  except (OSError, UserError) as error:
    assert '\n' not in str(error) and str(path) in str(error) and len(str(error)) < 1500
  else:
    assert all(isinstance(v, np.ndarray) for v in read.values())
