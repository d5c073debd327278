"""Samples of lifting: units, mirrors, hidden partners, and that all is a function of the seed."""
import pickle

import numpy as np
import pytest

from dslope_jax import cameras
from dslope_jax.skeletons import H36M
from input_pipeline import clips, sequences, stream, windows
from input_pipeline.clips import ClipMaker
from tests.refusals import fails
from tests.sequences import made


@pytest.fixture(scope='module')
def source(tmp_path_factory):
  root = made.small_cmu(tmp_path_factory.mktemp('cmu'))
  return sequences.load('cmu_mocap', 'train', root=str(root), cameras=3)


def maker(source, recipe='severity3', frames=9, **options):
  return ClipMaker(source, windows.of(source, frames, 4, 'drop'), recipe, 5, **options)


def equal(one, other):
  return all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize('target', clips.TARGETS)
def test_truth_is_in_the_unit_of_the_target(source, target):
  of = maker(source, 'exact', target=target)
  sample, (_, _, clip) = of.evaluate(3), of.clip(3)
  width, height = clip.camera.size
  if target == 'camera':
    np.testing.assert_allclose(sample['keypoints_3d'], clip.keypoints_3d / 1000, rtol=1e-6)
  else:  # x and y of the input, and the depth that gives the person back
    np.testing.assert_allclose(sample['keypoints_3d'][..., :2], sample['keypoints_2d'], atol=1e-5)
    relative = sample['keypoints_3d'] - sample['keypoints_3d'][:, :1]
    body = cameras.from_image_space(relative * width / 2, clip.keypoints_3d[:, 0],
                                    clip.camera.params)
    np.testing.assert_allclose(body, clip.keypoints_3d - clip.keypoints_3d[:, :1], atol=0.05)
  pixels = cameras.denormalise_screen(sample['keypoints_2d'], width, height)
  np.testing.assert_allclose(pixels, clip.keypoints_2d, atol=1e-3)
  assert (sample['confidence'] == 1).all() and (sample['visibility'] == 2).all()


def test_a_clip_and_its_partner_differ_at_covered_joints_alone(source):
  of, shares = maker(source, 'severity4'), []
  for row in range(0, len(of), 5):
    sample = of.evaluate(row)
    same = (sample['keypoints_2d'] == sample['occluded_keypoints_2d']).all(-1)
    assert same[~sample['covered']].all()
    assert (sample['confidence'] == sample['occluded_confidence'])[~sample['covered']].all()
    assert (sample['visibility'][sample['covered']] == 1).all()
    shares.append(sample['covered'].mean())
  assert 0.05 < np.mean(shares) < 0.8
  assert not maker(source, 'none').evaluate(0)['covered'].any()


def test_mirrored_people_are_people(source):
  plain, mirrored = (maker(source, flip_prob=p) for p in (0.0, 1.0))
  one, other = plain.train(7, 3), mirrored.train(7, 3)
  order = H36M.flip_order
  for name in ('keypoints_2d', 'occluded_keypoints_2d', 'keypoints_3d'):
    back = other[name][:, order] * [-1, *[1] * (one[name].shape[-1] - 1)]
    np.testing.assert_array_equal(back.astype(np.float32), one[name])
  for name in ('confidence', 'occluded_confidence', 'visibility', 'covered'):
    np.testing.assert_array_equal(other[name][:, order], one[name])


def test_samples_depend_on_seed_epoch_and_clip_alone(source):
  of = maker(source, flip_prob=0.5)
  again = pickle.loads(pickle.dumps(of))
  for row in (0, 4):
    assert equal(of.train(row, row), again.train(row, row))
    assert equal(of.evaluate(row), again.evaluate(row))
  assert not equal(of.train(0, 0), of.train(len(of), 0))  # of the next epoch
  few = sequences.sequence.Sequences('cmu_mocap', 'train', H36M, source.sequences[:1])
  assert equal(maker(few, 'severity1').evaluate(0) | {}, maker(few, 'severity1').evaluate(0))


def test_streams_are_equal_with_and_without_workers(source):
  of = maker(source, 'none:1,severity2:1', fields=('keypoints_2d', 'keypoints_3d'))
  found = {}
  for workers in (0, 1):
    batches = stream.train_stream(of, batch_size=4, start_step=2, num_workers=workers)
    found[workers] = [next(batches) for _ in range(2)]
    batches.close()
  assert all(equal(a, b) for a, b in zip(found[0], found[1], strict=True))
  found = found[0]
  assert set(found[0]) == {'keypoints_2d', 'keypoints_3d'}
  assert found[0]['keypoints_2d'].shape == (4, 9, 17, 2)


def test_recipes_are_checked_before_anything_starts(source):
  check = lambda name, of=source: clips.check_recipe(name, 'data.recipe', of, training=True)
  for name in ('exact', 'none:1,severity3:2', 'severity1>severity5'):
    check(name)
  fails(lambda: check('severty3'), 'data.recipe', "'severity3'")
  fails(lambda: check('none:x'), 'none:x')
  fails(lambda: clips.check_recipe('severity1>severity5', 'evals.val.recipe', source),
        'evals.val.recipe', "'severity1>severity5'", 'in training')
  blind = sequences.sequence.Sequences('blind', 'val', H36M, tuple(
    s.__class__(s.name, s.keypoints_3d, (sequences.sequence.Camera((10, 10)),), 50.0)
    for s in source.sequences))
  check('none', blind)
  fails(lambda: check('severity3', blind), 'blind', "'none'")
