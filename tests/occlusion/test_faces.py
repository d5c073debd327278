"""Faces have no limbs: what is cut out of them, and which recipes work with it."""
import functools

import numpy as np
import pytest

from configs import protocols
from dslope_jax import skeletons
from dslope_jax.tasks.people import load_bank, load_source, load_train
from input_pipeline import sources
from input_pipeline.geometry import Augmentation
from input_pipeline.occlusion import bank as patches
from input_pipeline.occlusion import body_parts, recipes
from input_pipeline.pairs import PairMaker
from tests.data_sets import write_coco, write_keypoints
from tests.refusals import fails

FACES = {'300w': skeletons.FACE_300W, 'cofw': skeletons.COFW, 'wflw': skeletons.WFLW,
         'aflw': skeletons.AFLW}


def write_faces(root, word, split, **options):
  def visible(truth):
    for annotation in truth['annotations']:
      annotation['keypoints'][2::3] = [2] * len(FACES[word].names)
      annotation |= {'box_size': 60}
  return write_keypoints(root, f'annotations/{word}_{split}.json', FACES[word], num_images=8,
                         size=(160, 160), edit=visible, **options)


@pytest.mark.parametrize('word', FACES)
def test_every_face_protocol_makes_pairs(tmp_path, word):
  """From its config to the samples of training and of evaluation, with joints that are hidden."""
  config = protocols.get_config(word)
  entry = config.evals.val
  for split in (config.data.train_split, entry.split):
    config.data.root = write_faces(tmp_path, word, split)
  train = load_train(config)[0]
  bank = load_bank(config, str(tmp_path / 'run'), train)
  assert 'person' in bank.parts and bank.parts <= {'person', 'texture'}
  size = tuple(config.data.size)
  maker = PairMaker(train, size, bank, config.data.recipe, 0,
                    Augmentation(**config.data.augmentation))
  covered = [maker.train(i, i % 8)['covered'].sum() for i in range(24)]
  assert 0 < np.mean(np.array(covered) == 0) < 0.8  # a third stays clean, and who turns out so
  people = load_source(config, entry.split, entry.data)
  fixed = PairMaker(people, size, bank, entry.recipe, 0)
  assert np.mean([fixed.evaluate(row)['covered'].mean() for row in range(8)]) > 0.1


def test_a_face_is_cut_along_its_points():
  """An upright ellipse of points, and the same one turned."""
  angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
  upright = np.stack([20 * np.cos(angle), 30 * np.sin(angle)], 1)
  turn = np.array([[0.8, -0.6], [0.6, 0.8]])
  for matrix in (np.eye(2), turn):
    points = upright @ matrix.T + (70, 60)
    shapes = dict(body_parts.shapes(skeletons.FACE_300W, points, np.full(68, True)))
    (a, b, first, second), = shapes['person'].capsules
    np.testing.assert_allclose([first, second], 20, rtol=1e-2)
    ends = sorted([a, b], key=lambda end: end[1])
    np.testing.assert_allclose(ends, [matrix @ (0, -10) + (70, 60), matrix @ (0, 10) + (70, 60)],
                               atol=0.3)
  assert not dict(body_parts.shapes(skeletons.FACE_300W, points, np.arange(68) < 2))


@functools.cache
def body_bank(folder):
  return patches.load_or_build(folder / 'bodies', sources.load(
    'coco', 'train', root=write_coco(folder / 'coco')), num_people=4, seed=0)


def test_recipes_that_need_parts_are_refused(tmp_path):
  faces = sources.load('faces', 'test', root=write_faces(tmp_path / 'faces', 'cofw', 'test'),
                       faces_of='cofw')
  bank = patches.load_or_build(tmp_path / 'bank', faces, num_people=8, seed=0)
  for name in ('published', 'none,published:2', 'mask_joints+published'):
    fails(functools.partial(recipes.check_bank, name, bank), f"recipe '{name}'",
          'head, lower_arm, lower_leg, upper_leg', str(tmp_path / 'bank'), 'has only person',
          'none, severity1, severity2, severity3, severity4, severity5, mask_joints, ',
          '--config.data.bank.folder=BANK')
  for name in ('none', 'severity1:2,severity5', 'instance_paste', 'joint=chin', 'mask_joints'):
    recipes.check_bank(name, bank)
    recipes.check_bank(name, body_bank(tmp_path))
  recipes.check_bank('published', body_bank(tmp_path))
  config = protocols.get_config('cofw')
  config.data.recipe, config.data.bank.folder = 'published', bank.folder
  fails(lambda: load_bank(config, str(tmp_path)), "recipe 'published' needs", 'severity3')
  config.data.root, config.data.bank.folder = '', ''  # as published weights have it
  fails(lambda: load_bank(config, str(tmp_path)), 'do not know where', 'bank.folder=BANK')


def test_limbs_that_are_no_humans_stand_for_parts(tmp_path):
  def rename(truth):
    truth['categories'][0] |= {'keypoints': [f'p{i}' for i in range(17)]}
  animals = sources.load('coco', 'train', root=write_coco(tmp_path / 'set', edit=rename))
  bank = patches.load_or_build(tmp_path / 'bank', animals, num_people=4, seed=0)
  assert bank.parts == {'limb', 'person', 'texture'}
  recipes.check_bank('published', bank)
  assert set(bank.part[bank.of_part('lower_leg')]) == {'limb'}
  assert set(bank.part[bank.of_part('texture', 'person')]) == {'texture', 'person'}


def test_nothing_to_cut_out_of_faces(tmp_path):
  def fill(truth):
    for annotation in truth['annotations']:
      points = np.array(annotation['keypoints']).reshape(-1, 3)
      points[:, :2] = points[:, :2] * 1000 % 96  # over the whole picture
      annotation |= {'keypoints': points.ravel().tolist(), 'bbox': [0, 0, 96, 128]}
  root = write_keypoints(tmp_path, 'annotations/wflw_test.json', skeletons.WFLW, edit=fill)
  faces = sources.load('faces', 'test', root=root, faces_of='wflw')
  fails(lambda: patches.load_or_build(tmp_path / 'bank', faces, num_people=9, seed=0),
        'nothing could be cut out of wflw_test test', 'no face lies whole inside')
  assert not (tmp_path / 'bank').exists()
