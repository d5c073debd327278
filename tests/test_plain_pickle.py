"""Pickled data: plain values are read as Python reads them, all else is named and not made."""
import collections
import datetime
import io
import os
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dslope_jax import plain_pickle
from dslope_jax.errors import UserError
from tests.refusals import fails

SCALARS = (st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
           | st.complex_numbers(allow_nan=False) | st.text() | st.binary())
KEYS = st.booleans() | st.integers() | st.text() | st.binary() | st.tuples(st.integers(), st.text())
VALUES = st.recursive(
  SCALARS | st.frozensets(KEYS),
  lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner)
  | st.dictionaries(KEYS, inner).map(collections.OrderedDict) | st.sets(KEYS), max_leaves=20)
ARRAYS = hnp.arrays(
  st.one_of(hnp.boolean_dtypes(), hnp.integer_dtypes(endianness='='),
            hnp.floating_dtypes(endianness='='), hnp.unicode_string_dtypes(endianness='=')),
  hnp.array_shapes(min_dims=0))


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES, st.integers(0, 5))
def test_plain_values_are_read_as_python_reads_them(value, protocol):
  read = plain_pickle.loads(pickle.dumps(value, protocol), 'a file')
  assert read == value and repr(type(read)) in (repr(type(value)), "<class 'dict'>")


@settings(deadline=None, max_examples=80)
@given(ARRAYS, st.sampled_from('CF'), st.integers(0, 5))
def test_arrays_are_read_as_numpy_reads_them(array, order, protocol):
  array = np.asarray(array, order=order)
  read, scalars = plain_pickle.loads(pickle.dumps((array, list(array.flat)), protocol), 'a file')
  np.testing.assert_array_equal(read, array)
  assert read.dtype == array.dtype and read.flags.f_contiguous == array.flags.f_contiguous
  for one, other in zip(scalars, array.flat, strict=True):
    assert type(one) is type(other)
    np.testing.assert_array_equal(one, other)


def test_other_byte_orders_and_arrays_of_objects():
  poses = {'S1': {'Walking': [np.ones((2, 3), np.float32)]}}
  for value in (np.arange(5, dtype='>i4'), np.array(poses, object),
                np.array([poses, None, 'x'], object)):
    for protocol in range(6):
      read = plain_pickle.loads(pickle.dumps(value, protocol), 'a file')
      assert read.shape == value.shape
      assert repr(read.tolist()) == repr(value.tolist())


def test_texts_of_python_2_are_bytes_and_latin_1():
  """What Python 2 writes for {'a\\xe9': numpy.array([1., 2.])}, protocol 0."""
  raw = np.array([1, 2.]).tobytes()
  escaped = ''.join(f'\\x{b:02x}' for b in raw)
  text = ("(dp0\nS'a\\xe9'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n"
          "(I0\ntp4\nS'b'\np5\ntp6\nRp7\n(I1\n(I2\ntp8\ncnumpy\ndtype\np9\n(S'f8'\np10\nI0\nI1\n"
          "tp11\nRp12\n(I3\nS'<'\np13\nNNNI-1\nI-1\nI0\ntp14\nbI00\nS'" + escaped
          + "'\np15\ntp16\nbs.")
  read = plain_pickle.loads(text.encode(), 'a file')
  np.testing.assert_array_equal(read['aé'], [1, 2])


def test_a_value_that_holds_itself():
  value = {}
  value['state_dict'] = value
  value['list'] = [value, value]
  read = plain_pickle.loads(pickle.dumps(value), 'a file')
  assert read['state_dict'] is read and read['list'][1] is read


class Bomb:
  """Unpickling it makes a folder."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return os.mkdir, (self.path,)


class Plain:
  pass


def pickled(value, protocol=4):
  return pickle.dumps(value, protocol)


@pytest.mark.parametrize('protocol', range(6))
def test_nothing_is_called_and_the_name_is_told(protocol, tmp_path):
  path = str(tmp_path / 'made')
  plain = Plain()
  plain.inner = [1, {2: 3}]
  for value, name in ((Bomb(path), f'{os.mkdir.__module__}.mkdir'), (plain, f'{__name__}.Plain'),
                      (datetime.date(2020, 1, 2), 'datetime.date'), (print, 'builtins.print'),
                      (range(3), ('builtins.range', 'builtins.xrange')), (slice(3), 'slice')):
    data = pickled({'a': value, 'b': 7}, protocol)
    with pytest.raises(UserError) as refused:
      plain_pickle.loads(data, "'a.pkl'")
    names = (name,) if isinstance(name, str) else name
    assert str(refused.value).startswith("'a.pkl' holds ")
    assert any(n in str(refused.value) for n in (*names, 'copyreg._reconstructor')), refused.value
    lax = plain_pickle.loads(data, "'a.pkl'", strict=False)
    assert lax['b'] == 7 and isinstance(lax['a'], plain_pickle.Placeholder)
    assert not os.path.exists(path)


PROTO = b'\x80\x04'
TUPLES = b')' + b'\x85' * 200_000  # of a tuple of a tuple ...
NUMPY = b'cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\1b\x87R'
OBJECTS = b'cnumpy\ndtype\n\x8c\2O8\x89\x88\x87R'
BROKEN = {
  'nothing': b'', 'no end': PROTO + b'K\1', 'no such instruction': PROTO + b'\xff.',
  'empty stack': PROTO + b'.', 'no mark': PROTO + b't.', 'no memo': PROTO + b'h\7.',
  'registered extension': PROTO + b'\x82\1.', 'buffer of another file': b'\x80\5\x97.',
  'text longer than the file': PROTO + b'\x8d' + (2**40).to_bytes(8, 'little') + b'x.',
  'bytes longer than memory': PROTO + b'\x8e' + (2**62).to_bytes(8, 'little') + b'x.',
  'deep key': PROTO + b'}' + TUPLES + b'Ns.', 'list as a key': PROTO + b'}]Ns.',
  'wide key': PROTO + b'})' + b'\x85222222222\x86' * 3000 + b'Ns.',
  'number of many digits': b'L' + b'9' * 10_000 + b'L\n.',
  'enormous array': PROTO + NUMPY + b'(K\1\x8a\6\xff\xff\xff\xff\xff\x7f\x85cnumpy\ndtype\n\x8c\2'
                    b'f8\x89\x88\x87R\x89C\0tb.',
  'array in arrays': PROTO + b''.join(NUMPY + b'q' + bytes([i]) + b'0' for i in (1, 2))
                     + b'h\1(K\1)' + OBJECTS + b'\x89h\2at.',
  'copies of a copy': PROTO + b'X' + (10**5).to_bytes(4, 'little') + b'a' * 10**5 + b'q\0'
                      + b'c_codecs\nencode\nh\0\x85R' * 1000 + b'.',
  'items of a number': PROTO + b'K\1K\1a.', 'call of a number': PROTO + b'K\1)R.',
  'state of nothing': PROTO + b'Nb.'}


@pytest.mark.parametrize('case', BROKEN)
def test_broken_and_hostile_pickles_are_one_line(case):
  for strict in (True, False):
    fails(lambda strict=strict: plain_pickle.loads(BROKEN[case], "'a.pkl'", strict=strict),
          "'a.pkl' is not a readable pickle", 'get it again')


def test_deep_values_are_read_and_freed():
  for step in (b'\x85', b'\x94](h\0e' , b'q\0}X\1\0\0\0ah\0s'):
    plain_pickle.loads(PROTO + b')' + step * 100_000 + b'.', 'a file')


def array_state(name, shape, content):
  """Instructions that fill the array under a memo name with an object array's content."""
  return b'h' + bytes([name]) + b'(K\1' + shape + OBJECTS + b'\x89' + content + b'tb0'


def test_arrays_of_arrays_cannot_be_nested_by_filling_them_later():
  names = [NUMPY + b'q' + bytes([i]) + b'0' for i in range(3)]
  late = array_state(0, b'K\1\x85', b'](h\1e') + array_state(1, b'K\1\x85', b'](h\2e')
  fails(lambda: plain_pickle.loads(PROTO + b''.join(names) + late + b'h\0.', 'a'),
        'arrays of objects')
  twice = array_state(0, b'K\1\x85', b'](Ne') * 2
  fails(lambda: plain_pickle.loads(PROTO + names[0] + twice + b'h\0.', 'a'), 'two contents')


def test_files(tmp_path):
  path = tmp_path / 'a.pkl'
  path.write_bytes(pickled({'a': np.arange(3)}) + b'more')
  assert plain_pickle.load(path)['a'].tolist() == [0, 1, 2]
  fails(lambda: plain_pickle.load(tmp_path / 'b.pkl'), 'check the path', kind=FileNotFoundError)
  fails(lambda: plain_pickle.load(tmp_path), 'a folder, a pipe or a device')
  fails(lambda: plain_pickle.load('/dev/zero'), 'a folder, a pipe or a device')
  os.mkfifo(tmp_path / 'pipe')
  fails(lambda: plain_pickle.load(tmp_path / 'pipe'), 'a folder, a pipe or a device')
  (tmp_path / 'empty.pkl').touch()
  fails(lambda: plain_pickle.load(tmp_path / 'empty.pkl'), 'is empty')
  os.symlink('../.git/annex/objects/x', tmp_path / 'annexed')
  fails(lambda: plain_pickle.load(tmp_path / 'annexed'), 'git annex get', kind=FileNotFoundError)


def test_npz_with_objects(tmp_path):
  path = tmp_path / 'poses.npz'
  poses = {'S1': {'Walking': [np.ones((2, 3), np.float32)]}}
  fortran = np.asfortranarray(np.arange(6).reshape(2, 3))
  np.savez_compressed(path, positions_2d=poses, numbers=fortran, names=np.array(['a', 'bc']))
  read = plain_pickle.load_npz(path)
  np.testing.assert_array_equal(read['numbers'], fortran)
  assert read['names'].tolist() == ['a', 'bc']
  np.testing.assert_array_equal(read['positions_2d'].item()['S1']['Walking'][0], np.ones((2, 3)))
  np.savez(path, x=np.array(Bomb(str(tmp_path / 'made')), object))
  fails(lambda: plain_pickle.load_npz(path), path, "'x.npy'", 'mkdir')
  assert not (tmp_path / 'made').exists()
  header = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    header, {'descr': '<f8', 'fortran_order': False, 'shape': (2**40,)})
  for content in (b'', b'hello', header.getvalue() + b'12345678'):
    with zipfile.ZipFile(path, 'w') as archive:
      archive.writestr('x.npy', content)
    fails(lambda: plain_pickle.load_npz(path), path, 'is not a readable .npz file')
  path.write_bytes(b'PK\3\4 cut')
  fails(lambda: plain_pickle.load_npz(path), path, 'is not a readable .npz file')
