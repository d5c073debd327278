"""Samples of whole pictures: functions of the seed, full people, things that hide."""
import pickle

import numpy as np
import pytest

from input_pipeline import letterbox, pictures, sources, stream
from input_pipeline.occlusion import bank, pasting, things
from input_pipeline.whole_pictures import FIELDS, PictureMaker
from tests.pictures import made
from tests.refusals import fails

SIZE = (96, 64)


@pytest.fixture(scope='module')
def world():
  return pictures.load('synthetic', 'train', count=12, size=(120, 80))


def maker(source, recipe='none', augmentation=None, **options):
  return PictureMaker(source, SIZE, None, recipe, 5, augmentation, **options)


def equal(one, other):
  return all(np.array_equal(one[name], other[name]) for name in one)


def test_a_sample_has_the_shapes_of_the_contract(world):
  sample = maker(world).evaluate(2)
  shapes = {'image': (64, 96, 3), 'people': (20, 15, 6), 'valid': (20,), 'overflow': (),
            'ignore': (16, 24), 'has_depth': (), 'channels': (57,), 'camera': (7,), 'size': (2,),
            'occluded_image': (64, 96, 3), 'occluded_people': (20, 15, 6)}
  assert tuple(sample) == FIELDS and {k: v.shape for k, v in sample.items()} == shapes
  kinds = dict.fromkeys(FIELDS, 'float32') | {
    'image': 'uint8', 'occluded_image': 'uint8', 'valid': 'bool', 'ignore': 'bool',
    'has_depth': 'bool', 'overflow': 'int32', 'size': 'int32'}
  assert {k: v.dtype.name for k, v in sample.items()} == kinds
  one, people = world[2], sample['people']
  count = len(one.visibility)
  assert sample['valid'].tolist() == [True] * count + [False] * (20 - count)
  assert not people[count:].any() and sample['has_depth'] and not sample['ignore'].any()
  np.testing.assert_allclose(people[:count, :, 2:5], one.joints_3d, rtol=1e-6)
  np.testing.assert_allclose(people[:count, :, :2], one.joints_2d * 0.8, atol=1e-3)
  np.testing.assert_array_equal(sample['size'], (120, 80))
  assert tuple(maker(world, fields=('image', 'people')).evaluate(2)) == ('image', 'people')
  blank = maker(world).blank(2)
  assert {k: (v.shape, v.dtype.name) for k, v in blank.items()} == {
    k: (v.shape, v.dtype.name) for k, v in sample.items()}
  assert blank['ignore'].all() and not blank['valid'].any() and (blank['image'] == 128).all()


def test_samples_depend_on_seed_row_and_epoch_alone(world):
  one = maker(world, 'severity3', letterbox.Augmentation())
  twin = pickle.loads(pickle.dumps(one))
  assert equal(one.train(3, 4), twin.train(3, 4)) and equal(one.evaluate(3), twin.evaluate(3))
  assert not equal(one.train(3, 4), one.train(15, 4))
  assert equal(maker(world, 'severity3').evaluate(3), one.evaluate(3))
  few = pictures.load('synthetic', 'train', count=4, size=(120, 80))
  assert equal(maker(few, 'severity3').evaluate(3), one.evaluate(3))


def test_streams_take_the_maker(world):
  one = maker(world, 'severity1', letterbox.Augmentation())
  batches = stream.train_stream(one, batch_size=3)
  batch = next(batches)
  batches.close()
  assert batch['people'].shape == (3, 20, 15, 6) and batch['has_depth'].shape == (3,)
  whole = list(stream.eval_stream(maker(world), batch_size=5))
  assert sum(b['mask'].sum() for b in whole) == 12


def black_where_covered(sample):
  """For every joint that is covered, whether its pixel is black; boxes end between pixels."""
  covered = (sample['people'][..., 5] == 2) & (sample['occluded_people'][..., 5] == 1)
  x, y = np.round(sample['people'][covered][:, :2]).astype(int).T
  return (sample['occluded_image'][y, x] == 0).all(-1).tolist()


def test_things_hide_more_and_more_visible_joints(world):
  levels = [maker(world, f'severity{level}' if level else 'none') for level in range(6)]
  shares, dark = [], []
  for row in range(12):
    samples = [m.evaluate(row) for m in levels]
    clean = samples[0]
    assert np.array_equal(clean['image'], clean['occluded_image'])
    before = clean['people'][..., 5]
    for weaker, stronger in zip(samples[:-1], samples[1:], strict=True):
      v, w = (s['occluded_people'][..., 5] for s in (weaker, stronger))
      assert (w <= v).all() and ((w > 0) == (before > 0)).all()
    for sample in samples:
      np.testing.assert_array_equal(sample['occluded_people'][..., :5], sample['people'][..., :5])
      dark += black_where_covered(sample)
    shares.append([(s['occluded_people'][..., 5] == 2).sum() / (before == 2).sum()
                   for s in samples])
  mean = np.mean(shares, 0)
  assert len(dark) > 200 and np.mean(dark) > 0.9
  assert (np.diff(mean) < 0).all() and mean[0] == 1 and 0.25 < mean[5] < 0.55


def test_things_of_a_bank_are_pasted_and_no_parts_of_bodies(world, tmp_path):
  cut = bank.load_or_build(tmp_path / 'bank', sources.load('synthetic', 'train', num_people=30),
                           num_people=30, seed=0)
  assert {'head', 'texture'} <= cut.parts
  one, pasted = world[0], set()
  matrix = letterbox.fit(one.size, SIZE).matrix
  for seed in range(20):
    drawn = things.draw(np.random.default_rng(seed), one.joints_2d, one.visibility,
                        world.skeleton, matrix, SIZE, cut, 'severity3')
    pasted |= {'box' if p.patch == pasting.BLACK else str(cut.part[p.patch]) for p in drawn}
  assert pasted == {'box', *({'texture', 'object'} & cut.parts)}
  sample = PictureMaker(world, SIZE, cut, 'severity5', 0).evaluate(0)
  assert (sample['image'] != sample['occluded_image']).any()


def test_a_mirrored_sample_hides_the_same_joints_that_it_covers(world):
  one = maker(world, 'severity4', letterbox.Augmentation(0, 0, flip_prob=1.0))
  dark = [black for row in range(12) for black in black_where_covered(one.train(row, row))]
  assert len(dark) > 100 and np.mean(dark) > 0.9


def test_more_people_than_rows_are_counted_and_ignored():
  source = made.pictures(made.one((-60, 0, 400), (0, 0, 900), (60, 0, 350)))
  sample = maker(source, max_people=2).evaluate(0)
  assert sample['overflow'] == 1 and sample['valid'].all()
  np.testing.assert_allclose(sample['people'][:, 2, 4], (400, 350))  # the small one is left out
  x, y = source[0].joints_2d[1, 2] * 64 / 240 + (5.33, 0)
  assert sample['ignore'][int(y / 4), int(x / 4)] and sample['ignore'].mean() < 0.2
  assert maker(source).evaluate(0)['overflow'] == 0


def test_who_is_not_in_the_network_s_picture_has_no_row():
  source = made.pictures(made.one((-60, 0, 400), (60, 0, 350)), made.one(name='empty'))
  nobody = maker(source).evaluate(1)
  assert not nobody['valid'].any() and nobody['overflow'] == 0
  rows = [maker(source, augmentation=letterbox.Augmentation(0, 0.9)).train(i, 0)['valid'].sum()
          for i in range(0, 40, 2)]
  assert set(rows) >= {0, 1}


def test_crowds_are_ignored_where_they_are():
  source = made.pictures(made.one((0, 0, 400), ignore=np.array([(0, 0, 60, 60.0)])))
  ignore = maker(source).evaluate(0)['ignore']
  assert ignore[0, 3] and not ignore[10:].any() and not ignore[:, 10:].any()
  everywhere = made.pictures(made.one((0, 0, 400), ignore=np.array([(0, 0, 320, 240.0)])))
  sample = maker(everywhere).evaluate(0)
  x, y = np.round(sample['people'][0, :, :2] / 4).astype(int).T
  assert not sample['ignore'][y, x].any() and sample['ignore'].mean() > 0.7


def test_a_set_without_depth_has_zeros_and_is_scaled():
  source = made.pictures(made.one((0, 0, 400), joints_3d=None, camera=None))
  scales = lambda source: {float(maker(source, augmentation=letterbox.Augmentation()).train(
    i, 0)['camera'][4]) for i in range(4)}
  assert len(scales(source)) == 4 and len(scales(made.pictures(made.one((0, 0, 400))))) == 1
  sample = maker(source).evaluate(0)
  assert not sample['has_depth'] and not sample['people'][..., 2:5].any()


@pytest.mark.parametrize('recipe, training, words', [
  ('published', True, ('data.recipe', "'published'", 'severity1')),
  ('severity7', False, ("'severity7'", 'did you mean')),
  ('severity1>severity3', False, ("'severity1>severity3'",)),
  ('none:1,joint=hip:1', True, ("'joint=hip'",))])
def test_recipes_that_do_not_act_on_pictures_are_refused(recipe, training, words):
  fails(lambda: things.check(recipe, 'data.recipe', training), *words)


@pytest.mark.parametrize('count', [1, 2])
def test_people_of_one_joint_can_be_hidden(count):
  visibility = np.zeros((1, 15))
  visibility[0, :count] = 2
  source = made.pictures(made.one((0, 0, 400), visibility=visibility, joints_2d=np.full(
    (1, 15, 2), 100.0)))
  sample = maker(source, 'severity5').evaluate(0)
  assert set(sample['occluded_people'][0, :count, 5]) <= {1, 2}


def test_recipes_of_pictures_may_be_mixed():
  things.check('none:1,severity3:2', 'data.recipe')
  things.check('none>severity1:1,severity5:1', 'data.recipe', training=True)
