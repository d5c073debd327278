"""Sequences of the embedded world, and cameras drawn about them."""
import numpy as np
import pytest

from dslope_jax.errors import UserError
from dslope_jax.skeletons import H36M
from input_pipeline.sequences import camera_pool, synthetic


def load(split='train', **options):
  return synthetic.load(split, **({'num_sequences': 12, 'frames': 30, 'cameras': 3} | options))


def test_sequences_are_whole():
  out = load(fps=25)
  assert (out.name, out.split, out.skeleton, out.root) == ('synthetic', 'train', H36M, 0)
  assert len(out.sequences) == 12 == len({s.name for s in out.sequences})
  for s in out.sequences:
    assert s.keypoints_3d.shape == (30, 17, 3) and s.keypoints_3d.dtype == np.float32
    assert len(s.cameras) == 3 and s.fps == 25 and s.action and s.family == 'synthetic'
  assert len(out.digest) == 12


def test_partners_name_each_other_and_share_a_take():
  out = load(num_sequences=60, frames=8, cameras=1, pairs=0.5)
  by_name = {s.name: s for s in out.sequences}
  paired = [s for s in out.sequences if s.partners]
  assert 18 <= len(paired) <= 42
  for s in paired:
    (other,) = (by_name[name] for name in s.partners)
    assert other.partners == (s.name,) and other.take == s.take and other.action == s.action
    assert not np.array_equal(other.keypoints_3d, s.keypoints_3d)
  assert len({s.take for s in out.sequences}) == 60 - len(paired) // 2
  assert not any(s.partners for s in load(pairs=0).sequences)
  odd = load(num_sequences=3, pairs=1).sequences
  assert [len(s.partners) for s in odd] == [1, 1, 0]


def test_seed_and_split_decide_everything():
  assert load().digest == load().digest
  others = [load(), load('val'), load(seed=1)]
  assert len({x.digest for x in others}) == 3
  assert len({s.keypoints_3d.tobytes() for x in others for s in x.sequences}) == 36
  longer = load(num_sequences=20)  # more sequences leave the first as they are
  for one, two in zip(load().sequences[:10], longer.sequences, strict=False):
    np.testing.assert_array_equal(one.keypoints_3d, two.keypoints_3d)


def test_the_person_is_in_the_picture():
  inside, heights = [], []
  for s in load(num_sequences=20, frames=60).sequences:
    for view in range(3):
      clip = s.clip(np.arange(60), view)
      points, (width, height) = clip.keypoints_2d, clip.camera.size
      assert clip.keypoints_3d[..., 2].min() > 300
      inside.append(((points >= 0) & (points <= (width, height))).all(-1).mean())
      heights.append(np.ptp(points[..., 1], 1).mean() / height)
  assert np.mean(inside) > 0.98 and np.min(inside) > 0.85
  assert 0.25 < np.median(heights) < 0.75


@pytest.mark.parametrize('up', np.eye(3)[[1, 2]] * (1, 1, 1), ids=('y', 'z'))
def test_cameras_turn_the_world_upright_and_see_the_person_from_all_sides(up):
  rng = np.random.default_rng(0)
  upright = np.array([[0, 0, 0], up * 700, up * -850], float) + [500, 900, -300]
  angles = []
  for camera in camera_pool.draw(rng, np.repeat(upright[None], 9, 0), 40, up):
    np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(camera.rotation) > 0
    hip, head, foot = upright @ camera.rotation.T + camera.translation
    assert head[1] < hip[1] < foot[1] and hip[2] > 1400  # Y down, before the camera
    assert abs(np.degrees(np.arctan2(hip[0], hip[2]))) < 1
    place = -camera.rotation.T @ camera.translation - upright[0]
    level = np.delete(place, np.argmax(up))
    angles.append(np.degrees(np.arctan2(*level)))
    assert -650 < place @ up < 1250
    assert 0.9 * camera.size[0] <= camera.focal[0] <= 1.6 * camera.size[0]
  assert len(np.unique(np.floor(np.array(angles) / 60))) == 6


@pytest.mark.parametrize('options, text', [
  ({'num_sequences': 0}, 'num_sequences is 0'), ({'frames': 1}, 'frames is 1'),
  ({'cameras': 0}, 'cameras is 0'), ({'fps': 'fast'}, 'fps is fast'), ({'pairs': 2}, 'pairs is 2')])
def test_bad_options_are_named(options, text):
  with pytest.raises(UserError, match=text):
    load(**options)
