"""The samples of recognition: a face's crop, its occluded partner, whose face it is."""
import dataclasses
import pickle

import numpy as np
import pytest

from dslope_jax.skeletons import FACE_300W
from input_pipeline import face_alignment, face_crops, geometry, identities, pairs
from input_pipeline.face_crops import Augmentation, FaceMaker
from input_pipeline.occlusion import bank as patch_bank
from tests.refusals import fails

SIZE = (56, 56)
STILL = Augmentation(0, 0, 0, 0, 0, 0, 0)


@pytest.fixture(scope='module')
def people():
  return identities.load('synthetic', 'train', identities=6, pictures=4)


@pytest.fixture(scope='module')
def bank(people, tmp_path_factory):
  source = face_crops.as_source(people, range(len(people)))
  return patch_bank.load_or_build(tmp_path_factory.mktemp('bank') / 'bank', source, num_people=20,
                                  seed=0)


def bare(people, **columns):
  return dataclasses.replace(people, landmarks=None, visibility=None, skeleton=None, **columns)


def test_a_crop_has_the_five_points_on_the_template(people):
  maker = FaceMaker(people, SIZE, None, 'none', 0)
  weights = face_alignment.five_points(FACE_300W)
  apart = []
  for row in range(len(people)):
    face = maker.face(row, people.read(row))
    found = geometry.transform(weights @ people.landmarks[row], face.to_crop)
    apart.append(np.abs(found - face_alignment.template(56)).mean())
    sample = maker.evaluate(row)
    np.testing.assert_array_equal(sample['image'], geometry.warp(people.read(row), face.to_crop,
                                                                 SIZE))
    assert sample['image'].dtype == np.uint8 and sample['identity'] == row // 4
    assert sample['identity'].dtype == np.int32
  assert np.mean(apart) < 3


def test_exchanged_sides_are_refused(people):
  five = np.einsum('fk,nkc->nfc', face_alignment.five_points(FACE_300W), people.landmarks)
  given = dataclasses.replace(people, landmarks=five[:, [1, 0, 2, 4, 3]], skeleton=None,
                              visibility=np.full((len(people), 5), 2, np.uint8))
  fails(lambda: FaceMaker(given, SIZE, None, 'none', 0), '24 of 24 faces have left and right '
        'exchanged', "data.crop='box'")
  FaceMaker(given, SIZE, None, 'none', 0, crop='box')
  FaceMaker(dataclasses.replace(given, landmarks=five), SIZE, None, 'none', 0)
  blank = dataclasses.replace(given, visibility=np.zeros((len(people), 5), np.uint8))
  FaceMaker(blank, SIZE, None, 'none', 0)


def test_a_crop_by_the_box_is_a_square_about_it(people):
  boxed = bare(people, box=np.tile(np.array([10, 20, 40, 20], np.float32), (24, 1)))
  face = FaceMaker(boxed, SIZE, None, 'none', 0, padding=1.5).face(0, people.read(0))
  np.testing.assert_allclose(geometry.transform(np.array([[0.0, 0], [60, 60]]), face.to_crop),
                             [[0, 0], [55, 55]], atol=1e-5)
  by_box = FaceMaker(people, SIZE, None, 'none', 0, crop='box').face(0, people.read(0))
  np.testing.assert_allclose(by_box.to_crop[0, 1], 0)  # not turned, though there are landmarks
  np.testing.assert_array_equal(by_box.landmarks, people.landmarks[0])


def test_a_picture_without_a_box_is_a_face_as_a_whole(people):
  whole = bare(people, box=None)
  face = FaceMaker(whole, (96, 96), None, 'none', 0).face(0, people.read(0))
  np.testing.assert_allclose(face.to_crop, np.eye(2, 3), atol=1e-5)
  np.testing.assert_array_equal(FaceMaker(whole, (96, 96), None, 'none', 0).evaluate(0)['image'],
                                people.read(0))
  assert face.skeleton is FACE_300W and (face.visibility == 2).all()


def test_landmarks_that_are_not_labelled_fall_back_to_the_box(people):
  blind = dataclasses.replace(people, visibility=np.zeros_like(people.visibility))
  face = FaceMaker(blind, SIZE, None, 'none', 0).face(1, people.read(1))
  boxed = FaceMaker(bare(people), SIZE, None, 'none', 0).face(1, people.read(1))
  for one, other in zip(face, boxed, strict=True):
    np.testing.assert_array_equal(one, other)


def test_five_points_are_aligned_and_others_stand_in(people):
  weights = face_alignment.five_points(FACE_300W)
  five = dataclasses.replace(
    people, landmarks=(weights @ people.landmarks).astype(np.float32),
    visibility=np.full((24, 5), 2, np.uint8), skeleton=None)
  found = FaceMaker(five, SIZE, None, 'none', 0).face(2, people.read(2))
  expected = FaceMaker(people, SIZE, None, 'none', 0).face(2, people.read(2))
  np.testing.assert_allclose(found.to_crop, expected.to_crop, atol=1e-4)
  assert found.landmarks.shape == (68, 2)
  assert np.abs(weights @ found.landmarks - five.landmarks[2]).max() < 8


def test_the_partner_is_that_of_alignment(people, bank):
  """The same person, recipe and generator give the same placements as `PairMaker` has."""
  maker = FaceMaker(people, SIZE, bank, 'face_severity4', 0)
  source = face_crops.as_source(people, range(len(people)))
  pair = pairs.PairMaker(source, SIZE, bank, 'face_severity4', 0)
  face = maker.face(3, people.read(3))
  person = pair.person(3, face.to_crop, people.visibility[3])
  crop = geometry.warp(people.read(3), face.to_crop, SIZE)
  rng = face_crops.evaluation_rng(people, 3)
  expected = face_crops.recipes.occlude(crop, person, bank, rng, 'face_severity4')
  assert expected.covered.mean() > 0.3
  np.testing.assert_array_equal(maker.evaluate(3)['occluded_image'], expected.image)


@pytest.mark.parametrize('landmarks', [True, False])
def test_faces_are_occluded_with_and_without_landmarks(people, bank, landmarks):
  people = people if landmarks else bare(people)
  shares = []
  for level in (1, 5):
    maker = FaceMaker(people, SIZE, bank, f'face_severity{level}', 0)
    shares.append(np.mean([(s['image'] != s['occluded_image']).any(-1).mean()
                           for s in map(maker.evaluate, range(12))]))
  assert 0.01 < shares[0] < 0.25 < shares[1]


def test_what_occludes_a_picture_in_an_evaluation_depends_on_it_alone(people, bank):
  maker = FaceMaker(people, SIZE, bank, 'face_severity5', 0)
  part = FaceMaker(people.subset([9, 4]), SIZE, bank, 'face_severity5', 5)
  np.testing.assert_array_equal(maker.evaluate(4)['occluded_image'],
                                part.evaluate(1)['occluded_image'])
  twin = pickle.loads(pickle.dumps(maker))
  np.testing.assert_array_equal(maker.evaluate(4)['occluded_image'],
                                twin.evaluate(4)['occluded_image'])


def test_training_is_a_function_of_seed_picture_and_epoch(people, bank):
  make = lambda seed=1: FaceMaker(people, SIZE, bank, 'face_severity5', seed, Augmentation())
  first, same = make().train(5, 5), make().train(5, 5)
  for field in face_crops.FIELDS:
    np.testing.assert_array_equal(first[field], same[field])
  for other in (make().train(5 + 24, 5), make(2).train(5, 5)):
    assert (first['image'] != other['image']).mean() > 0.3
    assert first['identity'] == other['identity'] == 1


def test_a_mirror_is_exact_and_both_pictures_share_it(people, bank):
  still = FaceMaker(people, SIZE, None, 'none', 0, STILL).train(0, 0)
  np.testing.assert_array_equal(
    still['image'], FaceMaker(people, SIZE, None, 'none', 0).evaluate(0)['image'])
  np.testing.assert_array_equal(still['image'], still['occluded_image'])
  mirrored = FaceMaker(people, SIZE, None, 'none', 0, STILL._replace(flip_prob=1)).train(0, 0)
  difference = np.abs(mirrored['image'][:, ::-1].astype(int) - still['image'])
  assert difference.max() <= 8 and difference.mean() < 0.5  # of the interpolation
  flips = [FaceMaker(people, SIZE, bank, 'face_severity1', 0,
                     STILL._replace(flip_prob=0.5)).train(24 * n, 0) for n in range(20)]
  turned = [np.abs(s['image'].astype(int) - still['image']).mean() > 2 for s in flips]
  assert 3 < sum(turned) < 17
  assert all((s['image'] != s['occluded_image']).any(-1).mean() < 0.4 for s in flips)


def test_colours_move_within_their_strengths(people):
  for field in ('light', 'contrast', 'saturation'):
    maker = FaceMaker(people, SIZE, None, 'none', 0, STILL._replace(**{field: 0.5}))
    found = np.array([maker.train(24 * n, 0)['image'] for n in range(12)]).astype(float)
    plain = maker.evaluate(0)['image'].astype(float)
    ratio = {'light': found.mean((1, 2, 3)) / plain.mean(), 'contrast': found.std((1, 2, 3)) /
             plain.std(), 'saturation': found.std(3).mean((1, 2)) / plain.std(2).mean()}[field]
    assert 0.45 < ratio.min() < 0.9 and 1.05 < ratio.max() < 1.55, field


def test_a_bank_is_cut_though_a_picture_cannot_be_read(people, tmp_path):
  def read(row):
    if row == 2:
      raise OSError('no picture')
    return people.read(row)

  for boxed in (people, bare(people, box=None)):
    source = face_crops.as_source(dataclasses.replace(boxed, read=read), range(6))
    rejected = patch_bank.build(tmp_path / str(boxed.box is None), [source], num_people=6, seed=0)
    assert rejected['broken annotation or picture'] == 1
    np.testing.assert_array_equal(source.identity[:5] == source.identity[0], [1, 1, 1, 1, 0])


def test_fields_that_are_not_asked_for_are_not_made(people):
  sample = FaceMaker(people, SIZE, None, 'face_severity5', 0, fields=('image',)).evaluate(0)
  assert list(sample) == ['image']  # without a bank: nothing was pasted


def test_an_unreadable_picture_is_nobody(people):
  blank = FaceMaker(people, SIZE, None, 'none', 0).blank(0)
  assert blank['identity'] == -1 and not blank['image'].any()
  assert blank['image'].shape == (56, 56, 3)
