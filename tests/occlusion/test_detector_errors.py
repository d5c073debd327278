"""What a 2D detector says of seen and of hidden joints."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dslope_jax.skeletons import H36M, MPI15
from input_pipeline.occlusion import detector_errors
from tests.occlusion.standing import body

FRAMES = 243
# The table of the module, as docs/lifting.md has it.
ODDS = {'person': 0.15, 'limb': 0.12, 'lost': 0.12, 'grows': 0.61}


def points(skeleton=H36M, frames=FRAMES, aside=0.0):
  """Exact places (T,J,2) of someone who sways; 1000 px focal length, 4 m away."""
  sway = 40 * np.sin(np.arange(frames) / 20)[:, None, None] * [1.0, 0]
  return body(skeleton, aside=aside)[:, :2] / 4 + 500 + sway


def errors(hidden, seed=0, skeleton=H36M, others=(), **options):
  """Exact places, the clean view and the hidden one."""
  exact = points(skeleton, len(hidden))
  rng = np.random.default_rng(seed)
  clean = detector_errors.visible(rng, exact, skeleton)
  return exact, clean, detector_errors.hide(rng, clean, exact, hidden, skeleton, others, **options)


def runs_of(joint, frames=FRAMES, length=20):
  """Every 40 frames the joint is hidden for 20."""
  hidden = np.zeros((frames, 17), bool)
  hidden[:, joint] = np.arange(frames) % 40 >= 40 - length
  return hidden


def test_spread_of_a_square_is_half_its_diagonal():
  square = np.array([[(0, 0), (0, 2), (2, 0), (2, 2)]], float)
  np.testing.assert_allclose(detector_errors.spread(square), 2 ** 0.5)


@pytest.mark.parametrize('skeleton', (H36M, MPI15), ids=lambda s: s.name)
def test_noise_of_seen_joints_has_the_sizes_of_the_table(skeleton):
  exact = points(skeleton)
  noise = np.stack([detector_errors.visible(np.random.default_rng(i), exact, skeleton).keypoints
                    - exact for i in range(40)])
  share = noise.std((0, 1, 3)) / detector_errors.spread(exact)[0]
  for name, found in zip(skeleton.names, share, strict=True):
    part = name.split('_')[-1]
    given = {'elbow': .012, 'knee': .012, 'wrist': .015, 'ankle': .015}.get(part, .009)
    assert abs(found / given - 1) < 0.06, name
  torso_to_head = 748 / 4
  assert 0.0055 < noise.std((0, 1, 3)).min() / torso_to_head < 0.0065
  assert 0.0095 < noise.std((0, 1, 3)).max() / torso_to_head < 0.0105
  one = noise / noise.std((0, 1, 3))[:, None]
  assert abs((one[:, 1:] * one[:, :-1]).mean() - 0.8) < 0.02  # from frame to frame
  assert abs((one[:, :40] ** 2).mean() - 1) < 0.06  # from the first frame on


def test_strength_scales_the_noise_and_0_has_none():
  exact = points()
  one, two, none = (detector_errors.visible(np.random.default_rng(0), exact, H36M, s)
                    for s in (1, 2, 0))
  np.testing.assert_allclose(two.keypoints - exact, 2 * (one.keypoints - exact), atol=1e-3)
  np.testing.assert_allclose(none.keypoints, exact, atol=1e-4)
  assert (none.confidence == np.float32(0.95)).all()
  assert 0.85 < two.confidence.mean() < one.confidence.mean() < 0.95
  clean = errors(runs_of(3), strength=0)
  np.testing.assert_array_equal(clean[1].keypoints, clean[2].keypoints)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10 ** 6), density=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
       frames=st.sampled_from([1, 2, 27]), people=st.integers(0, 2))
def test_the_views_differ_at_hidden_joints_alone(seed, density, frames, people):
  hidden = np.random.default_rng(seed).random((frames, 17)) < density
  others = np.stack([points(H36M, frames, 900)] * people) if people else ()
  _, clean, seen = errors(hidden, seed, others=others)
  np.testing.assert_array_equal(seen.keypoints[~hidden], clean.keypoints[~hidden])
  np.testing.assert_array_equal(seen.confidence[~hidden], clean.confidence[~hidden])
  assert seen.keypoints.dtype == seen.confidence.dtype == np.float32
  assert np.isfinite(seen.keypoints).all()
  assert ((seen.confidence >= 0) & (seen.confidence <= 1)).all()
  if hidden.any():
    assert not np.array_equal(seen.confidence[hidden], clean.confidence[hidden])


def test_runs_of_hidden_frames_have_the_errors_of_the_table():
  """One joint of the middle, which is never exchanged, in 6 runs of each of 60 clips."""
  spine = H36M.index('spine')
  hidden, other = runs_of(spine), points(aside=9000)
  counts = dict.fromkeys(ODDS, 0)
  for seed in range(60):
    exact, clean, seen = errors(hidden, seed, others=[other])
    for first in range(20, FRAMES - 20, 40):
      run = slice(first, first + 20)
      place, sure = seen.keypoints[run, spine], seen.confidence[run, spine]
      if (sure == 0).all():
        counts['lost'] += 1
        np.testing.assert_array_equal(place, np.broadcast_to(clean.keypoints[first - 1, spine],
                                                             (20, 2)))
      elif np.ptp(sure) < 1e-6:  # a jump, wrongly sure
        assert 0.45 <= sure[0] <= 0.75
        to_other = np.abs(place - other[run, spine]).max() < 10
        counts['person' if to_other else 'limb'] += 1
        if not to_other:
          away = np.abs(place[:, None] - clean.keypoints[run]).max((0, 2))
          assert H36M.sides[away.argmin()] != 0 and away.min() < 10
      else:
        counts['grows'] += 1
        np.testing.assert_allclose(sure, np.maximum(0.5 - 0.02 * np.arange(20), 0.12), atol=1e-6)
  total = sum(counts.values())
  assert total == 60 * 6
  for kind, odds in ODDS.items():
    assert abs(counts[kind] / total - odds) < 4 * (odds * (1 - odds) / total) ** 0.5, kind


def test_noise_grows_with_the_time_hidden_and_the_share():
  spine = H36M.index('spine')
  hidden = np.zeros((80, 17), bool)
  hidden[10:70, spine] = True
  for share in (None, np.full((80, 17), 0.5, np.float32)):
    away = []
    for seed in range(300):
      exact, _, seen = errors(hidden, seed, share=share)
      if np.ptp(seen.confidence[10:70, spine]) > 1e-6:
        away.append((seen.keypoints[:, spine] - exact[:, spine])
                    / detector_errors.spread(exact)[:, None])
    deviation = np.std(away, (0, 2))
    factor = 1 if share is None else 0.5
    for frames, size in ((slice(10, 14), 0.036), (slice(28, 32), 0.108), (slice(60, 70), 0.2)):
      assert abs(deviation[frames].mean() / (size * factor) - 1) < 0.15


def test_without_other_people_no_joint_jumps_to_them():
  """The other errors keep their odds; what is left has growing noise."""
  spine, kinds = H36M.index('spine'), []
  for seed in range(300):
    sure = errors(runs_of(spine, 40), seed)[2].confidence[20:, spine]
    kinds.append('lost' if sure[0] == 0 else 'limb' if np.ptp(sure) < 1e-6 else 'grows')
  assert abs(kinds.count('limb') / 300 - 0.12) < 0.075
  assert abs(kinds.count('grows') / 300 - 0.76) < 0.1


def test_hidden_legs_are_exchanged_together():
  legs = [H36M.index(f'{side}_{part}') for side in ('left', 'right') for part in ('knee', 'ankle')]
  hidden = np.zeros((30, 17), bool)
  hidden[:, legs] = True
  found = 0
  for seed in range(200):
    _, clean, seen = errors(hidden, seed)
    swapped = [np.array_equal(seen.keypoints[:, j], clean.keypoints[:, H36M.flip_order[j]])
               for j in legs]
    if swapped[0]:
      found += 1
      assert all(swapped)
      sure = seen.confidence[:, legs]
      assert (sure >= 0.45).all() and (sure <= 0.75).all()
  assert abs(found / 200 - 0.1) < 0.085


def test_jump_goes_to_another_limb_of_the_body():
  wrist, limb = H36M.index('left_wrist'), []
  hidden = np.zeros((30, 17), bool)
  hidden[:, wrist] = True
  for seed in range(200):
    _, clean, seen = errors(hidden, seed)
    if np.ptp(seen.confidence[:, wrist]) > 0 or seen.confidence[0, wrist] == 0:
      continue
    away = np.abs(seen.keypoints[:, wrist][:, None] - clean.keypoints).max((0, 2))
    limb.append(H36M.names[away.argmin()])
  assert len(set(limb)) > 4
  assert not {'left_shoulder', 'left_elbow', 'left_wrist'} & set(limb)


def test_lost_joints_stay_where_they_were_or_will_be_seen():
  hidden = np.zeros((30, 17), bool)
  hidden[:10, 7] = hidden[:, 8] = True
  lost = set()
  for seed in range(120):
    _, clean, seen = errors(hidden, seed)
    if (seen.confidence[:10, 7] == 0).all():
      lost.add(7)
      assert (seen.keypoints[:10, 7] == clean.keypoints[10, 7]).all()
    if (seen.confidence[:, 8] == 0).all():
      lost.add(8)
      np.testing.assert_allclose(seen.keypoints[:, 8], clean.keypoints.mean(1), rtol=1e-6)
  assert lost == {7, 8}
