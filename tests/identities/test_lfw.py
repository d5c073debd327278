"""LFW's layout: pairs, folds, lists of people, and lists that are wrong."""
import numpy as np
import pytest

from input_pipeline import identities
from tests.identities import made
from tests.refusals import fails

PEOPLE = {'Al_Ax': 3, 'Bo_By': 2, 'Cy_Cox': 2, 'Di_Dee': 4}
PAIRS = ['2\t1', 'Al_Ax\t1\t3', 'Bo_By\t2\tCy_Cox\t1', 'Di_Dee\t2\t4', 'Al_Ax\t2\tDi_Dee\t4']


@pytest.fixture
def root(tmp_path):
  made.write_folders(tmp_path / 'lfw', PEOPLE)
  write(tmp_path, PAIRS)
  return str(tmp_path)


def write(root, lines, name='pairs.txt'):
  (root / name).write_text('\n'.join(lines) + '\n')


def load(root, split='test', **options):
  return identities.load('lfw', split, root=root, **options)


def test_pairs_and_folds_are_those_of_the_list(root):
  people = load(root)
  named = [(people.file[a], people.file[b], same) for a, b, same in people.pairs.tolist()]
  picture = lambda person, number: f'{person}/{person}_{number:04d}.png'
  assert named == [(picture('Al_Ax', 1), picture('Al_Ax', 3), 1),
                   (picture('Bo_By', 2), picture('Cy_Cox', 1), 0),
                   (picture('Di_Dee', 2), picture('Di_Dee', 4), 1),
                   (picture('Al_Ax', 2), picture('Di_Dee', 4), 0)]
  np.testing.assert_array_equal(people.folds, [0, 0, 1, 1])
  assert len(people) == 7 and people.notes[0] == '4 pictures are in no pair and left out'
  assert people.names == tuple(PEOPLE) and people.box is None


def test_a_list_without_folds(root, tmp_path):
  write(tmp_path, ['1', *PAIRS[1:3]], 'pairsDevTest.txt')
  people = load(root, 'val')
  assert people.folds is None and len(people.pairs) == 2
  assert len(load(root, 'mine', pairs='pairsDevTest.txt').pairs) == 2
  fails(lambda: load(root, 'mine'), 'train, val and test', 'data.loader.pairs')


def test_training_is_by_its_list_or_without_those_who_are_tested(root, tmp_path):
  made.write_folders(tmp_path / 'lfw', {'Ed_Eck': 2})
  people = load(root, 'train')
  assert people.names == ('Ed_Eck',) and people.pairs is None
  assert people.notes == ('4 people of pairs.txt are left out of training',)
  write(tmp_path, ['2', 'Bo_By\t2', 'Ed_Eck\t2'], 'peopleDevTrain.txt')
  assert load(root, 'train').names == ('Bo_By', 'Ed_Eck')
  for lines, text in ((['1', 'Bo_By\t2', 'Ed_Eck\t2'], 'line 1 is not the number of the 2 lines'),
                      (['Bo_By\t2', 'Ed_Eck\t2'], 'line 1 is not'), ([], 'line 1 is not'),
                      (['1', 'Bo_By'], 'line 1 is not the number of the 1 lines PERSON COUNT'),
                      (['1', 'Bo_By\t3'], "line 2: 'Bo_By' has 3 pictures, and the folder 2")):
    write(tmp_path, lines, 'peopleDevTrain.txt')
    fails(lambda: load(root, 'train'), text, 'peopleDevTrain', 'get the')
  write(tmp_path, ['2', 'Bo_By\t2', 'No_One\t2'], 'peopleDevTrain.txt')
  fails(lambda: load(root, 'train'), "line 3: there is no folder of 'No_One'", 'peopleDevTrain')


def test_pairs_that_repeat_are_told(root, tmp_path):
  write(tmp_path, ['2\t1', *PAIRS[1:3], 'Al_Ax\t3\t1', PAIRS[4]])
  assert '1 pair of the list repeat others, and count again' in load(root).notes


def test_nobody_is_left_to_train_on(root):
  fails(lambda: load(root, 'train'), 'lfw train has no pictures')


def test_the_face_is_the_middle_of_pictures_of_the_size_of_lfw(tmp_path):
  made.write_folders(tmp_path / 'lfw-deepfunneled', {'Al_Ax': 2, 'Bo_By': 1}, size=(250, 250))
  write(tmp_path, ['1', 'Al_Ax\t1\t2', 'Al_Ax\t1\tBo_By\t1'])
  people = load(str(tmp_path))
  np.testing.assert_allclose(people.box[0], [68.18, 68.18, 113.64, 113.64], atol=0.01)


@pytest.mark.parametrize('line, text', [
  ('Al_Ax\t1', "line 3 is not 'PERSON NUMBER NUMBER'"),
  ('Al_Ax\t1\tx', "line 3 is not 'PERSON NUMBER NUMBER'"),
  ('Al_Ax\t1\t2\t3\t4', "line 3 is not 'PERSON NUMBER NUMBER'"),
  ('Al_Ax\t1\t1', 'line 3 names one picture twice'),
  ('Al_Ax\t1\tAl_Ax\t2', 'line 3 names one person twice'),
  ('Al_Ax\t1\tNo_One\t2', "line 3: there is no picture 'No_One_0002'"),
  ('', 'by line 1 there are 4 pairs, but 3 follow')])
def test_wrong_lines_are_named(root, tmp_path, line, text):
  write(tmp_path, [*PAIRS[:2], line, *PAIRS[3:]])
  fails(lambda: load(root), text, 'pairs.txt')


def test_lists_that_are_none(root, tmp_path):
  for content in ([], ['x 2'], ['1 2 3'], ['0 0']):
    write(tmp_path, content)
    fails(lambda: load(root), 'pairs.txt')
  (tmp_path / 'pairs.txt').unlink()
  fails(lambda: load(root), 'cannot read', 'pairs.txt')
  fails(lambda: load(root, images='pictures'), "there is no folder pictures in '")
