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
from input_pipeline.occlusion import body_parts, drawing, pasting, recipes
from input_pipeline.occlusion import faces as face_occlusion
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
  assert {'person', *drawing.COUNTS} <= bank.parts
  assert bank.parts <= {'person', 'face_part', 'texture', *drawing.COUNTS}
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
    assert {body_parts.bare(name) for name in shapes} == {'person', 'face_part'}
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
          'head, lower_arm, lower_leg, upper_leg', str(tmp_path / 'bank'), 'has only ',
          'none, severity1, severity2, severity3, severity4, severity5, face_severity1, ',
          '--config.data.bank.folder=BANK')
  for name in ('glasses', 'mask'):
    recipes.check_bank(name, bank)
    fails(functools.partial(recipes.check_bank, name, body_bank(tmp_path)), f'patches of {name}')
  for name in ('none', 'severity1:2,severity5', 'face_severity5', 'instance_paste', 'joint=chin',
               'mask_joints'):
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
      points[60:76, 2] = points[96:, 2] = 0  # eyes
      annotation |= {'keypoints': points.ravel().tolist(), 'bbox': [0, 0, 96, 128]}
  root = write_keypoints(tmp_path, 'annotations/wflw_test.json', skeletons.WFLW, edit=fill)
  faces = sources.load('faces', 'test', root=root, faces_of='wflw')
  fails(lambda: patches.load_or_build(tmp_path / 'bank', faces, num_people=9, seed=0),
        'nothing could be cut out of wflw_test test', 'no face lies whole inside')
  assert not (tmp_path / 'bank').exists()


# ---- face severities, and what is worn

# Right eye, left eye, chin; then a mouth, a nose, brows and a jaw around them, as COFW has them.
def cofw_face(yaw=1.0, turn=0.0, size=40.0):
  """(29,2) pixels: a face whose width is multiplied by `yaw` and that is turned by an angle."""
  places = {'eye': (0.5, 0), 'pupil': (0.5, 0), 'brow': (0.5, -0.35), 'nostril': (0.2, 0.75),
            'mouth': (0.35, 1.2)}
  points = []
  for name in skeletons.COFW.names:
    side = {'right': -1, 'left': 1}.get(name.partition('_')[0], 0)
    kind = next((kind for kind in places if kind in name), None)
    x, y = places.get(kind, (0, 0.65 if 'nose' in name else drawing.CHIN))
    out = 0.15 * side * (('outer' in name) - ('inner' in name))
    points.append((side * x + out, y + 0.05 * (('lower' in name) - ('upper' in name))))
  c, s = np.cos(turn), np.sin(turn)
  return np.array(points) * (yaw, 1) @ np.array([[c, s], [-s, c]]) * size + 100


def person(points, skeleton=skeletons.COFW, visibility=None):
  visibility = np.full(len(points), 2, np.uint8) if visibility is None else visibility
  box = np.array([*points.min(0), *np.ptp(points, axis=0)])
  return recipes.Person(points, visibility, box, np.full(2, 1.25 * box[2:].max() / 200), skeleton,
                        np.eye(2, 3), (200, 200))


@pytest.fixture(scope='module')
def bank(tmp_path_factory):
  folder = tmp_path_factory.mktemp('faces')
  faces = sources.load('faces', 'test', root=write_faces(folder, 'cofw', 'test'), faces_of='cofw')
  return patches.load_or_build(folder / 'bank', faces, num_people=8, seed=0)


def test_drawings_depend_on_the_seed_alone():
  first, again, other = ([p for p in drawing.drawings(np.random.default_rng(seed))]
                         for seed in (1, 1, 2))
  assert [p.part for p in first] == [part for part, n in drawing.COUNTS.items() for _ in range(n)]
  for a, b in zip(first, again, strict=True):
    np.testing.assert_array_equal(a.pixels, b.pixels)
    assert (a.pixels[..., :3] <= a.pixels[..., 3:]).all() and a.pixels[..., 3].max() > 200
    assert not a.pixels[[0, -1], :, 3].any() and not a.pixels[:, [0, -1], 3].any()
  assert any(a.pixels.shape != b.pixels.shape or (a.pixels != b.pixels).any()
             for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize('yaw, turn', [(1, 0), (0.6, 0.5), (0.8, -2.0)])
def test_what_is_worn_lies_on_eyes_and_chin(bank, yaw, turn):
  points = cofw_face(yaw, turn)
  marks = body_parts.face_marks(skeletons.COFW, points, np.ones(29, bool))
  for part, hidden, seen in (('mask', ('mouth', 'chin', 'nostril'), ('eye', 'pupil', 'brow')),
                             ('glasses', (), ('mouth', 'chin', 'nostril'))):
    for i in bank.of_part(part):
      placed = face_occlusion.worn(i, marks, bank)
      first, second = bank.bone[i]
      chin = (first + second) / 2 + (0, drawing.CHIN * np.linalg.norm(second - first))
      found = np.array([first, second, chin]) @ placed.matrix[:, :2].T + placed.matrix[:, 2]
      np.testing.assert_allclose(found, marks, atol=1e-9)
      covered = pasting.hidden_points([placed], points, bank)
      for name, is_hidden in zip(skeletons.COFW.names, covered, strict=True):
        assert is_hidden or not any(word in name for word in hidden), (part, i, name)
        assert not is_hidden or not any(word in name for word in seen), (part, i, name)


def test_nothing_is_worn_in_profile_or_without_marks(bank):
  rng = np.random.default_rng(0)
  assert len(recipes.draw(person(cofw_face()), bank, rng, 'mask')) == 1
  assert not recipes.draw(person(cofw_face(yaw=0.3)), bank, rng, 'mask')
  no_chin = np.full(29, 2, np.uint8)
  no_chin[28] = 0
  assert not recipes.draw(person(cofw_face(), visibility=no_chin), bank, rng, 'glasses')
  assert recipes.draw(person(cofw_face(), visibility=no_chin), bank, rng, 'face_severity3')


def test_face_severities_hide_more_and_more(bank):
  """What a lower one hides a higher one hides too; shares stay in the bounds of each level."""
  shares, parts = np.zeros((40, 6)), set()
  for seed in range(40):
    who = person(cofw_face(1 - 0.02 * seed, 0.05 * seed))
    before = []
    for level in range(1, 6):
      placed = recipes.draw(who, bank, np.random.default_rng(seed), f'face_severity{level}')
      assert [p.patch for p in placed[:len(before)]] == [p.patch for p in before]
      shares[seed, level] = pasting.hidden_points(placed, who.keypoints, bank).mean()
      before = placed
    parts |= {str(bank.part[p.patch]) for p in before if p.patch >= 0}
  assert (np.diff(shares, axis=1) >= 0).all() and shares.max() <= 0.75
  means = shares.mean(0)
  for level, least, most in ((1, 0.02, 0.1), (2, 0.15, 0.3), (3, 0.28, 0.45), (4, 0.4, 0.6),
                             (5, 0.52, 0.75)):
    assert least <= means[level] <= most, means
  assert set(drawing.COUNTS) <= parts


def test_face_severities_do_with_any_bank(tmp_path):
  """Hands and heads of bodies are as large as those of the face's owner would be."""
  bank, who = body_bank(tmp_path), person(cofw_face())
  assert not bank.parts & {'face_part', *drawing.COUNTS}
  used = [p for seed in range(30) for p in
          recipes.draw(who, bank, np.random.default_rng(seed), 'face_severity5')]
  found = {str(bank.part[p.patch]) for p in used if p.patch >= 0}
  assert {'head', 'lower_arm'} <= found <= {'head', 'lower_arm', 'hand', 'texture'}
  heads = [p for p in used if p.patch >= 0 and bank.part[p.patch] == 'head']
  lengths = [np.sqrt(abs(np.linalg.det(p.matrix[:, :2]))) * bank.height[p.patch] for p in heads]
  assert 40 < np.median(lengths) < 400  # the face is 88 pixels wide
