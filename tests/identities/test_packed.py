"""Packed sets of insightface: read as bytes, and what is damaged is named."""
import struct

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from input_pipeline import face_crops, identities
from input_pipeline.identities import packed
from tests.identities import made
from tests.refusals import fails

LABELS = [7, 7, 7, 2, 2, 9, 10]


def load(root, split='train', **options):
  return identities.load('packed', split, root=str(root), **options)


@pytest.mark.parametrize('with_identities', [True, False])
def test_pictures_and_labels(tmp_path, with_identities):
  root = made.write_packed(tmp_path / 'faces', LABELS, with_identities, endings={1: '.png'})
  people = load(root)
  assert people.name == 'faces' and people.names == ('2', '7', '9', '10') and len(people) == 7
  np.testing.assert_array_equal(people.identity, [1, 1, 1, 0, 0, 2, 3])
  np.testing.assert_array_equal(people.read(1), made.picture(1, (112, 112))[..., ::-1])
  assert people.file[1] == f'train.rec, record {1 + with_identities}'
  assert people.file[np.array([2, 3])][1] == people.file[3]
  assert len(people.subset([3, 4]).file) == 2 and '2 identities have a single' in people.notes[0]
  crop = face_crops.FaceMaker(people, (112, 112), None, 'none', 0).evaluate(1)['image']
  np.testing.assert_array_equal(crop, people.read(1))  # it is on the template already


def test_identities_are_held_apart_of_one_file(tmp_path):
  root = made.write_packed(tmp_path, LABELS)
  train, val = (load(root, split, records='train', held_out=1) for split in ('train', 'val'))
  assert len(train) + len(val) == 7 and not set(train.names) & set(val.names)


def test_labels_may_be_several_of_which_the_first_counts(tmp_path):
  people = load(made.write_packed(tmp_path, [[3.0, 0.5], [3.0, 0.5], [4.0, 0.0]]))
  assert people.names == ('3', '4')
  np.testing.assert_array_equal(people.identity, [0, 0, 1])
  np.testing.assert_array_equal(people.read(2).shape, (112, 112, 3))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from([b'', b'abc', b'word', made.MARK, b'x' + made.MARK]), max_size=9))
def test_records_with_the_mark_in_them_come_back(tmp_path_factory, pieces):
  content = b''.join(pieces)
  path = tmp_path_factory.mktemp('rec') / 'a.rec'
  first = made.record(b'before')
  path.write_bytes(first + made.record(content) + made.record(b'behind'))
  assert packed.read_record(str(path), len(first)) == content


def test_damage_is_named(tmp_path):
  root = made.write_packed(tmp_path, LABELS)
  path, places = tmp_path / 'train.rec', packed.read_index(str(tmp_path / 'train.idx'))[1]
  whole = path.read_bytes()
  start = int(places[2])
  path.write_bytes(whole[:start] + b'\0\0\0\0' + whole[start + 4:])
  people = load(root)
  with pytest.raises(OSError, match=f'train.rec.*record at byte {start} is damaged'):
    people.read(1)
  path.write_bytes(whole[:start + 8] + struct.pack('<I', 99) + whole[start + 12:])
  with pytest.raises(OSError, match='it states 99 labels'):
    people.read(1)
  path.write_bytes(whole[:start + 40] + b'\0' * 2000 + whole[start + 2040:])
  with pytest.raises(OSError, match="picture '.*train.rec at byte"):
    people.read(1)
  path.write_bytes(whole[:int(places[5])])
  fails(lambda: load(root), "cannot read '", 'damaged', 'data.loader.records')
  path.write_bytes(b'')
  fails(lambda: load(root), 'record 0 is damaged')


def test_an_index_that_is_none(tmp_path):
  root = made.write_packed(tmp_path, LABELS)
  for content, text in (('0\tx\n', 'not a list of keys and places'), (f'0 {9**30}\n', 'not a list'),
                        ('1\n', 'not a list of keys'),
                        ('', 'has no keys'), ('1\t0\n1\t9\n', 'a key twice')):
    (tmp_path / 'train.idx').write_text(content)
    fails(lambda: load(root), text, 'train.idx')
  fails(lambda: load(root, 'val'), 'val.idx', 'data.loader.records')


def test_records_of_two_labels_are_not_one_identity(tmp_path):
  root = made.write_packed(tmp_path, LABELS)
  path, places = tmp_path / 'train.rec', packed.read_index(str(tmp_path / 'train.idx'))[1]
  data = bytearray(path.read_bytes())
  data[int(places[3]) + 12:int(places[3]) + 16] = struct.pack('<f', 8)
  path.write_bytes(data)
  fails(lambda: load(root), 'records 1 to 3 should be of one identity', 'labels 7 and 8')


def test_identities_of_one_label_and_records_that_are_not_there(tmp_path):
  root = made.write_packed(tmp_path / 'twice', [3, 5, 3])
  fails(lambda: load(root), 'are two identities of one label, 3')
  root = made.write_packed(tmp_path / 'gap', LABELS)
  index = tmp_path / 'gap/train.idx'
  lines = index.read_text().splitlines()
  index.write_text('\n'.join(lines[:2] + lines[3:]))
  fails(lambda: load(root), 'the index lacks some of the records')


def test_pairs_that_are_a_pickle_are_refused(tmp_path):
  root = made.write_packed(tmp_path, LABELS)
  (tmp_path / 'lfw.bin').write_bytes(b'\x80\x04N.')
  fails(lambda: load(root, 'lfw'), 'lfw.bin', 'is a pickle', '--config.data.name=lfw')
